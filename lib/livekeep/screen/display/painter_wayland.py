"""Paints a picture on a Wayland screen: a full-screen surface of shared memory.

Source: wayland.xml and xdg-shell.xml.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING

from livekeep.core.errors import TemporaryError
from livekeep.screen.display.wayland import ANSWER_SECONDS, Connection, text, words

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

# The first protocol versions with the features used here.
GLOBALS = {"wl_compositor": 1, "wl_shm": 1, "xdg_wm_base": 1, "wl_output": 1}
XRGB8888 = 1
CURRENT_MODE = 1
FRAME_SECONDS = 1.0


class WaylandPainter(Connection):
    """A full-screen surface. Raises TemporaryError when the compositor is absent, refuses or disappears."""

    def __init__(self, path: Path) -> None:
        """Connect to the compositor's socket and wait until it reports the screen's size."""
        self._wanted = (0, 0)
        self._output = (0, 0)
        self._shown = (0, 0)
        self._is_configured = False
        self._buffer = 0
        super().__init__(path)
        try:
            self._set_up()
        except OSError as error:
            self.close()
            raise self.lost() from error
        except TemporaryError:
            self.close()
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
            self.send(self.numbers["surface"], 3, words(self.named("frame")))
            self._commit(image.size)
            if old:
                self.send(old, 0)
            # A compositor whose output sleeps draws no frame, but has the picture.
            self.receive_until(lambda: "frame" not in self.numbers, FRAME_SECONDS)
        except OSError as error:
            raise self.lost() from error

    def wait(self) -> None:
        """Respond to the compositor until it requests another size."""
        try:
            while self.size == self._shown:
                self.receive(None)
        except OSError as error:
            raise self.lost() from error

    def _set_up(self) -> None:
        offered = dict(reversed(self.globals))
        missing = sorted(GLOBALS.keys() - offered.keys())
        if missing:
            message = f"{self.path}: the compositor has no {', '.join(missing)}: use one with xdg-shell and an output"
            raise TemporaryError(message)
        for name, version in GLOBALS.items():
            self.bind(offered[name], name, version, name)
        surface, shell, top = (self.named(name) for name in ("surface", "xdg_surface", "toplevel"))
        self.send(self.numbers["wl_compositor"], 0, words(surface))
        self.send(self.numbers["xdg_wm_base"], 2, words(shell, surface))
        self.send(shell, 1, words(top))
        self.send(top, 2, text("livekeep-error-screen"))
        self.send(top, 3, text("livekeep-error-screen"))
        self.send(top, 11, words(0))
        self.send(surface, 6)
        self.receive_until(lambda: self._is_configured, ANSWER_SECONDS)
        if not self._is_configured or not all(self.size):
            message = f"{self.path}: the compositor gives the surface no size: see that it has an output"
            raise TemporaryError(message)

    def _commit(self, size: tuple[int, int]) -> None:
        """Show the whole buffer."""
        surface = self.numbers["surface"]
        self.send(surface, 1, words(self._buffer, 0, 0))
        self.send(surface, 2, words(0, 0, *size))
        self.send(surface, 6)

    def _make_buffer(self, image: Image.Image) -> int:
        """Return the number of a wl_buffer that holds the image."""
        data = image.tobytes("raw", "BGRX")
        memory = os.memfd_create("livekeep-error-screen", os.MFD_CLOEXEC)
        try:
            os.ftruncate(memory, len(data))
            with mmap.mmap(memory, len(data)) as mapped:
                mapped[:] = data
            pool = self.named("pool")
            self.send(self.numbers["wl_shm"], 0, words(pool, len(data)), memory)
        finally:
            os.close(memory)
        buffer = self.named("buffer")
        self.send(pool, 0, words(buffer, 0, image.width, image.height, image.width * 4, XRGB8888))
        self.send(pool, 1)
        return buffer

    def handle(self, name: str, opcode: int, number: int, data: bytes) -> None:
        event = (name, opcode)
        if event == ("toplevel", 1):
            raise self.lost()
        if event == ("frame", 0):
            del self.numbers[name]
        elif event == ("xdg_wm_base", 0):
            self.send(number, 3, data)
        elif event == ("xdg_surface", 0):
            # It takes effect at the next commit.
            self.send(number, 4, data)
            if self._buffer:
                self._commit(self._shown)
            self._is_configured = True
        elif event == ("toplevel", 0):
            width, height = struct.unpack_from("<2i", data)
            self._wanted = (width, height)
        elif event == ("wl_output", 1):
            flags, width, height, _ = struct.unpack_from("<I3i", data)
            self._output = (width, height) if flags & CURRENT_MODE else self._output
        else:
            super().handle(name, opcode, number, data)
