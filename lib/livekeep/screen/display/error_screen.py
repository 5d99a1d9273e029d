"""Paint the error picture when the display program cannot start at all.

Unit: livekeep-error-screen.service (Type=notify: ready once the picture is on the screen).
Reads: livekeep.toml ([screen]), the error picture. Writes: the screen, and a PNG of what it shows for remote screenshots.
Depends on no player: the screen is painted by one of painter_drm, painter_x11 and painter_wayland.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn, Protocol, get_args

import sdnotify
from PIL import Image, ImageDraw, ImageFont, ImageOps

from livekeep.core.config import load_leniently
from livekeep.core.errors import TemporaryError
from livekeep.screen.display.pictures import Slides

Output = Literal["auto", "drm", "x11", "wayland"]

PLAIN_BACKGROUND = (18, 22, 30)
BAND_OPACITY = 0.72
X11_SOCKETS = Path("/tmp/.X11-unix")  # noqa: S108 - the default path of every X server
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
# Fractions of the screen's height: legible across a room, and the smallest legible size.
TEXT_HEIGHT = 1 / 24
SMALLEST_TEXT_HEIGHT = 1 / 45
# Twice that is refused: it would exceed a small board's memory.
Image.MAX_IMAGE_PIXELS = 64_000_000
# The display program may still be exiting: retry soon, then less often.
QUICK_TRIES = 20
QUICK_PAUSE_SECONDS = 0.2
PAUSE_SECONDS = 2.0
LINES = ("The picture cannot be shown now; it is tried again every minute", "Run: sudo livekeep doctor")


@dataclass(frozen=True)
class ErrorScreenSettings:
    """Which screen to paint.

    `connector` is the kernel's name (`HDMI-A-1`), "" for any; `mode` is like `1920x1080@60`, "" for the
    TV's preferred mode. Both apply to DRM only. A relative `wayland_display` is in XDG_RUNTIME_DIR.
    """

    output: Output
    x11_display: str
    connector: str
    mode: str
    wayland_display: str
    picture: Path
    lines: tuple[str, ...]


class Painter(Protocol):
    """A painter for one kind of screen. Each method raises TemporaryError when the screen is lost."""

    @property
    def size(self) -> tuple[int, int]:
        """The screen's width and height in pixels; can change while waiting."""

    def show(self, image: Image.Image) -> None:
        """Paint an RGB image of exactly that size; returns when it is on the screen."""

    def wait(self) -> None:
        """Return when the picture must be painted again because the screen's size changed."""

    def close(self) -> None:
        """Release the screen."""


def choose_output(settings: ErrorScreenSettings) -> Output:
    """Return the output to try now: for `auto`, the first whose server exists, else DRM."""
    if settings.output != "auto":
        return settings.output
    if settings.wayland_display and wayland_socket(settings.wayland_display).exists():
        return "wayland"
    number = settings.x11_display.removeprefix(":").split(".")[0]
    if settings.x11_display and (not number.isdecimal() or (X11_SOCKETS / f"X{number}").exists()):
        return "x11"
    return "drm"


def wayland_socket(name: str) -> Path:
    """Return the socket of a Wayland display by the rules of libwayland."""
    return Path(os.environ.get("XDG_RUNTIME_DIR", "/run")) / name


def open_painter(settings: ErrorScreenSettings) -> Painter:
    """Open the screen. Raises TemporaryError when that is not possible now."""
    # Imports only the module it needs, to paint sooner.
    output = choose_output(settings)
    if output == "wayland":
        from livekeep.screen.display.painter_wayland import WaylandPainter  # noqa: PLC0415 - see above

        return WaylandPainter(wayland_socket(settings.wayland_display))
    if output == "x11":
        from livekeep.screen.display.painter_x11 import X11Painter  # noqa: PLC0415 - see above

        return X11Painter(settings.x11_display)
    from livekeep.screen.display.painter_drm import DrmPainter  # noqa: PLC0415 - see above

    return DrmPainter(settings.connector, settings.mode)


@lru_cache(maxsize=1)
def render(settings: ErrorScreenSettings, size: tuple[int, int]) -> Image.Image:
    """Return the picture on black with the text in a band at the bottom, as RGB of that size.

    A missing or invalid picture leaves a plain dark background: the text is more important. The last result is
    cached, because a screen that can't be painted yet is retried often.
    """
    canvas = background(settings.picture, size)
    lines = [line for line in settings.lines if line.strip()]
    if lines:
        draw_band(canvas, lines)
    return canvas


def background(picture: Path, size: tuple[int, int]) -> Image.Image:
    """Return the picture on black, scaled to fit with its aspect ratio; plain if there is no picture."""
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


def draw_band(canvas: Image.Image, lines: list[str]) -> None:
    """Darken the bottom of the canvas and write the lines there, as large as fits."""
    margin = canvas.height // 24
    font, step = fit_font(lines, canvas.width - 2 * margin, canvas.height)
    shown = lines[: max(1, (canvas.height - 2 * margin) // step)]
    top = max(0, canvas.height - len(shown) * step - 2 * margin)
    box = (0, top, canvas.width, canvas.height)
    band = canvas.crop(box)
    canvas.paste(Image.blend(band, Image.new("RGB", band.size), BAND_OPACITY), box)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(shown):
        text = shorten(line, font, canvas.width - 2 * margin)
        draw.text((margin, top + margin + number * step), text, font=font, fill=(255, 255, 255))


def fit_font(lines: list[str], width: int, height: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, int]:
    """Return the largest font in which all lines fit, and the line spacing in pixels."""
    largest, smallest = (max(8, round(height * part)) for part in (TEXT_HEIGHT, SMALLEST_TEXT_HEIGHT))
    try:
        # The basic layout needs no shaping library, which takes longer to load than all the painting.
        font = ImageFont.truetype(str(FONT), largest, layout_engine=ImageFont.Layout.BASIC)
    except (OSError, ImportError):
        return ImageFont.load_default(), 16
    longest = max(font.getlength(line) for line in lines)
    pixels = max(smallest, min(largest, int(largest * width / max(longest, 1))))
    return font.font_variant(size=pixels), round(pixels * 1.4)


def shorten(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return the line, shortened with an ellipsis to fit the width."""
    if font.getlength(line) <= width:
        return line
    lengths = (font.getlength(f"{line[:end]}…") for end in range(len(line)))
    kept = sum(1 for _ in takewhile(lambda length: length <= width, lengths))
    return f"{line[: max(0, kept - 1)]}…"


def partial_path(path: Path) -> Path:
    """Return the temporary path of a file that is replaced atomically."""
    return path.with_name(f".{path.name}.new")


def save_copy(image: Image.Image, path: Path) -> None:
    """Replace the PNG atomically, so that a reader never sees a partial picture."""
    partial = partial_path(path)
    try:
        image.save(partial, "PNG", compress_level=1)
        partial.chmod(0o640)
        partial.replace(path)
    except OSError as error:
        log(f"{path}: the copy of the screen cannot be written: let this unit's user write there ({error})")


def notify(message: str) -> None:
    """Notify systemd, if it listens."""
    sdnotify.SystemdNotifier().notify(message)


def log(message: str) -> None:
    """Write one line to the journal."""
    print(message, file=sys.stderr, flush=True)


def keep_shown(settings: ErrorScreenSettings, painter: Painter, copy_to: Path | None) -> None:
    """Paint, and repaint after each change of size. Raises TemporaryError when the screen is lost."""
    while True:
        image = render(settings, painter.size)
        painter.show(image)
        notify("READY=1\nSTATUS=The error picture is on the screen.")
        if copy_to:
            save_copy(image, copy_to)
        painter.wait()


def run(settings: ErrorScreenSettings, copy_to: Path | None) -> NoReturn:
    """Keep the picture on the screen; without a screen, wait for one."""
    said = ""
    tries = 0
    while True:
        try:
            with closing(open_painter(settings)) as painter:
                tries = 0
                keep_shown(settings, painter, copy_to)
        except TemporaryError as error:
            tries += 1
            # Logged once, and only if it lasts: the first tries often collide with the exiting display program.
            if str(error) != said and (tries == 1 or tries > QUICK_TRIES):
                said = str(error)
                log(said)
                notify(f"STATUS={said}")
        time.sleep(QUICK_PAUSE_SECONDS if tries <= QUICK_TRIES else PAUSE_SECONDS)


def end_on_signal(copy_to: Path | None) -> None:
    """Make SIGTERM and SIGINT end the program immediately, with exit code 0 and after removing its copy.

    The screen needs no cleanup: kernel and servers release what an ended program held. An exception raised here
    would not work: libraries catch it (sdnotify's bare `except` did).
    """

    def end(_signal: int, _frame: FrameType | None) -> NoReturn:
        if copy_to:
            for path in (copy_to, partial_path(copy_to)):
                with suppress(OSError):
                    path.unlink()
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def parse_arguments(argv: Sequence[str] | None) -> tuple[ErrorScreenSettings, Path | None]:
    """Return the settings and the path of the copy, from the configuration; options override each of them.

    A faulty value in the configuration is replaced by its default.
    """
    screen = load_leniently()[0].screen
    picture = Slides(screen.holding, screen.slideshow_seconds).error_picture(screen.error)
    folder = os.environ.get("RUNTIME_DIRECTORY", "")
    copy_to = Path(folder) / "picture.png" if folder else None
    # The display's defaults if only the output is named.
    x11 = ":0" if screen.output == "x11" else ""
    wayland = "wayland-0" if screen.output == "wayland" else ""
    parser = argparse.ArgumentParser(prog="livekeep-error-screen", description=__doc__)
    parser.add_argument("--output", choices=get_args(Output), default=screen.output)
    parser.add_argument("--x11-display", default=screen.x11_display or os.environ.get("DISPLAY", x11))
    parser.add_argument("--connector", default=screen.connector, help="HDMI-A-1, say; any if empty")
    parser.add_argument("--mode", default=screen.mode, help="1920x1080@60, say; the TV's preferred one if empty")
    parser.add_argument("--wayland-display", default=screen.wayland_display or os.environ.get("WAYLAND_DISPLAY", wayland))
    parser.add_argument("--picture", type=Path, default=Path(picture))
    parser.add_argument("--line", action="append", help="a line of text; may be repeated")
    parser.add_argument("--copy-to", type=Path, default=copy_to, help="a PNG of what is shown")
    options = parser.parse_args(argv)
    settings = ErrorScreenSettings(
        output=options.output,
        x11_display=options.x11_display,
        connector=options.connector,
        mode=options.mode,
        wayland_display=options.wayland_display,
        picture=options.picture,
        lines=LINES if options.line is None else tuple(options.line),
    )
    return settings, options.copy_to


def main(argv: Sequence[str] | None = None) -> int:
    """Show the picture until SIGTERM."""
    settings, copy_to = parse_arguments(argv)
    end_on_signal(copy_to)
    run(settings, copy_to)


if __name__ == "__main__":
    sys.exit(main())
