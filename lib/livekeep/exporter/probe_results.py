"""Metrics of the probes, from their last results.

An absent result has no samples and is not a fault: the probe is switched off or has not run yet. A silent probe has
only the samples of its runs, which show the silence, and is a fault, as is an unreadable result. YouTube's view of a
channel is among the channel's metrics.
"""

import time
from collections.abc import Iterator
from typing import Generic, TypeVar

from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import ProbeResult, Run, StreamResult
from livekeep.core.state import StateAbsentError
from livekeep.exporter.metrics import Sample
from livekeep.exporter.states import StateFile
from livekeep.status import probe_descriptions
from livekeep.status.health import Clock, age
from livekeep.status.probe_status import is_silent


def run_samples(probe: str, run: Run) -> Iterator[Sample]:
    """The samples that remain valid for a silent probe."""
    yield "livekeep_probe_last_run_timestamp_seconds", (probe,), run.last_run
    if run.last_success is not None:
        yield "livekeep_probe_last_success_timestamp_seconds", (probe,), run.last_success
    yield "livekeep_probe_interval_seconds", (probe,), run.interval_seconds
    for outcome, count in (("success", run.successes), ("failure", run.failures), ("skipped", run.skips)):
        yield "livekeep_probe_runs_total", (probe, outcome), count


def result_samples(probe: str, result: ProbeResult) -> Iterator[Sample]:
    target = result.target if isinstance(result, StreamResult) else ""
    if result.run.verdict != "skipped":
        yield "livekeep_probe_success", (probe, target), result.run.verdict != "fail"
        yield "livekeep_probe_duration_seconds", (probe, target), result.run.duration_seconds
    yield from probe_descriptions.description_of(probe).samples(result)


AnyResult = TypeVar("AnyResult", bound=ProbeResult)


class Probe(Generic[AnyResult]):
    """The samples of one probe's result."""

    def __init__(self, name: str, file: StateFile[AnyResult]) -> None:
        self._name, self._file = name, file

    def collect(self, now: float) -> Iterator[Sample]:
        """Raises `TemporaryError`, for a silent probe after the samples of its runs."""
        try:
            result = self._file.read()
        except StateAbsentError:
            return
        yield from run_samples(self._name, result.run)
        clock = Clock(now, time.monotonic())
        if is_silent(result, clock):
            advice = f"see systemctl status livekeep-probe-{self._name}.timer"
            raise TemporaryError(f"{result.FILE}: is {age(result, clock)} old; the probe is silent: {advice}")
        yield from result_samples(self._name, result)
