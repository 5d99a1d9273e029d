"""livekeep apply: write what the configuration asks of systemd, the display's drop-in; restart the display when that changed."""

import argparse
import pwd
from pathlib import Path

from livekeep.command import desktop, file, unit
from livekeep.command.file import Ownership
from livekeep.core import config, paths
from livekeep.core.config import Screen
from livekeep.core.errors import ConfigError, LivekeepError

DISPLAY = "livekeep-display.service"
DROP_IN = paths.ROOT / f"etc/systemd/system/{DISPLAY}.d/50-desktop.conf"

CONSOLE = paths.PICTURE_DIRECTORY.parent / "systemd/console.conf"
"""What the display's unit needs on the bare console."""


def run(arguments: argparse.Namespace) -> int:
    screen = config.load().screen
    wanted = desktop.drop_in(screen, user_id(screen), file.read_text(CONSOLE) if CONSOLE.exists() else "")
    change = bring_to(DROP_IN, wanted)
    if not change:
        print(f"{DISPLAY}: nothing to change")
        return 0
    print(f"{DROP_IN}: {change}")
    unit.tell("daemon-reload")
    if not arguments.no_restart and unit.is_running(unit.TARGET):
        unit.tell("reset-failed", DISPLAY)
        unit.tell("restart", DISPLAY)
        print(f"{DISPLAY}: restarted")
    return 0


def user_id(screen: Screen) -> int | None:
    """The uid of the desktop's user where one is needed. Raises `ConfigError` for a user that does not exist."""
    if desktop.resolve_output(screen) != "wayland" or not screen.desktop_user:
        return None
    try:
        return pwd.getpwnam(screen.desktop_user).pw_uid
    except KeyError as error:
        raise ConfigError([f'screen.desktop_user: there is no user "{screen.desktop_user}"; see getent passwd']) from error


def bring_to(path: Path, wanted: str) -> str:
    """Make `path` hold `wanted`, or be absent for ""; say what was done, "" for nothing. Raises `LivekeepError`."""
    present = file.read_text(path) if path.exists() else ""
    if present == wanted:
        return ""
    if wanted:
        file.make_folder(path.parent, 0o755)
        file.replace(path, wanted.encode(), Ownership(0o644))
        return "changed" if present else "written"
    try:
        path.unlink()
        path.parent.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if path.exists():
            raise LivekeepError(f"{path}: cannot be removed ({error.strerror}); run this with sudo") from error
    return "removed"
