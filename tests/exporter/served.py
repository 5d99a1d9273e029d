"""The HTTP server in threads of the test's process, and clients that speak to it over real connections."""

import contextlib
import gc
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from prometheus_client import CollectorRegistry
from waitress import wasyncore

from livekeep.exporter.pages import Page, Pages
from livekeep.exporter.server import Server, listen
from livekeep.exporter.states import States
from tests.outside import PATIENCE_SECONDS, wait_until


class Served:
    """Serves `page` at /screen.png, and the other pages of a machine without any state, on a free port of `address`."""

    def __init__(self, folder: Path, page: Page, address: str = "127.0.0.1") -> None:
        pages = Pages(address, States(folder, folder / "kept"), CollectorRegistry(), page)
        listener = listen(address, 0)
        self.port: int = listener.getsockname()[1]
        self.server = Server(pages, listener)
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.task_dispatcher.shutdown(timeout=PATIENCE_SECONDS)
        self.in_loop(lambda: wasyncore.close_all(self.server._map))
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def in_loop(self, act: Callable[[], Any]) -> None:
        """Have the server's loop do something, and wait for it."""
        done = threading.Event()
        # Woken by a response, the loop may act before it is pulled, and be closed.
        with contextlib.suppress(OSError):
            self.server.trigger.pull_trigger(lambda: (act(), done.set()))
        assert done.wait(PATIENCE_SECONDS)

    def clean_up(self, later_seconds: float = 0.0) -> None:
        """The server's clean-up, at a later time."""
        self.in_loop(lambda: self.server.maintenance(time.time() + later_seconds))

    def wait_for_connections(self, count: int) -> None:
        wait_until(f"there are {count} connections", lambda: len(self.server.active_channels) == count)

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
    # Sockets in cycles of an earlier test stay open until they are collected.
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))
