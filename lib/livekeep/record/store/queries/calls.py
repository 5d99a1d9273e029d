"""Single calls: the newest, the slowest, the failed ones, and who called whom."""

import sqlite3
from dataclasses import dataclass

from livekeep.record.store.queries.filter import (
    CALL_OUTCOMES,
    IDS_PER_MICROSECOND,
    Conditions,
    Filter,
    Page,
    function_ids,
    id_range,
    is_any,
    machine_ids,
    matching,
    moment,
    process_ids,
    session_names,
)

ERROR_COLUMNS = "e.id AS error_id, e.type AS error_type, e.message AS error_message, e.traceback AS error_traceback"
CALL = (
    f"SELECT c.*, f.name, f.kind, m.hostname, p.unit, t.name AS thread_name, {ERROR_COLUMNS} FROM calls c "  # noqa: S608
    "JOIN functions f ON f.id = c.function JOIN machines m ON m.id = c.machine JOIN processes p ON p.id = c.process "
    "LEFT JOIN threads t ON t.id = c.thread LEFT JOIN errors e ON e.id = c.error"
)


@dataclass(frozen=True)
class Error:
    """An exception. Equal ones are one row."""

    id: int
    type: str
    message: str
    traceback: str


@dataclass(frozen=True)
class Call:
    id: int
    name: str
    kind: str
    hostname: str
    unit: str
    process: int
    """The id of its process in the record."""
    session: int | None
    number: int
    """Within its process."""
    parent: int
    """The number of the call around this one, or 0."""
    thread: str
    began_at: int
    duration: int
    outcome: str
    """succeeded, failed or cancelled."""
    cpu: int | None
    memory_bytes: int | None
    """By which the peak of the process's memory grew."""
    read_bytes: int | None
    written_bytes: int | None
    arguments: str | None
    error: Error | None


@dataclass(frozen=True)
class TreeCall:
    """A call and how deep it lies below the call that the tree begins with."""

    depth: int
    call: Call


@dataclass(frozen=True)
class ErrorGroup:
    """Calls of one function that failed by the same error."""

    name: str
    kind: str
    count: int
    first_at: int
    last_at: int
    last_call: int
    """The id of the newest of them."""
    error: Error | None


def calls(connection: sqlite3.Connection, wanted: Filter, limit: int = 50, after: str = "") -> Page[Call]:
    """Calls, the newest first."""
    conditions = _conditions(connection, wanted)
    if after:
        conditions.add("c.id < ?", int(after))
    sql = f"{CALL} WHERE {conditions.text()} ORDER BY c.id DESC LIMIT ?"
    found = connection.execute(sql, [*conditions.parameters, limit + 1]).fetchall()
    rows = tuple(_call(row) for row in found[:limit])
    return Page(rows, str(rows[-1].id) if len(found) > limit else "")


def call(connection: sqlite3.Connection, id_: int) -> Call | None:
    row = connection.execute(f"{CALL} WHERE c.id = ?", [id_]).fetchone()
    return _call(row) if row else None


def slowest_calls(connection: sqlite3.Connection, wanted: Filter, limit: int = 20) -> tuple[Call, ...]:
    """The calls that took longest, the slowest first."""
    conditions = _conditions(connection, wanted)
    rows = connection.execute(
        f"{CALL} WHERE {conditions.text()} ORDER BY c.duration DESC LIMIT ?", [*conditions.parameters, limit]
    )
    return tuple(_call(row) for row in rows)


def call_tree(connection: sqlite3.Connection, root: Call, limit: int = 500) -> tuple[TreeCall, ...]:
    """A call and all calls below it, in the order in which they began."""
    rows = connection.execute(
        f"{CALL} WHERE c.id >= ? AND c.id <= ? AND c.process = ? ORDER BY c.id LIMIT ?",
        [root.id, (root.began_at + root.duration + 1) * IDS_PER_MICROSECOND, root.process, limit],
    )
    depths = {root.number: 0}
    tree = [TreeCall(0, root)]
    for row in rows:
        if row["parent"] in depths:
            depths[row["number"]] = depths[row["parent"]] + 1
            tree.append(TreeCall(depths[row["number"]], _call(row)))
    return tuple(tree)


def error_groups(connection: sqlite3.Connection, wanted: Filter, limit: int = 50) -> tuple[ErrorGroup, ...]:
    """Failed calls by function and error, the most frequent first."""
    conditions = _conditions(connection, wanted)
    conditions.add("c.outcome = 1")
    rows = connection.execute(
        f"SELECT f.name, f.kind, g.*, {ERROR_COLUMNS} FROM (SELECT c.function, c.error, count(*) AS count, min(c.id) AS first, "  # noqa: S608
        f"max(c.id) AS last FROM calls c JOIN processes p ON p.id = c.process WHERE {conditions.text()} "
        "GROUP BY c.function, c.error ORDER BY count DESC, last DESC LIMIT ?) g "
        "JOIN functions f ON f.id = g.function LEFT JOIN errors e ON e.id = g.error",
        [*conditions.parameters, limit],
    )
    return tuple(
        ErrorGroup(row["name"], row["kind"], row["count"], moment(row["first"]), moment(row["last"]), row["last"], error_of(row))
        for row in rows
    )


def error_of(row: sqlite3.Row) -> Error | None:
    """The error of a row with `ERROR_COLUMNS`."""
    if row["error_id"] is None:
        return None
    return Error(row["error_id"], row["error_type"], row["error_message"], row["error_traceback"])


def _conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    conditions = Conditions()
    conditions.add("c.id >= ? AND c.id < ?", *id_range(wanted))
    conditions.add_one_of("c.function", function_ids(connection, wanted))
    conditions.add_one_of("c.machine", machine_ids(connection, wanted.machine))
    conditions.add_one_of("c.process", process_ids(connection, wanted))
    if wanted.session_id is not None:
        conditions.add("c.session = ?", wanted.session_id)
    if not is_any(wanted.outcome):
        chosen = matching(wanted.outcome, CALL_OUTCOMES) or []
        conditions.add_one_of("c.outcome", [CALL_OUTCOMES.index(outcome) for outcome in chosen])
    if not is_any(wanted.session):
        names = Conditions()
        names.add_one_of("name", matching(wanted.session, session_names(connection)))
        conditions.add(f"c.session IN (SELECT id FROM sessions WHERE {names.text()})", *names.parameters)  # noqa: S608
    return conditions


def _call(row: sqlite3.Row) -> Call:
    return Call(
        row["id"], row["name"], row["kind"], row["hostname"], row["unit"], row["process"], row["session"], row["number"],
        row["parent"], row["thread_name"] or "", moment(row["id"]), row["duration"], CALL_OUTCOMES[row["outcome"]], row["cpu"],
        row["memory"], row["read"], row["written"], row["arguments"], error_of(row),
    )  # fmt: skip
