"""Durations and failures of functions, over a time range and per bucket.

Daily and hourly summaries (store/summaries.py) cover whole days and hours; only the partial hours at the ends of a range are
counted row by row. Percentiles come from the summaries' histograms, with an error of at most `histogram.ERROR`.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

from livekeep.core.text import local_time
from livekeep.record.store import histogram
from livekeep.record.store.queries.filter import Conditions, Filter, function_ids, is_any, machine_ids
from livekeep.record.store.summaries import HOUR, LARGEST_SUM, Durations, day_of, hour_of, next_day, summarized

Size = Literal["hour", "day", "week", "month"]
"""Of a bucket: an hour of UTC, or a day, week (from Monday) or month of the local calendar."""
NOT_CALLS = ("session", "step")
"""Kinds that are not calls; their time consists of calls."""
LAST_MOMENT = 4_000_000_000_000_000
"""2096; summaries of later moments are not searched."""

LONGEST_SESSION = 31 * 24 * HOUR
"""Steps of sessions that began earlier than this before a moment are not searched."""

SUMMARIES = (
    "FROM functions f CROSS JOIN machines m CROSS JOIN summaries s "
    "ON s.period = ? AND s.function = f.id AND s.machine = m.id AND s.began_at >= ? AND s.began_at < ?"
)
"""In this order each function is one search of the summaries, whatever the retention."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Figures:
    """Metrics of a set of calls. Durations in microseconds, all 0 without calls."""

    count: int = 0
    failures: int = 0
    sum: int = 0
    min: int = 0
    max: int = 0
    p50: int = 0
    p95: int = 0
    p99: int = 0

    @property
    def mean(self) -> float:
        return self.sum / self.count if self.count else 0.0

    @property
    def failed_share(self) -> float:
        """Between 0 and 1."""
        return self.failures / self.count if self.count else 0.0


@dataclass(frozen=True)
class FunctionFigures:
    """A function, a session (kind "session") or a step (kind "step") over a time range."""

    name: str
    kind: str
    figures: Figures


@dataclass(frozen=True)
class Bucket:
    """The calls that began from `began_at` to before `ends_at`."""

    began_at: int
    ends_at: int
    figures: Figures


class Part(NamedTuple):
    """A part of a time range: whole days, whole hours, or less (period "")."""

    period: Literal["day", "hour", ""]
    begin: int
    end: int


@dataclass(frozen=True)
class Overview:
    functions: tuple[FunctionFigures, ...]
    """Every called function, the one with the largest total time first. Includes sessions and steps."""
    totals: Figures
    """As of `totals`."""
    series: tuple[Bucket, ...]
    """As of `function_series`."""


def functions(connection: sqlite3.Connection, wanted: Filter) -> tuple[FunctionFigures, ...]:
    """As of `Overview`."""
    by_function = _counted(connection, wanted, parts(wanted), lambda function, _began_at: (function,), every_kind=True)
    return _by_time(by_function, _names(connection))


def overview(connection: sqlite3.Connection, wanted: Filter, size: Size) -> Overview:
    """`functions`, `totals` and `function_series` at the cost of one: the summaries are read once."""
    names = _names(connection)
    starts = lru_cache(maxsize=None)(lambda began_at: bucket_start(began_at, size))
    left_out = {function for function, (_name, kind) in names.items() if is_any(wanted.kind) and kind in NOT_CALLS}

    def keys(function: int, began_at: int) -> tuple[tuple[Literal["function", "bucket"], int], ...]:
        owner: tuple[Literal["function"], int] = ("function", function)
        return (owner,) if function in left_out else (owner, ("bucket", starts(began_at)))

    sums = _counted(connection, wanted, parts(wanted, with_days=size != "hour"), keys, every_kind=True)
    by_function = {key: one for (what, key), one in sums.items() if what == "function"}
    together = Sum()
    for function, one in by_function.items():
        if function not in left_out:
            counts = {bucket: counted for bucket, counted in enumerate(one.counts) if counted}
            together.add((one.count, one.failures, one.sum, one.min, one.max), histogram.encode(counts))
    by_bucket = {key: one for (what, key), one in sums.items() if what == "bucket"}
    return Overview(_by_time(by_function, names), figures(together), _series(by_bucket, size))


def _names(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    """Name and kind of each function."""
    return {row["id"]: (row["name"], row["kind"]) for row in connection.execute("SELECT id, name, kind FROM functions")}


def _by_time(by_function: Mapping[int, "Sum"], names: Mapping[int, tuple[str, str]]) -> tuple[FunctionFigures, ...]:
    rows = [FunctionFigures(*names[function], figures(one)) for function, one in by_function.items()]
    return tuple(sorted(rows, key=lambda row: -row.figures.sum))


def _series(by_bucket: Mapping[int, "Sum"], size: Size) -> tuple[Bucket, ...]:
    return tuple(Bucket(began, bucket_end(began, size), figures(one)) for began, one in sorted(by_bucket.items()))


def totals(connection: sqlite3.Connection, wanted: Filter) -> Figures:
    """All calls together; sessions and steps only if the filter names their kind."""
    return figures(_counted(connection, wanted, parts(wanted), lambda _function, _began_at: (0,)).get(0, Sum()))


def function_series(connection: sqlite3.Connection, wanted: Filter, size: Size = "day") -> tuple[Bucket, ...]:
    """The calls per bucket, in chronological order; omits buckets without calls. As of `totals`."""
    starts = lru_cache(maxsize=None)(lambda began_at: bucket_start(began_at, size))
    cut = parts(wanted, with_days=size != "hour")
    return _series(_counted(connection, wanted, cut, lambda _function, began_at: (starts(began_at),)), size)


def series_by_function(connection: sqlite3.Connection, wanted: Filter) -> dict[tuple[str, str], tuple[Bucket, ...]]:
    """The days of each function by name and kind, including sessions and steps; omits days without calls."""
    names = _names(connection)
    # Thousands of summaries share few start times: the calendar is computed once for each.
    starts = lru_cache(maxsize=None)(lambda began_at: bucket_start(began_at, "day"))
    cut = parts(wanted)
    by_day = _counted(connection, wanted, cut, lambda function, began_at: ((function, starts(began_at)),), every_kind=True)
    ends = {began: bucket_end(began, "day") for began in {began for _function, began in by_day}}
    series: dict[tuple[str, str], list[Bucket]] = {}
    for (function, began), one in sorted(by_day.items(), key=lambda item: item[0]):
        series.setdefault(names[function], []).append(Bucket(began, ends[began], figures(one)))
    return {key: tuple(buckets) for key, buckets in series.items()}


def longest_calls(
    connection: sqlite3.Connection,
    wanted: Filter,
    function: int | None = None,
    machine: int | None = None,
    day: Part | None = None,
) -> Iterator[tuple[Part, int, int, int]]:
    """A time range as days, hours and less, with function, machine, and an upper bound of their calls' durations; for one
    function's `day`, its hours."""
    ids, machines_wanted = function_ids(connection, wanted), machine_ids(connection, wanted.machine)
    conditions = Conditions()
    conditions.add_one_of("f.id", ids if function is None else [function])
    conditions.add_one_of("m.id", machines_wanted if machine is None else [machine])
    conditions.add("f.kind NOT IN (?, ?)", *NOT_CALLS)
    end_of_day = lru_cache(maxsize=None)(next_day)
    for part in parts(wanted) if day is None else _in_hours(day.begin, day.end):
        # Parts shorter than an hour are always searched.
        within = part if part.period else Part("hour", hour_of(part.begin), part.end)
        sql = f"SELECT s.began_at, s.function, s.machine, s.max {SUMMARIES} WHERE {conditions.text()}"
        for began_at, *owner, longest in connection.execute(sql, [*within, *conditions.parameters]):
            ends_at = end_of_day(began_at) if part.period == "day" else began_at + HOUR
            cell = Part(part.period, max(began_at, part.begin), min(ends_at, part.end))
            yield cell, owner[0], owner[1], longest


@dataclass(slots=True)
class Sum:
    """Merged summaries."""

    count: int = 0
    failures: int = 0
    sum: int = 0
    min: int = LARGEST_SUM
    max: int = 0
    counts: list[int] = field(default_factory=list)
    """By the histogram's bucket."""

    def add(self, numbers: Sequence[int], blob: bytes) -> None:
        """Add a summary: its count, failures, sum, min and max, and its histogram."""
        count, failures, total, least, most = numbers
        self.count += count
        self.failures += failures
        self.sum = min(self.sum + total, LARGEST_SUM)
        self.min, self.max = min(self.min, least), max(self.max, most)
        histogram.add(self.counts, blob)


def figures(total: Sum) -> Figures:
    if not total.count:
        return Figures()
    p50, p95, p99 = (
        # No value is beyond the two exact ones.
        min(max(round(value), total.min), total.max)
        for value in histogram.percentiles(total.counts, (0.5, 0.95, 0.99))
    )
    return Figures(total.count, total.failures, total.sum, total.min, total.max, p50, p95, p99)


def bucket_start(at: int, size: Size) -> int:
    """The beginning of the bucket that contains a moment."""
    if size == "hour":
        return hour_of(at)
    began = day_of(at)
    if size == "day":
        return began
    date = local_time(began // 1_000_000)
    days_before = date.tm_wday if size == "week" else date.tm_mday - 1
    # Half a day more, because a day has 23 to 25 hours.
    return day_of(began - days_before * 24 * HOUR + 12 * HOUR) if days_before else began


def bucket_end(began_at: int, size: Size) -> int:
    """The beginning of the bucket after the one that begins at `began_at`."""
    if size == "hour":
        return began_at + HOUR
    if size == "day":
        return next_day(began_at)
    return bucket_start(began_at + (7 if size == "week" else 31) * 24 * HOUR + 12 * HOUR, size)


def parts(wanted: Filter, with_days: bool = True) -> list[Part]:
    """A time range as whole days, whole hours, and the rest, without empty parts."""
    end = min(wanted.end, LAST_MOMENT)
    if not with_days:
        return list(_in_hours(wanted.begin, end))
    first = day_of(wanted.begin)
    first = first if first == wanted.begin else next_day(first)
    last = day_of(end)
    if first >= last:
        return list(_in_hours(wanted.begin, end))
    return [*_in_hours(wanted.begin, first), Part("day", first, last), *_in_hours(last, end)]


def _in_hours(begin: int, end: int) -> Iterator[Part]:
    first, last = -(-begin // HOUR) * HOUR, hour_of(end)
    whole = [Part("", begin, first), Part("hour", first, last), Part("", last, end)]
    cut = whole if first < last else [Part("", begin, end)]
    return (part for part in cut if part.begin < part.end)


def _counted(
    connection: sqlite3.Connection,
    wanted: Filter,
    cut: Iterable[Part],
    keys: Callable[[int, int], Iterable[K]],
    every_kind: bool = False,
) -> dict[K, Sum]:
    """Sums by each of `keys`, which receives a function and the time of its calls, or slightly earlier."""
    conditions = Conditions()
    conditions.add_one_of("f.id", function_ids(connection, wanted))
    conditions.add_one_of("m.id", machine_ids(connection, wanted.machine))
    if is_any(wanted.kind) and not every_kind:
        conditions.add("f.kind NOT IN (?, ?)", *NOT_CALLS)
    sums: defaultdict[K, Sum] = defaultdict(Sum)
    for part in cut:
        if not part.period:
            for function, durations in _rows(connection, conditions, part).items():
                one = summarized(durations)
                for key in keys(function, part.begin):
                    sums[key].add((one.count, one.failures, one.sum, one.min, one.max), histogram.encode(one.histogram))
            continue
        sql = f"SELECT s.function, s.began_at, s.count, s.failures, s.sum, s.min, s.max, s.histogram {SUMMARIES}"
        for function, began_at, *numbers, blob in connection.execute(
            f"{sql} WHERE {conditions.text()}", [*part, *conditions.parameters]
        ):
            for key in keys(function, began_at):
                sums[key].add(numbers, blob)
    return sums


def _rows(connection: sqlite3.Connection, conditions: Conditions, part: Part) -> dict[int, Durations]:
    """Per function, what began in a part shorter than an hour, from the rows themselves."""
    begin, end = part.begin, part.end
    rows = connection.execute(
        "SELECT f.id, x.duration, x.failed FROM ("  # noqa: S608
        "SELECT function, machine, duration, outcome = 1 AS failed FROM calls WHERE id >= ? AND id < ? "
        "UNION ALL SELECT f.id, s.machine, max(s.ended_at - s.began_at, 0), s.outcome IN ('failed', 'lost') "
        "FROM sessions s JOIN functions f ON f.name = s.name AND f.kind = 'session' "
        "WHERE s.began_at >= ? AND s.began_at < ? AND s.ended_at IS NOT NULL "
        "UNION ALL SELECT f.id, s.machine, max(t.ended_at - t.began_at, 0), t.outcome IN ('failed', 'lost') "
        "FROM sessions s JOIN steps t ON t.session = s.id "
        "JOIN functions f ON f.name = s.name || ' / ' || t.name AND f.kind = 'step' "
        "WHERE s.began_at >= ? AND s.began_at < ? AND t.began_at >= ? AND t.began_at < ? AND t.ended_at IS NOT NULL"
        ") x JOIN functions f ON f.id = x.function JOIN machines m ON m.id = x.machine "
        f"WHERE {conditions.text()}",
        [begin * 1000, end * 1000, begin, end, begin - LONGEST_SESSION, end, begin, end, *conditions.parameters],
    )
    by_function: dict[int, Durations] = {}
    for function, duration, is_failure in rows:
        durations = by_function.setdefault(function, Durations())
        durations.values.append(duration)
        durations.failures += is_failure
    return by_function
