"""The doctor's checks of the configured pictures: there, readable by the display's user, and really pictures."""

import pwd
import subprocess
from pathlib import Path

from livekeep.command.checkup import Check, Surroundings, is_root
from livekeep.command.picture import kind_of

try:
    from PIL import Image, UnidentifiedImageError
except ImportError:  # Without it the first bytes have to do.
    Image = None

DISPLAY_USER = "livekeep-display"
HIDDEN = ("/home/", "/root/", "/tmp/", "/run/user/")  # noqa: S108 - named, not used
"""What the display's sandbox does not show it."""
ADVICE = "name a PNG or JPEG in livekeep.toml, such as one in /usr/local/share/livekeep/pictures"


def check_pictures(around: Surroundings) -> Check:
    """The first fault among all pictures, or how many are good."""
    screen = around.config.screen
    checks = [check_picture(around, name, "screen.holding", True) for name in screen.holding]
    checks.append(check_picture(around, screen.error, "screen.error", False))
    faults = sorted((check for check in checks if check.verdict != "ok"), key=lambda check: check.verdict != "fail")
    return faults[0] if faults else Check("pictures", "ok", "; ".join(check.finding for check in checks))


def check_picture(around: Surroundings, name: str, key: str, video_is_fine: bool) -> Check:
    path = around.path(name)
    try:
        kind = kind_of(path)
    except OSError as error:
        return Check("pictures", "fail", f"{key}: {name}: {error.strerror}", ADVICE)
    if around.machine_path(name).startswith(HIDDEN):
        return Check(
            "pictures",
            "fail",
            f"{key}: {name}: the display may not look there",
            "copy it to /var/lib/livekeep/pictures and name that",
        )
    if kind == "video" and not video_is_fine:
        return Check("pictures", "fail", f"{key}: {name}: is a video; it must be a picture", ADVICE)
    fault = "" if kind == "video" else picture_fault(path, kind)
    if fault:
        return Check("pictures", "fail", f"{key}: {name}: {fault}", ADVICE)
    if not readable_by_display(path):
        return Check(
            "pictures", "fail", f"{key}: {name}: {DISPLAY_USER} may not read it", f"sudo chmod o+r {name}; see: namei -l {name}"
        )
    return Check("pictures", "ok", f"{path.name} is a good {kind}")


def picture_fault(path: Path, kind: str) -> str:
    """What keeps a file from being shown as a picture, or ""."""
    if Image is None:
        return "" if kind else "is not a picture"
    try:
        with Image.open(path) as picture:
            picture.load()
    except UnidentifiedImageError:
        return "is not a picture"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "is a damaged picture"
    return ""


def readable_by_display(path: Path) -> bool:
    """Whether the display's user may read the file; where this cannot be tried, it is taken to be so."""
    try:
        user = pwd.getpwnam(DISPLAY_USER)
    except KeyError:
        return True
    if not is_root():
        return True
    done = subprocess.run(["test", "-r", path], user=user.pw_uid, group=user.pw_gid, extra_groups=[], check=False, timeout=5)
    return done.returncode == 0
