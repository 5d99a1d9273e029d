"""livekeep-controller: the HTTP API of the channels; runs only while there are requests.

Unit: livekeep-controller.service, started by livekeep-controller.socket; ends after controller.idle_seconds without requests.
Reads: the configuration, the API token (credential livekeep.api-token), the workers' states. Writes: the API's channels and the
intended channels (core/channels.py). Requests systemd to start and stop workers; has no stream key and no storage key.
"""

import asyncio
import contextlib
import logging
import socket

import sdnotify

from livekeep.air.control.api import entrance_for
from livekeep.air.control.api_actions import ApiActions
from livekeep.air.control.api_middleware import ApiProtocol, WithRequestId
from livekeep.air.control.systemd import Systemd
from livekeep.core import config, events, log
from livekeep.system import credentials
from livekeep.system.http_server import Server, inherited_socket
from livekeep.system.loopback import is_loopback_address

TOKEN_NAME = "livekeep.api-token"  # noqa: S105 – a file's name
LEAST_TOKEN_LETTERS = 16

logger = logging.getLogger("livekeep.controller")


def read_token() -> tuple[str, str]:
    """The token from the unit's credentials, and what is wrong with it; both "" if there is none."""
    unfit = f"the API token must be one word of {LEAST_TOKEN_LETTERS} letters or more: sudo livekeep air set-api-token"
    try:
        token = credentials.read_key(TOKEN_NAME)
    except OSError as error:
        return "", f"the API token cannot be read ({error.strerror}): sudo livekeep air set-api-token"
    except ValueError:
        return "", unfit
    return ("", unfit) if 0 < len(token) < LEAST_TOKEN_LETTERS else (token, "")


async def serve(listener: socket.socket, settings: config.Config, token: str, notifier: sdnotify.SystemdNotifier) -> None:
    async with contextlib.aclosing(Systemd()) as systemd:
        is_local = is_loopback_address(str(listener.getsockname()[0]))
        entrance = entrance_for(ApiActions(systemd), token, settings.controller.cors_origins, is_local)
        server = Server(entrance, settings.controller.idle_seconds, notifier.notify, ApiProtocol)
        await server.serve(sockets=[listener])


def main() -> int:
    settings, problems = config.load_leniently()
    log.set_up(settings.log.level)
    for handler in logging.getLogger("livekeep").handlers:
        handler.addFilter(WithRequestId())
    # A fault elsewhere in the file must not keep the API from starting; the API reports it too.
    for problem in problems:
        logger.error("%s", problem)
    if problems:
        events.emit(events.CONFIG_REJECTED, "The configuration has faults: " + "; ".join(problems), PROBLEMS="\n".join(problems))
    token, fault = read_token()
    if fault:
        logger.error("%s", fault)
    elif not token:
        logger.warning("no API token is set, so only /health responds: sudo livekeep air set-api-token")
    asyncio.run(serve(inherited_socket("livekeep-controller.socket"), settings, token, sdnotify.SystemdNotifier()))
    return 0
