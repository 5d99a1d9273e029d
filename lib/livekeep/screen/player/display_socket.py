"""A display's control socket: lines of text over a Unix socket, non-blocking."""

import socket
from collections.abc import Iterator
from pathlib import Path

from livekeep.core.errors import TemporaryError

LARGEST_LINE_BYTES = 1024 * 1024


class DisplayGoneError(TemporaryError):
    """The display closed its socket, or sends something other than its protocol."""


class DisplaySocket:
    """One connection. It has a fileno for select."""

    def __init__(self, path: Path) -> None:
        """Connect to the socket at `path`. Raises `DisplayGoneError` when it has no listener."""
        self._path, self._buffer = path, b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise DisplayGoneError(f"{path}: cannot be opened ({error.strerror})") from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, line: str) -> None:
        """Send a line; if the other side doesn't read, the line is lost, and the missing response shows it."""
        try:
            self._socket.sendall(line.encode() + b"\n")
        except BlockingIOError:
            pass
        except OSError as error:
            raise DisplayGoneError(f"{self._path}: {error.strerror}") from error

    def lines(self) -> Iterator[bytes]:
        """All lines received so far, without waiting. Raises `DisplayGoneError` when the connection is closed."""
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                raise DisplayGoneError(f"{self._path}: {error.strerror}") from error
            if not data:
                raise DisplayGoneError(f"{self._path}: closed by the display")
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            yield from lines
            if len(self._buffer) > LARGEST_LINE_BYTES:
                raise DisplayGoneError(f"{self._path}: sends no lines")
