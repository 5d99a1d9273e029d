"""The doctor's checks of the configured pictures: they exist, the display's user may read them, and the program can show them."""

import pwd
import subprocess
from pathlib import Path
from shlex import quote
from typing import Any

from livekeep.command.doctor.doctor_base import Check, Surroundings, Verdict, is_root

try:
    from PIL import Image
except ImportError:  # The error screen needs it, and reports it missing.
    Image = None

DISPLAY_USER = "livekeep-display"
TRIAL_SECONDS = 20.0
TRIAL = (
    "mpv", "--no-config", "--really-quiet", "--load-scripts=no", "--ytdl=no", "--vo=null", "--ao=null", "--frames=1",
    "--vd-lavc-o=err_detect=explode",
)  # fmt: skip
"""mpv without a window, with the picture's options as the player sets them."""
HIDDEN = ("/home/", "/root/", "/tmp/", "/run/user/")  # noqa: S108 - named, not used
"""Paths that the display's sandbox hides."""
ADVICE = "name a PNG or JPEG in livekeep.toml, such as one in /usr/share/livekeep/pictures"


def check_pictures(around: Surroundings) -> Check:
    """The first fault among all pictures, or the good ones."""
    screen = around.config.screen
    checks = [check_picture(around, name, "screen.holding") for name in screen.holding]
    checks.append(check_picture(around, screen.error, "screen.error"))
    faults = sorted((check for check in checks if check.verdict != "ok"), key=lambda check: check.verdict != "fail")
    return faults[0] if faults else Check("pictures", "ok", "; ".join(check.finding for check in checks))


def check_picture(around: Surroundings, name: str, key: str) -> Check:
    path = around.path(name)
    verdict: Verdict = "fail"
    advice = ADVICE
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        return Check("pictures", "fail", f"{key}: {name}: {error.strerror}", ADVICE)
    if around.machine_path(name).startswith(HIDDEN):
        fault, advice = "the display may not look there", "copy it to /var/lib/livekeep/pictures and name that"
    elif not readable_by_display(path):
        fault, advice = f"{DISPLAY_USER} may not read it", f"sudo chmod o+r {quote(name)}; see: namei -l {quote(name)}"
    elif is_empty:
        fault, advice = "is empty", "copy it again"
    else:
        # The program that shows the picture tests it. VLC reports no errors; it shows what Pillow can read.
        fault = painter_fault(path) if around.config.screen.player == "vlc" else display_fault(path)
        if not fault and key == "screen.error" and (fault := painter_fault(path)):
            verdict, fault = "warn", f"{fault}: it shows its text alone"
    if fault:
        return Check("pictures", verdict, f"{key}: {name}: {fault}", advice)
    return Check("pictures", "ok", f"{path.name} can be shown")


def readable_by_display(path: Path) -> bool:
    """Whether the display's user may read the file; assumed if this cannot be tried."""
    user = as_display_user()
    return not user or subprocess.run(["test", "-r", path], check=False, timeout=5, **user).returncode == 0


def as_display_user() -> dict[str, Any]:
    """The arguments for `subprocess.run` to run a program as the display's user, if that user exists and this runs as root."""
    try:
        user = pwd.getpwnam(DISPLAY_USER)
    except KeyError:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if is_root() else {}


def display_fault(path: Path) -> str:
    """Why mpv cannot show the file, a picture or a video; "" if it can, or without mpv."""
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
    """Why the error screen cannot draw the file, which must be a picture; "" if it can, or without Pillow."""
    if Image is None:
        return ""
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError):
        return "the error screen cannot paint it"
    return ""
