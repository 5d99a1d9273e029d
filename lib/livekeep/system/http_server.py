"""uvicorn on a systemd socket: it exits when idle, without losing a request.

Used by livekeep-controller and livekeep-web. Each connection carries one request, so that the server never closes a kept-alive
connection during a client's next request. Before it exits, the server stops accepting and serves the accepted connections;
later ones wait in systemd's socket, which starts the program again.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from livekeep.core.errors import TemporaryError
from livekeep.system.asgi import Entrance

BACKLOG = 1024
REQUEST_SECONDS = 5.0
"""A connection must send its request's header within this time."""
CONNECTION_SECONDS = 60.0
"""The longest life of a connection, unless it became a WebSocket."""
LAST_SECONDS = 1.0
"""After SIGTERM, for responses in flight."""
WATCHDOG_SECONDS = 3.0
FIRST_DESCRIPTOR = 3

logger = logging.getLogger("livekeep.http")


def inherited_socket(unit: str) -> socket.socket:
    """The socket that systemd passes, sd_listen_fds(3). Raises `TemporaryError`, which names `unit`, if there is none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise TemporaryError(f"no socket from systemd: start {unit}, not this program")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    listener = socket.socket(fileno=FIRST_DESCRIPTOR)
    listener.setblocking(False)
    return listener


class Protocol(H11Protocol):  # type: ignore[misc]  # mypy does not see uvicorn
    """A connection with time limits, whose response to an invalid request has the program's own format."""

    @staticmethod
    def nonsense() -> tuple[str, bytes]:
        """The type and the body of the response to an invalid HTTP request."""
        return "text/plain; charset=utf-8", b"invalid HTTP request\n"

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._limits = [
            self.loop.call_later(REQUEST_SECONDS, self._end_if_silent),
            self.loop.call_later(CONNECTION_SECONDS, transport.abort),
        ]

    def connection_lost(self, exc: Exception | None) -> None:
        self._lift_limits()
        super().connection_lost(exc)

    # Two names: uvicorn renamed it in 0.19.
    def handle_upgrade(self, event: Any) -> None:
        self._lift_limits()
        super().handle_upgrade(event)

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._lift_limits()
        super().handle_websocket_upgrade(event)

    def _lift_limits(self) -> None:
        for limit in self._limits:
            limit.cancel()

    def _end_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        if self.cycle is None or not self.cycle.response_started:
            content_type, body = self.nonsense()
            lines = (
                "HTTP/1.1 400 Bad Request",
                f"Content-Type: {content_type}",
                f"Content-Length: {len(body)}",
                "Connection: close",
            )
            self.transport.write("\r\n".join((*lines, "", "")).encode() + body)
        self.transport.close()


class Server(uvicorn.Server):  # type: ignore[misc]  # mypy does not see uvicorn
    """Runs until SIGTERM, or until no request has come for `idle_seconds`."""

    def __init__(
        self,
        entrance: Entrance,
        idle_seconds: float,
        notify: Callable[[str], None],
        protocol: type[Protocol] = Protocol,
        **options: Any,
    ) -> None:
        config = uvicorn.Config(
            entrance,
            **{
                "loop": "asyncio",
                "http": protocol,
                "ws": "none",
                "lifespan": "off",
                "log_config": None,
                "log_level": "critical",
                "access_log": False,
                "proxy_headers": False,
                "server_header": False,
                "backlog": BACKLOG,
            }
            | options,
        )
        super().__init__(config)
        self.entrance, self.idle_seconds, self.notify = entrance, idle_seconds, notify
        self._told_monotonic = 0.0

    def is_idle(self) -> bool:
        is_silent = time.monotonic() - self.entrance.last_monotonic > self.idle_seconds
        return is_silent and not self.entrance.active and not self.server_state.connections

    async def on_tick(self, counter: int) -> bool:
        now = time.monotonic()
        if now - self._told_monotonic > WATCHDOG_SECONDS:
            self.notify("WATCHDOG=1" if self._told_monotonic else "READY=1\nWATCHDOG=1")
            self._told_monotonic = now
        has_to_end = bool(await super().on_tick(counter))
        if not has_to_end and self.is_idle():
            await self._drain()
            return True
        return has_to_end

    async def _drain(self) -> None:
        """Stop accepting, and serve what was accepted so far."""
        for server in self.servers:
            server.close()
        # An accepted socket becomes a connection in the next turns of the loop.
        await asyncio.sleep(0.05)
        while (self.server_state.connections or self.server_state.tasks) and not self.should_exit:
            await asyncio.sleep(0.01)
        logger.debug("idle: stopped until the next request")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.notify("STOPPING=1")
        asyncio.get_running_loop().call_later(LAST_SECONDS, self._end_all)
        await super().shutdown(sockets)

    def _end_all(self) -> None:
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()
