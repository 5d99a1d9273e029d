"""Whether a file can be shown on the screen, judged by what shows it: mpv, and Pillow for what the error screen paints."""

import pwd
import subprocess
from pathlib import Path
from typing import Any

from livekeep.command.doctor.doctor_base import is_root

try:
    from PIL import Image
except ImportError:  # The error screen needs it; then it says so itself.
    Image = None

DISPLAY_USER = "livekeep-display"
TRIAL_SECONDS = 20.0
TRIAL = (
    "mpv", "--no-config", "--really-quiet", "--load-scripts=no", "--ytdl=no", "--vo=null", "--ao=null", "--frames=1",
    "--vd-lavc-o=err_detect=explode",
)  # fmt: skip
"""mpv without a window, with the picture's options as the player gives them."""


def as_display_user() -> dict[str, Any]:
    """The arguments for `subprocess.run` that make a program run as the display's user, where there is one and root may."""
    try:
        user = pwd.getpwnam(DISPLAY_USER)
    except KeyError:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if is_root() else {}


def display_fault(path: Path) -> str:
    """What keeps mpv from showing the file, a picture or a video; "" for nothing, and where there is no mpv to try it."""
    try:
        done = subprocess.run(
            [*TRIAL, "--", path], check=False, timeout=TRIAL_SECONDS, capture_output=True, cwd="/", **as_display_user()
        )
    except subprocess.TimeoutExpired:
        return f"gives no picture within {TRIAL_SECONDS:g} s"
    except OSError:
        return ""
    return "mpv cannot show it; is it a picture, and whole?" if done.returncode else ""


def painter_fault(path: Path) -> str:
    """What keeps the error screen from painting the file, which must be a picture; "" for nothing, and without Pillow."""
    if Image is None:
        return ""
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError):
        return "the error screen cannot paint it"
    return ""
