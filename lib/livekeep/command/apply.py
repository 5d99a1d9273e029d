"""livekeep apply: write what the configuration asks of systemd, as drop-ins; restart the display when its drop-in changed."""

import argparse
import pwd
from pathlib import Path

from livekeep.command import desktop, file, unit
from livekeep.command.file import Ownership
from livekeep.core import config, paths
from livekeep.core.config import Screen
from livekeep.core.errors import ConfigError, LivekeepError

DISPLAY = "livekeep-display.service"
PLAYER = "livekeep-player.service"
ERROR_SCREEN = "livekeep-error-screen.service"
DROP_IN = "etc/systemd/system/{unit}.d/60-screen.conf"
"""After the sandbox's 50-sandbox.conf, which it relaxes."""

CONSOLE = paths.PICTURE_DIRECTORY.parent / "systemd/console.conf"
"""What the display's unit needs on the bare console."""


def run(arguments: argparse.Namespace) -> int:
    screen = config.load().screen
    uid = user_id(screen)
    console = file.read_text(CONSOLE) if CONSOLE.exists() and has_console() else ""
    wanted = {DISPLAY: desktop.drop_in(screen, uid, console), ERROR_SCREEN: desktop.session_drop_in(screen, uid)}
    changed = [name for name, text in wanted.items() if write(name, text)]
    if not changed:
        print("Nothing to change")
        return 0
    unit.tell("daemon-reload")
    if DISPLAY in changed and not arguments.no_restart and unit.is_running(unit.TARGET):
        # The player must know first which program it will meet.
        if unit.is_running(PLAYER):
            unit.tell("reload", PLAYER)
        unit.tell("reset-failed", DISPLAY)
        unit.tell("restart", "--no-block", DISPLAY)
        print(f"{DISPLAY}: restarted")
    return 0


def has_console(root: Path = paths.ROOT) -> bool:
    """Whether the box has a text console; a container has none. Taken for granted while an image is being made."""
    return (root / "dev/tty1").exists() or not (root / "run/systemd/system").is_dir()


def write(name: str, text: str) -> bool:
    """Bring the drop-in of the unit `name` to `text`, and say so; whether it changed."""
    path = paths.ROOT / DROP_IN.format(unit=name)
    change = bring_to(path, text)
    if change:
        print(f"{path}: {change}")
    return bool(change)


def user_id(screen: Screen) -> int | None:
    """The uid of the desktop's user where one is needed. Raises `ConfigError` for a user that does not exist."""
    if screen.resolved_output() != "wayland" or not screen.desktop_user:
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
