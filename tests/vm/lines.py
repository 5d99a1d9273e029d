"""The line-by-line JSON that both QEMU's QMP and the agent in the machine speak."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class Lines:
    """JSON objects, one a line, over a Unix socket: QMP and the agent both speak so."""

    def __init__(self, path: Path, timeout: float) -> None:
        """Connect to a socket that QEMU is about to make. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        self._socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    message = f"{path}: QEMU does not listen here: see its output"
                    raise TimeoutError(message) from error
                time.sleep(0.02)
        self._pending = b""

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one object."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout: float | None) -> dict[str, Any]:
        """Return the next object. Raises TimeoutError, or EOFError when QEMU has ended."""
        self._socket.settimeout(timeout)
        while b"\n" not in self._pending:
            data = self._socket.recv(1 << 20)
            if not data:
                raise EOFError("the machine is off")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Close the socket, waking who reads from it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
