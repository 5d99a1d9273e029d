"""How long functions take and how often they fail, over a range of time and bucket by bucket."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from livekeep.record.store.queries.filter import IDS_PER_MICROSECOND, Conditions, Filter, function_ids, id_range, machine_ids

Size = Literal["hour", "day", "week", "month"]
"""Of a bucket, by the local calendar; a week begins on Monday."""
SECOND = 1_000_000


@dataclass(frozen=True)
class Figures:
    """What some calls have in common. Durations in microseconds, all 0 when there was no call."""

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
    """A function, a session (kind "session") or a step (kind "step") over a range of time."""

    name: str
    kind: str
    figures: Figures


@dataclass(frozen=True)
class Bucket:
    """Some calls that began from `began_at` to before `ends_at`."""

    began_at: int
    ends_at: int
    figures: Figures


def functions(connection: sqlite3.Connection, wanted: Filter) -> tuple[FunctionFigures, ...]:
    """Every function that was called, the one that took most time in all first."""
    names = {row["id"]: (row["name"], row["kind"]) for row in connection.execute("SELECT id, name, kind FROM functions")}
    by_function: dict[int, list[tuple[int, int]]] = {}
    for function, _began, duration, outcome in _rows(connection, wanted):
        by_function.setdefault(function, []).append((duration, outcome))
    found = [FunctionFigures(*names[function], _figures(calls)) for function, calls in by_function.items()]
    return tuple(sorted(found, key=lambda row: -row.figures.sum))


def totals(connection: sqlite3.Connection, wanted: Filter) -> Figures:
    """All calls together."""
    return _figures([(duration, outcome) for _function, _began, duration, outcome in _rows(connection, wanted)])


def function_series(connection: sqlite3.Connection, wanted: Filter, size: Size = "day") -> tuple[Bucket, ...]:
    """The calls bucket by bucket, in the order of time; buckets without a call are left out."""
    by_bucket: dict[int, list[tuple[int, int]]] = {}
    for _function, began, duration, outcome in _rows(connection, wanted):
        by_bucket.setdefault(bucket_start(began, size), []).append((duration, outcome))
    return tuple(Bucket(began, bucket_end(began, size), _figures(calls)) for began, calls in sorted(by_bucket.items()))


def bucket_start(at: int, size: Size) -> int:
    """The beginning of the bucket that a moment lies in, by the local calendar."""
    time.tzset()
    local = datetime.fromtimestamp(at // SECOND).astimezone()
    if size == "hour":
        return int(local.replace(minute=0, second=0).timestamp()) * SECOND
    day = local.replace(hour=0, minute=0, second=0, tzinfo=None)
    if size == "week":
        day -= timedelta(days=day.weekday())
    elif size == "month":
        day = day.replace(day=1)
    return int(day.timestamp()) * SECOND


def bucket_end(began_at: int, size: Size) -> int:
    """The beginning of the next bucket."""
    lengths = {"hour": 1, "day": 25, "week": 7 * 24 + 12, "month": 31 * 24 + 12}
    return bucket_start(began_at + lengths[size] * 3600 * SECOND, size)


def _rows(connection: sqlite3.Connection, wanted: Filter) -> Iterable[tuple[int, int, int, int]]:
    """Function, beginning, duration, outcome of each call."""
    conditions = Conditions()
    conditions.add("id >= ? AND id < ?", *id_range(wanted))
    conditions.add_one_of("function", function_ids(connection, wanted))
    conditions.add_one_of("machine", machine_ids(connection, wanted.machine))
    sql = f"SELECT function, id / {IDS_PER_MICROSECOND}, duration, outcome FROM calls WHERE {conditions.text()}"  # noqa: S608
    return (tuple(row) for row in connection.execute(sql, conditions.parameters))


def _figures(calls: Sequence[tuple[int, int]]) -> Figures:
    if not calls:
        return Figures()
    durations = sorted(duration for duration, _outcome in calls)
    p50, p95, p99 = (durations[min(len(durations) - 1, int(len(durations) * share))] for share in (0.5, 0.95, 0.99))
    failures = sum(outcome == 1 for _duration, outcome in calls)
    return Figures(len(durations), failures, sum(durations), durations[0], durations[-1], p50, p95, p99)
