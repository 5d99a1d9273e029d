"""Functions: the calls, durations, failures, trend and regression of each; one function over time; two periods side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from livekeep.record.store import analysis, queries
from livekeep.record.store.analysis import EARLIER_DAYS, RECENT_DAYS, Regression, Trend
from livekeep.record.store.queries import Bucket, FunctionFigures
from livekeep.record.store.queries.figures import Size, bucket_start
from livekeep.record.web.address import METRICS, SECOND, View
from livekeep.record.web.pages.page import NotThereError
from livekeep.record.web.sources import Sources

DAY = 86400 * SECOND
HOURLY_UP_TO = 3 * DAY
"""Longer ranges are shown day by day,"""
DAILY_UP_TO = 120 * DAY
"""and still longer ones week by week."""
MOST_ROWS = 200
HISTORY_KEPT_SECONDS = 600.0
ROWS = 20
FEW_CALLS = 20_000
"""The largest number of calls in which the slowest are searched; with more, the range must be narrower."""
SPARK_WIDTH, SPARK_HEIGHT = 100, 24
NOT_CALLS = ("session", "step")


@dataclass(frozen=True)
class History:
    """A function's last 35 days before the end of a range."""

    spark: str = ""
    """The daily medians as an SVG path in a box of SPARK_WIDTH by SPARK_HEIGHT; "" with fewer than two days."""
    trend: Trend | None = None
    regression: Regression | None = None


@dataclass(frozen=True)
class Row:
    function: FunctionFigures
    history: History


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    connection = sources.connection()
    overview = queries.overview(connection, view.filter, size(view))
    shown = overview.functions
    if not view.filter.kind or view.filter.kind == "*":
        shown = tuple(one for one in shown if one.kind not in NOT_CALLS)
    past = histories(sources, view)
    rows = [Row(one, past.get((one.name, one.kind), History())) for one in shown[:MOST_ROWS]]
    slower = [(row.history.regression.ratio, row) for row in rows if row.history.regression]
    return {
        "rows": sorted(rows, key=lambda it: -getattr(it.function.figures, view.metric)) if view.get("metric") else rows,
        "slower": [row for _ratio, row in sorted(slower, key=lambda pair: -pair[0])],
        "left_out": max(len(shown) - MOST_ROWS, 0),
        "totals": overview.totals,
        "series": overview.series,
        "size": size(view),
        **names(sources),
    }


def names(sources: Sources) -> dict[str, Any]:
    """The names in the filter's lists."""
    connection = sources.connection()
    return {
        "function_names": queries.function_names(connection)[:1000],
        "kinds": queries.kinds(connection),
        "machines": queries.machines(connection),
        "metrics": METRICS,
    }


def histories(sources: Sources, view: View) -> Mapping[tuple[str, str], History]:
    """By name and kind of each function; cached for a while, because complete days hardly change."""
    end = bucket_start(view.end, "day")
    wanted = replace(view.filter, begin=bucket_start(end - (RECENT_DAYS + EARLIER_DAYS) * DAY, "day"), end=end)

    def read() -> dict[tuple[str, str], History]:
        series = queries.series_by_function(sources.connection(), wanted)
        return {key: History(spark(days), analysis.trend(days), analysis.regression(days, end)) for key, days in series.items()}

    return sources.kept_for(HISTORY_KEPT_SECONDS, ("histories", wanted), read)


def size(view: View) -> Size:
    length = view.end - view.begin
    return "hour" if length <= HOURLY_UP_TO else "day" if length <= DAILY_UP_TO else "week"


def spark(days: Sequence[Bucket]) -> str:
    if len(days) < 2:
        return ""
    first, last = days[0].began_at, days[-1].began_at
    most = max(day.figures.p50 for day in days) or 1
    points = [
        (
            (day.began_at - first) / (last - first) * SPARK_WIDTH,
            SPARK_HEIGHT - 1 - day.figures.p50 / most * (SPARK_HEIGHT - 2),
        )
        for day in days
    ]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def collect_one(sources: Sources, view: View) -> Mapping[str, Any]:
    name = view.get("function")
    if not name:
        raise NotThereError("The address names no function")
    connection = sources.connection()
    wanted = view.filter
    totals = queries.totals(connection, wanted)
    failed = queries.calls(connection, replace(wanted, outcome="failed"), ROWS).rows if totals.failures else ()
    is_call = wanted.kind not in NOT_CALLS
    return {
        "title": name,
        "figures": totals,
        "series": queries.function_series(connection, wanted, size(view)),
        "size": size(view),
        "history": histories(sources, view).get((name, wanted.kind), History()),
        "failed": failed if is_call else (),
        "slowest": queries.slowest_calls(connection, wanted, ROWS) if is_call and 0 < totals.count <= FEW_CALLS else (),
        "is_many": totals.count > FEW_CALLS,
        "errors": queries.error_groups(connection, wanted) if is_call and 0 < totals.failures <= FEW_CALLS else (),
        **names(sources),
    }


# Two periods


def collect_comparison(sources: Sources, view: View) -> Mapping[str, Any]:
    """The range of the address against the one of from2 and to2; by default the equally long one right before it."""
    connection = sources.connection()
    before = replace(view.filter, begin=view.begin2, end=view.end2)
    rows = analysis.compare(queries.functions(connection, before), queries.functions(connection, view.filter))
    if not view.get("kind"):
        rows = tuple(one for one in rows if one.kind not in NOT_CALLS)
    return {
        "rows": rows[:MOST_ROWS],
        "left_out": max(len(rows) - MOST_ROWS, 0),
        "sessions_before": queries.session_totals(connection, before),
        "sessions_after": queries.session_totals(connection, view.filter),
        **names(sources),
    }
