"""The doctor's checks of the configured pictures: there, readable by the display's user, and fit for what shows them."""

import subprocess
from pathlib import Path
from shlex import quote

from livekeep.command.doctor.doctor_base import Check, Surroundings, Verdict
from livekeep.command.doctor.picture import DISPLAY_USER, as_display_user, display_fault, painter_fault

HIDDEN = ("/home/", "/root/", "/tmp/", "/run/user/")  # noqa: S108 - named, not used
"""What the display's sandbox does not show it."""
ADVICE = "name a PNG or JPEG in livekeep.toml, such as one in /usr/local/share/livekeep/pictures"


def check_pictures(around: Surroundings) -> Check:
    """The first fault among all pictures, or how many are good."""
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
        # Who shows the picture judges it. VLC tells nobody; what Pillow reads, it shows.
        fault = painter_fault(path) if around.config.screen.player == "vlc" else display_fault(path)
        if not fault and key == "screen.error" and (fault := painter_fault(path)):
            verdict, fault = "warn", f"{fault}: it shows its text alone"
    if fault:
        return Check("pictures", verdict, f"{key}: {name}: {fault}", advice)
    return Check("pictures", "ok", f"{path.name} can be shown")


def readable_by_display(path: Path) -> bool:
    """Whether the display's user may read the file; where this cannot be tried, it is taken to be so."""
    user = as_display_user()
    return not user or subprocess.run(["test", "-r", path], check=False, timeout=5, **user).returncode == 0
