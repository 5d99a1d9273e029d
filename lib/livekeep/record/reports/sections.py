"""The tables of a report, with their texts and values: the source of all its formats. Pure."""

from collections.abc import Callable, Sequence

from livekeep.record import figures
from livekeep.record.reports import box_sections
from livekeep.record.reports.content import Performance, Report
from livekeep.record.reports.content import change as more
from livekeep.record.reports.headlines import reason_of
from livekeep.record.reports.period import date_of
from livekeep.record.reports.source import seconds
from livekeep.record.reports.table import (
    MACHINE,
    Cell,
    Column,
    Section,
    bad_count,
    change,
    length,
    moment,
    number,
    section,
    text_column,
    words,
)

JOB = text_column("job", "job", 2.6)
FUNCTION = text_column("function", "function", 3.2)
KIND = text_column("kind", "kind", 1.1, is_shared=True)
CHANGE = Column("change", "change", is_optional=True)
FIGURES: dict[str, tuple[Column, Callable[[Performance], Cell]]] = {
    "count": (Column("calls", "count", 1.2), lambda it: number(it.figures.count)),
    "failures": (Column("failed", "failures"), lambda it: bad_count(it.figures.failures)),
    "mean": (Column("mean", "mean_seconds", 1.2), lambda it: length(seconds(it.figures.mean))),
    "p50": (Column("p50", "p50_seconds", 1.2), lambda it: length(seconds(it.figures.p50))),
    "p95": (Column("p95", "p95_seconds", 1.2), lambda it: length(seconds(it.figures.p95))),
    "p99": (Column("p99", "p99_seconds", 1.2), lambda it: length(seconds(it.figures.p99))),
    "max": (Column("longest", "longest_seconds", 1.2), lambda it: length(seconds(it.figures.max))),
}
"""Columns of functions, by the metric of a filter."""


def jobs(report: Report) -> Section:
    return section(
        "jobs",
        "Jobs",
        report.jobs,
        (
            (JOB, lambda it: words(it.name)),
            (Column("runs", "runs"), lambda it: number(it.runs)),
            (Column("succeeded", "succeeded", 1.3), lambda it: number(it.succeeded)),
            (Column("failed", "failed"), lambda it: bad_count(it.failed)),
            (Column("lost", "lost", 0.8, is_optional=True), lambda it: bad_count(it.lost)),
            (Column("cancelled", "cancelled", 1.3, is_optional=True), lambda it: number(it.cancelled)),
            (Column("running", "running", 1.1, is_optional=True), lambda it: number(it.running)),
            (Column("items", "items", is_optional=True), lambda it: number(it.items)),
            (Column("mean", "mean_seconds", 1.5), lambda it: length(it.mean_seconds)),
            (Column("longest", "longest_seconds", 1.5), lambda it: length(it.longest_seconds)),
            (CHANGE, lambda it: change(it.change)),
        ),
        f"Mean, longest and change are of runs that succeeded; the change is of the mean, against {report.period.compared}.",
    )


def comparison(report: Report) -> Section:
    names = {
        "runs": "runs of jobs",
        "bad_runs": "runs that failed",
        "items": "items",
        "calls": "calls",
        "failed_calls": "calls that failed",
    }
    pairs = {name: (getattr(report.totals, name), getattr(report.before, name)) for name in names} if report.before else {}
    return section(
        "comparison",
        "Compared with before",
        [(names[name], *pair) for name, pair in pairs.items() if any(pair)],
        (
            (text_column("figure", "figure", 3.0), lambda it: words(it[0])),
            (Column("this time", "now"), lambda it: number(it[1])),
            (Column("before", "before"), lambda it: number(round(it[2], 1))),
            (CHANGE, lambda it: Cell(figures.change(more(it[1], it[2])), more(it[1], it[2]))),
        ),
        f"Before: {'a day of ' if report.period.kind == 'daily' else ''}{report.period.compared}.",
    )


def failures(report: Report) -> Section:
    return section(
        "failures",
        "Runs that failed",
        report.failures,
        (
            (text_column("began", "began", 2.1), lambda it: moment(seconds(it.began_at))),
            (JOB, lambda it: words(it.name)),
            (MACHINE, lambda it: words(it.hostname)),
            (text_column("outcome", "outcome", 1.0), lambda it: words(it.outcome, is_bad=True)),
            (Column("after", "after_seconds", 1.2), lambda it: length(seconds(it.duration))),
            (text_column("reason", "reason", 5.0), lambda it: words(reason_of(it) or figures.UNKNOWN)),
            (Column("run", "session", 0.7), lambda it: Cell(str(it.id), it.id)),
        ),
        "All of one: livekeep record show RUN",
    )


def errors(report: Report) -> Section:
    return section(
        "errors",
        "Errors of calls",
        report.errors,
        (
            (FUNCTION, lambda it: words(it.name)),
            (KIND, lambda it: words(it.kind)),
            (text_column("error", "error", 5.0), lambda it: words(reason_of(it) or "unknown")),
            (Column("count", "count", 0.8), lambda it: bad_count(it.count)),
            (text_column("newest", "newest", 2.1), lambda it: moment(seconds(it.last_at))),
        ),
    )


def performance(report: Report, of_steps: bool = False) -> Section:
    name, title = ("steps", "Steps of jobs") if of_steps else ("performance", "Performance")
    is_compared = report.metric in ("", "p50")
    columns: list[tuple[Column, Callable[[Performance], Cell]]] = [
        (text_column("step", "function", 3.2) if of_steps else FUNCTION, lambda it: words(it.name)),
        (KIND, lambda it: words(it.kind)),
        *(column for metric, column in FIGURES.items() if report.metric in ("", metric)),
    ]
    if is_compared:
        columns.append((CHANGE, lambda it: change(it.change)))
    rows = [entry for entry in report.performance if (entry.kind == "step") == of_steps]
    note = f"The change is of p50, against {report.period.compared}." if is_compared else ""
    return section(name, title, rows, columns, note)


def steps(report: Report) -> Section:
    return performance(report, of_steps=True)


def slowdowns(report: Report) -> Section:
    return section(
        "regressions",
        "Regressions",
        report.slowdowns,
        (
            (FUNCTION, lambda it: words(it.function)),
            (KIND, lambda it: words(it.kind)),
            (Column("from", "from_seconds"), lambda it: length(it.from_seconds)),
            (Column("to", "to_seconds"), lambda it: length(it.to_seconds)),
            (CHANGE, lambda it: change(it.ratio - 1)),
            (text_column("since", "since", 1.4), lambda it: Cell(str(date_of(it.since)), figures.iso(it.since))),
        ),
        "The median of the newest 7 days is more than 15 % above that of the 28 days before.",
    )


def days(report: Report) -> Section:
    return section(
        "days",
        "Day by day",
        report.days,
        (
            (
                text_column("day", "day", 2.0),
                lambda it: Cell(f"{date_of(it.begin):%a} {date_of(it.begin)}", str(date_of(it.begin))),
            ),
            (Column("runs succeeded", "succeeded"), lambda it: number(it.succeeded)),
            (Column("runs failed", "failed"), lambda it: bad_count(it.failed)),
            (Column("items", "items", is_optional=True), lambda it: number(it.items)),
        ),
    )


ALL: Sequence[Callable[[Report], Section]] = (
    jobs,
    failures,
    comparison,
    slowdowns,
    performance,
    steps,
    errors,
    box_sections.air,
    box_sections.alerts,
    box_sections.clips,
    days,
    box_sections.boxes,
    box_sections.units,
    box_sections.losses,
)


def sections(report: Report) -> list[Section]:
    """The sections with rows, in reading order."""
    return [made for made in (make(report) for make in ALL) if made.rows]
