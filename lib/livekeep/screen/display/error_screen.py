"""Paint the error picture when the display program cannot start at all.

Unit: livekeep-error-screen.service (Type=notify: ready once the picture is on the screen).
Reads: livekeep.toml ([screen]), the TV's state, the error picture.
Writes: the screen, and a PNG of what it shows for remote screenshots.
Depends on no player: the screen is painted by one of painter_drm, painter_x11 and painter_wayland.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import NoReturn, Protocol

import sdnotify
from PIL import Image, ImageDraw, ImageFont, ImageOps

from livekeep.core import files, state
from livekeep.core.config import Screen, load_leniently
from livekeep.core.errors import TemporaryError
from livekeep.core.state import TvState
from livekeep.screen.display import outputs
from livekeep.screen.display.pictures import Slides

PLAIN_BACKGROUND = (18, 22, 30)
BAND_OPACITY = 0.72
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
# Fractions of the screen's shorter side: legible across a room, and the smallest legible size.
TEXT_HEIGHT = 1 / 24
SMALLEST_TEXT_HEIGHT = 1 / 45
# Twice that is refused: it would exceed a small board's memory.
Image.MAX_IMAGE_PIXELS = 64_000_000
# The display program may still be exiting: retry soon, then less often.
QUICK_TRIES = 20
QUICK_PAUSE_SECONDS = 0.2
PAUSE_SECONDS = 2.0
LINES = ("The picture cannot be shown now; it is tried again every minute", "Run: sudo livekeep doctor")

Size = tuple[int, int]


class Painter(Protocol):
    """A painter for one kind of screen. Each method raises TemporaryError when the screen is lost."""

    @property
    def size(self) -> Size:
        """The screen's width and height in pixels; can change while waiting."""

    def show(self, image: Image.Image) -> None:
        """Paint an RGB image of exactly that size; returns when it is on the screen."""

    def wait(self) -> None:
        """Return when the picture must be painted again because the screen's size changed."""

    def close(self) -> None:
        """Release the screen."""


def choose_output(screen: Screen) -> str:
    """The output to try now: for `auto`, the first whose server listens, else DRM."""
    if screen.output != "auto":
        return screen.output
    if screen.wayland_display and outputs.accepts(outputs.wayland_socket(screen)):
        return "wayland"
    return "x11" if screen.x11_display and outputs.accepts(outputs.x11_socket(screen)) else "drm"


def open_painter(screen: Screen) -> Painter:
    """Open the screen. Raises TemporaryError when that is not possible now."""
    # Imports only the module it needs, to paint sooner.
    output = choose_output(screen)
    if output == "wayland":
        from livekeep.screen.display.painter_wayland import WaylandPainter  # noqa: PLC0415 - see above

        return WaylandPainter(outputs.wayland_socket(screen))
    if output == "x11":
        from livekeep.screen.display.painter_x11 import X11Painter  # noqa: PLC0415 - see above

        return X11Painter(screen.x11_display)
    from livekeep.screen.display.painter_drm import DrmPainter  # noqa: PLC0415 - see above

    return DrmPainter(screen.connector, screen.mode)


@lru_cache(maxsize=1)
def render(picture: Path, size: Size, lines: tuple[str, ...] = LINES) -> Image.Image:
    """The picture on black with the lines in a dark band at the bottom, as large as fits; RGB of that size.

    A missing or invalid picture leaves a plain dark background: the text is more important. The last result is
    cached, because a screen that can't be painted yet is retried often.
    """
    canvas = background(picture, size)
    margin = min(size) // 24
    largest, smallest = (max(8, round(min(size) * part)) for part in (TEXT_HEIGHT, SMALLEST_TEXT_HEIGHT))
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    try:
        # The basic layout needs no shaping library, which takes longer to load than all the painting.
        font = ImageFont.truetype(str(FONT), largest, layout_engine=ImageFont.Layout.BASIC)
        longest = max(font.getlength(line) for line in lines)
        pixels = max(smallest, min(largest, int(largest * (size[0] - 2 * margin) / longest)))
        font = font.font_variant(size=pixels)
        step = round(pixels * 1.4)
    except (OSError, ImportError):
        font, step = ImageFont.load_default(), 16
    top = max(0, size[1] - len(lines) * step - 2 * margin)
    box = (0, top, *size)
    band = canvas.crop(box)
    canvas.paste(Image.blend(band, Image.new("RGB", band.size), BAND_OPACITY), box)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        text = shorten(line, font, size[0] - 2 * margin)
        draw.text((margin, top + margin + number * step), text, font=font, fill=(255, 255, 255))
    return canvas


def background(picture: Path, size: Size) -> Image.Image:
    """The picture on black, scaled to fit with its aspect ratio; plain if there is no picture."""
    try:
        with Image.open(picture) as opened:
            # Decodes a JPEG at a fraction of its size if that is large enough.
            opened.draft("RGB", size)
            upright = ImageOps.exif_transpose(opened)
            scale = min(size[0] / upright.width, size[1] / upright.height)
            fitted = (max(1, round(upright.width * scale)), max(1, round(upright.height * scale)))
            flat = upright.convert("RGBA" if "A" in upright.getbands() else "RGB")
            scaled = flat.resize(fitted, Image.Resampling.BILINEAR, reducing_gap=2.0)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        log(f"{picture}: no picture can be read here, showing the text alone: replace it ({error})")
        return Image.new("RGB", size, PLAIN_BACKGROUND)
    canvas = Image.new("RGB", size)
    corner = ((size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2)
    canvas.paste(scaled, corner, scaled if scaled.mode == "RGBA" else None)
    return canvas


def shorten(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The line, shortened with an ellipsis to fit the width."""
    if font.getlength(line) <= width:
        return line
    lengths = (font.getlength(f"{line[:end]}…") for end in range(len(line)))
    kept = sum(1 for _ in takewhile(lambda length: length <= width, lengths))
    return f"{line[: max(0, kept - 1)]}…"


def log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def save_copy(image: Image.Image, path: Path) -> None:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    try:
        files.replace(path, content.getvalue(), owner=(-1, -1), is_durable=False)
    except OSError as error:
        log(f"{path}: the copy of the screen cannot be written: let this unit's user write there ({error})")


def wait_while_dark(notifier: sdnotify.SystemdNotifier) -> None:
    """Return when the TV is not off on purpose: no failure lights it up at night."""
    with suppress(TemporaryError):
        while state.read(TvState).is_dark:
            notifier.notify("STATUS=The TV is off on purpose")
            time.sleep(PAUSE_SECONDS)


def run(screen: Screen, picture: Path, copy_to: Path | None) -> NoReturn:
    """Keep the picture on the screen, and repaint it after each change of size; without a screen, wait for one."""
    notifier = sdnotify.SystemdNotifier()
    said, tries = "", 0
    while True:
        wait_while_dark(notifier)
        try:
            with closing(open_painter(screen)) as painter:
                tries = 0
                while True:
                    width, height = painter.size
                    image = render(picture, (height, width) if screen.rotate in (90, 270) else (width, height))
                    # Pillow turns counterclockwise.
                    painter.show(image.rotate(-screen.rotate, expand=True) if screen.rotate else image)
                    notifier.notify("READY=1\nSTATUS=The error picture is on the screen.")
                    if copy_to:
                        save_copy(image, copy_to)
                    painter.wait()
        except TemporaryError as error:
            tries += 1
            # Logged once, and only if it lasts: the first tries often collide with the exiting display program.
            if str(error) != said and (tries == 1 or tries > QUICK_TRIES):
                said = str(error)
                log(said)
                notifier.notify(f"STATUS={said}")
        time.sleep(QUICK_PAUSE_SECONDS if tries <= QUICK_TRIES else PAUSE_SECONDS)


def main(_argv: Sequence[str] | None = None) -> int:
    """Show the picture until SIGTERM, which ends the program at once: kernel and servers release the screen."""
    screen = load_leniently()[0].screen
    # As on the display's own screen if only the output is named. A faulty value is replaced by its default.
    x11 = os.environ.get("DISPLAY", ":0" if screen.output == "x11" else "")
    wayland = os.environ.get("WAYLAND_DISPLAY", "wayland-0" if screen.output == "wayland" else "")
    screen = replace(screen, x11_display=screen.x11_display or x11, wayland_display=screen.wayland_display or wayland)
    picture = Slides(screen.holding, screen.slideshow_seconds).error_picture(screen.error)
    folder = os.environ.get("RUNTIME_DIRECTORY", "")
    run(screen, Path(picture), Path(folder) / "picture.png" if folder else None)


if __name__ == "__main__":
    sys.exit(main())
