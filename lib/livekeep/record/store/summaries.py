"""Hourly and daily summaries: of calls, and of ended sessions and steps, as kinds "session" and "step".

They are written in the transaction of the rows that they count, so they are always exact: after a kill, with late rows, and when
the clock steps back. The start of a call, session or step determines its summary. An hour is one of UTC; a day begins at local
midnight, and has 23 or 25 hours twice a year. A session's function is its name, a step's is "session / step".
"""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from livekeep.core.text import local_time
from livekeep.record.store import histogram
from livekeep.record.store.histogram import Histogram

HOUR = 3_600_000_000
QUARTER = HOUR // 4
"""us. In all zones, midnight is at a quarter of an hour of UTC."""
LARGEST_SUM = 2**63 - 1

SESSION_FAILED = ("failed", "lost")


def hour_of(moment: int) -> int:
    """When the hour of `moment` began; both in us since 1970."""
    return moment // HOUR * HOUR


def day_of(moment: int) -> int:
    """When the local day of `moment` began; both in us since 1970."""
    date = local_time(moment // 1_000_000)
    midnight = time.mktime((date.tm_year, date.tm_mon, date.tm_mday, 0, 0, 0, 0, 0, -1))
    # In some zones the clock jumps over midnight.
    while time.localtime(midnight).tm_mday != date.tm_mday:
        midnight += 900
    return int(midnight) * 1_000_000


def next_day(began_at: int) -> int:
    """When the local day after the one of `began_at` begins."""
    return day_of(day_of(began_at) + 26 * HOUR)


@dataclass(slots=True)
class Durations:
    values: list[int] = field(default_factory=list)
    failures: int = 0


@dataclass(slots=True)
class Summary:
    count: int = 0
    failures: int = 0
    sum: int = 0
    min: int = LARGEST_SUM
    max: int = 0
    histogram: Histogram = field(default_factory=dict)

    def add(self, other: "Summary") -> None:
        self.count += other.count
        self.failures += other.failures
        self.sum = min(self.sum + other.sum, LARGEST_SUM)
        self.min, self.max = min(self.min, other.min), max(self.max, other.max)
        histogram.merge(self.histogram, other.histogram)


def summarized(durations: Durations) -> Summary:
    values = durations.values
    return Summary(
        len(values), durations.failures, min(sum(values), LARGEST_SUM), min(values), max(values), histogram.count(values)
    )


class Summaries:
    """The changes that are not written yet."""

    def __init__(self) -> None:
        self.pending: dict[tuple[int, int, int], Durations] = {}
        self._stale: set[tuple[str, int, int, int]] = set()

    def add(self, function: int, machine: int, began: int, duration: int, is_failure: bool) -> None:
        key = (function, machine, began // QUARTER)
        durations = self.pending.get(key)
        if durations is None:
            durations = self.pending[key] = Durations()
        durations.values.append(duration)
        durations.failures += is_failure

    def rebuild_later(self, function: int, machine: int, began: int) -> None:
        """A counted value has changed: count the rows again."""
        self._stale |= {("hour", hour_of(began), function, machine), ("day", day_of(began), function, machine)}

    def write(self, connection: sqlite3.Connection) -> None:
        """Within the transaction of the rows, after them."""
        summaries: dict[tuple[str, int, int, int], Summary] = {}
        for (function, machine, quarter), durations in self.pending.items():
            summary = summarized(durations)
            began = quarter * QUARTER
            for key in (("hour", hour_of(began), function, machine), ("day", day_of(began), function, machine)):
                if key not in self._stale:
                    summaries.setdefault(key, Summary()).add(summary)
        for key, summary in summaries.items():
            summary.add(stored(connection, key))
            store(connection, key, summary)
        for key in self._stale:
            period, began, function, machine = key
            recounted = Durations()
            end = next_day(began) if period == "day" else began + HOUR
            for duration, is_failure in rows_of(connection, function, machine, began, end):
                recounted.values.append(duration)
                recounted.failures += is_failure
            if recounted.values:
                store(connection, key, summarized(recounted))
            else:
                sql = "DELETE FROM summaries WHERE period = ? AND began_at = ? AND function = ? AND machine = ?"
                connection.execute(sql, key)
        self.clear()

    def clear(self) -> None:
        self.pending.clear()
        self._stale.clear()


def stored(connection: sqlite3.Connection, key: tuple[str, int, int, int]) -> Summary:
    row = connection.execute(
        "SELECT count, failures, sum, min, max, histogram FROM summaries "
        "WHERE period = ? AND began_at = ? AND function = ? AND machine = ?",
        key,
    ).fetchone()
    if row is None:
        return Summary()
    count, failures, total, least, most, blob = row
    return Summary(count, failures, total, least, most, histogram.decode(blob))


def store(connection: sqlite3.Connection, key: tuple[str, int, int, int], summary: Summary) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO summaries (period, began_at, function, machine, count, failures, sum, min, max, histogram) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *key,
            summary.count,
            summary.failures,
            summary.sum,
            summary.min,
            summary.max,
            histogram.encode(summary.histogram),
        ),
    )


def rows_of(connection: sqlite3.Connection, function: int, machine: int, begin: int, end: int) -> Iterable[tuple[int, bool]]:
    """Duration in us and failure of each row of a function that began in [begin, end)."""
    name, kind = connection.execute("SELECT name, kind FROM functions WHERE id = ?", (function,)).fetchone()
    if kind == "session":
        return connection.execute(
            "SELECT max(ended_at - began_at, 0), outcome IN ('failed', 'lost') FROM sessions "
            "WHERE name = ? AND machine = ? AND began_at >= ? AND began_at < ? AND ended_at IS NOT NULL",
            (name, machine, begin, end),
        )
    if kind == "step":
        return connection.execute(
            "SELECT max(t.ended_at - t.began_at, 0), t.outcome IN ('failed', 'lost') "
            "FROM sessions s JOIN steps t ON t.session = s.id WHERE s.name || ' / ' || t.name = ? AND s.machine = ? "
            "AND t.began_at >= ? AND t.began_at < ? AND t.ended_at IS NOT NULL",
            (name, machine, begin, end),
        )
    return connection.execute(
        "SELECT duration, outcome = 1 FROM calls WHERE function = ? AND machine = ? AND id >= ? AND id < ?",
        (function, machine, begin * 1000, end * 1000),
    )
