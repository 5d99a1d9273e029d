"""Deletes old rows of the record, in chunks that never block the writer for long.

Calls, events and samples live `call_days`; summaries, sessions and losses `summary_days`. The only writer does this, between two
batches; livekeep-tidy only requests it.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK_ROWS = 5000
FUNCTIONS_AT_ONCE = 50
DAY = 86_400_000_000
KEPT_FREE_SHARE = 0.1
"""Share of the pages that stays free: new rows use them, so that a file need not shrink and grow each day."""
VACUUM_PAGES = 1000
"""Per step; 4 KiB each."""


@dataclass(frozen=True)
class Horizon:
    """Rows that began before these moments are deleted; us since 1970."""

    calls: int
    summaries: int


def horizon(now: float, call_days: float, summary_days: float) -> Horizon:
    return Horizon(int(now * 1e6 - call_days * DAY), int(now * 1e6 - max(summary_days, call_days) * DAY))


def delete(connection: sqlite3.Connection, horizon: Horizon) -> Iterator[int]:
    """Delete in chunks: between two of them the writer may write. Yields the rows deleted by each."""
    calls, summaries = horizon.calls, horizon.summaries
    in_id = calls * 1000
    yield from chunks(connection, "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE id < ? LIMIT ?)", in_id)
    # Readers that follow events by arrival continue from the newest number.
    yield from chunks(
        connection,
        "DELETE FROM events WHERE id IN "
        "(SELECT id FROM events WHERE id < ? AND arrival < (SELECT max(arrival) FROM events) LIMIT ?)",
        in_id,
    )
    for table, columns in (("samples", "machine, at"), ("unit_samples", "machine, unit, at")):
        statement = f"DELETE FROM {table} WHERE ({columns}) IN (SELECT {columns} FROM {table} WHERE at < ? LIMIT ?)"  # noqa: S608
        yield from chunks(connection, statement, calls)
    # Function by function, which is the table's order.
    functions = [row[0] for row in connection.execute("SELECT id FROM functions ORDER BY id")]
    for at in range(0, len(functions), FUNCTIONS_AT_ONCE):
        some = functions[at : at + FUNCTIONS_AT_ONCE]
        marks = ", ".join("?" * len(some))
        deleted = connection.execute(
            f"DELETE FROM summaries WHERE period IN ('hour', 'day') AND function IN ({marks}) AND began_at < ?",  # noqa: S608
            (*some, summaries),
        ).rowcount
        if deleted:
            yield deleted
    old_sessions = "SELECT id FROM sessions WHERE began_at < ? AND outcome <> 'running' ORDER BY began_at LIMIT 500"
    while connection.execute(f"SELECT 1 FROM ({old_sessions})", (summaries,)).fetchone():  # noqa: S608
        connection.execute("SAVEPOINT old_sessions")
        yield_count = connection.execute(f"DELETE FROM steps WHERE session IN ({old_sessions})", (summaries,)).rowcount  # noqa: S608
        yield_count += connection.execute(f"DELETE FROM sessions WHERE id IN ({old_sessions})", (summaries,)).rowcount  # noqa: S608
        connection.execute("RELEASE old_sessions")
        yield yield_count
    yield from chunks(connection, "DELETE FROM losses WHERE id IN (SELECT id FROM losses WHERE at < ? LIMIT ?)", summaries)
    # A process is kept longer than its rows: its numbers identify repeated journal entries.
    yield from chunks(
        connection,
        "DELETE FROM processes WHERE id IN (SELECT id FROM processes WHERE last_at < ? "
        "AND id NOT IN (SELECT process FROM sessions) LIMIT ?)",
        summaries,
    )
    yield from chunks(
        connection,
        "DELETE FROM gaps WHERE process IN "
        "(SELECT process FROM gaps WHERE process NOT IN (SELECT id FROM processes) AND ? LIMIT ?)",
        1,
    )
    yield from chunks(
        connection,
        "DELETE FROM errors WHERE id IN (SELECT id FROM errors WHERE last_day < ? AND id NOT IN (SELECT error FROM sessions "
        "WHERE error IS NOT NULL UNION SELECT error FROM steps WHERE error IS NOT NULL) LIMIT ?)",
        calls // DAY,
    )


def chunks(connection: sqlite3.Connection, statement: str, before: int) -> Iterator[int]:
    while True:
        deleted = connection.execute(statement, (before, CHUNK_ROWS)).rowcount
        if deleted:
            yield deleted
        if deleted < CHUNK_ROWS:
            return


def vacuum(connection: sqlite3.Connection, kept_free_share: float = KEPT_FREE_SHARE) -> Iterator[int]:
    """Return free pages to the disk, a few at a time. Outside of a transaction: the script would commit it."""
    while True:
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        surplus = free - int(connection.execute("PRAGMA page_count").fetchone()[0] * kept_free_share)
        if surplus <= 0:
            return
        # execute() would stop after the first page.
        connection.executescript(f"PRAGMA incremental_vacuum({min(surplus, VACUUM_PAGES)})")
        yield min(surplus, VACUUM_PAGES)


def oldest_call(connection: sqlite3.Connection) -> int | None:
    """When the oldest call began, in us since 1970."""
    row = connection.execute("SELECT min(id) FROM calls").fetchone()
    return None if row[0] is None else int(row[0]) // 1000
