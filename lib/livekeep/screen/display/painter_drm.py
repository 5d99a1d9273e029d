"""Paints a picture directly on the screen: a dumb buffer of the kernel's mode setting, with ioctls only.

Implemented here because no Python binding is in both releases, and a still picture needs few ioctls.
Needs /dev/dri/card* (group video), and no other program may be the display's master: the first that opens
the card is. Source: include/uapi/drm/drm_mode.h; every structure there has 64-bit pointers and no padding, so
the layouts are the same on amd64, arm64 and 32-bit arm.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from array import array
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from livekeep.core.errors import TemporaryError

if TYPE_CHECKING:
    from PIL import Image

CARDS = Path("/dev/dri")
SYSFS = Path("/sys/class/drm")
CHECK_SECONDS = 2.0
CONNECTED = 1
PREFERRED = 1 << 3  # DRM_MODE_TYPE_PREFERRED
# DRM_MODE_CONNECTOR_*, with the kernel's names for them.
CONNECTOR_TYPES = {
    1: "VGA",
    2: "DVI-I",
    3: "DVI-D",
    4: "DVI-A",
    5: "Composite",
    6: "SVIDEO",
    7: "LVDS",
    8: "Component",
    9: "DIN",
    10: "DP",
    11: "HDMI-A",
    12: "HDMI-B",
    13: "TV",
    14: "eDP",
    15: "Virtual",
    16: "DSI",
    17: "DPI",
    20: "USB",
}

RESOURCES = (0xA0, struct.Struct("=4Q8I"))
SET_CRTC = (0xA2, struct.Struct("=Q7I68s"))
GET_ENCODER = (0xA6, struct.Struct("=5I"))
GET_CONNECTOR = (0xA7, struct.Struct("=4Q12I"))
ADD_FB = (0xAE, struct.Struct("=7I"))
REMOVE_FB = (0xAF, struct.Struct("=I"))
CREATE_DUMB = (0xB2, struct.Struct("=6IQ"))
MAP_DUMB = (0xB3, struct.Struct("=2IQ"))
DESTROY_DUMB = (0xB4, struct.Struct("=I"))
MODE = struct.Struct("=I10H3I32s")


@dataclass(frozen=True)
class Mode:
    """A screen mode; `raw` is the kernel's structure, passed back unchanged."""

    width: int
    height: int
    hertz: int
    is_preferred: bool
    raw: bytes


@dataclass(frozen=True)
class Connector:
    """A connector of the card, such as HDMI-A-1, and its TV."""

    number: int
    name: str
    is_connected: bool
    modes: tuple[Mode, ...]
    encoder: int
    encoders: tuple[int, ...]


def request_code(request: tuple[int, struct.Struct]) -> int:
    """Return the kernel's _IOWR('d', number, structure)."""
    number, layout = request
    return 3 << 30 | layout.size << 16 | ord("d") << 8 | number


def parse_mode(raw: bytes) -> Mode:
    """Parse a drm_mode_modeinfo of 68 bytes."""
    fields = MODE.unpack(raw)
    return Mode(fields[1], fields[6], fields[11], bool(fields[13] & PREFERRED), raw)


def choose_mode(modes: tuple[Mode, ...], wanted: str) -> Mode:
    """Return the mode like `1920x1080@60` or `1920x1080`, or the `highest`; else the TV's preferred mode."""
    if wanted == "highest":
        return max(modes, key=lambda mode: (mode.width * mode.height, mode.hertz))
    size, _, hertz = wanted.partition("@")
    for mode in modes:
        # The kernel rounds: 59.94 Hz becomes 60.
        if size == f"{mode.width}x{mode.height}" and (not hertz or round(float(hertz)) == mode.hertz):
            return mode
    return next((mode for mode in modes if mode.is_preferred), modes[0])


def choose_connector(connectors: list[Connector], wanted: str) -> Connector | None:
    """Return the first connector with a TV that has modes, with that name if one is given."""
    usable = (one for one in connectors if one.is_connected and one.modes and wanted in ("", one.name))
    return next(usable, None)


class Card:
    """An open card. Methods raise the kernel's OSError."""

    def __init__(self, path: Path) -> None:
        """Open the card; its first opener becomes its master."""
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Close it: the kernel frees the rest, and the next program can become master."""
        os.close(self.file)

    def call(self, request: tuple[int, struct.Struct], *values: int | bytes) -> tuple[int, ...]:
        """Call one mode-setting ioctl with a structure and return the structure that it fills."""
        data = bytearray(request[1].pack(*values))
        fcntl.ioctl(self.file, request_code(request), data)
        return request[1].unpack(data)

    def resources(self) -> tuple[array[int], array[int]]:
        """Return the ids of the card's CRTCs and connectors; a render-only card raises OSError."""
        counts = self.call(RESOURCES, *[0] * 12)
        lists = [array("I", [0] * max(1, count)) for count in counts[4:8]]
        counts = self.call(RESOURCES, *(one.buffer_info()[0] for one in lists), *counts[4:8], *[0] * 4)
        return lists[1][: counts[5]], lists[2][: counts[6]]

    def connector(self, number: int) -> Connector:
        """Return one connector; this makes the kernel probe it again."""
        counts = self.call(GET_CONNECTOR, *[0] * 8, number, *[0] * 7)
        encoders = array("I", [0] * max(1, counts[6]))
        modes = array("B", bytes(MODE.size * max(1, counts[4])))
        pointers = (encoders.buffer_info()[0], modes.buffer_info()[0], 0, 0)
        answer = self.call(GET_CONNECTOR, *pointers, counts[4], 0, counts[6], 0, number, *[0] * 7)
        raw = modes.tobytes()[: MODE.size * min(answer[4], counts[4])]
        return Connector(
            number=number,
            name=f"{CONNECTOR_TYPES.get(answer[9], 'Unknown')}-{answer[10]}",
            is_connected=answer[11] == CONNECTED,
            modes=tuple(parse_mode(raw[at : at + MODE.size]) for at in range(0, len(raw), MODE.size)),
            encoder=answer[7],
            encoders=tuple(encoders[: answer[6]]),
        )

    def crtc_for(self, connector: Connector, crtcs: array[int]) -> int:
        """Return the connector's current CRTC, else the first possible one. Raises OSError if there is none."""
        candidates = [connector.encoder, *connector.encoders]
        for encoder in filter(None, candidates):
            _, _, current, possible, _ = self.call(GET_ENCODER, encoder, 0, 0, 0, 0)
            if current:
                return current
            for index, crtc in enumerate(crtcs):
                if possible & 1 << index:
                    return crtc
        raise OSError(0, "no CRTC can feed it")


class DrmPainter:
    """One connector of one card.

    Raises TemporaryError when there is no TV, no permission, or another program has the display.
    """

    def __init__(self, connector: str, mode: str) -> None:
        """Open the first card with a TV (on `connector`, if not ""), and choose the mode."""
        self._card, self._connector = find_screen(connector)
        self._mode = choose_mode(self._connector.modes, mode)
        self.size = (self._mode.width, self._mode.height)
        self._framebuffer = self._handle = 0

    def show(self, image: Image.Image) -> None:
        """Copy the picture into a buffer of the card and show that."""
        try:
            width, height = self.size
            *_, self._handle, pitch, length = self._card.call(CREATE_DUMB, height, width, 32, 0, 0, 0, 0)
            self._framebuffer, *_ = self._card.call(ADD_FB, 0, width, height, pitch, 32, 24, self._handle)
            _, _, offset = self._card.call(MAP_DUMB, self._handle, 0, 0)
            # Pillow pads each row to the card's row length.
            pixels = image.tobytes("raw", "BGRX", pitch, 1)
            with mmap.mmap(self._card.file, length, offset=offset) as buffer:
                buffer[: len(pixels)] = pixels
            crtcs, _ = self._card.resources()
            crtc = self._card.crtc_for(self._connector, crtcs)
            numbers = array("I", [self._connector.number])
            self._card.call(SET_CRTC, numbers.buffer_info()[0], 1, crtc, self._framebuffer, 0, 0, 0, 1, self._mode.raw)
        except OSError as error:
            message = (
                f"{self._card.path} {self._connector.name}: cannot be painted: end the program that has the "
                f"display ({error.strerror})"
            )
            raise TemporaryError(message) from error

    def wait(self) -> None:
        """Check the TV every two seconds. Raises TemporaryError when it is gone; reopen to set it up again."""
        status = SYSFS / f"{self._card.path.name}-{self._connector.name}" / "status"
        while True:
            time.sleep(CHECK_SECONDS)
            with suppress(OSError):
                if status.read_text().strip() == "disconnected":
                    raise TemporaryError(no_tv(self._connector.name))

    def close(self) -> None:
        """Free the buffer and release the card for the next master."""
        with suppress(OSError):
            if self._framebuffer:
                self._card.call(REMOVE_FB, self._framebuffer)
            if self._handle:
                self._card.call(DESTROY_DUMB, self._handle)
        self._card.close()


def no_tv(connector: str) -> str:
    """Return the error message for a missing screen."""
    return f"{SYSFS}: no TV is connected to {connector or 'any connector'}: plug it in and switch it on"


def find_screen(wanted: str, cards: Path = CARDS) -> tuple[Card, Connector]:
    """Return the first card, open, that has a TV on the requested connector. Raises TemporaryError if none has."""
    problem = no_tv(wanted)
    paths = sorted(cards.glob("card[0-9]*"))
    if not paths:
        problem = f"{cards}: no card is there yet: load the display's driver (vc4 on a Raspberry Pi)"
    for path in paths:
        try:
            card = Card(path)
        except OSError as error:
            problem = f"{path}: cannot be opened: add the unit's user to the group video ({error.strerror})"
            continue
        connector = None
        with suppress(OSError):  # a render-only card has no resources
            _, numbers = card.resources()
            connector = choose_connector([card.connector(number) for number in numbers], wanted)
        if connector:
            return card, connector
        card.close()
    raise TemporaryError(problem)
