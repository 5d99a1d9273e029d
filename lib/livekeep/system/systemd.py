"""systemd's manager on D-Bus: the calls that livekeep makes, and their results.

etc/polkit lists what is allowed beyond reading. The operator's commands change units through systemctl(1) instead (systemctl.py).
Source: org.freedesktop.systemd1(5).
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from livekeep.system import dbus
from livekeep.system.dbus import SYSTEM_BUS, Bus, BusError, Call, CallError

NAME, ROOT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER, UNIT, SERVICE, TIMER = (f"{NAME}.{interface}" for interface in ("Manager", "Unit", "Service", "Timer"))
NOT_RUNNING = ("inactive", "failed")
NO_SUCH_UNIT = f"{NAME}.NoSuchUnit"


class ListedUnit(NamedTuple):
    """A unit in systemd's list: whether it is loaded, and its state."""

    name: str
    load: str
    active: str
    sub: str
    path: str


def path_of(unit: str) -> str:
    """The object's path: each character but letters and digits becomes its hexadecimal code."""
    return f"{ROOT}/unit/" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in unit)


def manager(member: str, signature: str = "", *arguments: Any) -> Call:
    return Call(NAME, ROOT, MANAGER, member, signature, arguments)


def list_by_patterns(patterns: Iterable[str]) -> Call:
    """The units that systemd has loaded, or that others refer to; the call loads none."""
    return manager("ListUnitsByPatterns", "asas", [], list(patterns))


def job(verb: Literal["start", "restart", "stop"], unit: str) -> Call:
    """Start, restart or stop `unit`; the result is the job's path."""
    return manager(f"{verb.capitalize()}Unit", "ss", unit, "replace")


def get(path: str, interface: str, name: str) -> Call:
    return dbus.get(NAME, path, interface, name)


def listed_units(result: tuple[Any, ...] | CallError) -> list[ListedUnit]:
    """The units in systemd's list. Raises `BusError` for anything else."""
    if isinstance(result, CallError):
        raise result
    try:
        (rows,) = result
        return [ListedUnit(name, load, active, sub, path) for name, _, load, active, sub, _, path, *_ in rows]
    except (ValueError, TypeError) as error:
        raise BusError("systemd: ListUnits returns something else than units; see systemctl status") from error


@dataclass(frozen=True)
class Unit:
    """A unit's state in systemd. `changed_monotonic` is 0 if the state has not changed since boot."""

    name: str
    load: str = ""
    active: str = ""
    sub: str = ""
    enabled: str = ""
    restarts: int = 0
    result: str = ""
    changed_monotonic: float = 0.0

    def is_active(self) -> bool:
        return self.active in ("active", "reloading", "refreshing", "activating")


def read_units(names: Sequence[str], bus_path: Path = SYSTEM_BUS) -> tuple[Unit, ...]:
    """The units in the order of `names`, each under that name even where it is an alias. Raises `BusError`."""
    with contextlib.closing(Bus(bus_path)) as bus:
        # By names, systemd loads units from disk if necessary.
        listed = listed_units(bus.calls([manager("ListUnitsByNames", "as", list(names))])[0])
        calls = []
        for entry in listed:
            # Such as …systemd1.Timer; a target has neither result nor restarts.
            kind = f"{NAME}.{entry.name.rpartition('.')[2].capitalize()}"
            properties = (UNIT, "UnitFileState"), (UNIT, "StateChangeTimestampMonotonic"), (kind, "NRestarts"), (kind, "Result")
            calls += [get(entry.path, interface, name) for interface, name in properties]
        details = iter([None if isinstance(result, CallError) else result[0] for result in bus.calls(calls)])
    units = []
    for name, entry in zip(names, listed, strict=True):
        enabled, changed, restarts, result = (next(details) for _ in range(4))
        changed_monotonic = (changed or 0) / 1e6
        units.append(
            Unit(name, entry.load, entry.active, entry.sub, enabled or "", restarts or 0, result or "", changed_monotonic)
        )
    return tuple(units)
