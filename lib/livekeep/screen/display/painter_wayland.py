"""Paints a picture on a Wayland screen: a full-screen surface of shared memory, directly over the socket.

Implemented here because pywayland is not in bookworm, and a still picture needs little of the protocol.
Source: wayland.xml and xdg-shell.xml; a message is the object's number, length << 16 | opcode, arguments of 32 bits,
in the machine's byte order, which is little-endian on all supported machines.
"""

from __future__ import annotations

import array
import mmap
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

    from PIL import Image

DISPLAY, REGISTRY = 1, 2
# The first protocol versions with the features used here.
GLOBALS = {"wl_compositor": 1, "wl_shm": 1, "xdg_wm_base": 1, "wl_output": 1}
XRGB8888 = 1
CURRENT_MODE = 1
ANSWER_SECONDS = 5.0
FRAME_SECONDS = 1.0
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


class WaylandPainter:
    """A full-screen surface. Raises TemporaryError when the compositor is absent, refuses or disappears."""

    def __init__(self, path: Path) -> None:
        """Connect to the compositor's socket and wait until it reports the screen's size."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._received = b""
        self._last_number = REGISTRY
        self._globals: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._wanted = (0, 0)
        self._output = (0, 0)
        self._shown = (0, 0)
        self._is_configured = False
        self._buffer = 0
        try:
            self._socket.connect(os.fspath(path))
            self._set_up()
        except OSError as error:
            self._socket.close()
            message = f"{path}: cannot connect: start the Wayland compositor, check wayland_display ({error.strerror})"
            raise TemporaryError(message) from error
        except TemporaryError:
            self._socket.close()
            raise

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels: as the compositor requests, else the output's."""
        return self._wanted if all(self._wanted) else self._output

    def show(self, image: Image.Image) -> None:
        """Give the compositor the picture in shared memory; returns when it has drawn a frame of it."""
        try:
            old = self._buffer
            self._buffer = self._make_buffer(image)
            self._shown = image.size
            self._send(self._numbers["surface"], 3, words(self._named("frame")))
            self._commit(image.size)
            if old:
                self._send(old, 0)
            # A compositor whose output sleeps draws no frame, but has the picture.
            self._receive_until(lambda: "frame" not in self._numbers, FRAME_SECONDS)
        except OSError as error:
            raise self._lost() from error

    def wait(self) -> None:
        """Respond to the compositor until it requests another size."""
        try:
            while self.size == self._shown:
                self._receive(None)
        except OSError as error:
            raise self._lost() from error

    def close(self) -> None:
        """Close the connection: the compositor removes the surface."""
        self._socket.close()

    def _set_up(self) -> None:
        self._send(DISPLAY, 1, words(self._named("registry")))
        self._send(DISPLAY, 0, words(self._named("sync")))
        self._receive_until(lambda: "sync" not in self._numbers, ANSWER_SECONDS)
        missing = sorted(GLOBALS.keys() - self._globals.keys())
        if missing:
            message = f"{self._path}: the compositor has no {', '.join(missing)}: use one with xdg-shell and an output"
            raise TemporaryError(message)
        for name, version in GLOBALS.items():
            number = self._named(name)
            self._send(REGISTRY, 0, words(self._globals[name]) + text(name) + words(version, number))
        surface, shell, top = (self._named(name) for name in ("surface", "xdg_surface", "toplevel"))
        self._send(self._numbers["wl_compositor"], 0, words(surface))
        self._send(self._numbers["xdg_wm_base"], 2, words(shell, surface))
        self._send(shell, 1, words(top))
        self._send(top, 2, text("livekeep-error-screen"))
        self._send(top, 3, text("livekeep-error-screen"))
        self._send(top, 11, words(0))
        self._send(surface, 6)
        self._receive_until(lambda: self._is_configured, ANSWER_SECONDS)
        if not self._is_configured or not all(self.size):
            message = f"{self._path}: the compositor gives the surface no size: see that it has an output"
            raise TemporaryError(message)

    def _named(self, name: str) -> int:
        """Return the number of a new object of the protocol."""
        self._last_number += name != "registry"
        self._numbers[name] = self._last_number
        return self._last_number

    def _commit(self, size: tuple[int, int]) -> None:
        """Show the whole buffer."""
        surface = self._numbers["surface"]
        self._send(surface, 1, words(self._buffer, 0, 0))
        self._send(surface, 2, words(0, 0, *size))
        self._send(surface, 6)

    def _make_buffer(self, image: Image.Image) -> int:
        """Return the number of a wl_buffer that holds the image."""
        data = image.tobytes("raw", "BGRX")
        memory = os.memfd_create("livekeep-error-screen", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory, len(data))
            with mmap.mmap(memory, len(data)) as mapped:
                mapped[:] = data
            pool = self._named("pool")
            self._send(self._numbers["wl_shm"], 0, words(pool, len(data)), memory)
        finally:
            os.close(memory)
        buffer = self._named("buffer")
        self._send(pool, 0, words(buffer, 0, image.width, image.height, image.width * 4, XRGB8888))
        self._send(pool, 1)
        return buffer

    def _send(self, number: int, opcode: int, arguments: bytes = b"", file: int | None = None) -> None:
        message = HEADER.pack(number, opcode, HEADER.size + len(arguments)) + arguments
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))] if file is not None else []
        sent = self._socket.sendmsg([message], rights)
        if sent < len(message):
            self._socket.sendall(message[sent:])

    def _receive_until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done() and (left := deadline - time.monotonic()) > 0:
            self._receive(left)

    def _receive(self, seconds: float | None) -> None:
        """Handle the compositor's messages within the time."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return
        data = self._socket.recv(65536)
        if not data:
            raise self._lost()
        self._received += data
        while len(self._received) >= HEADER.size:
            number, opcode, length = HEADER.unpack_from(self._received)
            if len(self._received) < length:
                return
            arguments = self._received[HEADER.size : length]
            self._received = self._received[length:]
            self._handle(number, opcode, arguments)

    def _handle(self, number: int, opcode: int, data: bytes) -> None:
        names = {value: name for name, value in self._numbers.items()}
        event = (names.get(number, "display" if number == DISPLAY else ""), opcode)
        if event == ("display", 0):
            at_object, code = struct.unpack_from("<2I", data)
            raise TemporaryError(
                f"{self._path}: the compositor ends the connection: use another one and report this "
                f"({read_text(data, 8)[0]}; object {at_object}, code {code})"
            )
        if event == ("toplevel", 1):
            raise self._lost()
        if event == ("registry", 0):
            (global_number,) = WORD.unpack_from(data)
            self._globals.setdefault(read_text(data, 4)[0], global_number)
        elif event in {("sync", 0), ("frame", 0)}:
            del self._numbers[event[0]]
        elif event == ("xdg_wm_base", 0):
            self._send(number, 3, data)
        elif event == ("xdg_surface", 0):
            # It takes effect at the next commit.
            self._send(number, 4, data)
            if self._buffer:
                self._commit(self._shown)
            self._is_configured = True
        elif event == ("toplevel", 0):
            width, height = struct.unpack_from("<2i", data)
            self._wanted = (width, height)
        elif event == ("wl_output", 1):
            flags, width, height, _ = struct.unpack_from("<I3i", data)
            self._output = (width, height) if flags & CURRENT_MODE else self._output

    def _lost(self) -> TemporaryError:
        return TemporaryError(f"{self._path}: the connection is lost: see why the Wayland compositor ended")
