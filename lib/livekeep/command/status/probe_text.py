"""The probes' results for people: a line each, or one in full. Pure; the times are passed in."""

import dataclasses
from typing import Any

from livekeep.core.probe_results import ProbeResult
from livekeep.core.state import StateBrokenError
from livekeep.core.text import shown
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import description_of
from livekeep.status.probe_status import ProbeResults, is_silent
from livekeep.system import terminal

COLOURS: dict[str, terminal.Colour] = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "dim", "silent": "red"}


def overview(results: ProbeResults, clock: Clock) -> str:
    """A table of the probes: verdict, age, reason."""
    rows = []
    for name, it in results.items():
        if isinstance(it, StateBrokenError):
            rows.append((name, "unknown", "", str(it)))
        else:
            verdict = "silent" if is_silent(it, clock) else it.run.verdict
            rows.append((name, verdict, f"{age(it, clock)} ago", it.run.reason))
    return terminal.state_table(("PROBE", "VERDICT", "LAST RUN", "REASON"), rows, [COLOURS.get(row[1], "") for row in rows])


def age(result: ProbeResult, clock: Clock) -> str:
    return terminal.duration(clock.now_monotonic - result.written_monotonic)


def document(results: ProbeResults) -> dict[str, Any]:
    """The same for programs: each probe's result; null with the reason beside it if it cannot be read."""
    readable = {name: None if isinstance(it, StateBrokenError) else dataclasses.asdict(it) for name, it in results.items()}
    problems = {name: str(it) for name, it in results.items() if isinstance(it, StateBrokenError)}
    return {"findings": readable, "findings_problems": problems}


def report(name: str, result: ProbeResult, clock: Clock) -> str:
    """One result in full: the verdict with its reason, and the rows of the result."""
    run = result.run
    verdict = terminal.paint(run.verdict, COLOURS[run.verdict])
    head = f"{name}: {verdict}: {shown(run.reason)}" if run.reason else f"{name}: {verdict}"
    rows = [("Do", run.advice)] if run.advice else []
    rows += description_of(result.probe()).rows(result, clock)
    pace = f"took {terminal.short_time(run.duration_seconds)}, every {terminal.duration(run.interval_seconds)}"
    late = "; it has missed its runs since" if is_silent(result, clock) else ""
    rows.append(("Ran", f"{age(result, clock)} ago, {pace}{late}"))
    skips = f", {run.skips} skipped" if run.skips else ""
    rows.append(("So far", f"since boot {run.successes} good runs, {run.failures} failed{skips}"))
    if run.since:
        rows.append(("Since", f"{run.verdict} since {terminal.since(run.since, clock.now)}"))
    if run.verdict == "fail" and run.last_success is not None:
        rows.append(("Last ok", terminal.local_time(run.last_success, clock.now)))
    return f"{head}\n\n{terminal.table(rows)}"
