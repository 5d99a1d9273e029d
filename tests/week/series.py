"""The samples of a simulated week as Prometheus has them: from the exporter's own sources, in promtool's form.

promtool's week begins at the time 0, so the times among the samples do, too.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from livekeep.core import state
from livekeep.core.errors import TemporaryError
from livekeep.core.state import State
from livekeep.exporter import probe_results, process, screen
from livekeep.exporter.metrics import SERIES
from livekeep.exporter.registry import Source
from livekeep.exporter.states import States
from livekeep.status.health import Clock
from tests.week.week import BEGIN, END, Box, steps

Values = dict[str, float]
"""By the series, as promtool writes it."""


def write(states: Iterable[State], root: Path, wall: float, monotonic: float) -> None:
    """Replace the states' files below `root`; those of absent states are removed."""
    files = {state.path_of(type(it), root): it for it in states}
    for file in root.glob("*/state.json"):
        if file not in files:
            file.unlink()
    for file, it in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        state.write(replace(it, written_at=wall, written_monotonic=monotonic), root)


class Exporter:
    """The exporter of one box: its sources, without those that read the machine itself."""

    def __init__(self, box: Box, root: Path) -> None:
        self._box, self._root = box, root
        states = States(root, root / "kept")
        self._sources: dict[str, Source] = {
            "health": partial(screen.health, states),
            "poller": partial(screen.poller, states),
            "player": partial(screen.player, states),
            "tv": partial(screen.tv, states),
            "probe-host": partial(probe_results.collect, "host", states),
            "probe-clock": partial(probe_results.collect, "clock", states),
            "build": process.build,
        }
        self._values: Values = {}

    def scrape(self, now: float) -> Values:
        """What is settled gives the same samples: most minutes of the week cost nothing."""
        wall, monotonic = self._box.clock(now), self._box.uptime(now)
        if not self._box.is_settled(now):
            write(self._box.states, self._root, wall, monotonic)
            self._values = dict(self._samples(Clock(wall, monotonic)))
        counters = {"user": 0.2 * monotonic, "idle": 3.8 * monotonic}
        name = "livekeep_host_cpu_seconds_total"
        return self._values | {self._series(name, (mode,), ("mode",)): seconds for mode, seconds in counters.items()}

    def _samples(self, clock: Clock) -> Iterator[tuple[str, float]]:
        yield self._series("livekeep_unit_state", ("livekeep.target", "active"), ("unit", "state")), 1.0
        for name, source in (*self._sources.items(), ("units", lambda _clock: ())):
            is_good = True
            try:
                for series, labels, value in source(clock):
                    moment = BEGIN if "timestamp" in series else 0.0
                    yield self._series(series, labels, SERIES[series][1]), float(value) - moment
            except TemporaryError:
                is_good = False
            yield self._series("livekeep_exporter_collector_success", (name,), ("collector",)), float(is_good)

    def _series(self, name: str, labels: Iterable[str], names: Iterable[str]) -> str:
        pairs = {"job": "livekeep", "instance": self._box.name, **dict(zip(names, labels, strict=True))}
        texts = ", ".join(f'{label}="{value}"' for label, value in pairs.items())
        return f"{name}{{{texts}}}"


def of_week(boxes: Iterable[Box], root: Path, end: float = END) -> dict[str, list[float | None]]:
    """Each series with its value at each step until `end`; None where there is none."""
    found: dict[str, list[float | None]] = {}
    moments = [now for now in steps() if now < end]
    for box in boxes:
        exporter = Exporter(box, root / box.name)
        up = found.setdefault(f'up{{job="livekeep", instance="{box.name}"}}', [])
        for place, now in enumerate(moments):
            box.live(now)
            up.append(float(bool(box.states)))
            for name, value in (exporter.scrape(now) if box.states else {}).items():
                values = found.setdefault(name, [])
                values += [None] * (place - len(values))
                values.append(value)
    for values in found.values():
        values.extend([None] * (len(moments) - len(values)))
    return found


def of_promtool(values: Iterable[float | None]) -> str:
    """In promtool's notation: runs of one value as VALUExCOUNT; where a series ends, it is stale at once, as after a scrape."""
    return " ".join(runs(values))


def runs(values: Iterable[float | None]) -> Iterator[str]:
    was_there = False
    for value, group in itertools.groupby(values):
        count = sum(1 for _ in group)
        if value is None:
            yield from ["stale"] if was_there else []
            count -= was_there
            yield from [f"_x{count}"] if count else []
        else:
            yield f"{value!r}x{count - 1}"
        was_there = value is not None
