"""The probes' results for the verdict: which exist, which are too old, and which faults affect the screen."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from livekeep.core import paths, state
from livekeep.core.config import Probes
from livekeep.core.probe_results import PROBES, ProbeResult
from livekeep.core.state import ReadState, StateAbsentError, StateBrokenError
from livekeep.status.health import Clock, age, sentence

SILENT_INTERVALS = 3
SILENT_GRACE_SECONDS = 30.0
"""A probe is silent if its result is older than several intervals plus this: its timer is off, or its run is stuck."""

Result = TypeVar("Result", ProbeResult, StateBrokenError, ProbeResult | StateBrokenError)
ProbeResults = Mapping[str, ProbeResult | StateBrokenError]
"""By the probe's name; absent if it never ran or is off."""


def read(
    probes: Probes | None, root: Path = paths.STATE_DIRECTORY, read_state: ReadState = state.read_or_error
) -> dict[str, ProbeResult | StateBrokenError]:
    """The results, with the intervals of `probes`. Raises `PermissionError` without access."""
    results = {name: read_state(kind, root) for name, kind in PROBES.items()}
    return {name: with_interval(it, probes) for name, it in results.items() if not isinstance(it, StateAbsentError)}


def with_interval(result: Result, probes: Probes | None) -> Result:
    """The same result, with the current interval if that is longer than at the last run: the next run comes later than
    that run recorded."""
    if isinstance(result, StateBrokenError) or probes is None:
        return result
    seconds = float(getattr(probes, result.probe()).interval_seconds)
    if seconds <= result.run.interval_seconds:
        return result
    return replace(result, run=replace(result.run, interval_seconds=seconds))


def is_silent(result: ProbeResult, clock: Clock) -> bool:
    """Whether a probe has missed its runs. By the monotonic clock: a board without an RTC battery boots with a wrong time."""
    longest = SILENT_INTERVALS * result.run.interval_seconds + SILENT_GRACE_SECONDS
    return clock.now_monotonic - result.written_monotonic > longest


def troubles(results: ProbeResults, is_on: bool, clock: Clock) -> list[str]:
    """The probes' faults that affect the screen's health; `is_on`: whether the stream is live or about to be.

    An unreadable result is ignored: after an upgrade, a probe's old result may be unreadable until its next run.
    """
    found = []
    for result in results.values():
        if isinstance(result, StateBrokenError):
            continue
        name = f"the {result.probe()} probe"
        if is_silent(result, clock):
            found.append(f"{name} is silent: its result is {age(result, clock)} old")
        elif fault := result.fault(is_on):
            found.append(sentence(f"{name} {fault}", result.run.reason))
    return found
