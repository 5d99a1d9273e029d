"""livekeep apply: writes systemd drop-ins from the configuration; starts, restarts and stops the units concerned."""

import argparse
import pwd
import socket
from collections.abc import Sequence
from pathlib import Path

from livekeep.command import file, unit_names
from livekeep.command.config import desktop, wanted_units
from livekeep.command.config.wanted_units import Wanted
from livekeep.command.file import Ownership
from livekeep.command.secrets import credential
from livekeep.command.secrets.set_web_password import WEB_PASSWORD
from livekeep.core import config, paths, state
from livekeep.core.config import Config, Exporter, Screen
from livekeep.core.errors import ConfigError, LivekeepError
from livekeep.core.probe_results import PROBES
from livekeep.system import systemctl, systemd, terminal
from livekeep.system.dbus import BusError
from livekeep.system.loopback import is_loopback_address

DISPLAY = "livekeep-display.service"
PLAYER = "livekeep-player.service"
ERROR_SCREEN = "livekeep-error-screen.service"
EXPORTER = "livekeep-exporter.service"
WEB_SOCKET = "livekeep-web.socket"
DROP_IN = "etc/systemd/system/{unit}.d/60-screen.conf"
"""Sorted after 50-sandbox.conf, which it relaxes."""

CONSOLE = paths.PICTURE_DIRECTORY.parent / "systemd/console.conf"
"""The display unit's settings on the bare console."""


BOOTED = "run/systemd/system"
"""Exists where systemd runs; sd_booted(3)."""
UNIT_FILES = paths.ROOT / "usr/lib/systemd/system"
OVERRIDES = paths.ROOT / "etc/systemd/system"
WITHOUT_SCREEN = paths.ROOT / "var/lib/livekeep/install/without-screen"
"""install.sh creates it on a machine without a TV."""


def run(arguments: argparse.Namespace) -> int:
    settings = config.load()
    may_start = not arguments.no_restart
    # Both, whatever the first one returned.
    changed = [
        apply_screen(settings.screen, may_start),
        apply_record(settings, may_start),
        apply_health(settings, may_start),
    ]
    if not any(changed):
        terminal.say("Nothing to change")
    return 0


def apply_screen(screen: Screen, may_restart: bool) -> bool:
    """Returns whether anything of the display's changed."""
    wanted = dict.fromkeys((DISPLAY, ERROR_SCREEN), "")
    if not WITHOUT_SCREEN.exists():
        uid = user_id(screen)
        console = file.read_text(CONSOLE) if CONSOLE.exists() and has_console() else ""
        wanted = {DISPLAY: desktop.drop_in(screen, uid, console), ERROR_SCREEN: desktop.session_drop_in(screen, uid)}
    changed = [name for name, text in wanted.items() if write(paths.ROOT / DROP_IN.format(unit=name), text)]
    if not changed:
        return False
    systemctl.tell("daemon-reload")
    if DISPLAY in changed and may_restart and systemctl.is_running(unit_names.TARGET):
        # The player must know first which program it will find.
        if systemctl.is_running(PLAYER):
            systemctl.tell("reload", PLAYER)
        systemctl.tell("reset-failed", DISPLAY)
        systemctl.tell("restart", "--no-block", DISPLAY)
        terminal.say(f"{DISPLAY}: restarted")
    return True


def apply_record(settings: Config, may_start: bool) -> bool:
    """Returns whether anything of the record part's changed."""
    changed = apply_units(wanted_units.wanted_of_record(settings), may_start)
    is_open = unit_file(WEB_SOCKET).exists() and not is_loopback_address(settings.web.address)
    if is_open and not credential.credential_file(secret=WEB_PASSWORD).exists():
        terminal.say("web.address: without a password only this machine is let in; set one: sudo livekeep set-web-password")
    return changed


def apply_health(settings: Config, may_start: bool) -> bool:
    """Returns whether anything of the exporter's or the probes' changed; without the health part, only removes its leftovers.

    Raises `LivekeepError`, after all else is done, if the exporter could not listen.
    """
    is_installed = (UNIT_FILES / EXPORTER).exists()
    problem = address_problem(settings.exporter) if may_start and is_installed else ""
    # systemd would report only that the unit could not be started.
    changed = apply_units(wanted_units.wanted_of_health(settings), may_start, unfit=EXPORTER if problem else "")
    if problem:
        raise LivekeepError(problem)
    return changed


def apply_units(wanted: Sequence[Wanted], may_start: bool, unfit: str = "") -> bool:
    """Write drop-ins, and start, restart and stop units according to the configuration; of units that are not installed, only
    remove leftovers. `unfit`: a unit to leave unchanged. Returns whether anything changed."""
    installed = [entry for entry in wanted if unit_file(entry.unit).exists()]
    rewritten = [
        entry
        for entry in wanted
        if write(OVERRIDES / f"{entry.unit}.d" / entry.drop_in_name, entry.drop_in if entry in installed else "")
    ]
    if rewritten:
        systemctl.tell("daemon-reload")
    fit = [entry for entry in installed if entry.unit != unfit]
    switched = [entry for entry in fit if switch(entry, may_start)]
    for entry in rewritten:
        if may_start and entry in fit and entry not in switched and systemctl.is_running(entry.unit):
            # A running timer would keep its old time; a socket cannot be restarted while its service runs.
            if entry.unit.endswith(".socket"):
                systemctl.tell("stop", entry.unit, entry.unit.replace(".socket", ".service"))
            systemctl.tell("restart", entry.unit)
            terminal.say(f"{entry.unit}: restarted")
    return bool(rewritten or switched)


def unit_file(name: str) -> Path:
    """The path of a unit's file, or of its template."""
    own = UNIT_FILES / name
    return own if own.exists() or "@" not in name else UNIT_FILES / f"{name.partition('@')[0]}@.{name.rpartition('.')[2]}"


def address_problem(exporter: Exporter) -> str:
    """Why the exporter could not listen on its address, and what to do; "" if it can, or is off."""
    if not exporter.enabled:
        return ""
    family = socket.AF_INET6 if ":" in exporter.address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((exporter.address, 0))
    except OSError as error:
        every = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - said, not listened on
        advice = f'see which it has: ip -brief address; or "{every}" for all of them; then: sudo livekeep apply'
        return f'exporter.address: this machine cannot listen on "{exporter.address}" ({error.strerror}); {advice}'
    return ""


def switch(entry: Wanted, may_start: bool) -> bool:
    """Enable and start a unit, or disable and stop it, and report it. Returns whether anything changed."""
    is_enabled = is_enabled_now(entry.unit)
    now = ["--now"] if may_start else []
    if entry.is_enabled:
        if is_enabled and (not may_start or systemctl.is_running(entry.unit)):
            return False
        systemctl.tell("enable", "--quiet", *now, entry.unit)
        terminal.say(f"{entry.unit}: {'enabled and started' if may_start else 'enabled'}")
        return True
    if not is_enabled and not systemctl.is_running(entry.unit):
        return False
    systemctl.tell("disable", "--quiet", *now, entry.unit)
    forget_findings(entry.unit)
    terminal.say(f"{entry.unit}: disabled{' and stopped' if may_start else ''}")
    return True


def is_enabled_now(name: str) -> bool:
    """Whether a unit starts at boot. Raises `BusError` if systemd doesn't reply.

    In an image build systemd does not run; there each unit is enabled again.
    """
    try:
        return systemd.read_units([name])[0].enabled == "enabled"
    except BusError:
        if (paths.ROOT / BOOTED).is_dir():
            raise
        return False


def forget_findings(timer: str) -> None:
    """Otherwise a probe that is switched off would seem silent."""
    kind = PROBES.get(timer.removeprefix("livekeep-probe-").removesuffix(".timer"))
    if kind:
        state.remove(kind)


def has_console(root: Path = paths.ROOT) -> bool:
    """Whether the machine has a text console; a container has none. Assumed in an image build."""
    return (root / "dev/tty1").exists() or not (root / BOOTED).is_dir()


def write(path: Path, text: str) -> bool:
    """Write `text` to the drop-in `path`, and report it. Returns whether it changed."""
    change = bring_to(path, text)
    if change:
        terminal.say(f"{path}: {change}")
    return bool(change)


def user_id(screen: Screen) -> int | None:
    """The uid of the desktop user if one is needed. Raises `ConfigError` for a user that does not exist."""
    if screen.resolved_output() != "wayland" or not screen.desktop_user:
        return None
    try:
        return pwd.getpwnam(screen.desktop_user).pw_uid
    except KeyError as error:
        raise ConfigError([f'screen.desktop_user: there is no user "{screen.desktop_user}"; see getent passwd']) from error


def bring_to(path: Path, wanted: str) -> str:
    """Write `wanted` to `path`, or remove it for "". Returns what was done, "" for nothing. Raises `LivekeepError`."""
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
