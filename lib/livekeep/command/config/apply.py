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
from livekeep.core.config import Exporter, Screen
from livekeep.core.errors import ConfigError, LivekeepError
from livekeep.core.probe_results import PROBES
from livekeep.core.state import TvState
from livekeep.status import snapshot
from livekeep.system import systemctl, systemd, terminal
from livekeep.system.dbus import BusError
from livekeep.system.loopback import is_loopback_address

DISPLAY = "livekeep-display.service"
PLAYER = "livekeep-player.service"
ERROR_SCREEN = "livekeep-error-screen.service"
TV = "livekeep-tv.service"
EXPORTER = "livekeep-exporter.service"
WEB_SOCKET = "livekeep-web.socket"
DROP_IN = "etc/systemd/system/{unit}.d/60-screen.conf"
"""Sorted after 50-sandbox.conf, which it relaxes."""
CONSOLE = paths.PICTURE_DIRECTORY.parent / "systemd/console.conf"
"""The display unit's settings on the bare console."""
BOOTED = paths.ROOT / "run/systemd/system"
"""Exists where systemd runs; sd_booted(3)."""
UNIT_FILES = paths.ROOT / "usr/lib/systemd/system"
OVERRIDES = paths.ROOT / "etc/systemd/system"


def run(arguments: argparse.Namespace) -> int:
    """Put the screen's, the record's and the health part's settings in force; without a part, only remove its leftovers."""
    settings = config.load()
    may_start = not arguments.no_restart
    is_changed = apply_screen(settings.screen, may_start)
    is_changed |= apply_units(wanted_units.wanted_of_tv(settings), may_start)
    if may_start and unit_file(TV).exists() and (settings.schedule.has_plan() or state.path_of(TvState).exists()):
        # It switches the TV if the plan now says so.
        systemctl.tell("start", "--no-block", TV)
    is_changed |= apply_units(wanted_units.wanted_of_record(settings), may_start)
    is_open = unit_file(WEB_SOCKET).exists() and not is_loopback_address(settings.web.address)
    if is_open and not credential.credential_file(secret=WEB_PASSWORD).exists():
        terminal.say("web.address: without a password, only this machine has access; set one: sudo livekeep set-web-password")
    # systemd would report only that the unit could not be started.
    problem = address_problem(settings.exporter) if may_start and unit_file(EXPORTER).exists() else ""
    is_changed |= apply_units(wanted_units.wanted_of_health(settings), may_start, unfit=EXPORTER if problem else "")
    if problem:
        raise LivekeepError(problem)
    if not is_changed:
        terminal.say("Nothing to change")
    return 0


def apply_during_boot() -> None:
    """The same before the screen's units start: nothing waits for a unit. Raises `LivekeepError`.

    The boot's transaction is already planned, so units that are switched on or off now are started and stopped here.
    """
    if systemctl.is_running(unit_names.TARGET):
        run(argparse.Namespace(no_restart=False))
        return
    run(argparse.Namespace(no_restart=True))
    settings = config.load()
    wanted = (
        *wanted_units.wanted_of_tv(settings),
        *wanted_units.wanted_of_record(settings),
        *wanted_units.wanted_of_health(settings),
    )
    for verb, is_enabled in (("start", True), ("stop", False)):
        names = [entry.unit for entry in wanted if entry.is_enabled == is_enabled and unit_file(entry.unit).exists()]
        if names:
            systemctl.tell(verb, "--no-block", *names)


def apply_screen(screen: Screen, may_restart: bool) -> bool:
    """Returns whether anything of the display's changed. Raises `ConfigError` for a desktop user that does not exist."""
    wanted = dict.fromkeys((DISPLAY, ERROR_SCREEN, TV), "")
    if snapshot.has_screen():
        uid = None
        if screen.resolved_output() == "wayland" and screen.desktop_user:
            try:
                uid = pwd.getpwnam(screen.desktop_user).pw_uid
            except KeyError as error:
                problem = f'screen.desktop_user: there is no user "{screen.desktop_user}"; see getent passwd'
                raise ConfigError([problem]) from error
        # A container has no text console; in an image build, one is assumed.
        has_console = (paths.ROOT / "dev/tty1").exists() or not BOOTED.is_dir()
        console = file.read_text(CONSOLE) if CONSOLE.exists() and has_console else ""
        wanted = {
            DISPLAY: desktop.drop_in(screen, uid, console),
            ERROR_SCREEN: desktop.session_drop_in(screen, uid),
            TV: desktop.tv_drop_in(screen, uid),
        }
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
    try:
        is_enabled = systemd.read_units([entry.unit])[0].enabled == "enabled"
    except BusError:
        # In an image build systemd does not run; there each unit is enabled again.
        if BOOTED.is_dir():
            raise
        is_enabled = False
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
    # Otherwise a probe that is switched off would seem silent.
    if kind := PROBES.get(entry.unit.removeprefix("livekeep-probe-").removesuffix(".timer")):
        state.remove(kind)
    terminal.say(f"{entry.unit}: disabled{' and stopped' if may_start else ''}")
    return True


def write(path: Path, text: str) -> bool:
    """Write `text` to the drop-in `path`, or remove it for "", and report it. Returns whether it changed."""
    present = file.read_text(path) if path.exists() else ""
    if present == text:
        return False
    if text:
        file.make_folder(path.parent, 0o755)
        file.replace(path, text.encode(), Ownership(0o644))
        terminal.say(f"{path}: {'changed' if present else 'written'}")
        return True
    try:
        path.unlink()
        path.parent.rmdir()
    except OSError as error:
        # The folder may contain other drop-ins.
        if path.exists():
            raise LivekeepError(f"{path}: cannot be removed ({error.strerror}); run this with sudo") from error
    terminal.say(f"{path}: removed")
    return True
