"""The state of livekeep's units, from systemd's D-Bus interface, and their resource use, from their cgroups.

Reading needs no privilege. Source: org.freedesktop.systemd1(5). The files of a cgroup are cheaper than a call to systemd, which
reads the same ones. A file is absent without its controller: on Raspberry Pi OS, memory is off unless cmdline.txt enables it.
memory.peak exists since Linux 5.19.

A call costs PID 1 and the bus about 30 µs each, and this program more. Therefore each scrape reads only the states, in one call.
Values that change constantly are read every ten seconds, the rest after a unit's state or processes change, and once a minute.
The states are listed by pattern, not by name: systemd would load an unreferenced unit from disk at each scrape, for 3 ms.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from livekeep.core.config import CHANNEL_NAME
from livekeep.core.probe_results import PROBES
from livekeep.exporter import proc_file
from livekeep.exporter.metrics import Sample
from livekeep.system import systemd
from livekeep.system.dbus import Bus, BusError, Call, CallError
from livekeep.system.systemd import MANAGER, SERVICE, TIMER, UNIT, ListedUnit

BUS_SOCKET = "run/dbus/system_bus_socket"
REPLY_SECONDS = 0.5
"""All the replies to a scrape together; systemd's take about a millisecond."""
LIST_UNITS = systemd.list_by_patterns(["livekeep*"])

AIR = ("storage", "controller", "air")
SERVICES = ("poller", "display", "player", "error-screen", "tv", "exporter", *(f"probe-{probe}" for probe in PROBES), *AIR)
TIMERS = ("tv", *(f"probe-{probe}" for probe in PROBES))
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
"""Units that one scrape reads in full, in addition to those that have changed."""
LONG_AGO = float("-inf")
NEVER = (0, 2**64 - 1)
"""systemd's values for "never" and "off"."""
LONGEST_RESULT = 64
CGROUP_FILES = {
    "memory.current": "livekeep_unit_memory_bytes",
    "memory.peak": "livekeep_unit_memory_peak_bytes",
    "pids.current": "livekeep_unit_tasks",
}


class Property(NamedTuple):
    """A property that is exported as a family. It is left out without the property in `needs`."""

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
    """One unit and its last values; the manager has neither name nor state."""

    def __init__(self, name: str, state: str, path: str, hierarchy: Path) -> None:
        self.name, self.state = name, state
        self.read_at = LONG_AGO
        self.values: dict[str, int | str] = {}
        self.samples: list[Sample] = []
        self.processes = b""
        kind = self.name.rpartition(".")[2]
        self._has_processes = kind == "service"
        self._cgroup = f"{hierarchy}/{proc_file.SLICE}/{name}"
        self.queries = tuple(Query(self, prop, systemd.get(path, prop.interface, prop.name)) for prop in PROPERTIES[kind])

    def runs(self) -> bool:
        """Whether it has processes, and therefore a cgroup."""
        return self._has_processes and self.state in HAVE_PROCESSES

    def current_processes(self) -> bytes:
        """The ids of its processes, which differ after a restart."""
        return proc_file.read(f"{self._cgroup}/cgroup.procs")

    def resource_use(self) -> Iterator[Sample]:
        with contextlib.suppress(ValueError, IndexError):
            usage = proc_file.figure_after(proc_file.read(f"{self._cgroup}/cpu.stat"), b"usage_usec ")
            yield "livekeep_unit_cpu_seconds_total", (self.name,), usage / 1e6
        for file, family in CGROUP_FILES.items():
            with contextlib.suppress(ValueError):
                yield family, (self.name,), float(proc_file.count(proc_file.read(f"{self._cgroup}/{file}")))


class Query(NamedTuple):
    unit: Unit
    prop: Property
    call: Call


def value_of(result: tuple[Any, ...] | CallError, prop: Property) -> int | str | None:
    """systemd's value; None if the property or unit is unknown, or has no value."""
    if isinstance(result, CallError) or len(result) != 1:
        return None
    (value,) = result
    if prop.name == "Result":
        return value if isinstance(value, str) and value.isascii() and 0 < len(value) <= LONGEST_RESULT else None
    if not isinstance(value, int) or value < 0 or (is_time(prop) and value in NEVER):
        return None
    return value


def is_time(prop: Property) -> bool:
    """Whether the value is in microseconds."""
    return prop.name.endswith(("USec", "Timestamp"))


def samples_of(name: str, state: str, values: dict[str, int | str]) -> Iterator[Sample]:
    """A unit's samples without its resource use. A unit that does not run has no start time."""
    labels = (name,) if name else ()
    if state in STATES:
        yield from (("livekeep_unit_state", (name, known), float(known == state)) for known in STATES)
    for prop in PROPERTIES[name.rpartition(".")[2]]:
        value = values.get(prop.name)
        if value is None or (prop.needs and prop.needs not in values):
            continue
        if isinstance(value, str):
            yield prop.family, (*labels, value), 1.0
        elif prop is not STARTED or state in ("active", "reloading"):
            yield prop.family, labels, value / 1e6 if is_time(prop) else float(value)


class Units:
    """The source. `collect` raises `BusError` if the bus or systemd doesn't reply; the next call connects again."""

    def __init__(self, root: Path) -> None:
        self._hierarchy = proc_file.cgroups(root)
        self._bus = Bus(root / BUS_SOCKET, REPLY_SECONDS)
        self._units: dict[str, Unit] = {}
        self._listed: list[ListedUnit] | None = None
        self._often_read_at = LONG_AGO

    def collect(self, now: float) -> Iterator[Sample]:
        """All samples; `now` in seconds of a clock that never goes back."""
        try:
            queries = self._due(now)
            result, *results = self._bus.calls([LIST_UNITS, *(query.call for query in queries)])
            restarted = {unit for unit in self._running() if unit.current_processes() != unit.processes}
            changed = restarted | self._update(systemd.listed_units(result))
            self._take(queries, results)
            for unit in changed:
                unit.read_at = now
                unit.processes = unit.current_processes() if unit.runs() else b""
            if queries := [query for unit in changed for query in unit.queries]:
                self._take(queries, self._bus.calls([query.call for query in queries]))
        except BusError:
            # The next scrape reads everything again.
            self._units.clear()
            self._listed = None
            raise
        for unit in self._units.values():
            yield from unit.samples
        for unit in self._running():
            yield from unit.resource_use()

    def _due(self, now: float) -> list[Query]:
        """What to read although no change is known."""
        queries: list[Query] = []
        units = self._units.values()
        if now - self._often_read_at >= OFTEN_SECONDS:
            self._often_read_at = now
            all_queries = [query for unit in units for query in unit.queries if query.prop.often]
            queries += [it for it in all_queries if not it.prop.needs or it.prop.needs in it.unit.values]
        stale = [unit for unit in units if now - unit.read_at >= SELDOM_SECONDS]
        for unit in sorted(stale, key=lambda unit: unit.read_at)[:SELDOM_AT_ONCE]:
            unit.read_at = now
            queries += unit.queries
        return queries

    def _update(self, listed: list[ListedUnit]) -> set[Unit]:
        """Apply the list of units; returns those that are new or have another state."""
        if listed == self._listed:
            return set()
        self._listed = listed
        wanted = (unit for unit in listed if unit.name in UNITS or WORKER.fullmatch(unit.name))
        # A name without a unit file is not a unit.
        present = {unit.name: unit for unit in wanted if unit.load != "not-found"}
        present[""] = ListedUnit("", "loaded", "", "", systemd.ROOT)
        for name in self._units.keys() - present.keys():
            del self._units[name]
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

    def _take(self, queries: Sequence[Query], results: Sequence[tuple[Any, ...] | CallError]) -> None:
        """Store the values, and update the samples of their units."""
        for (unit, prop, _call), result in zip(queries, results, strict=True):
            value = value_of(result, prop)
            if value is None:
                unit.values.pop(prop.name, None)
            else:
                unit.values[prop.name] = value
        for unit in {query.unit for query in queries}:
            unit.samples = list(samples_of(unit.name, unit.state, unit.values))

    def _running(self) -> list[Unit]:
        return [unit for unit in self._units.values() if unit.runs()]
