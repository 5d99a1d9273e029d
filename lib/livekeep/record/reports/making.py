"""Makes reports: from the record to the bytes of a file. reportlab is imported for PDF only."""

import dataclasses
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Literal

from livekeep.record.reports import boxes, facts, markup, tables, text
from livekeep.record.reports.content import ALL, METRICS, Report, totals_of
from livekeep.record.reports.period import Period, chosen
from livekeep.record.reports.source import Source, began, seconds
from livekeep.record.store import queries, schema
from livekeep.record.store.queries import Filter

Format = Literal["pdf", "html", "csv", "text", "json"]
FORMATS: Sequence[Format] = ("pdf", "html", "csv", "text", "json")
TYPES: dict[Format, str] = {
    "pdf": "application/pdf",
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "text": "text/plain; charset=utf-8",
    "json": "application/json",
}
SUFFIXES: dict[Format, str] = {"pdf": ".pdf", "html": ".html", "csv": ".csv", "text": ".txt", "json": ".json"}


MOST_FAILURES = 500
MOST_ERRORS = 200


def make(wanted: Filter, format_: Format, metric: str = "", connection: sqlite3.Connection | None = None) -> bytes:
    """A report on the range of `wanted`, restricted to its function, kind and machine, and to one of METRICS.

    Without a `connection` the record is opened. Raises `ValueError` for an invalid range or metric, and
    `sqlite3.OperationalError` when the record is absent or not readable.
    """
    with_ending = connection is None
    connection = connection or schema.open_read_only()
    try:
        return rendered(compose(connection, chosen(seconds(wanted.begin), seconds(wanted.end)), wanted, metric), format_)
    finally:
        if with_ending:
            connection.close()


def compose(connection: sqlite3.Connection, period: Period, wanted: Filter = ALL, metric: str = "") -> Report:
    """Read the report on `period`."""
    if metric and metric not in METRICS:
        raise ValueError(f"metric: must be one of {', '.join(METRICS)}")
    source = Source(connection, period, wanted)
    # A consistent snapshot, though the recorder continues to write.
    connection.execute("BEGIN")
    try:
        report = of_functions(source, metric)
        return report if report.is_of_functions else with_jobs_and_boxes(report, source)
    finally:
        connection.execute("ROLLBACK")


def of_functions(source: Source, metric: str) -> Report:
    connection, period = source.connection, source.period
    first = began(connection)
    current, earlier = queries.functions(connection, source.within), queries.functions(connection, source.before)
    days = facts.series(source, current)
    reaches_back = first is not None and first <= period.before
    return Report(
        period=period,
        made_at=time.time(),
        machines=tuple(machine.hostname for machine in source.machines()),
        filter=source.filter,
        metric=metric,
        began=first if first and period.begin < first < period.end else None,
        before=totals_of((), facts.performance(earlier, ()), source.scale) if reaches_back else None,
        errors=queries.error_groups(connection, source.within, limit=MOST_ERRORS),
        performance=facts.performance(current, earlier),
        slowdowns=facts.slowdowns(source, days),
        losses=boxes.losses(source),
        curves=facts.curves(days, metric),
    )


def with_jobs_and_boxes(report: Report, source: Source) -> Report:
    before = facts.jobs(source, source.before, {})
    # Failed and lost ones come first.
    runs = queries.sessions(source.connection, source.within, limit=MOST_FAILURES).rows
    own = totals_of(before, (), source.scale)
    return dataclasses.replace(
        report,
        before=report.before and dataclasses.replace(report.before, runs=own.runs, bad_runs=own.bad_runs, items=own.items),
        jobs=facts.jobs(source, source.within, {job.name: job.mean_seconds for job in before}),
        failures=tuple(run for run in runs if run.outcome in ("failed", "lost")),
        boxes=boxes.boxes(source),
        units=boxes.units(source),
        air=boxes.air(source),
        alerts=boxes.alerts(source),
        clips=boxes.clips(source),
        days=facts.days(source),
        gauges=boxes.gauges(source),
    )


def rendered(report: Report, format_: Format) -> bytes:
    if format_ == "pdf":
        from livekeep.record.reports import pdf  # noqa: PLC0415

        return bytes(pdf.render(report))
    renderers: dict[Format, Callable[[Report], str]] = {
        "html": markup.render,
        "csv": tables.render,
        "text": text.render,
        "json": tables.render_json,
    }
    return renderers[format_](report).encode()
