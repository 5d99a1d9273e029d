"""A television: an Xvfb on the host whose pixels are a file, read by mmap.

The frame buffer is an X window dump (XWD, version 7): a header of big-endian 32-bit words, then rows of BGRX pixels.
"""

from __future__ import annotations

import mmap
import os
import random
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.machine.network import Network
from tests.machine.tidy import Disposable, directory, end, remove_directory, unique

Colour = tuple[int, int, int]

# What counts as black, per channel of 255: video black in limited range comes out as up to 16.
BLACK_MAX = 16

# X's shared memory does not reach across the machine's IPC namespace. mpv, which would wait for it forever, works without
# it on displays from :10 on, which it treats as remote; VLC tries it, fails and continues, but dies without the extension.
FIRST_NUMBER = 10
ATTEMPTS = 50


class TV(Disposable):
    """A screen of `width` x `height` pixels. With a network its abstract socket is in the machine's namespace too."""

    def __init__(self, network: Network | None = None, width: int = 1920, height: int = 1080) -> None:
        """Nothing is started yet."""
        super().__init__()
        self.network = network
        self.width = width
        self.height = height
        self.name = unique()
        self.number = -1
        self._pixels: mmap.mmap | None = None
        self._offset = 0
        self._stride = 0

    @property
    def display(self) -> str:
        """The value for DISPLAY, such as `:3`."""
        return f":{self.number}"

    def pixel(self, x: int, y: int) -> Colour:
        """The colour at a point, (0, 0) being the top left."""
        at = self._offset + y * self._stride + x * 4
        blue, green, red = self._data()[at : at + 3]
        return red, green, blue

    def grid(self, count: int = 64) -> tuple[Colour, ...]:
        """The colours of about `count` points, the middles of equal cells, row by row."""
        side = round(count**0.5)
        middles = [(2 * index + 1) / (2 * side) for index in range(side)]
        return tuple(self.pixel(int(self.width * x), int(self.height * y)) for y in middles for x in middles)

    def is_black(self) -> bool:
        """Whether all points of the grid are black."""
        return black(self.grid())

    def checksum(self) -> int:
        """A checksum of all pixels: a different value means a different picture."""
        return zlib.crc32(self._data()[self._offset : self._offset + self._stride * self.height])

    def screenshot(self, path: Path) -> None:
        """Write the screen as a PNG file."""
        size, rows = (self.width, self.height), self._data()[self._offset : self._offset + self._stride * self.height]
        Image.frombytes("RGB", size, rows, "raw", "BGRX", self._stride).save(path)

    def _make(self) -> None:
        frames = directory(self.name)
        self._stack.callback(remove_directory, frames)
        first = random.randrange(FIRST_NUMBER, 1000)
        for number in range(first, first + ATTEMPTS):
            if self._launch(number, frames):
                self.number = number
                break
        else:
            raise RuntimeError(f"Xvfb did not start: {(frames / 'log').read_text(encoding='utf-8')[-500:]}")
        self._map(frames / "Xvfb_screen0")

    def _launch(self, number: int, frames: Path) -> bool:
        """Start Xvfb with this number; False when it ended, as it does when the number is taken."""
        reading, writing = os.pipe()
        # -br and -s 0: no root pattern and no screen saver, so that only the player's pixels are shown.
        command = ["setpriv", "--pdeathsig", "TERM", "Xvfb", f":{number}", "-displayfd", str(writing), "-screen", "0"]
        command += [f"{self.width}x{self.height}x24", "-fbdir", str(frames), "-nolisten", "tcp", "-noreset", "-ac"]
        command += ["-br", "-s", "0"]
        if self.network:
            command = self.network.in_machine(command)
        with (frames / "log").open("wb") as log:
            process = subprocess.Popen(command, pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._stack.callback(end, process)
        os.close(writing)
        with os.fdopen(reading) as answer:
            return bool(answer.readline().strip())

    def _map(self, path: Path) -> None:
        with path.open("rb") as file:
            pixels = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._stack.callback(self._unmap)
        self._pixels = pixels
        words = struct.unpack(">25I", pixels[:100])
        header_size, width, height, bits, stride, colours = (words[i] for i in (0, 4, 5, 11, 12, 19))
        if (width, height, bits) != (self.width, self.height, 32):
            raise RuntimeError(f"the frame buffer is {width}x{height} with {bits} bits a pixel")
        self._stride = stride
        self._offset = header_size + colours * 12

    def _unmap(self) -> None:
        if self._pixels:
            self._pixels.close()
        self._pixels = None

    def _data(self) -> mmap.mmap:
        if self._pixels is None:
            raise RuntimeError("the TV is off")
        return self._pixels


def black(colours: Sequence[Colour]) -> bool:
    """Whether every colour is black."""
    return all(max(colour) <= BLACK_MAX for colour in colours)


@dataclass(frozen=True)
class Sample:
    """What the screen showed: `at` in seconds of CLOCK_MONOTONIC."""

    at: float
    label: str


@dataclass
class Sampler:
    """Samples a TV at a fixed rate from a thread, as a context manager, and keeps every sample.

    `classify` names a grid of colours; without it a sample is "black" or "picture".
    """

    tv: TV
    classify: Callable[[tuple[Colour, ...]], str] = field(default=lambda grid: "black" if black(grid) else "picture")
    rate_hz: float = 50.0
    count: int = 64
    samples: list[Sample] = field(default_factory=list)
    late: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True, name="sampler")

    def __enter__(self) -> Sampler:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sampling; the samples stay."""
        self._stop.set()
        self._thread.join()

    def achieved_hz(self) -> float:
        """The actual rate over all samples."""
        if len(self.samples) < 2:
            return 0.0
        return (len(self.samples) - 1) / (self.samples[-1].at - self.samples[0].at)

    def spans(self) -> list[tuple[float, float, str]]:
        """Runs of one label as (first seen, until the next was seen, label); the last ends at its last sample."""
        runs: list[tuple[float, float, str]] = []
        for sample in list(self.samples):
            if runs and runs[-1][2] == sample.label:
                runs[-1] = (runs[-1][0], sample.at, sample.label)
            else:
                if runs:
                    runs[-1] = (runs[-1][0], sample.at, runs[-1][2])
                runs.append((sample.at, sample.at, sample.label))
        return runs

    def seconds(self, label: str) -> float:
        """The total time of this label on the screen."""
        return sum(until - since for since, until, name in self.spans() if name == label)

    def _look(self) -> None:
        period = 1 / self.rate_hz
        due = time.monotonic()
        while not self._stop.is_set():
            now = time.monotonic()
            if now - due > period:
                self.late += 1
                due = now
            self.samples.append(Sample(now, self.classify(self.tv.grid(self.count))))
            due += period
            self._stop.wait(max(0.0, due - time.monotonic()))
