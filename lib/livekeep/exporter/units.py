"""What systemd knows of livekeep's units, from its D-Bus interface, and what they use, from their cgroups.

Part of livekeep-exporter; reading needs no privilege. Source: org.freedesktop.systemd1(5).

A question costs PID 1, the bus and us about 30 µs each. So every scrape asks for the states, in one question; what moves all
the time is asked every ten seconds, the rest when a unit's state or its processes have changed, and at times besides.
The states come by pattern, not by name: systemd would load a unit that nothing refers to from disk, at each scrape, for 3 ms.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from livekeep.core.config import CHANNEL_NAME
from livekeep.exporter.bus import Bus, BusError, Reply, encode_call
from livekeep.exporter.cgroup import Cgroup, folder_of_all
from livekeep.exporter.metrics import Sample

SYSTEMD = "org.freedesktop.systemd1"
SYSTEMD_PATH = "/org/freedesktop/systemd1"
MANAGER, UNIT, SERVICE, TIMER = (f"{SYSTEMD}.{name}" for name in ("Manager", "Unit", "Service", "Timer"))
BUS_SOCKET = "run/dbus/system_bus_socket"
LIST_UNITS = encode_call(SYSTEMD, SYSTEMD_PATH, MANAGER, "ListUnitsByPatterns", [], ["livekeep*"])
LIST_SIGNATURE = "a(ssssssouso)"

PROBES = ("network", "stream", "speedtest", "host", "youtube")
AIR = ("storage", "controller", "air")
SERVICES = ("poller", "display", "player", "error-screen", "exporter", *(f"probe-{probe}" for probe in PROBES), *AIR)
TIMERS = tuple(f"probe-{probe}" for probe in PROBES)
SOCKETS = ("storage", "controller")
UNITS = frozenset(
    [
        "livekeep.target",
        *(f"livekeep-{name}.service" for name in SERVICES),
        *(f"livekeep-{name}.timer" for name in TIMERS),
        *(f"livekeep-{name}.socket" for name in SOCKETS),
    ]
)
WORKER = re.compile(rf"livekeep-worker@{CHANNEL_NAME.pattern}\.service")
"""A channel's unit."""
STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating")
HAVE_PROCESSES = ("active", "reloading", "activating", "deactivating")

OFTEN_SECONDS = 10.0
SELDOM_SECONDS = 60.0
SELDOM_AT_ONCE = 1
"""So many units are asked in full at one scrape, beside those that have changed."""
LONG_AGO = float("-inf")
NEVER = (0, 2**64 - 1)
"""How systemd writes that something did not happen, or is off."""
LONGEST_RESULT = 64


class Property(NamedTuple):
    """A property that is a family. `needs` names another one: without that, this one says nothing."""

    interface: str
    name: str
    family: str
    often: bool = False
    needs: str = ""


STARTED = Property(UNIT, "ActiveEnterTimestamp", "livekeep_unit_start_time_seconds")
PROPERTIES = {
    "service": (
        STARTED,
        Property(SERVICE, "NRestarts", "livekeep_unit_restarts_total"),
        Property(SERVICE, "Result", "livekeep_unit_result_info"),
        Property(SERVICE, "WatchdogUSec", "livekeep_unit_watchdog_timeout_seconds"),
        Property(SERVICE, "WatchdogTimestamp", "livekeep_unit_watchdog_last_ping_timestamp_seconds", True, "WatchdogUSec"),
    ),
    "timer": (STARTED, Property(TIMER, "LastTriggerUSec", "livekeep_timer_last_trigger_timestamp_seconds", True)),
    "target": (STARTED,),
    "socket": (STARTED,),
    "": (
        Property(MANAGER, "NFailedUnits", "livekeep_systemd_failed_units", True),
        Property(MANAGER, "RuntimeWatchdogUSec", "livekeep_hardware_watchdog_timeout_seconds"),
        Property(
            MANAGER,
            "WatchdogLastPingTimestamp",
            "livekeep_hardware_watchdog_last_ping_timestamp_seconds",
            True,
            "RuntimeWatchdogUSec",
        ),
    ),
}
"""By the kind of unit; "" is the manager itself."""


class Listed(NamedTuple):
    """A unit as systemd lists it; the manager has neither name nor state."""

    name: str
    state: str
    path: str


class Unit:
    """One unit and what was last heard of it."""

    def __init__(self, listed: Listed, hierarchy: Path) -> None:
        self.name, self.state, path = listed
        self.asked_at = LONG_AGO
        self.values: dict[str, int | str] = {}
        self.samples: list[Sample] = []
        self.processes = b""
        kind = self.name.rpartition(".")[2]
        self.cgroup = Cgroup(hierarchy, self.name) if kind == "service" else None
        self.questions = tuple(Question(self, asked, encode_get(path, asked)) for asked in PROPERTIES[kind])

    def often(self) -> "list[Question]":
        return [
            question
            for question in self.questions
            if question.asked.often and (not question.asked.needs or question.asked.needs in self.values)
        ]

    def take(self, asked: Property, value: int | str | None) -> None:
        if value is None:
            self.values.pop(asked.name, None)
        else:
            self.values[asked.name] = value


class Question(NamedTuple):
    unit: Unit
    asked: Property
    call: bytes


def encode_get(path: str, asked: Property) -> bytes:
    return encode_call(SYSTEMD, path, "org.freedesktop.DBus.Properties", "Get", asked.interface, asked.name)


def value_of(reply: Reply, asked: Property) -> int | str | None:
    """What systemd says; None when it does not know such a property or unit, or says that there is nothing to tell.

    Raises `BusError` for an answer that cannot be read.
    """
    if reply.error or reply.signature != "v":
        return None
    (value,) = reply.values()
    if asked.name == "Result":
        return value if isinstance(value, str) and value.isascii() and 0 < len(value) <= LONGEST_RESULT else None
    if not isinstance(value, int) or value < 0 or (is_time(asked) and value in NEVER):
        return None
    return value


def is_time(asked: Property) -> bool:
    """Whether it is given in microseconds."""
    return asked.name.endswith(("USec", "Timestamp"))


def listed_units(reply: Reply) -> dict[str, Listed]:
    """livekeep's units by name, those left out that exist in name only. Raises `BusError`."""
    if reply.error or reply.signature != LIST_SIGNATURE:
        raise BusError(f"systemd: does not list its units ({reply.error or reply.signature!r}); see systemctl status")
    (rows,) = reply.values()
    named = (Listed(name, state, path) for name, _, load, state, _, _, path, *_ in rows if load != "not-found")
    return {unit.name: unit for unit in named if unit.name in UNITS or WORKER.fullmatch(unit.name)}


def samples_of(name: str, state: str, values: dict[str, int | str]) -> Iterator[Sample]:
    """All of a unit but what it uses. A unit that does not run was not started."""
    labels = (name,) if name else ()
    if state in STATES:
        yield from (("livekeep_unit_state", (name, known), float(known == state)) for known in STATES)
    for asked in PROPERTIES[name.rpartition(".")[2]]:
        value = values.get(asked.name)
        if value is None or (asked.needs and asked.needs not in values):
            continue
        if isinstance(value, str):
            yield asked.family, (*labels, value), 1.0
        elif asked is not STARTED or state in ("active", "reloading"):
            yield asked.family, labels, value / 1e6 if is_time(asked) else float(value)


class Units:
    """The collector. `collect` raises `BusError` when the bus or systemd does not answer; the next one connects anew."""

    def __init__(self, root: Path) -> None:
        self._hierarchy = folder_of_all(root)
        self._bus = Bus(str(root / BUS_SOCKET))
        self._units: dict[str, Unit] = {}
        self._listing: Reply | None = None
        self._often_asked_at = LONG_AGO

    def close(self) -> None:
        self._bus.close()
        self._forget()

    def _forget(self) -> None:
        """Ask everything anew."""
        for unit in self._units.values():
            if unit.cgroup:
                unit.cgroup.close()
        self._units.clear()
        self._listing = None

    def collect(self, now: float) -> Iterator[Sample]:
        """Every figure; `now` in Unix seconds."""
        try:
            used = self._ask(now)
        except BusError:
            self._forget()
            raise
        for unit in self._units.values():
            yield from unit.samples
        yield from used

    def _ask(self, now: float) -> list[Sample]:
        """Bring the units up to date; what they use."""
        questions, known = self._due(now), self._listing
        self._bus.send([LIST_UNITS, *(question.call for question in questions)])
        # While systemd makes its answers.
        changed = self._with_other_processes()
        used = self._used()
        listing, *replies = self._bus.receive()
        changed |= self._update(listing)
        self._take(questions, replies)
        self._ask_in_full(changed, now)
        return used if listing == known and not changed else self._used()

    def _ask_in_full(self, units: set[Unit], now: float) -> None:
        questions = [question for unit in units for question in unit.questions]
        for unit in units:
            unit.asked_at = now
            if unit.cgroup:
                unit.cgroup.open()
                unit.processes = unit.cgroup.processes()
        if questions:
            self._take(questions, self._bus.ask([question.call for question in questions]))

    def _due(self, now: float) -> list[Question]:
        """What to ask though nothing is known to have changed."""
        questions: list[Question] = []
        if not 0 <= now - self._often_asked_at < OFTEN_SECONDS:
            self._often_asked_at = now
            questions += [question for unit in self._units.values() for question in unit.often()]
        stale = [unit for unit in self._units.values() if not 0 <= now - unit.asked_at < SELDOM_SECONDS]
        for unit in sorted(stale, key=lambda unit: unit.asked_at)[:SELDOM_AT_ONCE]:
            unit.asked_at = now
            questions += unit.questions
        return questions

    def _update(self, listing: Reply) -> set[Unit]:
        """Take the list of units; those that are new or have another state."""
        if listing == self._listing:
            return set()
        listed = listed_units(listing)
        listed[""] = Listed("", "", SYSTEMD_PATH)
        for name in self._units.keys() - listed.keys():
            gone = self._units.pop(name)
            if gone.cgroup:
                gone.cgroup.close()
        changed = set()
        for name, found in listed.items():
            unit = self._units.get(name)
            if unit is None:
                unit = self._units[name] = Unit(found, self._hierarchy)
                changed.add(unit)
            elif unit.state != found.state:
                unit.state = found.state
                changed.add(unit)
        self._listing = listing
        return changed

    def _take(self, questions: Sequence[Question], replies: Iterable[Reply]) -> None:
        """Keep the answers, and make the samples of the units they are about."""
        for question, reply in zip(questions, replies, strict=True):
            question.unit.take(question.asked, value_of(reply, question.asked))
        for unit in {question.unit for question in questions}:
            unit.samples = list(samples_of(unit.name, unit.state, unit.values))

    def _with_other_processes(self) -> set[Unit]:
        return {unit for unit, cgroup in self._running() if cgroup.processes() != unit.processes}

    def _used(self) -> list[Sample]:
        return [sample for _, cgroup in self._running() for sample in cgroup.samples()]

    def _running(self) -> list[tuple[Unit, Cgroup]]:
        return [(unit, unit.cgroup) for unit in self._units.values() if unit.cgroup and unit.state in HAVE_PROCESSES]
