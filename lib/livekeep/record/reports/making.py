"""Makes reports: from the record to the bytes of a file. reportlab is imported for PDF only."""

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


def make(wanted: Filter, format_: Format, metric: str = "", connection: sqlite3.Connection | None = None) -> bytes:
    """A report on the range of `wanted`, restricted to its function, kind and machine, and to one of METRICS.

    Without a `connection` the record is opened. Raises `ValueError` for a range or a metric that cannot be, and
    `sqlite3.OperationalError` when there is no record or it may not be read.
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
    source = Source(connection, period, wanted, metric)
    # All of it as of one moment, though the recorder writes on.
    connection.execute("BEGIN")
    try:
        return read(source)
    finally:
        connection.execute("ROLLBACK")


def read(source: Source) -> Report:
    connection, period, is_all = source.connection, source.period, not source.is_of_functions
    first = began(connection)
    current, earlier = queries.functions(connection, source.within), queries.functions(connection, source.before)
    jobs_before = facts.jobs(source, source.before, {}) if is_all else ()
    jobs = facts.jobs(source, source.within, {job.name: job.mean_seconds for job in jobs_before}) if is_all else ()
    days = facts.series(source, current)
    reaches_back = first is not None and first <= period.before
    return Report(
        period=period,
        made_at=time.time(),
        machines=tuple(machine.hostname for machine in source.machines()),
        filter=source.filter,
        metric=source.metric,
        began=first if first and period.begin < first < period.end else None,
        before=totals_of(jobs_before, facts.performance(earlier, ()), source.scale) if reaches_back else None,
        jobs=jobs,
        failures=facts.failures(source) if is_all else (),
        errors=facts.errors(source),
        performance=facts.performance(current, earlier),
        slowdowns=facts.slowdowns(source, days),
        boxes=boxes.boxes(source) if is_all else (),
        units=boxes.units(source) if is_all else (),
        air=boxes.air(source) if is_all else (),
        alerts=boxes.alerts(source) if is_all else (),
        clips=boxes.clips(source) if is_all else (),
        losses=boxes.losses(source),
        days=facts.days(source) if is_all else (),
        curves=facts.curves(days, source.metric),
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
