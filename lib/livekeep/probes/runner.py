"""Shared by all probes: one run reads the configuration and the last result, measures, and writes the new result.

Reads livekeep.toml and the probe's own state; writes that state (core/probe_results.py) and, when the verdict changed, an event.
A probe that detects a fault has succeeded and exits with 0: the fault is in its result, not among systemd's failed units.
"""

import dataclasses
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from livekeep.core import config, events, log, paths, state
from livekeep.core.config import Config
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import PROBES, ProbeResult, Run, Verdict

Result = TypeVar("Result", bound=ProbeResult)
NAMED_IN_A_SENTENCE = 3


@dataclass(frozen=True)
class Judgement:
    """The verdict of a run. `reason` is one sentence without a URL; `advice` says what to do, or ""."""

    verdict: Verdict
    reason: str = ""
    advice: str = ""


Measure = Callable[[Config, Result, float], tuple[Result, Judgement]]
"""Parameters: the configuration, the previous result (a new object at the first run) and the Unix time. Returns the new result,
whose `run` is filled in later, and the verdict."""


def run_once(kind: type[Result], measure: Measure[Result]) -> int:
    """One run of the probe whose result is a `kind`. Raises `TemporaryError` when its state cannot be written."""
    # An invalid key has its default here; poller and player report it.
    settings, _problems = config.load_leniently()
    log.set_up(settings.log.level)
    # For a unit, the folder exists; a manual run, such as in a test, creates it.
    state.path_of(kind, paths.STATE_DIRECTORY).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    previous = last_result(kind)
    began, began_monotonic = time.time(), time.monotonic()
    result, judgement = measure(settings, previous, began)
    duration, name = time.monotonic() - began_monotonic, kind.probe()
    interval = float(getattr(settings.probes, name).interval_seconds)
    run = next_run(previous.run, judgement, began + duration, duration, interval)
    state.write(state.stamped(dataclasses.replace(result, run=run)))
    if previous.run.last_run == 0 or previous.run.verdict != run.verdict:
        before = previous.run.verdict if previous.run.last_run else "unknown"
        reason = f": {run.reason}" if run.reason else ""
        advice = f"; {run.advice}" if run.advice else ""
        sentence = f"{name}: {run.verdict}{reason}{advice}"
        events.emit(events.PROBE_VERDICT_CHANGED, sentence, PROBE=name, VERDICT=run.verdict, PREVIOUS=before)
    return 0


def last_result(kind: type[Result], root: Path = paths.STATE_DIRECTORY) -> Result:
    """The previous result; an empty object if there is none or it cannot be read: counters then start at zero."""
    try:
        return state.read(kind, root)
    except TemporaryError:
        return kind()


def next_run(previous: Run, judgement: Judgement, now: float, duration_seconds: float, interval_seconds: float) -> Run:
    """The record of a run that ended at `now`."""
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


def listed(texts: Sequence[str], separator: str = ", ") -> str:
    """The first few of `texts`, each once, and how many more there are."""
    texts = list(dict.fromkeys(texts))
    more = len(texts) - NAMED_IN_A_SENTENCE
    return separator.join(texts[:NAMED_IN_A_SENTENCE]) + (f" and {more} more" if more > 0 else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the probe NAME once; with --may-run, as its unit's ExecCondition=, the exit code says whether a run is due."""
    name, *options = (sys.argv[1:] if argv is None else argv) or [""]
    if name not in PROBES or options not in ([], ["--may-run"]):
        print(f"usage: livekeep-probe {{{'|'.join(PROBES)}}} [--may-run]", file=sys.stderr)
        return 2
    # Each probe imports only what it needs: one of them runs every 30 s.
    measurement = importlib.import_module(f"livekeep.probes.{name}.measurement")
    if options:
        return 0 if measurement.may_run(time.time()) else 1
    return run_once(PROBES[name], measurement.measure)
