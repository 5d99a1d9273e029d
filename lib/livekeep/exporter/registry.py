"""All sources of metrics as one collector of prometheus_client: a failing source doesn't affect the others.

One collector, not one for each source, because sources share metrics: each probe has `livekeep_probe_success`, and a page may
contain each metric only once.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from livekeep.core.errors import LivekeepError
from livekeep.exporter.channels import Channels
from livekeep.exporter.host import Host
from livekeep.exporter.metrics import FAMILIES, SERIES, Sample
from livekeep.exporter.probe_results import Probe
from livekeep.exporter.process import Build
from livekeep.exporter.record import Record
from livekeep.exporter.screen import Player, Poller, Verdict
from livekeep.exporter.states import States
from livekeep.exporter.units import Units

logger = logging.getLogger("livekeep.exporter")

Values = dict[tuple[str, tuple[str, ...]], float]
"""By name and labels, so that no sample is on the page twice."""


class Source(Protocol):
    """A source of samples."""

    def collect(self, now: float) -> Iterable[Sample]:
        """The samples at `now` (Unix seconds). Samples before an error count; the error says why there are no more."""


def sources_of(states: States, root: Path) -> dict[str, Source]:
    """All sources by name; `root` is the machine's root folder."""
    screen: dict[str, Source] = {"health": Verdict(states), "poller": Poller(states), "player": Player(states)}
    probes: dict[str, Source] = {f"probe-{name}": Probe(name, file) for name, file in states.probe_results.items()}
    own = {"channels": Channels(states), **probes, "record": Record(states)}
    return {**screen, **own, "host": Host(root), "units": Units(root), "build": Build()}


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
        now = time.time()
        found: dict[str, Values] = {}
        for name, source in self._sources.items():
            began = time.perf_counter()
            is_good = self._read(name, source, now, found)
            seconds = time.perf_counter() - began
            add(found, "livekeep_exporter_collector_success", (name,), is_good)
            add(found, "livekeep_exporter_collector_duration_seconds", (name,), seconds)
        for name in FAMILIES:
            if values := found.get(name):
                yield metric(name, values)

    def _read(self, name: str, source: Source, now: float, found: dict[str, Values]) -> bool:
        """Add a source's samples to `found`; returns whether it returned all."""
        try:
            for sample in source.collect(now):
                add(found, *sample)
        except Exception as error:
            # Any error of one source must not affect the others.
            self._note(name, error)
            return False
        if self._failing.pop(name, None):
            logger.info("%s: its metrics are back", name)
        return True

    def _note(self, name: str, error: Exception) -> None:
        """Log a source's error once, until it works again or the error changes."""
        if self._failing.get(name) is type(error):
            return
        self._failing[name] = type(error)
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
