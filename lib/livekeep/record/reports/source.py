"""The source of a report: the record, a period, and its restrictions."""

import sqlite3
from dataclasses import dataclass

from livekeep.record.reports.period import Period
from livekeep.record.store import queries
from livekeep.record.store.queries import Filter
from livekeep.record.store.queries.filter import matching

SECOND = 1_000_000


@dataclass(frozen=True)
class Source:
    connection: sqlite3.Connection
    period: Period
    filter: Filter
    """Only the filter's function, kind and machine apply; the range is the period's."""

    def spanning(self, begin: float, end: float) -> Filter:
        own = self.filter
        return Filter(microseconds(begin), microseconds(end), function=own.function, kind=own.kind, machine=own.machine)

    @property
    def within(self) -> Filter:
        return self.spanning(self.period.begin, self.period.end)

    @property
    def before(self) -> Filter:
        return self.spanning(self.period.before, self.period.begin)

    @property
    def scale(self) -> float:
        """The factor that scales a value of the previous period to this period's length."""
        return (self.period.end - self.period.begin) / (self.period.begin - self.period.before)

    def machines(self) -> tuple[queries.Machine, ...]:
        known = queries.machines(self.connection)
        return tuple(row for row in known if matching(self.filter.machine, (row.hostname, row.machine_id)) != [])


def microseconds(moment: float) -> int:
    return round(moment * SECOND)


def seconds(value: float) -> float:
    return value / SECOND


def began(connection: sqlite3.Connection) -> float | None:
    """The time of the first row of calls, events, sessions and samples; None when the record is empty."""
    span = queries.period(connection)
    row = connection.execute("SELECT min(at) FROM samples").fetchone()
    firsts = [first for first in (span[0] if span else None, row[0]) if first is not None]
    return seconds(min(firsts)) if firsts else None
