"""What every probe shares: one run reads the configuration and the last findings, looks, and writes what it found.

Reads livekeep.toml and the probe's own state; writes that state (core/findings.py) and, when the verdict changed, an event.
A probe that finds fault has done its work and exits with 0: the fault stands in its findings, not among systemd's failed units.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from livekeep.core import config, events, log, paths, state
from livekeep.core.config import Config
from livekeep.core.errors import TemporaryError
from livekeep.core.findings import HostFindings, NetworkFindings, Run, SpeedtestFindings, StreamFindings, Verdict, YoutubeFindings

Findings = TypeVar("Findings", NetworkFindings, StreamFindings, SpeedtestFindings, HostFindings, YoutubeFindings)


@dataclass(frozen=True)
class Judgement:
    """What a run comes to. `reason` is one sentence without a URL; `advice` says what to do, "" when nothing."""

    verdict: Verdict
    reason: str = ""
    advice: str = ""


Look = Callable[[Config, Findings, float], tuple[Findings, Judgement]]
"""Looks once: the configuration, the findings of the run before (a fresh object at the first one) and the Unix time give the new
findings, whose `run` is filled in afterwards."""


def conduct(name: str, kind: type[Findings], interval_seconds: Callable[[Config], float], look: Look[Findings]) -> int:
    """One run of the probe `name`. Raises `TemporaryError` when its state cannot be written."""
    # A faulty key has its default here; poller and player say what is wrong with it.
    settings, _problems = config.load_leniently()
    log.set_up(settings.log.level)
    # As a unit it finds the folder; run by hand, in a test, it makes it.
    state.path_of(kind, paths.STATE_DIRECTORY).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    previous = last_findings(kind)
    began, began_monotonic = time.time(), time.monotonic()
    findings, judgement = look(settings, previous, began)
    duration = time.monotonic() - began_monotonic
    run = next_run(previous.run, judgement, began + duration, duration, interval_seconds(settings))
    state.write(state.stamped(dataclasses.replace(findings, run=run)))
    if previous.run.last_run == 0 or previous.run.verdict != run.verdict:
        tell_change(name, previous.run, run)
    return 0


def last_findings(kind: type[Findings], root: Path = paths.STATE_DIRECTORY) -> Findings:
    """What the run before wrote; an empty object when there is none or it cannot be read: counts begin at zero then."""
    try:
        return state.read(kind, root)
    except TemporaryError:
        return kind()


def next_run(previous: Run, judgement: Judgement, now: float, duration_seconds: float, interval_seconds: float) -> Run:
    """The record of a run that has ended `now`."""
    is_success = judgement.verdict in ("ok", "warn")
    is_new = previous.last_run == 0 or previous.verdict != judgement.verdict
    return Run(
        verdict=judgement.verdict,
        reason=judgement.reason,
        advice=judgement.advice,
        since=now if is_new else previous.since,
        last_run=now,
        last_success=now if is_success else previous.last_success,
        duration_seconds=duration_seconds,
        interval_seconds=interval_seconds,
        successes=previous.successes + is_success,
        failures=previous.failures + (judgement.verdict == "fail"),
        skips=previous.skips + (judgement.verdict == "skipped"),
    )


def tell_change(name: str, previous: Run, run: Run) -> None:
    before = previous.verdict if previous.last_run else "unknown"
    sentence = f"{name}: {run.verdict}" + (f": {run.reason}" if run.reason else "") + (f"; {run.advice}" if run.advice else "")
    events.emit(events.PROBE_VERDICT_CHANGED, sentence, PROBE=name, VERDICT=run.verdict, PREVIOUS=before)
