"""The doctor's checks of the configured pictures: they exist, the display's user may read them, and the program can show them."""

from pathlib import Path
from shlex import quote

from livekeep.command.doctor.doctor_base import TIMEOUT_SECONDS, Result, Surroundings, as_user, may_read
from livekeep.system import process

try:
    from PIL import Image
except ImportError:  # The error screen needs it, and reports it missing.
    Image = None

DISPLAY_USER = "livekeep-display"
TRIAL = (
    "mpv", "--no-config", "--really-quiet", "--load-scripts=no", "--ytdl=no", "--vo=null", "--ao=null", "--frames=1",
    "--vd-lavc-o=err_detect=explode",
)  # fmt: skip
"""mpv without a window, with the picture's options as the player sets them."""
HIDDEN = ("/home/", "/root/", "/tmp/", "/run/user/")  # noqa: S108 - named, not used
"""Paths that the sandbox of the display and the worker hides."""
ADVICE = "set a PNG or JPEG in livekeep.toml, such as one in /usr/share/livekeep/pictures"


def check_pictures(around: Surroundings) -> Result:
    """The first fault among all pictures, or the good ones."""
    screen = around.config.screen
    results = [check_picture(around, name, "screen.holding") for name in screen.holding]
    results.append(check_picture(around, screen.error, "screen.error"))
    faults = sorted((result for result in results if result.verdict != "ok"), key=lambda result: result.verdict != "fail")
    return faults[0] if faults else Result("ok", "; ".join(result.finding for result in results))


def check_picture(around: Surroundings, name: str, key: str) -> Result:
    path, fault, advice = around.path(name), "", ADVICE
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        return Result("fail", f"{key}: {name}: {error.strerror}", ADVICE)
    if around.machine_path(name).startswith(HIDDEN):
        fault, advice = "the display has no access to this folder", "copy it to /var/lib/livekeep/pictures and set that"
    elif not may_read(path, as_user(DISPLAY_USER)):
        fault, advice = f"{DISPLAY_USER} may not read it", f"sudo chmod o+r {quote(name)}; see: namei -l {quote(name)}"
    elif is_empty:
        fault, advice = "is empty", "copy it again"
    else:
        # The program that shows the picture tests it. VLC reports no errors; it shows what Pillow can read.
        fault = painter_fault(path) if around.config.screen.player == "vlc" else display_fault(path)
    if fault:
        return Result("fail", f"{key}: {name}: {fault}", advice)
    if key == "screen.error" and (fault := painter_fault(path)):
        return Result("warn", f"{key}: {name}: {fault}: it shows only its text", ADVICE)
    return Result("ok", f"{path.name} can be shown")


def display_fault(path: Path) -> str:
    """Why mpv cannot show the file, a picture or a video; "" if it can, or without mpv."""
    try:
        ended = process.run([*TRIAL, "--", path], TIMEOUT_SECONDS, process.environment(), cwd="/", **as_user(DISPLAY_USER))
    except process.TooSlowError:
        return f"gives no picture within {TIMEOUT_SECONDS:g} s"
    except process.NotStartedError:
        return ""
    return "mpv cannot show it; is it a picture, and complete?" if ended.exit_code else ""


def painter_fault(path: Path) -> str:
    """Why the error screen cannot draw the file, which must be a picture; "" if it can, or without Pillow."""
    if Image is None:
        return ""
    try:
        with Image.open(path) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError):
        return "the error screen cannot draw it"
    return ""
