"""livekeep screenshot: the TV's current picture as a PNG, from the X server, the display, or the error screen's picture."""

import argparse
import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from livekeep.command.screenshot import mpv_camera, vlc_camera
from livekeep.core import config, files, paths
from livekeep.core.config import Screen
from livekeep.core.errors import LivekeepError
from livekeep.status import snapshot
from livekeep.system import terminal

DISPLAY = paths.STATE_DIRECTORY / "display"
LARGEST_BYTES = 128 * 1024 * 1024
PNG = b"\x89PNG\r\n\x1a\n"
OUTPUT = '"-" for standard output'
ALL_PLANES = 0xFFFFFFFF
Z_PIXMAP = 2
"""X11/X.h; the pixels row by row."""


def run(arguments: argparse.Namespace) -> int:
    to_output = arguments.file == "-"
    if not to_output:
        refuse_target(Path(arguments.file))
    picture = take()
    if to_output:
        sys.stdout.buffer.write(picture)
        return 0
    write(Path(arguments.file), picture)
    terminal.say(f"{arguments.file}: {len(picture) // 1024} KiB", to=sys.stderr)
    return 0


def refuse_target(target: Path) -> None:
    """Check the target before involving the display. Raises `LivekeepError`."""
    if not target.parent.is_dir():
        raise LivekeepError(f"{target}: there is no folder {target.parent}; make it first")
    if target.is_symlink():
        raise LivekeepError(f"{target}: is a symbolic link, which is not followed; name the file itself, or {OUTPUT}")
    if target.is_dir():
        raise LivekeepError(f"{target}: is a folder; name a file in it, such as {target / 'tv.png'}")
    if target.exists() and not target.is_file():
        raise LivekeepError(f"{target}: is not a plain file; name another one, or {OUTPUT}")
    if not os.access(target.parent, os.W_OK):
        raise LivekeepError(f"{target}: cannot be written; choose another place, such as /tmp/tv.png")


def take() -> bytes:
    """The PNG of the screen. Raises `LivekeepError`."""
    settings, _problems = config.load_leniently()
    if settings.screen.resolved_output() == "x11":
        with contextlib.suppress(LivekeepError):
            return take_x11(settings.screen)
    try:
        if snapshot.error_screen_is_active():
            return read_picture(paths.STATE_DIRECTORY / snapshot.ERROR_SCREEN_PICTURE)
    except PermissionError as error:
        raise LivekeepError(f"{error.filename}: root alone may see the display's picture; run this with sudo") from error
    if settings.screen.player == "vlc":
        snapshots = DISPLAY / "snapshots"
        picture = checked(vlc_camera.take(DISPLAY / "vlc.sock", snapshots, LARGEST_BYTES), snapshots)
        return upright(picture, snapshots, settings.screen.rotate)
    target = DISPLAY / "screenshot.png"
    remove(target)
    mpv_camera.take(DISPLAY / "mpv.sock", target, settings.screen.rotate in (90, 270))
    try:
        return upright(read_picture(target), target, settings.screen.rotate)
    finally:
        remove(target)


def take_x11(screen: Screen) -> bytes:
    """The PNG of the whole X screen, with the texts of all programs; mpv's own picture includes them only with a GPU.

    Raises `LivekeepError` if the X server doesn't reply.
    """
    from PIL import Image  # noqa: PLC0415 – only the few callers on X pay for it
    from Xlib import display, error  # noqa: PLC0415

    if screen.x11_authority:
        os.environ["XAUTHORITY"] = screen.x11_authority
    name = screen.x11_display or ":0"
    try:
        connection = display.Display(name)
        root: Any = connection.screen().root
        size = root.get_geometry()
        pixels = root.get_image(0, 0, size.width, size.height, Z_PIXMAP, ALL_PLANES)
        picture = Image.frombytes("RGB", (size.width, size.height), pixels.data, "raw", "BGRX")
        connection.close()
    except (OSError, ValueError, error.DisplayError, error.XError) as problem:
        raise LivekeepError(f"X display {name}: no picture can be taken of it; is the desktop running?") from problem
    return png(picture, screen.rotate)


def upright(picture: bytes, source: Path, rotate: int) -> bytes:
    """The PNG turned back, as the viewers of a turned TV see it. Raises `LivekeepError` for an invalid one."""
    if not rotate:
        return picture
    from PIL import Image  # noqa: PLC0415 – only a turned TV pays for it

    try:
        with Image.open(io.BytesIO(picture), formats=("PNG",)) as turned:
            return png(turned, rotate)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LivekeepError(f"{source}: the display saved no valid PNG; restart livekeep-display") from error


def png(turned: Any, rotate: int) -> bytes:
    """The PNG of an image that is turned clockwise by `rotate` degrees, turned back."""
    target = io.BytesIO()
    turned.rotate(rotate, expand=True).save(target, "PNG")
    return target.getvalue()


def read_picture(source: Path) -> bytes:
    """A PNG from the display's folder. Its unit could put anything there, so only a regular file of limited size is read."""
    try:
        picture = files.read(source, LARGEST_BYTES)
    except files.UnfitFileError as error:
        raise LivekeepError(f"{source}: cannot be read ({error.strerror}); restart livekeep-display") from error
    except OSError as error:
        advice = "; run this with sudo" if isinstance(error, PermissionError) else ""
        raise LivekeepError(f"{source}: the display's picture cannot be read ({error.strerror}){advice}") from error
    return checked(picture, source)


def checked(picture: bytes, source: Path) -> bytes:
    if not picture.startswith(PNG):
        raise LivekeepError(f"{source}: the display saved something that is no PNG; restart livekeep-display")
    return picture


def remove(source: Path) -> None:
    with contextlib.suppress(OSError):
        source.unlink()


def write(target: Path, picture: bytes) -> None:
    """Write with the caller's umask and as the caller's file."""
    try:
        files.replace(target, picture, mode=None, owner=(-1, -1), is_durable=False)
    except OSError as error:
        raise LivekeepError(
            f"{target}: cannot be written ({error.strerror}); choose another place, such as /tmp/tv.png"
        ) from error
