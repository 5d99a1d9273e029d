"""systemd's manager on D-Bus: the calls that livekeep makes, and what they return.

What may be asked of systemd beyond reading is in etc/polkit. The operator's commands change units through systemctl(1) instead:
it also works in an image that is being made, waits for the jobs and explains what went wrong in the words that operators know.
Source: org.freedesktop.systemd1(5).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from livekeep.system import dbus
from livekeep.system.dbus import BusError, Call, CallError

NAME, ROOT = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER, UNIT, SERVICE, TIMER = (f"{NAME}.{interface}" for interface in ("Manager", "Unit", "Service", "Timer"))
NOT_RUNNING = ("inactive", "failed")
NO_SUCH_UNIT = f"{NAME}.NoSuchUnit"


class ListedUnit(NamedTuple):
    """A unit as systemd lists it: whether it is loaded, and its state."""

    name: str
    load: str
    active: str
    sub: str
    path: str


def path_of(unit: str) -> str:
    """The object's path: each character that is no letter or digit is written as its hexadecimal code."""
    return f"{ROOT}/unit/" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in unit)


def manager(member: str, signature: str = "", *arguments: Any) -> Call:
    return Call(NAME, ROOT, MANAGER, member, signature, arguments)


def list_by_patterns(patterns: Iterable[str]) -> Call:
    """The units that systemd has loaded, or that others name; it does not load any for this."""
    return manager("ListUnitsByPatterns", "asas", [], list(patterns))


def list_by_names(names: Iterable[str]) -> Call:
    """These units, loaded from disk if need be."""
    return manager("ListUnitsByNames", "as", list(names))


def start(unit: str) -> Call:
    """Start `unit`; the result is the job's path. `restart` and `stop` likewise."""
    return manager("StartUnit", "ss", unit, "replace")


def stop(unit: str) -> Call:
    return manager("StopUnit", "ss", unit, "replace")


def restart(unit: str) -> Call:
    return manager("RestartUnit", "ss", unit, "replace")


def kill(unit: str, signal: int) -> Call:
    """Send `signal` to the main process alone."""
    return manager("KillUnit", "ssi", unit, "main", signal)


def reset_failed(unit: str) -> Call:
    """Forget that `unit` failed, and how often it was started."""
    return manager("ResetFailedUnit", "s", unit)


def get(path: str, interface: str, name: str) -> Call:
    return dbus.get(NAME, path, interface, name)


def listed_units(result: tuple[Any, ...] | CallError) -> list[ListedUnit]:
    """The units in the result of `list_by_patterns` or `list_by_names`. Raises `BusError` for anything else."""
    if isinstance(result, CallError):
        raise result
    try:
        (rows,) = result
        return [ListedUnit(name, load, active, sub, path) for name, _, load, active, sub, _, path, *_ in rows]
    except (ValueError, TypeError) as error:
        raise BusError("systemd: ListUnits returns something else than units; see systemctl status") from error
