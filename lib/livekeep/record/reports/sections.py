"""The tables of a report, with their texts and values: the source of all its formats. Pure."""

from collections.abc import Callable, Sequence

from livekeep.record import figures
from livekeep.record.reports import box_sections
from livekeep.record.reports.content import Performance, Report
from livekeep.record.reports.content import change as more
from livekeep.record.reports.period import date_of
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
    text_column,
    words,
)

JOB = text_column("job", "job", 2.6)
FUNCTION = text_column("function", "function", 3.2)
KIND = text_column("kind", "kind", 1.1, is_shared=True)
CHANGE = Column("change", "change", is_optional=True)
FIGURES: dict[str, tuple[Column, Callable[[Performance], Cell]]] = {
    "count": (Column("calls", "count", 1.2), lambda entry: number(entry.count)),
    "failures": (Column("failed", "failures"), lambda entry: bad_count(entry.failures)),
    "mean": (Column("mean", "mean_seconds", 1.2), lambda entry: length(entry.mean_seconds)),
    "p50": (Column("p50", "p50_seconds", 1.2), lambda entry: length(entry.p50_seconds)),
    "p95": (Column("p95", "p95_seconds", 1.2), lambda entry: length(entry.p95_seconds)),
    "p99": (Column("p99", "p99_seconds", 1.2), lambda entry: length(entry.p99_seconds)),
    "max": (Column("longest", "longest_seconds", 1.2), lambda entry: length(entry.longest_seconds)),
}
"""Columns of functions, by the metric of a filter."""


def jobs(report: Report) -> Section:
    return Section(
        "jobs",
        "Jobs",
        (
            JOB,
            Column("runs", "runs"),
            Column("succeeded", "succeeded", 1.3),
            Column("failed", "failed"),
            Column("lost", "lost", 0.8, is_optional=True),
            Column("cancelled", "cancelled", 1.3, is_optional=True),
            Column("running", "running", 1.1, is_optional=True),
            Column("items", "items", is_optional=True),
            Column("mean", "mean_seconds", 1.5),
            Column("longest", "longest_seconds", 1.5),
            CHANGE,
        ),
        tuple(
            (
                words(job.name),
                number(job.runs),
                number(job.succeeded),
                bad_count(job.failed),
                bad_count(job.lost),
                number(job.cancelled),
                number(job.running),
                number(job.items),
                length(job.mean_seconds),
                length(job.longest_seconds),
                change(job.change),
            )
            for job in report.jobs
        ),
        f"Mean, longest and change are of runs that succeeded; the change is of the mean, against {report.period.compared}.",
    )


def comparison(report: Report) -> Section:
    now, before = report.totals, report.before
    figures_of = (
        ("runs of jobs", "runs"),
        ("runs that failed", "bad_runs"),
        ("items", "items"),
        ("calls", "calls"),
        ("calls that failed", "failed_calls"),
    )
    rows = [(title, getattr(now, name), getattr(before, name)) for title, name in figures_of] if before else []
    return Section(
        "comparison",
        "Compared with before",
        (
            text_column("figure", "figure", 3.0),
            Column("this time", "now"),
            Column("before", "before"),
            CHANGE,
        ),
        tuple(
            (words(title), number(value), number(round(old, 1)), Cell(figures.change(more(value, old)), more(value, old)))
            for title, value, old in rows
            if value or old
        ),
        f"Before: {'a day of ' if report.period.kind == 'daily' else ''}{report.period.compared}.",
    )


def failures(report: Report) -> Section:
    return Section(
        "failures",
        "Runs that failed",
        (
            text_column("began", "began", 2.1),
            JOB,
            MACHINE,
            text_column("outcome", "outcome", 1.0),
            Column("after", "after_seconds", 1.2),
            text_column("reason", "reason", 5.0),
            Column("run", "session", 0.7),
        ),
        tuple(
            (
                moment(failure.at),
                words(failure.job),
                words(failure.machine),
                words(failure.outcome, is_bad=True),
                length(failure.after_seconds),
                words(failure.reason or figures.UNKNOWN),
                Cell(str(failure.session), failure.session),
            )
            for failure in report.failures
        ),
        "All of one: livekeep record show RUN",
    )


def errors(report: Report) -> Section:
    return Section(
        "errors",
        "Errors of calls",
        (FUNCTION, KIND, text_column("error", "error", 5.0), Column("count", "count", 0.8), text_column("newest", "newest", 2.1)),
        tuple(
            (words(entry.function), words(entry.kind), words(entry.error), bad_count(entry.count), moment(entry.newest_at))
            for entry in report.errors
        ),
    )


def performance(report: Report) -> Section:
    rows = tuple(entry for entry in report.performance if entry.kind != "step")
    return of_functions("performance", "Performance", FUNCTION, rows, report)


def steps(report: Report) -> Section:
    rows = tuple(entry for entry in report.performance if entry.kind == "step")
    return of_functions("steps", "Steps of jobs", text_column("step", "function", 3.2), rows, report)


def of_functions(name: str, title: str, first: Column, rows: Sequence[Performance], report: Report) -> Section:
    shown = [place for place in FIGURES if report.metric in ("", place)]
    is_compared = report.metric in ("", "p50")
    return Section(
        name,
        title,
        (first, KIND, *(FIGURES[place][0] for place in shown), *([CHANGE] if is_compared else [])),
        tuple(
            (
                words(entry.function),
                words(entry.kind),
                *(FIGURES[place][1](entry) for place in shown),
                *([change(entry.change)] if is_compared else []),
            )
            for entry in rows
        ),
        f"The change is of p50, against {report.period.compared}." if is_compared else "",
    )


def slowdowns(report: Report) -> Section:
    return Section(
        "regressions",
        "Regressions",
        (
            FUNCTION,
            KIND,
            Column("from", "from_seconds"),
            Column("to", "to_seconds"),
            CHANGE,
            text_column("since", "since", 1.4),
        ),
        tuple(
            (
                words(entry.function),
                words(entry.kind),
                length(entry.from_seconds),
                length(entry.to_seconds),
                change(entry.ratio - 1),
                Cell(str(date_of(entry.since)), figures.iso(entry.since)),
            )
            for entry in report.slowdowns
        ),
        "The median of the newest 7 days is more than 15 % above that of the 28 days before.",
    )


def days(report: Report) -> Section:
    return Section(
        "days",
        "Day by day",
        (
            text_column("day", "day", 2.0),
            Column("runs succeeded", "succeeded"),
            Column("runs failed", "failed"),
            Column("items", "items", is_optional=True),
        ),
        tuple(
            (
                Cell(f"{date_of(day.begin):%a} {date_of(day.begin)}", str(date_of(day.begin))),
                number(day.succeeded),
                bad_count(day.failed),
                number(day.items),
            )
            for day in report.days
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
    return [section for section in (make(report) for make in ALL) if section.rows]
