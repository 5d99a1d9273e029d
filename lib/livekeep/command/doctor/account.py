"""The doctor's checks of configuration and Vimeo: is it valid, does the API's name resolve, is the token valid."""

import json
import socket
import time
from urllib.parse import urlsplit

from livekeep.command.doctor.doctor_base import Check, Surroundings
from livekeep.command.secrets import credential
from livekeep.core import config, paths
from livekeep.core.errors import LivekeepError
from livekeep.system.background import within
from livekeep.system.http import Client, TransportError
from livekeep.system.vimeo import ACCEPT

TIMEOUT_SECONDS = 5.0
APPS_PAGE = "https://developer.vimeo.com/apps"


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
    except TimeoutError:
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
    """Check the token's permissions with the API."""
    host = urlsplit(around.config.vimeo.api_url).netloc.rpartition("@")[2]
    url = f"{around.config.vimeo.api_url.rstrip('/')}/oauth/verify"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        response = Client(around.config.vimeo.proxy).get(
            url, deadline, {"Accept": ACCEPT}, {"Authorization": f"Bearer {token}"}, most_redirects=0
        )
    except TransportError as error:
        if error.outcome == "timeout":
            return Check("token", "warn", f"{host} did not answer within {TIMEOUT_SECONDS:g} s", "try again; check the network")
        if error.outcome == "tls":
            advice = "check the clock (timedatectl), and for a captive portal"
            return Check("token", "fail", f"{host}: its certificate was refused", advice)
        if error.outcome == "invalid":
            return not_vimeo(host)
        if error.is_proxy:
            return Check("token", "fail", "the proxy does not let it through", "check vimeo.proxy in livekeep.toml")
        return Check("token", "warn", f"{host} could not be reached", "check the network, then try again")
    return judge(response.status, response.body, host)


def not_vimeo(host: str) -> Check:
    return Check("token", "warn", f"{host} gave an answer that is not Vimeo's", "check for a captive portal or a proxy")


def judge(status: int, body: bytes, host: str) -> Check:
    """The verdict on the token from a response to /oauth/verify."""
    if status in (401, 403):
        return Check(
            "token", "fail", f"{host} refuses it ({status})", f"make a new one at {APPS_PAGE}, then: sudo livekeep set-token"
        )
    if status != 200:
        return Check("token", "warn", f"{host} answered {status} instead of judging it", "try again later")
    scope = scope_of(body)
    if scope is None:
        return not_vimeo(host)
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
