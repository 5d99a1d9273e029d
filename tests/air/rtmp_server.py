"""An RTMP ingest that takes each stream, reads on, and says what a test wants: what nginx-rtmp never does.

It answers ffmpeg's commands in the order in which ffmpeg gives them, and understands nothing else.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

HANDSHAKE_BYTES = 1536
CHUNK_BYTES = 128
COMMAND = 20


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def string(value: str) -> bytes:
    return b"\2" + text(value)


def number(value: float) -> bytes:
    return b"\0" + struct.pack(">d", value)


def status(code: str, level: str = "status") -> bytes:
    """The body of onStatus."""
    fields = {"level": level, "code": code, "description": "so it is"}
    told = b"".join(text(name) + string(value) for name, value in fields.items())
    return string("onStatus") + number(0.0) + b"\5\3" + told + b"\0\0\x09"


def message(body: bytes, stream: int = 0, kind: int = COMMAND) -> bytes:
    """In chunks of the size that RTMP begins with."""
    head = b"\3\0\0\0" + len(body).to_bytes(3, "big") + bytes([kind]) + struct.pack("<I", stream)
    pieces = [body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES)]
    return head + b"\xc3".join(pieces)


class RtmpServer:
    """At `url`; `connections` are those whose stream was taken, the newest last."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        self._accepted: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtmp://127.0.0.1:{self._listening.getsockname()[1]}/live"
        threading.Thread(target=self._serve, daemon=True).start()

    def say(self, body: bytes, kind: int = COMMAND) -> None:
        """To who publishes now."""
        self.connections[-1].sendall(message(body, 1, kind))

    def close(self) -> None:
        # Only this wakes a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._accepted:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def __enter__(self) -> RtmpServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._listening.accept()
                self._accepted.append(connection)
                threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, StopIteration):
            # No byte more than that: the first command may come together with the handshake's end.
            greeting = connection.recv(1 + HANDSHAKE_BYTES, socket.MSG_WAITALL)
            connection.sendall(b"\3" + bytes(HANDSHAKE_BYTES) + greeting[1:])
            connection.recv(HANDSHAKE_BYTES, socket.MSG_WAITALL)
            heard = self._commands(connection)
            next(command for command in heard if command == b"connect")
            connection.sendall(message(string("_result") + number(1.0) + b"\5\5"))
            next(command for command in heard if command == b"createStream")
            # ffmpeg numbers its questions: connect, releaseStream, FCPublish, createStream.
            connection.sendall(message(string("_result") + number(4.0) + b"\5" + number(1.0)))
            next(command for command in heard if command == b"publish")
            connection.sendall(message(status("NetStream.Publish.Start"), 1))
            self.connections.append(connection)
            while connection.recv(65536):
                pass

    def _commands(self, connection: socket.socket) -> Iterator[bytes]:
        """The names of the commands that come, by what they look like."""
        buffer = b""
        for name in (b"connect", b"createStream", b"publish"):
            while b"\2" + text(name.decode()) not in buffer:
                block = connection.recv(65536)
                if not block:
                    return
                buffer += block
            yield name
