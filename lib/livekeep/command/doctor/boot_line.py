"""The kernel's command line of a Raspberry Pi (cmdline.txt): what livekeep needs in it, and how to add it.

Sources: Raspberry Pi's documentation of cmdline.txt; the kernel's Documentation/fb/modedb.rst for `video=` ("D" at its end keeps
a digital output on without a TV); vc4's `force_hotplug`, a bit for each HDMI connector. Raspberry Pi OS disables the memory
cgroup by default.
Writes cmdline.txt for `livekeep doctor --fix`, after confirming each change, with a backup beside it.
"""

import re
import time
from dataclasses import dataclass

from livekeep.command import file
from livekeep.command.doctor.doctor_base import Surroundings
from livekeep.command.file import Ownership
from livekeep.core.config import Screen
from livekeep.core.errors import LivekeepError
from livekeep.system import terminal

DEFAULT_MODE = "1920x1080@60"
DEFAULT_CONNECTOR = "HDMI-A-1"


@dataclass(frozen=True)
class Change:
    """A word for the command line, the words it replaces (a pattern), and its purpose."""

    word: str
    replaces: str
    purpose: str


def missing_changes(text: str, screen: Screen) -> tuple[Change, ...]:
    """The changes that the command line lacks, for the configured connector and mode. Raises `LivekeepError` if it is not one
    line."""
    line = single_line(text)
    connector = screen.connector or DEFAULT_CONNECTOR
    mode = screen.mode if re.match(r"[0-9]", screen.mode) else DEFAULT_MODE
    rate = mode if "@" in mode else f"{mode}@60"
    video = Change(
        f"video={connector}:{rate.split('.')[0]}D",
        rf"video={re.escape(connector)}:\S*",
        "the output keeps this resolution, whatever the TV reports, and when it is switched on last",
    )
    hotplug = Change(
        f"vc4.force_hotplug={2 if connector.endswith('-2') else 1}",
        r"vc4\.force_hotplug=\S*",
        "the output stays on while the TV is off",
    )
    cgroup = Change("cgroup_enable=memory", r"cgroup_disable=memory", "the memory limits of the units take effect")
    wanted = (video, hotplug, cgroup) if connector.startswith("HDMI-A-") else (video, cgroup)
    return tuple(change for change in wanted if not is_there(change, line))


def is_there(change: Change, line: str) -> bool:
    """Whether the line already has the effect of the change: the same word, or an own resolution that stays on."""
    words = line.split()
    if change.word in words:
        return True
    if change.word.startswith("video="):
        return any(re.fullmatch(change.replaces, word) and word.endswith(("D", "e")) for word in words)
    if change.word.startswith("vc4."):
        wanted = int(change.word.partition("=")[2])
        return any(int(found[1]) & wanted for word in words if (found := re.fullmatch(r"vc4\.force_hotplug=([0-9]+)", word)))
    return False


def with_change(text: str, change: Change) -> str:
    """The file with one change, still a single line. Raises `LivekeepError` if it was not one line before."""
    kept = [word for word in single_line(text).split() if not re.fullmatch(change.replaces, word)]
    return " ".join([*kept, change.word]) + "\n"


def single_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise LivekeepError(f"has {len(lines)} lines, but the kernel reads exactly one; correct the file first")
    return lines[0]


def fix(around: Surroundings, yes: bool) -> None:
    """Offer each missing change; write the accepted ones. Raises `LivekeepError`."""
    path = around.boot_file()
    if path is None:
        terminal.say("Boot file: nothing to change; only a Raspberry Pi has a cmdline.txt")
        return
    text = file.read_text(path)
    try:
        missing = missing_changes(text, around.config.screen)
    except LivekeepError as error:
        raise LivekeepError(f"{path}: {error}") from error
    is_changed = False
    for change in missing:
        terminal.say(f"{path}: add {change.word}: {change.purpose}")
        if yes or terminal.confirm("Make this change?"):
            text, is_changed = with_change(text, change), True
    if not is_changed:
        terminal.say(f"{path}: nothing was changed")
        return
    backup = file.back_up(path, time.time())
    file.replace(path, text.encode(), Ownership(0o755))
    terminal.say(f"{path}: changed; the old version is {backup}")
    terminal.say("Reboot for it to take effect: sudo reboot")
