"""The probes' results for people: a line each, or one in full. Pure; the times are passed in."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from livekeep.core.probe_results import ProbeResult, Run
from livekeep.core.state import StateBrokenError
from livekeep.core.text import shown
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import description_of
from livekeep.status.probe_status import is_silent
from livekeep.system import terminal

COLOURS: dict[str, terminal.Colour] = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "dim", "silent": "red"}
Row = tuple[str, str]
Known = Mapping[str, ProbeResult | StateBrokenError]


# One line each


def overview(found: Known, clock: Clock) -> str:
    """A table of the probes: verdict, age, reason."""
    rows = [("PROBE", "VERDICT", "LAST RUN", "REASON"), *(line(name, it, clock) for name, it in found.items())]
    lines = terminal.table(rows).splitlines()
    coloured = [
        text.replace(row[1], terminal.paint(row[1], COLOURS.get(row[1], "")), 1)
        for text, row in zip(lines[1:], rows[1:], strict=True)
    ]
    return "\n".join([terminal.paint(lines[0], "bold"), *coloured])


def line(name: str, found: ProbeResult | StateBrokenError, clock: Clock) -> tuple[str, str, str, str]:
    if isinstance(found, StateBrokenError):
        return name, "unknown", "", str(found)
    verdict = "silent" if is_silent(found, clock) else found.run.verdict
    return name, verdict, f"{age(found, clock)} ago", found.run.reason


def age(found: ProbeResult, clock: Clock) -> str:
    return terminal.duration(clock.now_monotonic - found.written_monotonic)


def document(found: Known) -> dict[str, Any]:
    """The same for programs: each probe's result; null with the reason beside it if it cannot be read."""
    readable = {name: None if isinstance(it, StateBrokenError) else dataclasses.asdict(it) for name, it in found.items()}
    problems = {name: str(it) for name, it in found.items() if isinstance(it, StateBrokenError)}
    return {"findings": readable, "findings_problems": problems}


# One in full


def report(name: str, found: ProbeResult, clock: Clock) -> str:
    """The verdict with its reason, and the rows of the result."""
    run = found.run
    verdict = terminal.paint(run.verdict, COLOURS[run.verdict])
    head = f"{name}: {verdict}: {shown(run.reason)}" if run.reason else f"{name}: {verdict}"
    advice = [("Do", run.advice)] if run.advice else []
    return f"{head}\n\n{terminal.table([*advice, *description_of(found.probe()).rows(found, clock), *run_rows(found, clock)])}"


def run_rows(found: ProbeResult, clock: Clock) -> list[Row]:
    run = found.run
    pace = f"took {terminal.short_time(run.duration_seconds)}, every {terminal.duration(run.interval_seconds)}"
    late = "; it has missed its runs since" if is_silent(found, clock) else ""
    rows = [("Ran", f"{age(found, clock)} ago, {pace}{late}"), ("So far", counted(run))]
    if run.since:
        rows.append(("Since", f"{run.verdict} since {terminal.since(run.since, clock.now)}"))
    if run.verdict == "fail" and run.last_success is not None:
        rows.append(("Last well", terminal.local_time(run.last_success, clock.now)))
    return rows


def counted(run: Run) -> str:
    skips = f", {run.skips} skipped" if run.skips else ""
    return f"since boot {run.successes} good runs, {run.failures} failed{skips}"
