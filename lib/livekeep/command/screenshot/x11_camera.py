"""Takes a picture of an X screen, with the texts of all programs. mpv includes its texts in a picture only with a GPU."""

import io
import os
from typing import Any

from livekeep.core.config import Screen
from livekeep.core.errors import LivekeepError

ALL_PLANES = 0xFFFFFFFF
Z_PIXMAP = 2
"""X11/X.h; the pixels row by row."""


def take(screen: Screen) -> bytes:
    """The PNG of the whole screen. Raises `LivekeepError` if the X server doesn't reply."""
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
    target = io.BytesIO()
    picture.save(target, "PNG")
    return target.getvalue()
