"""A small HTTP server for these tests: every answer is made by the test, down to the bytes, and every request is kept."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    line: str
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return self.line.split()[1]


Reply = bytes | Callable[[socket.socket], None] | None
"""Bytes to send, something to do with the connection (which is closed after it), or None to close it."""


def http(status: int = 200, body: bytes | str | object = b"", **headers: str) -> bytes:
    """An answer; a body that is no text becomes JSON, `X_Y` becomes the header X-Y."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


@dataclass
class Web:
    """Serves until `close`; `answer` may be replaced at any time."""

    answer: Callable[[Request], Reply] = lambda request: http(404)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"{'https' if self.tls else 'http'}://{host}:{self.port}"
        self.is_closing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.is_closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def paths(self, part: str = "") -> list[str]:
        return [request.path for request in self.requests if part in request.path]

    def hang(self, connection: socket.socket) -> None:
        """Answer nothing until the test ends or the client goes."""
        connection.settimeout(0.1)
        while not self.is_closing.is_set():
            try:
                if not connection.recv(1024):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def drip(self, connection: socket.socket) -> None:
        """A header that never ends, a byte at a time."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.is_closing.wait(0.05):
            connection.sendall(b"a")

    def _accept(self) -> None:
        while not self.is_closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
        with connection, contextlib.suppress(OSError):
            while request := read_request(connection):
                self.requests.append(request)
                reply = self.answer(request)
                if isinstance(reply, bytes):
                    connection.sendall(reply)
                    continue
                if reply:
                    reply(connection)
                return


def read_request(connection: socket.socket) -> Request | None:
    raw = b""
    while b"\r\n\r\n" not in raw:
        block = connection.recv(4096)
        if not block:
            return None
        raw += block
    first, *rest = raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return Request(first, headers)


def error(status: int, code: Any = None, **headers: str) -> bytes:
    """A refusal in Vimeo's form; without a code in the old one, that has a sentence alone."""
    body: dict[str, Any] = {"error": "Something strange occurred."}
    if code is not None:
        body |= {"link": None, "developer_message": "…", "error_code": code}
    return http(status, body, **headers)


def playlist(first: int, segments: int, ended: bool = False) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for number in range(first, first + segments):
        lines += ["#EXTINF:2.0,", f"segment{number}.ts?hmac=secretsignature"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""]).encode()


MASTER = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000\nlow/index.m3u8?sig=1\n#EXT-X-STREAM-INF:BANDWIDTH=2800000\nhigh.m3u8\n"
