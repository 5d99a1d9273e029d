"""A connection to a Wayland compositor, directly over its socket.

Implemented here because pywayland is not in bookworm, and livekeep needs little of the protocol.
Source: wayland.xml; a message is the object's number, length << 16 | opcode, arguments of 32 bits, in the machine's byte order,
which is little-endian on all supported machines.
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from livekeep.core.errors import TemporaryError

if TYPE_CHECKING:
    from pathlib import Path

DISPLAY, REGISTRY = 1, 2
ANSWER_SECONDS = 5.0
WORD = struct.Struct("<I")
HEADER = struct.Struct("<IHH")


def text(value: str) -> bytes:
    """Return a string argument: its length with the terminating zero, then the string, padded to 32 bits."""
    data = value.encode() + b"\0"
    return WORD.pack(len(data)) + data + b"\0" * (-len(data) % 4)


def words(*values: int) -> bytes:
    """Return 32-bit arguments."""
    return struct.pack(f"<{len(values)}I", *(value & 0xFFFFFFFF for value in values))


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """Return a string argument and the offset of the next argument."""
    (length,) = WORD.unpack_from(data, at)
    begin = at + WORD.size
    return data[begin : begin + length - 1].decode(errors="replace"), begin + (length + 3) // 4 * 4


class Connection:
    """One connection. Raises TemporaryError when the compositor is absent, refuses or disappears.

    `globals`: what the compositor offers, the interface's name and its number, in the compositor's order.
    `numbers`: our objects' names and numbers.
    """

    def __init__(self, path: Path) -> None:
        """Connect to the compositor's socket and wait until it has listed what it offers."""
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.globals: list[tuple[str, int]] = []
        self.numbers: dict[str, int] = {}
        self._received = b""
        self._last_number = REGISTRY
        try:
            self.socket.connect(os.fspath(path))
            self.send(DISPLAY, 1, words(self.named("registry")))
            self.synchronize()
        except OSError as error:
            self.close()
            message = f"{path}: cannot connect: start the Wayland compositor, check wayland_display ({error.strerror})"
            raise TemporaryError(message) from error
        except TemporaryError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection: the compositor removes all objects of it."""
        self.socket.close()

    def named(self, name: str) -> int:
        """Return the number of a new object of the protocol."""
        self._last_number += name != "registry"
        self.numbers[name] = self._last_number
        return self._last_number

    def bind(self, global_number: int, interface: str, version: int, name: str) -> int:
        """Return the number of a new object for that global."""
        number = self.named(name)
        self.send(REGISTRY, 0, words(global_number) + text(interface) + words(version, number))
        return number

    def synchronize(self) -> None:
        """Wait until the compositor has processed all earlier requests."""
        self.send(DISPLAY, 0, words(self.named("sync")))
        self.receive_until(lambda: "sync" not in self.numbers, ANSWER_SECONDS)

    def send(self, number: int, opcode: int, arguments: bytes = b"", file: int | None = None) -> None:
        message = HEADER.pack(number, opcode, HEADER.size + len(arguments)) + arguments
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))] if file is not None else []
        sent = self.socket.sendmsg([message], rights)
        if sent < len(message):
            self.socket.sendall(message[sent:])

    def receive_until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done() and (left := deadline - time.monotonic()) > 0:
            self.receive(left)

    def receive(self, seconds: float | None) -> None:
        """Handle the compositor's messages within the time."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        data = self.socket.recv(65536)
        if not data:
            raise self.lost()
        self._received += data
        while len(self._received) >= HEADER.size:
            number, opcode, length = HEADER.unpack_from(self._received)
            if len(self._received) < length:
                return
            arguments = self._received[HEADER.size : length]
            self._received = self._received[length:]
            names = {value: name for name, value in self.numbers.items()}
            self.handle(names.get(number, "display" if number == DISPLAY else ""), opcode, number, arguments)

    def handle(self, name: str, opcode: int, number: int, data: bytes) -> None:
        """Handle one message to our object `name`."""
        del number
        if (name, opcode) == ("display", 0):
            at_object, code = struct.unpack_from("<2I", data)
            raise TemporaryError(
                f"{self.path}: the compositor ends the connection: use another one and report this "
                f"({read_text(data, 8)[0]}; object {at_object}, code {code})"
            )
        if (name, opcode) == ("registry", 0):
            self.globals.append((read_text(data, 4)[0], WORD.unpack_from(data)[0]))
        elif name == "sync":
            del self.numbers[name]

    def lost(self) -> TemporaryError:
        return TemporaryError(f"{self.path}: the connection is lost: see why the Wayland compositor ended")
