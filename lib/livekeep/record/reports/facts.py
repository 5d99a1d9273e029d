"""Reads a report's data on jobs and functions from the record.

The metrics of functions are those of store/queries, so that pages, commands and reports agree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from livekeep.record.moments import midnight
from livekeep.record.reports.content import Curve, Day, Job, Performance, Slowdown
from livekeep.record.reports.period import date_of
from livekeep.record.reports.source import Source, microseconds, seconds
from livekeep.record.store import analysis, queries
from livekeep.record.store.queries import Bucket, FunctionFigures
from livekeep.record.store.queries.filter import Conditions, machine_ids

MOST_JUDGED = 200
"""Functions checked for regressions: those with the largest total time."""
MOST_CURVES = 5
HISTORY_DAYS = 36

NO_RUN = {"succeeded": 0, "failed": 0, "items": 0.0}

JOBS = """
SELECT s.name, count(*) AS runs, sum(s.outcome = 'succeeded') AS succeeded, sum(s.outcome = 'failed') AS failed,
    sum(s.outcome = 'lost') AS lost, sum(s.outcome = 'cancelled') AS cancelled, sum(s.outcome = 'running') AS running,
    sum(s.done) AS items, avg(CASE WHEN s.outcome = 'succeeded' THEN s.ended_at - s.began_at END) / 1e6 AS mean_seconds,
    max(CASE WHEN s.outcome = 'succeeded' THEN s.ended_at - s.began_at END) / 1e6 AS longest_seconds
FROM sessions s WHERE {} GROUP BY s.name ORDER BY sum(s.outcome IN ('failed', 'lost')) DESC, runs DESC, s.name
"""
DAYS = """
SELECT date(s.began_at / 1000000, 'unixepoch', 'localtime') AS day, sum(s.outcome = 'succeeded') AS succeeded,
    sum(s.outcome IN ('failed', 'lost')) AS failed, sum(s.done) AS items
FROM sessions s WHERE {} GROUP BY day
"""


def jobs(source: Source, wanted: queries.Filter, means: Mapping[str, float | None]) -> tuple[Job, ...]:
    """Those with failures first. `means` has the means of the period of comparison, by name."""
    return tuple(Job(**row, mean_before=means.get(row["name"])) for row in of_sessions(source, JOBS, wanted))


def of_sessions(source: Source, sql: str, wanted: queries.Filter) -> list[dict[str, Any]]:
    conditions = Conditions()
    conditions.add("s.began_at >= ? AND s.began_at < ?", wanted.begin, wanted.end)
    conditions.add_one_of("s.machine", machine_ids(source.connection, wanted.machine))
    return [dict(row) for row in source.connection.execute(sql.format(conditions.text()), conditions.parameters)]


def performance(current: Iterable[FunctionFigures], earlier: Iterable[FunctionFigures]) -> tuple[Performance, ...]:
    """Functions and steps of a period, and of the period of comparison."""
    before = {(row.name, row.kind): row.figures for row in earlier}
    rows = [row for row in current if row.kind != "session"]
    return tuple(Performance(row.name, row.kind, row.figures, before.get((row.name, row.kind))) for row in rows)


def series(source: Source, figures: Iterable[FunctionFigures]) -> dict[tuple[str, str], tuple[Bucket, ...]]:
    """The days of each function up to the end of the period: the whole period, and as far back as regressions need."""
    history = source.spanning(min(source.period.begin, source.period.end - HISTORY_DAYS * 86400), source.period.end)
    return {
        (row.name, row.kind): queries.function_series(source.connection, replace(history, function=row.name, kind=row.kind))
        for row in list(figures)[:MOST_JUDGED]
    }


def slowdowns(source: Source, days: dict[tuple[str, str], tuple[Bucket, ...]]) -> tuple[Slowdown, ...]:
    """The largest first."""
    now = microseconds(source.period.end)
    regressions = [(key, analysis.regression(buckets, now)) for key, buckets in days.items()]
    rows = [Slowdown(*key, seconds(it.before), seconds(it.now), seconds(it.since)) for key, it in regressions if it]
    return tuple(sorted(rows, key=lambda row: -row.ratio))


def curves(days: dict[tuple[str, str], tuple[Bucket, ...]], metric: str) -> tuple[Curve, ...]:
    """Of the functions with the largest total time."""
    every = []
    for (name, kind), buckets in days.items():
        # A job is shown as a whole, without its steps.
        if kind == "step":
            continue
        values = [float(getattr(day.figures, metric or "p50")) for day in buckets]
        if metric not in ("count", "failures"):
            values = [seconds(value) for value in values]
        begins = (seconds(day.began_at) for day in buckets)
        every.append(Curve(name, kind, tuple(zip(begins, values, strict=True))))
    return tuple(curve for curve in every if len(curve.points) > 2)[:MOST_CURVES]


def days(source: Source) -> tuple[Day, ...]:
    """Every day of the period; empty for a single day, which the whole report covers."""
    first, last = date_of(source.period.begin), date_of(source.period.end - 1)
    if first == last:
        return ()
    by_day = {row["day"]: row for row in of_sessions(source, DAYS, source.within)}
    dates = [first + timedelta(number) for number in range((last - first).days + 1)]
    rows = [(date, by_day.get(str(date), NO_RUN)) for date in dates]
    return tuple(Day(midnight(date), row.get("succeeded", 0), row.get("failed", 0), row.get("items", 0.0)) for date, row in rows)
