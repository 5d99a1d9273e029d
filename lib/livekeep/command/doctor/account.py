"""The doctor's checks of configuration and Vimeo: is it sound, does the API's name resolve, is the token good."""

import json
import queue
import socket
import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import requests

from livekeep.command.doctor.doctor_base import Check, Surroundings
from livekeep.command.secrets import credential
from livekeep.core import config, paths
from livekeep.core.errors import LivekeepError

TIMEOUT_SECONDS = 5.0
LARGEST_ANSWER_BYTES = 256 * 1024
APPS_PAGE = "https://developer.vimeo.com/apps"
HEADERS = {"Accept": "application/vnd.vimeo.*+json;version=3.4", "User-Agent": "livekeep"}
Result = TypeVar("Result")


class TooSlowError(Exception):
    """No result within the time."""


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """What `work` gives, from a thread of its own: a dead resolver holds any call far beyond its timeout.

    Raises what `work` raises, or `TooSlowError`; the thread is then left behind.
    """
    results: queue.Queue[Result | Exception] = queue.Queue()

    def work_in_thread() -> None:
        try:
            results.put(work())
        except Exception as error:
            results.put(error)

    threading.Thread(target=work_in_thread, daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except queue.Empty:
        raise TooSlowError from None
    if isinstance(result, Exception):
        raise result
    return result


def check_config(around: Surroundings) -> Check:
    if around.problems:
        more = f" (and {len(around.problems) - 1} more)" if len(around.problems) > 1 else ""
        return Check("config", "fail", around.problems[0] + more, "sudo livekeep check-config shows every problem")
    if ignored := config.ignored_files(around.path(paths.DROP_IN_DIRECTORY)):
        names = ", ".join(path.name for path in ignored)
        finding = f"sound, but not read in {around.machine_path(ignored[0].parent)}: {names}"
        return Check("config", "warn", finding, "give the files names that end with .toml, or remove them")
    if not around.config.streams:
        return Check("config", "warn", "sound, but no stream is set up", f"add [streams.main] to {paths.CONFIG_FILE}")
    stream = around.config.selected_stream()
    if not stream.is_set_up():
        advice = f"set vimeo_event, vimeo_video or url in [streams.{around.config.stream.selected}] of {paths.CONFIG_FILE}"
        return Check("config", "warn", f'sound, but the stream "{around.config.stream.selected}" is empty', advice)
    return Check("config", "ok", f'sound; shows the stream "{around.config.stream.selected}"')


def check_dns(around: Surroundings) -> Check:
    if not needs_vimeo(around):
        return Check("DNS", "skip", "the selected stream does not need Vimeo's API")
    host = urlsplit(around.config.vimeo.proxy or around.config.vimeo.api_url).hostname or ""
    try:
        answers = within(TIMEOUT_SECONDS, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except TooSlowError:
        return Check("DNS", "fail", f"{host}: no answer within {TIMEOUT_SECONDS:g} s", "check the name server: resolvectl status")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        return Check("DNS", "fail", f"{host}: {reason}", "check the network and the name server in /etc/resolv.conf")
    addresses = sorted({str(answer[4][0]) for answer in answers})
    return Check("DNS", "ok", f"{host} is {', '.join(addresses[:2])}")


def check_token(around: Surroundings) -> Check:
    if not needs_vimeo(around):
        return Check("token", "skip", "the selected stream does not need one")
    path = credential.credential_file(around.path("/etc/credstore"))
    try:
        token = credential.clean(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return token_absent(around)
    except PermissionError:
        return Check("token", "skip", "only root may read it", "sudo livekeep doctor")
    except (LivekeepError, OSError, UnicodeDecodeError) as error:
        text = str(error) if isinstance(error, LivekeepError) else f"{path}: cannot be read as text"
        return Check("token", "fail", text, "sudo livekeep set-token")
    return verify(around, token)


def token_absent(around: Surroundings) -> Check:
    encrypted = credential.credential_file(around.path("/etc/credstore.encrypted"))
    try:
        if encrypted.exists():
            return Check("token", "skip", "it is encrypted; only the poller can read it", "journalctl -u livekeep-poller")
    except PermissionError:
        return Check("token", "skip", "only root may read it", "sudo livekeep doctor")
    return Check(
        "token", "fail", "there is none", f"make one with the scope private at {APPS_PAGE}, then: sudo livekeep set-token"
    )


def verify(around: Surroundings, token: str) -> Check:
    """Ask the API what the token may do. A `requests` error may hold the proxy's password, so only its kind is told."""
    host = urlsplit(around.config.vimeo.api_url).netloc.rpartition("@")[2]
    try:
        status, body = within(TIMEOUT_SECONDS, lambda: ask(around, token))
    except (TooSlowError, requests.Timeout):
        return Check("token", "warn", f"{host} did not answer within {TIMEOUT_SECONDS:g} s", "try again; check the network")
    except requests.exceptions.SSLError:
        return Check(
            "token", "fail", f"{host}: its certificate was refused", "check the clock (timedatectl), and for a captive portal"
        )
    except requests.exceptions.ProxyError:
        return Check("token", "fail", "the proxy does not let it through", "check vimeo.proxy in livekeep.toml")
    except (requests.RequestException, OSError, ValueError):
        return Check("token", "warn", f"{host} could not be reached", "check the network, then try again")
    return judge(status, body, host)


def ask(around: Surroundings, token: str) -> tuple[int, bytes]:
    """GET /oauth/verify: its status and the beginning of its body."""
    proxy = around.config.vimeo.proxy
    with requests.Session() as session:
        # A .netrc would replace the token, and a proxy of the environment is not the poller's.
        session.trust_env = False
        answer = session.get(
            f"{around.config.vimeo.api_url.rstrip('/')}/oauth/verify",
            headers={**HEADERS, "Authorization": f"Bearer {token}"},
            proxies={"http": proxy, "https": proxy} if proxy else None,
            timeout=TIMEOUT_SECONDS,
            # Another host must not be handed the token.
            allow_redirects=False,
            stream=True,
        )
        return answer.status_code, next(answer.iter_content(LARGEST_ANSWER_BYTES), b"")


def judge(status: int, body: bytes, host: str) -> Check:
    """What an answer to /oauth/verify says of the token."""
    if status in (401, 403):
        return Check(
            "token", "fail", f"{host} refuses it ({status})", f"make a new one at {APPS_PAGE}, then: sudo livekeep set-token"
        )
    if status != 200:
        return Check("token", "warn", f"{host} answered {status} instead of judging it", "try again later")
    scope = scope_of(body)
    if scope is None:
        return Check("token", "warn", f"{host} gave an answer that is not Vimeo's", "check for a captive portal or a proxy")
    if "private" not in scope:
        has = ", ".join(sorted(scope)) or "none"
        advice = f"make one with the scope private at {APPS_PAGE}, then: sudo livekeep set-token"
        return Check("token", "fail", f"accepted, but lacks the scope private (has {has})", advice)
    return Check("token", "ok", "accepted, with the scope private")


def scope_of(body: bytes) -> set[str] | None:
    try:
        scope = json.loads(body)["scope"]
        return {word for word in str(scope).split() if word.isidentifier()}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def needs_vimeo(around: Surroundings) -> bool:
    return not around.config.selected_stream().url
