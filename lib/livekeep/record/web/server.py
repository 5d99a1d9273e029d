"""livekeep-web: web pages about the box, its jobs and its channels; runs only while somebody reads.

Unit: livekeep-web.service, started by livekeep-web.socket, ends after web.idle_seconds without readers. Reads: the record, all
states, the configuration, the password's hash (credential livekeep.web-password), the alerter's and the clip analyzer's
databases, the reports. Writes: failed logins. It requests screenshots from systemd.
"""

import asyncio
import logging
import socket

import sdnotify

from livekeep.core import config, log, paths
from livekeep.core.config import Config
from livekeep.core.config import watch as config_watch
from livekeep.core.config.watch import ConfigWatch
from livekeep.record.web import door, password
from livekeep.record.web.application import Application
from livekeep.record.web.password import Guesses
from livekeep.record.web.sources import Sources
from livekeep.system.asgi import App, Entrance, Receive, Scope, Send
from livekeep.system.http_server import Server, inherited_socket
from livekeep.system.loopback import is_loopback_address
from livekeep.system.screen_picture import Camera

LARGEST_MESSAGE_BYTES = 16 * 1024
PING_SECONDS = 20.0
FAILURES = "web/wrong-passwords.json"
"""Below the state directory."""

logger = logging.getLogger("livekeep.web")


async def bug(scope: Scope, receive: Receive, send: Send) -> None:
    app: App = door.notice(500, "This is a bug in livekeep-web", "Its journal says where: journalctl -u livekeep-web")
    await app(scope, receive, send)


class Web:
    """The program: its parts, and how they follow configuration changes."""

    def __init__(self, listener: socket.socket, settings: Config, notifier: sdnotify.SystemdNotifier) -> None:
        stored, fault = password.read()
        is_local = is_loopback_address(str(listener.getsockname()[0]))
        if fault:
            logger.error("%s", fault)
        elif not stored.is_set and not is_local:
            logger.warning("no password is set: only this machine is let in; %s", door.SET_PASSWORD)
        guesses = Guesses(paths.STATE_DIRECTORY / FAILURES)
        guesses.read()
        self.listener = listener
        self.sources = Sources(settings)
        application = Application(self.sources, stored, guesses, Camera(paths.STATE_DIRECTORY))
        self.door = door.Door(application.app, door.Names(is_local, settings.web.names), stored)
        entrance = Entrance(self.door, bug, logger, logging.DEBUG)
        self.server = Server(
            entrance,
            settings.web.idle_seconds,
            notifier.notify,
            ws="websockets",
            ws_max_size=LARGEST_MESSAGE_BYTES,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            ws_per_message_deflate=False,
        )

    async def serve(self) -> None:
        watch = config_watch.follow()
        if watch:
            asyncio.get_running_loop().add_reader(watch.fileno(), self._follow, watch)
        await self.server.serve(sockets=[self.listener])

    def _follow(self, watch: ConfigWatch) -> None:
        watch.drain()
        settings = watch.changed()
        if settings:
            # The address belongs to the socket: see `livekeep apply`.
            self.sources.settings = settings
            self.server.idle_seconds = settings.web.idle_seconds
            self.door.names = door.Names(self.door.names.is_local, settings.web.names)


def main() -> int:
    settings, problems = config.load_leniently()
    log.set_up(settings.log.level)
    # An error elsewhere in the file must not keep the pages from opening.
    for problem in problems:
        logger.error("%s", problem)
    asyncio.run(start(settings))
    return 0


async def start(settings: Config) -> None:
    await Web(inherited_socket("livekeep-web.socket"), settings, sdnotify.SystemdNotifier()).serve()
