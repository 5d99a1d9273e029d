"""What systemd knows of livekeep's units, from its D-Bus interface, and what they use, from their cgroups.

Part of livekeep-exporter; reading needs no privilege. Source: org.freedesktop.systemd1(5).

A call costs PID 1 and the bus about 30 µs each, and this program more. So each scrape reads the states, in one call; what moves
all the time is read every ten seconds, the rest when a unit's state or its processes have changed, and once a minute.
The states come by pattern, not by name: systemd would load a unit that nothing refers to from disk, at each scrape, for 3 ms.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from livekeep.core.config import CHANNEL_NAME
from livekeep.core.probe_results import PROBES
from livekeep.exporter.cgroup import Cgroup, folder_of_all
from livekeep.exporter.metrics import Sample
from livekeep.system import systemd
from livekeep.system.dbus import Bus, BusError, Call, CallError
from livekeep.system.systemd import MANAGER, SERVICE, TIMER, UNIT, ListedUnit

BUS_SOCKET = "run/dbus/system_bus_socket"
REPLY_SECONDS = 0.5
"""All the replies to a scrape together; systemd's take about a millisecond."""
LIST_UNITS = systemd.list_by_patterns(["livekeep*"])

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


class Unit:
    """One unit and what was last read of it; the manager has neither name nor state."""

    def __init__(self, name: str, state: str, path: str, hierarchy: Path) -> None:
        self.name, self.state = name, state
        self.asked_at = LONG_AGO
        self.values: dict[str, int | str] = {}
        self.samples: list[Sample] = []
        self.processes = b""
        kind = self.name.rpartition(".")[2]
        self.cgroup = Cgroup(hierarchy, self.name) if kind == "service" else None
        self.questions = tuple(
            Question(self, asked, systemd.get(path, asked.interface, asked.name)) for asked in PROPERTIES[kind]
        )

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
    call: Call


def value_of(result: tuple[Any, ...] | CallError, asked: Property) -> int | str | None:
    """What systemd says; None when it does not know such a property or unit, or has nothing to say about it."""
    if isinstance(result, CallError) or len(result) != 1:
        return None
    (value,) = result
    if asked.name == "Result":
        return value if isinstance(value, str) and value.isascii() and 0 < len(value) <= LONGEST_RESULT else None
    if not isinstance(value, int) or value < 0 or (is_time(asked) and value in NEVER):
        return None
    return value


def is_time(asked: Property) -> bool:
    """Whether it is given in microseconds."""
    return asked.name.endswith(("USec", "Timestamp"))


def exported(listed: Sequence[ListedUnit]) -> dict[str, ListedUnit]:
    """livekeep's units by name, without those that exist in name only."""
    loaded = (unit for unit in listed if unit.load != "not-found")
    return {unit.name: unit for unit in loaded if unit.name in UNITS or WORKER.fullmatch(unit.name)}


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
    """The collector. `collect` raises `BusError` when the bus or systemd does not reply; the next one connects again."""

    def __init__(self, root: Path) -> None:
        self._hierarchy = folder_of_all(root)
        self._bus = Bus(root / BUS_SOCKET, REPLY_SECONDS)
        self._units: dict[str, Unit] = {}
        self._listed: list[ListedUnit] | None = None
        self._often_asked_at = LONG_AGO

    def close(self) -> None:
        self._bus.close()
        self._forget()

    def _forget(self) -> None:
        """Read everything again."""
        for unit in self._units.values():
            if unit.cgroup:
                unit.cgroup.close()
        self._units.clear()
        self._listed = None

    def collect(self, now: float) -> Iterator[Sample]:
        """Every figure; `now` in Unix seconds."""
        try:
            self._bring_up_to_date(now)
        except BusError:
            self._forget()
            raise
        for unit in self._units.values():
            yield from unit.samples
        for _, cgroup in self._running():
            yield from cgroup.samples()

    def _bring_up_to_date(self, now: float) -> None:
        questions = self._due(now)
        result, *results = self._bus.calls([LIST_UNITS, *(question.call for question in questions)])
        changed = self._with_other_processes() | self._update(systemd.listed_units(result))
        self._take(questions, results)
        self._ask_in_full(changed, now)

    def _ask_in_full(self, units: set[Unit], now: float) -> None:
        questions = [question for unit in units for question in unit.questions]
        for unit in units:
            unit.asked_at = now
            if unit.cgroup:
                unit.cgroup.open()
                unit.processes = unit.cgroup.processes()
        if questions:
            self._take(questions, self._bus.calls([question.call for question in questions]))

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

    def _update(self, listed: list[ListedUnit]) -> set[Unit]:
        """Take the list of units; those that are new or have another state."""
        if listed == self._listed:
            return set()
        self._listed = listed
        present = exported(listed) | {"": ListedUnit("", "loaded", "", "", systemd.ROOT)}
        for name in self._units.keys() - present.keys():
            gone = self._units.pop(name)
            if gone.cgroup:
                gone.cgroup.close()
        changed = set()
        for name, entry in present.items():
            unit = self._units.get(name)
            if unit is None:
                unit = self._units[name] = Unit(name, entry.active, entry.path, self._hierarchy)
                changed.add(unit)
            elif unit.state != entry.active:
                unit.state = entry.active
                changed.add(unit)
        return changed

    def _take(self, questions: Sequence[Question], results: Sequence[tuple[Any, ...] | CallError]) -> None:
        """Keep the values, and make the samples of the units they are about."""
        for question, result in zip(questions, results, strict=True):
            question.unit.take(question.asked, value_of(result, question.asked))
        for unit in {question.unit for question in questions}:
            unit.samples = list(samples_of(unit.name, unit.state, unit.values))

    def _with_other_processes(self) -> set[Unit]:
        return {unit for unit, cgroup in self._running() if cgroup.processes() != unit.processes}

    def _running(self) -> list[tuple[Unit, Cgroup]]:
        return [(unit, unit.cgroup) for unit in self._units.values() if unit.cgroup and unit.state in HAVE_PROCESSES]
