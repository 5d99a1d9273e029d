"""Sessions and their steps: failed ones first, then running ones; earlier durations of the same session."""

import sqlite3
from dataclasses import dataclass

from livekeep.record.store.queries.call_rows import ERROR_COLUMNS, Error, error_of
from livekeep.record.store.queries.filter import (
    EVER,
    Conditions,
    Filter,
    Page,
    is_any,
    machine_ids,
    matching,
    process_ids,
    session_names,
)

RANK = "CASE s.outcome WHEN 'failed' THEN 0 WHEN 'lost' THEN 0 WHEN 'running' THEN 1 ELSE 2 END"
"""Failed ones come first, then running ones."""
SESSION = (
    f"SELECT s.*, {RANK} AS rank, m.hostname, p.unit, p.program, p.pid, {ERROR_COLUMNS} FROM sessions s "  # noqa: S608
    "JOIN machines m ON m.id = s.machine JOIN processes p ON p.id = s.process LEFT JOIN errors e ON e.id = s.error"
)


@dataclass(frozen=True)
class Session:
    id: int
    name: str
    hostname: str
    unit: str
    program: str
    pid: int
    parent: int | None
    """The id of the enclosing session."""
    began_at: int
    ended_at: int | None
    updated_at: int
    outcome: str
    """running, succeeded, failed, cancelled or lost."""
    total: float | None
    done: float
    percent: float | None
    rate: float | None
    """Items per second."""
    left_seconds: float | None
    message: str
    error: Error | None

    @property
    def duration(self) -> int:
        """To its end, or to its last known moment."""
        return (self.ended_at or self.updated_at) - self.began_at


@dataclass(frozen=True)
class Step:
    number: int
    parent: int | None
    """The number of the enclosing step."""
    name: str
    weight: float
    began_at: int
    ended_at: int | None
    outcome: str
    total: float | None
    done: float
    error: Error | None


@dataclass(frozen=True)
class SessionTotals:
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    running: int = 0

    @property
    def count(self) -> int:
        return self.succeeded + self.failed + self.cancelled + self.lost + self.running


def sessions(
    connection: sqlite3.Connection, wanted: Filter, limit: int = 50, after: str = "", failed_first: bool = True
) -> Page[Session]:
    """Sessions that began within the range: failed or lost ones first, then running ones, then the others; each group the newest
    first."""
    conditions = session_conditions(connection, wanted)
    order = "s.began_at DESC, s.id DESC"
    if failed_first:
        order = f"{RANK}, {order}"
    if after:
        rank, began, row = (int(part) for part in after.split("-"))
        place = "(s.began_at, s.id) < (?, ?)"
        if failed_first:
            conditions.add(f"({RANK} > ? OR ({RANK} = ? AND {place}))", rank, rank, began, row)
        else:
            conditions.add(place, began, row)
    sql = f"{SESSION} WHERE {conditions.text()} ORDER BY {order} LIMIT ?"
    fetched = connection.execute(sql, [*conditions.parameters, limit + 1]).fetchall()
    last = fetched[limit - 1] if len(fetched) > limit else None
    after = f"{last['rank']}-{last['began_at']}-{last['id']}" if last else ""
    return Page(tuple(_session(row) for row in fetched[:limit]), after)


def session(connection: sqlite3.Connection, id_: int) -> Session | None:
    row = connection.execute(f"{SESSION} WHERE s.id = ?", [id_]).fetchone()
    return _session(row) if row else None


def running_sessions(connection: sqlite3.Connection) -> tuple[Session, ...]:
    """Running sessions on all machines; the newest first."""
    # "+" makes the few running sessions come from their own index instead of a scan.
    rows = connection.execute(f"{SESSION} WHERE s.outcome = 'running' ORDER BY +s.began_at DESC, s.id DESC LIMIT 200")
    return tuple(_session(row) for row in rows)


def session_totals(connection: sqlite3.Connection, wanted: Filter) -> SessionTotals:
    """The number of sessions that began within the range, by outcome."""
    conditions = session_conditions(connection, wanted)
    rows = connection.execute(
        f"SELECT s.outcome, count(*) FROM sessions s WHERE {conditions.text()} GROUP BY s.outcome",  # noqa: S608
        conditions.parameters,
    )
    return SessionTotals(**{row[0]: row[1] for row in rows})


def earlier_sessions(connection: sqlite3.Connection, of: Session, limit: int = 50) -> tuple[Session, ...]:
    """Ended sessions of the same name on the same machine that began before this one; the newest first."""
    rows = connection.execute(
        f"{SESSION} WHERE s.name = ? AND s.began_at < ? AND m.hostname = ? AND s.ended_at IS NOT NULL "
        "ORDER BY s.began_at DESC LIMIT ?",
        [of.name, of.began_at, of.hostname, limit],
    )
    return tuple(_session(row) for row in rows)


def steps(connection: sqlite3.Connection, session_id: int, limit: int = 1000) -> tuple[Step, ...]:
    """The steps of a session by number, in order of their start."""
    rows = connection.execute(
        f"SELECT t.*, {ERROR_COLUMNS} FROM steps t LEFT JOIN errors e ON e.id = t.error "  # noqa: S608
        "WHERE t.session = ? ORDER BY t.number LIMIT ?",
        [session_id, limit],
    )
    return tuple(
        Step(
            row["number"], row["parent"], row["name"], row["weight"], row["began_at"], row["ended_at"], row["outcome"],
            row["total"], row["done"], error_of(row),
        )
        for row in rows
    )  # fmt: skip


def session_conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    """For a statement in which sessions are s."""
    conditions = Conditions()
    if wanted.session_id is not None:
        conditions.add("s.id = ?", wanted.session_id)
    if wanted.begin > 0 or wanted.end < EVER:
        conditions.add("s.began_at >= ? AND s.began_at < ?", wanted.begin, wanted.end)
    if not is_any(wanted.session):
        conditions.add_one_of("s.name", matching(wanted.session, session_names(connection)))
    conditions.add_one_of("s.machine", machine_ids(connection, wanted.machine))
    conditions.add_one_of("s.process", process_ids(connection, wanted))
    if not is_any(wanted.outcome):
        conditions.add_one_of("s.outcome", matching(wanted.outcome, SessionTotals.__dataclass_fields__))
    return conditions


def _session(row: sqlite3.Row) -> Session:
    return Session(
        row["id"], row["name"], row["hostname"], row["unit"], row["program"], row["pid"], row["parent"], row["began_at"],
        row["ended_at"], row["updated_at"], row["outcome"], row["total"], row["done"], row["percent"], row["rate"],
        row["left_seconds"], row["message"], error_of(row),
    )  # fmt: skip
