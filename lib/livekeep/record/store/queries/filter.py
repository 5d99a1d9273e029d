"""Selects a part of the record: a time range, and names of functions, machines, sessions, units. Lists the existing names."""

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

EVER = 2**53
"""Later than all moments, in microseconds; times 1000 it is still a valid row id."""
IDS_PER_MICROSECOND = 1000
SEARCH_SECONDS = 0.1
FIRST_SLICE = 3_600_000_000 * IDS_PER_MICROSECOND
CALL_OUTCOMES = ("succeeded", "failed", "cancelled")
"""Outcomes by their number in the table of calls."""

T = TypeVar("T")


@dataclass(frozen=True)
class Filter:
    """From `begin` to before `end`, in microseconds since 1970. A name may be a pattern with * and ?; "*" or "" matches any."""

    begin: int = 0
    end: int = EVER
    function: str = "*"
    kind: str = "*"
    """The kind of functions: "function", "api", "database" or a job's own word; "session" and "step"."""
    machine: str = "*"
    """A host's name, or a machine id."""
    session: str = "*"
    """A session's name."""
    unit: str = "*"
    outcome: str = "*"
    """Of calls: succeeded, failed, cancelled; sessions and steps can also be running and lost."""
    session_id: int | None = None
    """For one session's calls and events."""
    event: str = "*"
    priority: int = 7
    """The least severe level of events to include."""
    text: str = ""
    """Part of an event's message."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list. Pass `after` with the same filter to get the next page; it is "" at the end of the list.

    A search for rare rows stops after `SEARCH_SECONDS`: its page is not full, or even empty, but has an `after`.
    """

    rows: tuple[T, ...]
    after: str = ""
    searched_to: int | None = None
    """The earliest moment searched, if the search ran out of time."""


@dataclass(frozen=True)
class Machine:
    id: int
    machine_id: str
    hostname: str


class Watch:
    """Detects writes to the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._version = self._read()

    def has_changed(self) -> bool:
        """Whether the database has changed since the last call."""
        version = self._read()
        changed, self._version = version != self._version, version
        return changed

    def _read(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


class Conditions:
    """The terms of a WHERE clause with their parameters."""

    def __init__(self) -> None:
        self.terms: list[str] = []
        self.parameters: list[Any] = []

    def add(self, term: str, *parameters: Any) -> None:
        self.terms.append(term)
        self.parameters += parameters

    def add_one_of(self, column: str, values: Sequence[Any] | None) -> None:
        """`None` adds no condition, an empty collection matches nothing."""
        if values is None:
            return
        if len(values) == 1:
            self.add(f"{column} = ?", values[0])
        else:
            self.add(f"{column} IN (SELECT value FROM json_each(?))", json.dumps(list(values)))  # noqa: S608

    def add_sessions(self, column: str, connection: sqlite3.Connection, pattern: str) -> None:
        """`column` has a session whose name matches."""
        if not is_any(pattern):
            names = Conditions()
            names.add_one_of("name", matching(pattern, session_names(connection)))
            self.add(f"{column} IN (SELECT id FROM sessions WHERE {names.text()})", *names.parameters)  # noqa: S608

    def text(self) -> str:
        return " AND ".join(self.terms) or "1"


def is_any(pattern: str) -> bool:
    return pattern in ("", "*")


def matching(pattern: str, names: Iterable[str]) -> list[str] | None:
    """The names that match a pattern, `None` for any. A pattern that equals a known name matches only that name."""
    if is_any(pattern):
        return None
    known = list(names)
    return [pattern] if pattern in known else [name for name in known if fnmatchcase(name, pattern)]


def machine_ids(connection: sqlite3.Connection, pattern: str) -> list[int] | None:
    """The rows of the matching machines, `None` for all."""
    if is_any(pattern):
        return None
    return [row.id for row in machines(connection) if matching(pattern, (row.hostname, row.machine_id))]


def function_ids(connection: sqlite3.Connection, wanted: Filter) -> list[int] | None:
    """The rows of the functions that match by name and kind, `None` for all."""
    if is_any(wanted.function) and is_any(wanted.kind):
        return None
    rows = connection.execute("SELECT id, name, kind FROM functions").fetchall()
    names = matching(wanted.function, {row["name"] for row in rows})
    known = matching(wanted.kind, {row["kind"] for row in rows})
    return [row["id"] for row in rows if (names is None or row["name"] in names) and (known is None or row["kind"] in known)]


def process_ids(connection: sqlite3.Connection, wanted: Filter) -> list[int] | None:
    """The rows of the processes of matching units, `None` for all."""
    chosen = matching(wanted.unit, units(connection)) if not is_any(wanted.unit) else None
    if chosen is None:
        return None
    conditions = Conditions()
    conditions.add_one_of("unit", chosen)
    conditions.add("first_at < ? AND last_at >= ?", wanted.end, wanted.begin)
    rows = connection.execute(f"SELECT id FROM processes WHERE {conditions.text()}", conditions.parameters)  # noqa: S608
    return [row[0] for row in rows]


def newest(
    connection: sqlite3.Connection, table: str, select: str, conditions: Conditions, place: tuple[Filter, int, str]
) -> Page[sqlite3.Row]:
    """A page of calls or events, searched in time slices that grow while they contain few rows."""
    wanted, limit, after = place
    low, high = id_range(wanted)
    first, last = connection.execute(f"SELECT (SELECT min(id) FROM {table}), (SELECT max(id) FROM {table})").fetchone()  # noqa: S608
    if first is None:
        return Page(())
    low, high = max(low, first), min(high, last + 1, int(after) if after else high)
    sql = f"{select} WHERE x.id >= ? AND x.id < ? AND {conditions.text()} ORDER BY x.id DESC LIMIT ?"
    rows: list[sqlite3.Row] = []
    width, deadline = FIRST_SLICE, time.monotonic() + SEARCH_SECONDS
    while low < high and len(rows) <= limit:
        begin, began = max(low, high - width), time.monotonic()
        rows += connection.execute(sql, [begin, high, *conditions.parameters, limit + 1 - len(rows)])
        high, now = begin, time.monotonic()
        if now > deadline and len(rows) <= limit and low < high:
            return Page(tuple(rows), str(high), moment(high))
        # A slice takes at most a quarter of the time.
        width *= 4 if now - began < SEARCH_SECONDS / 16 else 1
    return Page(tuple(rows[:limit]), str(rows[limit - 1]["id"]) if len(rows) > limit else "")


def id_range(wanted: Filter) -> tuple[int, int]:
    """A time range as a range of row ids of calls and events."""
    return wanted.begin * IDS_PER_MICROSECOND, wanted.end * IDS_PER_MICROSECOND


def moment(row_id: int) -> int:
    """The moment in the id of a call or an event."""
    return row_id // IDS_PER_MICROSECOND


# Existing names


def machines(connection: sqlite3.Connection) -> tuple[Machine, ...]:
    rows = connection.execute("SELECT id, machine_id, hostname FROM machines ORDER BY hostname, id")
    return tuple(Machine(**dict(row)) for row in rows)


def function_names(connection: sqlite3.Connection, kind: str = "*") -> tuple[str, ...]:
    rows = connection.execute("SELECT name, kind FROM functions ORDER BY name").fetchall()
    return tuple(dict.fromkeys(row["name"] for row in rows if is_any(kind) or row["kind"] == kind))


def kinds(connection: sqlite3.Connection) -> tuple[str, ...]:
    return tuple(row[0] for row in connection.execute("SELECT DISTINCT kind FROM functions ORDER BY kind"))


def session_names(connection: sqlite3.Connection) -> tuple[str, ...]:
    return distinct(connection, "sessions", "name")


def event_names(connection: sqlite3.Connection) -> tuple[str, ...]:
    return distinct(connection, "events", "name")


def units(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The units whose processes have written records, without ""."""
    return tuple(unit for unit in distinct(connection, "processes", "unit") if unit)


def distinct(connection: sqlite3.Connection, table: str, column: str) -> tuple[str, ...]:
    """The distinct values of a column that leads an index: one search of the index per value, whatever the number of rows."""
    rows = connection.execute(
        f"WITH RECURSIVE known(value) AS (SELECT min({column}) FROM {table} UNION ALL "  # noqa: S608
        f"SELECT (SELECT min({column}) FROM {table} WHERE {column} > value) FROM known WHERE value IS NOT NULL) "
        "SELECT value FROM known WHERE value IS NOT NULL"
    )
    return tuple(row[0] for row in rows)


def period(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """The times of the first and last row of calls, sessions and events; `None` when the record is empty."""
    spans = [
        (moment(first), moment(last))
        for table in ("calls", "events")
        for first, last in connection.execute(f"SELECT (SELECT min(id) FROM {table}), (SELECT max(id) FROM {table})")  # noqa: S608
        if first is not None
    ]
    first, last = connection.execute(
        "SELECT (SELECT min(began_at) FROM sessions), (SELECT max(began_at) FROM sessions)"
    ).fetchone()
    spans += [(first, last)] if first is not None else []
    return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None
