"""All sources of metrics as one collector of prometheus_client: a failing source doesn't affect the others.

One collector, not one for each source, because sources share metrics: each probe has `livekeep_probe_success`, and a page may
contain each metric only once.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from livekeep.core.errors import LivekeepError
from livekeep.core.probe_results import PROBES
from livekeep.exporter import channels, probe_results, process, record, screen
from livekeep.exporter.host import Host
from livekeep.exporter.metrics import FAMILIES, SERIES, Sample
from livekeep.exporter.states import States
from livekeep.exporter.units import Units
from livekeep.status.health import Clock

logger = logging.getLogger("livekeep.exporter")

Values = dict[tuple[str, tuple[str, ...]], float]
"""By name and labels, so that no sample is on the page twice."""


Source = Callable[[Clock], Iterable[Sample]]
"""Returns its samples. Those before an error count; the error says why there are no more."""


def sources_of(states: States, root: Path) -> dict[str, Source]:
    """All sources by name; `root` is the machine's root folder."""
    host, units = Host(root), Units(root)
    return {
        "health": partial(screen.health, states),
        "poller": partial(screen.poller, states),
        "player": partial(screen.player, states),
        "tv": partial(screen.tv, states),
        "channels": partial(channels.collect, states),
        **{f"probe-{name}": partial(probe_results.collect, name, states) for name in PROBES},
        "record": partial(record.collect, states),
        "host": lambda clock: host.collect(clock.now_monotonic),
        "units": lambda clock: units.collect(clock.now_monotonic),
        "build": process.build,
    }


def registry_of(sources: Mapping[str, Source]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Sources(sources))
    return registry


class Sources(Collector):  # type: ignore[misc]  # its types are not at hand where mypy runs
    """Reads the sources at each scrape. One thread at a time, because sources cache earlier values."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._failing: dict[str, type[Exception]] = {}

    def collect(self) -> Iterator[Metric]:
        """The metrics in the order of `FAMILIES`; never fails."""
        clock = Clock(time.time(), time.monotonic())
        found: dict[str, Values] = {}
        for name, source in self._sources.items():
            began = time.perf_counter()
            try:
                for sample in source(clock):
                    add(found, *sample)
            except Exception as error:
                # Any error of one source must not affect the others.
                self._log(name, error)
                is_good = False
            else:
                self._log(name, None)
                is_good = True
            seconds = time.perf_counter() - began
            add(found, "livekeep_exporter_collector_success", (name,), is_good)
            add(found, "livekeep_exporter_collector_duration_seconds", (name,), seconds)
        for name in FAMILIES:
            if values := found.get(name):
                yield metric(name, values)

    def _log(self, name: str, error: Exception | None) -> None:
        """Log a source's error once, until it works again or the error changes."""
        before = self._failing.pop(name, None)
        if error is None:
            if before:
                logger.info("%s: its metrics are back", name)
            return
        self._failing[name] = type(error)
        if before is type(error):
            return
        if isinstance(error, LivekeepError | OSError | ValueError):
            logger.warning("%s: its metrics are missing: %s", name, error)
        else:
            logger.error("%s: its metrics are missing", name, exc_info=error)


def add(found: dict[str, Values], name: str, labels: tuple[str, ...], value: float) -> None:
    """Add a sample to its family; NaN is left out. Raises `ValueError` if its family does not allow it."""
    if name not in SERIES:
        raise ValueError(f"{name}: is no metric; see metrics.py")
    family, label_names = SERIES[name]
    if len(label_names) != len(labels):
        raise ValueError(f"{name}: has the labels {label_names}, not {len(labels)} of them")
    number = float(value)
    if number == number:  # noqa: PLR0124 – only NaN is not itself
        found.setdefault(family, {})[name, labels] = number


def metric(name: str, values: Values) -> Metric:
    """A family as a prometheus_client metric; an info and a state set are gauges to every reader."""
    family = FAMILIES[name]
    kind = family.kind if family.kind in ("counter", "histogram") else "gauge"
    made = Metric(name.removesuffix("_total"), family.help, kind)
    for (series, labels), value in values.items():
        # A name that is not valid text must not break the page.
        texts = (label.encode("utf-8", "replace").decode() for label in labels)
        made.add_sample(series, dict(zip(SERIES[series][1], texts, strict=True)), value)
    return made
