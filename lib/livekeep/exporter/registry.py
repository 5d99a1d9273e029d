"""One scrape: every collector is asked, what it says is put together, and what it cannot say costs nobody else's figures."""

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from livekeep.core.errors import LivekeepError
from livekeep.exporter.channels import Channels
from livekeep.exporter.exposition import Block, Writer, page
from livekeep.exporter.host import Host
from livekeep.exporter.metrics import Sample
from livekeep.exporter.probe_results import Probe
from livekeep.exporter.process import Build
from livekeep.exporter.record import Record
from livekeep.exporter.screen import Player, Poller, Verdict
from livekeep.exporter.states import States
from livekeep.exporter.units import Units

logger = logging.getLogger("livekeep.exporter")


class Collector(Protocol):
    """A source of figures."""

    def collect(self, now: float) -> Iterable[Sample]:
        """The figures at `now` (Unix seconds). What came before an error is good; the error says why there is no more."""


def collectors_of(states: States, root: Path) -> dict[str, Collector]:
    """All sources by their name; `root` is the machine's root folder."""
    screen: dict[str, Collector] = {"health": Verdict(states), "poller": Poller(states), "player": Player(states)}
    probes: dict[str, Collector] = {f"probe-{name}": Probe(name, file) for name, file in states.findings.items()}
    own = {"channels": Channels(states), **probes, "record": Record(states)}
    return {**screen, **own, "host": Host(root), "units": Units(root), "build": Build()}


class Gathering:
    """Asks the collectors. While one gives the very same tuple again, its lines are kept."""

    def __init__(self, collectors: Mapping[str, Collector]) -> None:
        self._collectors = collectors
        self._writer = Writer()
        self._kept: dict[str, tuple[Iterable[Sample], Block]] = {}
        self._trouble: dict[str, type[Exception]] = {}

    def scrape(self, is_openmetrics: bool = False) -> bytes:
        """The page of now; it never fails."""
        now = time.time()
        blocks: list[Block] = []
        report: list[Sample] = []
        for name, collector in self._collectors.items():
            began = time.perf_counter()
            block, is_good = self._ask(name, collector, now)
            blocks.append(block)
            report.append(("livekeep_exporter_collector_success", (name,), is_good))
            report.append(("livekeep_exporter_collector_duration_seconds", (name,), time.perf_counter() - began))
        own: Block = {}
        self._writer.write(report, own)
        return page([*blocks, own], is_openmetrics)

    def _ask(self, name: str, collector: Collector, now: float) -> tuple[Block, bool]:
        """A collector's lines, and whether it said all that it has."""
        block: Block = {}
        try:
            samples = collector.collect(now)
            kept = self._kept.get(name)
            if kept and kept[0] is samples:
                block = kept[1]
            else:
                self._writer.write(samples, block)
                if isinstance(samples, tuple):
                    self._kept[name] = (samples, block)
        except Exception as error:
            # One source's fault, whatever it is, is not the others'.
            self._note(name, error)
            return block, False
        if self._trouble.pop(name, None):
            logger.info("%s: its figures are back", name)
        return block, True

    def _note(self, name: str, error: Exception) -> None:
        """Say once what is wrong with a collector, until it is well again or something else is wrong."""
        if self._trouble.get(name) is type(error):
            return
        self._trouble[name] = type(error)
        if isinstance(error, LivekeepError | OSError | ValueError):
            logger.warning("%s: its figures are missing: %s", name, error)
        else:
            logger.error("%s: its figures are missing", name, exc_info=error)
