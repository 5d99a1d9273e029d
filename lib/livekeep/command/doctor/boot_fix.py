"""livekeep doctor --fix: make the boot file's changes, each asked for, with a backup beside it. Writes cmdline.txt."""

import time
from pathlib import Path

from livekeep.command import file
from livekeep.command.doctor import boot_line
from livekeep.command.doctor.boot_line import Change
from livekeep.command.doctor.doctor_base import Surroundings
from livekeep.command.file import Ownership
from livekeep.core.config import Screen
from livekeep.core.errors import LivekeepError
from livekeep.system import terminal


def fix(around: Surroundings, yes: bool) -> None:
    """Offer each change that is missing; write those that were accepted. Raises `LivekeepError`."""
    path = around.boot_file()
    if path is None:
        terminal.say("Boot file: nothing to change; only a Raspberry Pi has a cmdline.txt")
        return
    text = file.read_text(path)
    accepted = [change for change in missing(path, text, around.config.screen) if accept(change, path, yes)]
    if not accepted:
        terminal.say(f"{path}: nothing was changed")
        return
    for change in accepted:
        text = boot_line.with_change(text, change)
    backup = file.back_up(path, time.time())
    file.replace(path, text.encode(), Ownership(0o755))
    terminal.say(f"{path}: changed; the old one is kept as {backup}")
    terminal.say("Reboot for it to take effect: sudo reboot")


def missing(path: Path, text: str, screen: Screen) -> tuple[Change, ...]:
    try:
        return boot_line.missing_changes(text, screen)
    except LivekeepError as error:
        raise LivekeepError(f"{path}: {error}") from error


def accept(change: Change, path: Path, yes: bool) -> bool:
    terminal.say(f"{path}: add {change.word}: {change.purpose}")
    return yes or terminal.confirm("Make this change?")
