"""The doctor's checks of configuration and Vimeo: is it valid, does the API's name resolve, is the token valid."""

import json
import socket
import time
from urllib.parse import urlsplit

from livekeep.command.doctor.doctor_base import Result, Surroundings
from livekeep.command.secrets import credential
from livekeep.core import config, paths
from livekeep.core.errors import LivekeepError
from livekeep.system.background import within
from livekeep.system.http import Client, TransportError
from livekeep.system.vimeo import ACCEPT

TIMEOUT_SECONDS = 5.0
NEW_TOKEN = "create one with the scope private at https://developer.vimeo.com/apps, then: sudo livekeep set-token"  # noqa: S105


def check_config(around: Surroundings) -> Result:
    if around.problems:
        more = f" (and {len(around.problems) - 1} more)" if len(around.problems) > 1 else ""
        return Result("fail", around.problems[0] + more, "sudo livekeep check-config shows every problem")
    if ignored := config.ignored_files(around.path(paths.DROP_IN_DIRECTORY)):
        names = ", ".join(path.name for path in ignored)
        finding = f"valid, but not read in {around.machine_path(ignored[0].parent)}: {names}"
        return Result("warn", finding, "give the files names that end with .toml, or remove them")
    if not around.config.streams:
        return Result("warn", "valid, but no stream is set up", f"add [streams.main] to {paths.CONFIG_FILE}")
    name = around.config.stream.selected
    if not around.config.selected_stream().is_set_up():
        advice = f"set vimeo_event, vimeo_video or url in [streams.{name}] of {paths.CONFIG_FILE}"
        return Result("warn", f'valid, but the stream "{name}" is empty', advice)
    return Result("ok", f'valid; shows the stream "{name}"')


def check_dns(around: Surroundings) -> Result:
    if around.config.selected_stream().url:
        return Result("skip", "the selected stream does not need Vimeo's API")
    host = urlsplit(around.config.vimeo.proxy or around.config.vimeo.api_url).hostname or ""
    try:
        answers = within(TIMEOUT_SECONDS, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except TimeoutError:
        return Result("fail", f"{host}: no answer within {TIMEOUT_SECONDS:g} s", "check the name server: resolvectl status")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        return Result("fail", f"{host}: {reason}", "check the network and the name server in /etc/resolv.conf")
    addresses = sorted({str(answer[4][0]) for answer in answers})
    return Result("ok", f"{host} is {', '.join(addresses[:2])}")


def check_token(around: Surroundings) -> Result:
    if around.config.selected_stream().url:
        return Result("skip", "the selected stream does not need one")
    path = credential.credential_file(around.path("/etc/credstore"))
    try:
        token = credential.clean(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return token_absent(around)
    except PermissionError:
        return Result("skip", "only root can read it", "sudo livekeep doctor")
    except (LivekeepError, OSError, UnicodeDecodeError) as error:
        text = str(error) if isinstance(error, LivekeepError) else f"{path}: cannot be read as text"
        return Result("fail", text, "sudo livekeep set-token")
    return verify(around, token)


def token_absent(around: Surroundings) -> Result:
    try:
        if credential.credential_file(around.path("/etc/credstore.encrypted")).exists():
            return Result("skip", "it is encrypted; only the poller can read it", "journalctl -u livekeep-poller")
    except PermissionError:
        return Result("skip", "only root can read it", "sudo livekeep doctor")
    return Result("fail", "no token is stored", NEW_TOKEN)


def verify(around: Surroundings, token: str) -> Result:
    """Check the token's permissions with the API."""
    host = urlsplit(around.config.vimeo.api_url).netloc.rpartition("@")[2]
    url = f"{around.config.vimeo.api_url.rstrip('/')}/oauth/verify"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        response = Client(around.config.vimeo.proxy).get(
            url, deadline, {"Accept": ACCEPT}, {"Authorization": f"Bearer {token}"}, most_redirects=0
        )
    except TransportError as error:
        return unreachable(error, host)
    if response.status in (401, 403):
        return Result("fail", f"{host} refuses it ({response.status})", NEW_TOKEN)
    if response.status != 200:
        return Result("warn", f"{host} answered {response.status} instead of checking it", "try again later")
    try:
        scope = {word for word in str(json.loads(response.body)["scope"]).split() if word.isidentifier()}
    except (ValueError, KeyError, TypeError, RecursionError):
        return not_vimeo(host)
    if "private" not in scope:
        return Result("fail", f"accepted, but lacks the scope private (has {', '.join(sorted(scope)) or 'none'})", NEW_TOKEN)
    return Result("ok", "accepted, with the scope private")


def unreachable(error: TransportError, host: str) -> Result:
    if error.outcome == "timeout":
        return Result("warn", f"{host} did not answer within {TIMEOUT_SECONDS:g} s", "try again; check the network")
    if error.outcome == "tls":
        return Result("fail", f"{host}: its certificate is not valid", "check the clock (timedatectl), and for a captive portal")
    if error.outcome == "invalid":
        return not_vimeo(host)
    if error.is_proxy:
        return Result("fail", "the proxy rejects the request", "check vimeo.proxy in livekeep.toml")
    return Result("warn", f"{host} cannot be reached", "check the network, then try again")


def not_vimeo(host: str) -> Result:
    return Result("warn", f"{host} returned a response that is not Vimeo's", "check for a captive portal or a proxy")
