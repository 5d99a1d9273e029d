"""Shared by the programs that serve HTTP: the types of ASGI, and the outermost application, which counts and logs requests.

Used by livekeep-controller and livekeep-web, with http_server.py. Source: the ASGI specification 3.0.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from livekeep.core.text import shown

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

HEADERS: tuple[Header, ...] = ((b"x-content-type-options", b"nosniff"), (b"connection", b"close"))
"""One request per connection: the server cannot close a kept-alive connection during a client's next request."""


def header(scope: Scope, name: bytes) -> str:
    """A request's header; "" if absent."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


class Entrance:
    """Logs each request, and responds if `app` fails. HEAD is handled as GET; the server leaves out the body.

    `bug` is the application that responds when `app` raises; `level` is the log level of successful requests.
    """

    def __init__(self, app: App, bug: App, logger: logging.Logger, level: int = logging.INFO) -> None:
        self.app, self.bug, self.logger, self.level = app, bug, logger, level
        self.active = 0
        """Requests and WebSockets in progress."""
        self.last_monotonic = time.monotonic()
        """When the last one ended."""

    def begin(self, scope: Scope) -> list[Header]:
        """Called before each request; the result is added to the response's headers."""
        return [*HEADERS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.active += 1
        try:
            if scope["type"] == "http":
                await self.serve(scope, receive, send)
            elif scope["type"] == "websocket":
                await self.app(scope, receive, send)
        finally:
            self.active -= 1
            self.last_monotonic = time.monotonic()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        status = 0
        headers = self.begin(scope)

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *headers]
            await send(message)

        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self.app(inner, receive, send_on)
        except Exception:
            self.logger.exception("bug in the response to %s %s", shown(scope["method"]), shown(scope["path"][:200]))
            if not status:
                await self.bug(inner, receive, send_on)
        finally:
            milliseconds = (time.monotonic() - began) * 1000
            line = "%s %s: %d in %.1f ms", shown(scope["method"][:200]), shown(scope["path"][:200]), status, milliseconds
            self.logger.log(self.level if status < 500 else logging.INFO, *line)
