"""The HTTP side in a thread of the test's, and clients that speak to it over real connections."""

import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from livekeep.exporter.listener import listen
from livekeep.exporter.web import Respond, Web
from tests.outside import PATIENCE_SECONDS


class Served:
    """Runs a `Web` on a free port of `address`, and `tend` in each pass, if there is one.

    What is added to `later_seconds` has gone by for its deadlines, and what is added to `tend_later_seconds` for `tend`.
    """

    def __init__(self, respond: Respond, tend: Callable[[float], float] | None = None, address: str = "127.0.0.1") -> None:
        self.tend, self.tend_later_seconds = tend, 0.0
        self.listener = listen(address, 0)
        self.port: int = self.listener.getsockname()[1]
        self.web = Web(self.listener, respond)
        self.later_seconds = 0.0
        self.due = 0.0
        self.fault: Exception | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        self.web.close()
        if self.fault:
            raise self.fault

    def _run(self) -> None:
        try:
            while not self._is_over:
                if self.tend:
                    self.tend(time.monotonic() + self.tend_later_seconds)
                self.due = self.web.one_pass(time.monotonic() + self.later_seconds)
                if select.select([self.web], [], [], 0.01)[0]:
                    self.web.handle()
        except Exception as error:
            self.fault = error

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE_SECONDS)
        client.connect(("127.0.0.1", self.port))
        return client

    def ask(self, raw: bytes) -> bytes:
        """Everything that comes back until the connection ends."""
        with self.connect() as client:
            client.sendall(raw)
            return rest(client)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def rest(client: socket.socket) -> bytes:
    """All until the end of the connection, however that comes."""
    got = b""
    try:
        while chunk := client.recv(65536):
            got += chunk
    except ConnectionError:
        pass
    return got


def receive(client: socket.socket, has_body: bool = True) -> Reply:
    """One answer of a connection that goes on."""
    got = b""
    while b"\r\n\r\n" not in got:
        chunk = client.recv(65536)
        if not chunk:
            raise ConnectionResetError(f"the connection ended after {got!r}")
        got += chunk
    head, _, body = got.partition(b"\r\n\r\n")
    reply = parse(head)
    length = int(reply.headers["content-length"]) if has_body else 0
    while len(body) < length:
        chunk = client.recv(65536)
        if not chunk:
            raise ConnectionResetError(f"the connection ended after {len(body)} of {length} bytes")
        body += chunk
    assert len(body) == length
    return Reply(reply.status, reply.headers, body)


def parse(raw: bytes) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


def get(port: int, path: str, *headers: str, method: str = "GET", host: str = "127.0.0.1") -> Reply:
    """One request on a connection of its own."""
    with socket.create_connection((host, port), PATIENCE_SECONDS) as client:
        client.sendall("\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode())
        return receive(client, has_body=method != "HEAD")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
