"""The HTTP side: one thread, no waiting. All connections hang on one epoll(7), which the service loop watches.

A connection reads a request, perhaps waits for an answer that takes its time, writes the answer, and begins anew. Whoever is slow
is dropped, and when there are too many, the one that has been silent longest: the next client is always served.
"""

import contextlib
import logging
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from livekeep.exporter.request import RefusedError, Request, parse, take_head
from livekeep.system.loopback import is_loopback_address, is_loopback_name

MOST_CONNECTIONS = 100
REQUEST_SECONDS = 10.0
"""So long may a request take to arrive."""
ANSWER_SECONDS = 30.0
"""So long may a client take to read its answer."""
IDLE_SECONDS = 120.0
LINGER_SECONDS = 2.0
"""What comes after a refused request is thrown away for so long: hanging up at once would take the answer away with it."""
LATER_SECONDS = 0.05
"""Between two looks whether an answer that takes its time is there."""
EVENTS_PER_PASS = 2 * MOST_CONNECTIONS
ACCEPTS_PER_PASS = 64
CHUNK_BYTES = 16384
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}

BROKEN = "something is wrong in livekeep-exporter: journalctl -u livekeep-exporter"

logger = logging.getLogger("livekeep.exporter")


@dataclass(frozen=True)
class Answer:
    """`file` is an open descriptor of `size` bytes that are sent behind `body` and closed; -1 for none."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    file: int = -1
    size: int = 0


Later = Callable[[], Answer | None]
"""Asked every `LATER_SECONDS` until it has the answer."""
Respond = Callable[[Request], Answer | Later]
Stage = Literal["reading", "waiting", "writing", "lingering"]
INTERESTS: dict[Stage, int] = {
    "reading": select.EPOLLIN,
    "waiting": 0,
    "writing": select.EPOLLOUT,
    "lingering": select.EPOLLIN,
}


def line(status: int, sentence: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, f"{sentence}\n".encode(), headers=headers)


def head_of(answer: Answer, keeps_alive: bool) -> bytes:
    lines = (
        f"HTTP/1.1 {answer.status} {REASONS[answer.status]}",
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body) + answer.size}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"Connection: {'keep-alive' if keeps_alive else 'close'}",
        *(f"{name}: {value}" for name, value in answer.headers),
    )
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Connection:
    """One client."""

    def __init__(self, connected: socket.socket, now: float) -> None:
        self.socket = connected
        self.stage: Stage = "reading"
        self.heard = now
        """When it connected or its last answer was done: how long it has been of no use."""
        self.deadline = now + IDLE_SECONDS
        self.received = bytearray()
        self.has_begun = False
        self.unsent = memoryview(b"")
        self.file, self.left = -1, 0
        self.later: Later | None = None
        self.request: Request | None = None
        self.keeps_alive = self.lingers = False

    def has_more(self) -> bool:
        """Whether something has come that is not read yet."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def send(self) -> bool:
        """Send what fits; whether all is sent. Raises `OSError` when the client is gone."""
        try:
            while self.unsent:
                more = socket.MSG_MORE if self.left else 0
                self.unsent = self.unsent[self.socket.send(self.unsent, more) :]
            while self.left:
                sent = os.sendfile(self.socket.fileno(), self.file, None, self.left)
                if sent == 0:
                    raise OSError("the file has become shorter")
                self.left -= sent
        except BlockingIOError:
            return False
        self.drop_file()
        return True

    def drop_file(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file, self.left = -1, 0


class Web:
    """All connections. `respond` must not wait; an exception of it is answered by 500."""

    def __init__(self, listener: socket.socket, respond: Respond) -> None:
        self._listener, self._respond = listener, respond
        self._is_local = is_loopback_address(str(listener.getsockname()[0]))
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._unread: set[int] = set()
        """Connections that sent more than one request at once."""

    def fileno(self) -> int:
        """Can be read when there is something to do: call `handle`."""
        return self._epoll.fileno()

    def close(self) -> None:
        for connection in list(self._connections.values()):
            self._close(connection)
        self._epoll.close()
        self._listener.close()

    def handle(self) -> None:
        now = time.monotonic()
        ready = {descriptor for descriptor, _events in self._epoll.poll(0, EVENTS_PER_PASS)}
        for descriptor in ready:
            if connection := self._connections.get(descriptor):
                self._guarded(self._go_on, connection, now)
        # Last: who comes may take the place of somebody who has now been served.
        if self._listener.fileno() in ready:
            self._accept(now)

    def one_pass(self, now: float) -> float:
        """Do what is due; gives when (monotonic) something will be."""
        for descriptor in list(self._unread):
            self._unread.discard(descriptor)
            if connection := self._connections.get(descriptor):
                self._guarded(self._advance, connection, now)
        is_any_waiting = False
        for connection in list(self._connections.values()):
            if connection.stage == "waiting":
                self._guarded(self._ask_again, connection, now)
            elif connection.deadline <= now:
                self._close(connection)
            is_any_waiting = is_any_waiting or connection.stage == "waiting"
        if self._unread:
            return now
        due = min((it.deadline for it in self._connections.values()), default=float("inf"))
        return min(due, now + LATER_SECONDS) if is_any_waiting else due

    def _guarded(self, act: Callable[[Connection, float], None], connection: Connection, now: float) -> None:
        try:
            act(connection, now)
        except OSError:
            # The client is gone.
            self._close(connection)

    # Coming and going

    def _accept(self, now: float) -> None:
        for _ in range(ACCEPTS_PER_PASS):
            try:
                connected, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                logger.debug("a connection was not accepted: %s", error)
                self._make_room(now)
                return
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(connected, now)
            self._connections[connected.fileno()] = connection
            self._epoll.register(connected, select.EPOLLIN)
            # Its request is mostly there, or it has even gone again.
            self._guarded(self._receive, connection, now)
            if len(self._connections) > MOST_CONNECTIONS:
                self._make_room(now, connection)

    def _make_room(self, now: float, newcomer: Connection | None = None) -> None:
        """Close the connection that has been silent longest, one that is being answered only when there is no other."""
        before = len(self._connections)
        others = (it for it in self._connections.values() if it is not newcomer)
        for connection in sorted(others, key=lambda it: (it.stage in ("waiting", "writing"), it.heard)):
            if connection.stage == "reading" and connection.has_more():
                # It has just spoken.
                self._guarded(self._receive, connection, now)
            else:
                self._close(connection)
            if len(self._connections) < before:
                return

    def _close(self, connection: Connection) -> None:
        descriptor = connection.socket.fileno()
        if self._connections.pop(descriptor, None):
            self._unread.discard(descriptor)
            connection.drop_file()
            connection.socket.close()

    def _enter(self, connection: Connection, stage: Stage, deadline: float) -> None:
        if INTERESTS[stage] != INTERESTS[connection.stage]:
            self._epoll.modify(connection.socket, INTERESTS[stage])
        connection.stage, connection.deadline = stage, deadline

    # One connection's course

    def _go_on(self, connection: Connection, now: float) -> None:
        """Something has happened on it."""
        if connection.stage == "writing":
            self._send(connection, now)
        elif connection.stage == "waiting":
            # Then only its end is told.
            self._close(connection)
        else:
            self._receive(connection, now)

    def _receive(self, connection: Connection, now: float) -> None:
        try:
            chunk = connection.socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._close(connection)
        elif connection.stage == "reading":
            connection.received += chunk
            self._advance(connection, now)

    def _advance(self, connection: Connection, now: float) -> None:
        """Answer the first request that has arrived, if one has."""
        if connection.stage != "reading":
            return
        try:
            head = take_head(connection.received)
            if head is None:
                if connection.received and not connection.has_begun:
                    connection.has_begun, connection.deadline = True, now + REQUEST_SECONDS
                return
            connection.request = None
            connection.request = parse(head)
            connection.keeps_alive = connection.request.keeps_alive and not connection.request.has_body
            connection.lingers = connection.request.has_body
            found = self._answer_to(connection.request)
        except RefusedError as error:
            connection.keeps_alive, connection.lingers = False, True
            found = line(error.status, str(error))
        connection.has_begun = False
        if isinstance(found, Answer):
            self._begin(connection, found, now)
        else:
            connection.later = found
            self._enter(connection, "waiting", float("inf"))

    def _answer_to(self, request: Request) -> Answer | Later:
        if request.has_body and request.method in ("GET", "HEAD"):
            raise RefusedError(413, "a request with a body is not taken")
        if self._is_local and request.host and not is_loopback_name(request.host):
            raise RefusedError(421, "only this machine is answered here, as localhost or 127.0.0.1; see exporter.address")
        try:
            return self._respond(request)
        except Exception:
            logger.exception("%s: no answer", request.path)
            return line(500, BROKEN)

    def _ask_again(self, connection: Connection, now: float) -> None:
        assert connection.later  # noqa: S101 – in this stage there is one
        try:
            answer = connection.later()
        except Exception:
            logger.exception("no answer")
            answer = line(500, BROKEN)
        if answer:
            connection.later = None
            self._begin(connection, answer, now)

    def _begin(self, connection: Connection, answer: Answer, now: float) -> None:
        head = head_of(answer, connection.keeps_alive)
        connection.file, connection.left = answer.file, answer.size
        if connection.request and connection.request.method == "HEAD":
            connection.drop_file()
            connection.unsent = memoryview(head)
        else:
            connection.unsent = memoryview(head + answer.body)
        self._send(connection, now, now + ANSWER_SECONDS)

    def _send(self, connection: Connection, now: float, deadline: float | None = None) -> None:
        if not connection.send():
            self._enter(connection, "writing", deadline or connection.deadline)
        elif connection.keeps_alive:
            connection.heard = now
            self._enter(connection, "reading", now + IDLE_SECONDS)
            if connection.received:
                self._unread.add(connection.socket.fileno())
        elif connection.lingers:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
            self._enter(connection, "lingering", now + LINGER_SECONDS)
        else:
            self._close(connection)
