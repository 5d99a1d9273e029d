"""The HTTP server: waitress, with limits so that slow, silent or too many clients don't block others.

waitress reads requests and writes responses in one loop, in a separate thread, and calls the application in a few more threads.
By default it closes connections that are idle for a while. This server also closes those that carry only a byte now and then,
and, if there are too many, the one that has been silent longest. Source: docs.pylonsproject.org/projects/waitress.
"""

import contextlib
import errno
import os
import socket
import threading
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from livekeep.core.errors import TemporaryError

THREADS = 6
MOST_CONNECTIONS = 400
SLOW_SECONDS = 20
"""How long a request may take to arrive, and a client to read its response."""
IDLE_SECONDS = 120
CLEANUP_SECONDS = 5
LARGEST_HEAD_BYTES = 8192
LARGEST_BODY_BYTES = 1024
BACKLOG = 256


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Accepts one request at a time: many responses would pile up in memory if the client does not read."""

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if self.completed and not self.empty and consumed < len(data):
            # The client sends later requests again (RFC 9112, 9.3.2).
            self.headers["CONNECTION"] = "close"
            return len(data)
        return consumed


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One connection."""

    parser_class = Parser
    slow_since: float | None = None
    """Since when (Unix seconds) each clean-up has found an incomplete request or response."""

    def is_in_use(self) -> bool:
        """Whether it has a request, or a response that the client has not fully read."""
        return bool(self.requests or self.total_outbufs_len)

    def is_between(self) -> bool:
        """Whether it waits for the rest of a request, or for the client to read."""
        return bool(self.total_outbufs_len or (self.request and not self.requests))

    def drop(self) -> None:
        """Make the loop close it: waitress closes it once it is writable, which it is after the shutdown."""
        self.will_close = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """Serves the WSGI application on a listening socket, from `start` to the end of the process."""

    channel_class = Channel

    def __init__(self, application: Any, listener: socket.socket) -> None:
        limits = Adjustments(
            sockets=[listener],
            backlog=BACKLOG,
            # Counts all files in the loop; connections above MOST_CONNECTIONS are dropped before this limit stops new clients.
            connection_limit=MOST_CONNECTIONS + BACKLOG,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=CLEANUP_SECONDS,
            max_request_header_size=LARGEST_HEAD_BYTES,
            max_request_body_size=LARGEST_BODY_BYTES,
            # select(2) supports no descriptor above 1023.
            asyncore_use_poll=True,
            asyncore_loop_timeout=CLEANUP_SECONDS,
            clear_untrusted_proxy_headers=True,
            log_socket_errors=False,
            ident=None,
        )
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(THREADS)
        info = (listener.family, listener.type, listener.proto, listener.getsockname())
        super().__init__(application, {}, _sock=listener, dispatcher=dispatcher, adj=limits, sockinfo=info, bind_socket=False)

    def start(self) -> None:
        threading.Thread(target=self.run, name="http", daemon=True).start()

    def pass_completely(self) -> None:
        """Return once the loop has made a pass."""
        passed = threading.Event()
        self.trigger.pull_trigger(passed.set)
        passed.wait()

    def readable(self) -> bool:
        """waitress calls this at each pass of its loop. It closes excess connections: those that have been silent longest, those
        in use only if there are no others."""
        excess = len(self.active_channels) - MOST_CONNECTIONS
        if excess > 0:
            order = sorted(self.active_channels.values(), key=lambda it: (it.is_in_use(), it.last_activity))
            for channel in order[:excess]:
                channel.drop()
        return bool(super().readable())

    def maintenance(self, now: float) -> None:
        """waitress calls this every `CLEANUP_SECONDS`."""
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            if not channel.is_between():
                channel.slow_since = None
            elif channel.slow_since is None:
                channel.slow_since = now
            elif now - channel.slow_since > SLOW_SECONDS:
                channel.drop()


def listen(address: str, port: int) -> socket.socket:
    """A listening socket. Raises `TemporaryError`, which says what to do."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # "::" is all networks, IPv4 included.
    is_dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = "choose another exporter.address or exporter.port"
        if error.errno == errno.EADDRINUSE:
            advice = f"another program holds the port: ss -ltnp 'sport = :{port}'; or choose another exporter.port"
        elif error.errno == errno.EADDRNOTAVAIL:
            advice = "this machine does not have that address: ip address; or choose another exporter.address"
        raise TemporaryError(f"{where}: cannot listen ({reason}); {advice}") from error
