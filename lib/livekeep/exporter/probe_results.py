"""Metrics of the probes, from their last results.

An absent result has no samples and is not a fault: the probe is switched off or has not run yet. A silent probe has
only the samples of its runs, which show the silence, and is a fault, as is an unreadable result. YouTube's view of a
channel is among the channel's metrics.
"""

from collections.abc import Iterator

from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import PROBES, StreamResult
from livekeep.exporter.metrics import Sample
from livekeep.exporter.states import States
from livekeep.status import probe_descriptions, probe_status
from livekeep.status.health import Clock, age


def collect(name: str, states: States, clock: Clock) -> Iterator[Sample]:
    """Raises `TemporaryError`, for a silent probe after the samples of its runs."""
    # That it is silent is found below, after some samples.
    result = states.current(PROBES[name], clock, lambda _result, _clock: False)
    if result is None:
        return
    result = probe_status.with_interval(result, states.probes)
    run = result.run
    yield "livekeep_probe_last_run_timestamp_seconds", (name,), run.last_run
    if run.last_success is not None:
        yield "livekeep_probe_last_success_timestamp_seconds", (name,), run.last_success
    yield "livekeep_probe_interval_seconds", (name,), run.interval_seconds
    for outcome, count in (("success", run.successes), ("failure", run.failures), ("skipped", run.skips)):
        yield "livekeep_probe_runs_total", (name, outcome), count
    if probe_status.is_silent(result, clock):
        advice = f"see systemctl status livekeep-probe-{name}.timer"
        raise TemporaryError(f"{result.FILE}: is {age(result, clock)} old; the probe is silent: {advice}")
    if run.verdict != "skipped":
        labels = name, result.target if isinstance(result, StreamResult) else ""
        yield "livekeep_probe_success", labels, run.verdict != "fail"
        yield "livekeep_probe_duration_seconds", labels, run.duration_seconds
    yield from probe_descriptions.description_of(name).samples(result)
