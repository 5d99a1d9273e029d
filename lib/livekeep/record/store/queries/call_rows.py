"""Single calls: the newest, the slowest, the failed ones, and who called whom."""

import heapq
import sqlite3
from dataclasses import dataclass, replace

from livekeep.record.store.queries.figures import longest_calls
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
    newest,
    session_names,
    units,
)
from livekeep.record.store.summaries import hour_of

ERROR_COLUMNS = "e.id AS error_id, e.type AS error_type, e.message AS error_message, e.traceback AS error_traceback"
CALL = (
    f"SELECT x.*, f.name, f.kind, m.hostname, p.unit, t.name AS thread_name, {ERROR_COLUMNS} FROM calls x "  # noqa: S608
    "JOIN functions f ON f.id = x.function JOIN machines m ON m.id = x.machine JOIN processes p ON p.id = x.process "
    "LEFT JOIN threads t ON t.id = x.thread LEFT JOIN errors e ON e.id = x.error"
)
FEW_SESSIONS = 1000


@dataclass(frozen=True)
class Error:
    """An exception. Equal ones share a row."""

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
    """The number of the enclosing call, or 0."""
    thread: str
    began_at: int
    duration: int
    outcome: str
    """succeeded, failed or cancelled."""
    cpu: int | None
    memory_bytes: int | None
    """The growth of the process's peak memory."""
    read_bytes: int | None
    written_bytes: int | None
    arguments: str | None
    error: Error | None


@dataclass(frozen=True)
class TreeCall:
    """A call and its depth below the root of the tree."""

    depth: int
    call: Call


@dataclass(frozen=True)
class ErrorGroup:
    """Failed calls of one function with the same error."""

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
    page = newest(connection, "calls", CALL, call_conditions(connection, wanted, with_range=False), (wanted, limit, after))
    return Page(tuple(map(_call, page.rows)), page.after, page.searched_to)


def call(connection: sqlite3.Connection, id_: int) -> Call | None:
    row = connection.execute(f"{CALL} WHERE x.id = ?", [id_]).fetchone()
    return _call(row) if row else None


def slowest_calls(connection: sqlite3.Connection, wanted: Filter, limit: int = 20) -> tuple[Call, ...]:
    """The calls that took longest, the slowest first.

    Summaries have the longest call of each day and hour: only hours that can contain one of the slowest are searched.
    """
    conditions = call_conditions(connection, wanted, with_range=False)
    (first,) = connection.execute("SELECT min(id) FROM calls").fetchone()
    if first is None or limit < 1:
        return ()
    kept = replace(wanted, begin=max(wanted.begin, hour_of(moment(first))))
    # The longest first.
    waiting = [(-longest, part, function, machine) for part, function, machine, longest in longest_calls(connection, kept)]
    heapq.heapify(waiting)
    slowest: list[tuple[int, int]] = []
    while waiting and (len(slowest) < limit or -waiting[0][0] > slowest[limit - 1][0]):
        _longest, part, function, machine = heapq.heappop(waiting)
        if part.period == "day":
            for cell in longest_calls(connection, kept, function, machine, part):
                heapq.heappush(waiting, (-cell[3], *cell[:3]))
        else:
            rows = connection.execute(
                "SELECT x.duration, x.id FROM calls x JOIN processes p ON p.id = x.process WHERE x.id >= ? AND x.id < ? "  # noqa: S608
                f"AND x.function = ? AND x.machine = ? AND {conditions.text()} ORDER BY x.duration DESC, x.id DESC LIMIT ?",
                [
                    part.begin * IDS_PER_MICROSECOND,
                    part.end * IDS_PER_MICROSECOND,
                    function,
                    machine,
                    *conditions.parameters,
                    limit,
                ],
            )
            slowest = sorted([*slowest, *map(tuple, rows)], reverse=True)[:limit]
    by_id = {row["id"]: _call(row) for _duration, id_ in slowest for row in connection.execute(f"{CALL} WHERE x.id = ?", [id_])}
    return tuple(by_id.values())


def slowest_of_session(connection: sqlite3.Connection, session_id: int, limit: int = 10) -> tuple[Call, ...]:
    """The calls of a session that took longest, the slowest first."""
    rows = connection.execute(
        f"{CALL} WHERE x.id IN (SELECT id FROM calls WHERE session = ? ORDER BY duration DESC, id LIMIT ?) "  # noqa: S608
        "ORDER BY x.duration DESC, x.id",
        [session_id, limit],
    )
    return tuple(map(_call, rows))


def call_tree(connection: sqlite3.Connection, root: Call, limit: int = 500) -> tuple[TreeCall, ...]:
    """A call and all calls below it, in order of their start."""
    rows = connection.execute(
        f"{CALL} WHERE x.id >= ? AND x.id <= ? AND x.process = ? ORDER BY x.id LIMIT ?",
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
    if matching(wanted.outcome, ["failed"]) == []:
        return ()
    conditions = call_conditions(connection, replace(wanted, outcome="failed"))
    processes = "" if is_any(wanted.unit) else "JOIN processes p ON p.id = x.process"
    rows = connection.execute(
        f"SELECT f.name, f.kind, g.*, {ERROR_COLUMNS} FROM (SELECT x.function, x.error, count(*) AS count, min(x.id) AS first, "  # noqa: S608
        f"max(x.id) AS last FROM calls x {processes} WHERE {conditions.text()} "
        "GROUP BY x.function, x.error ORDER BY count DESC, last DESC LIMIT ?) g "
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


def call_conditions(connection: sqlite3.Connection, wanted: Filter, with_range: bool = True) -> Conditions:
    """For a statement in which calls are x and their processes p."""
    conditions = Conditions()
    if with_range:
        conditions.add("x.id >= ? AND x.id < ?", *id_range(wanted))
    is_rare = wanted.outcome in ("failed", "cancelled") and is_any(wanted.session) and wanted.session_id is None
    # "+" prevents the use of a column's index: failed or cancelled calls come from their own index.
    conditions.add_one_of("+x.function" if is_rare else "x.function", function_ids(connection, wanted))
    conditions.add_one_of("x.machine", machine_ids(connection, wanted.machine))
    if not is_any(wanted.unit):
        # No index leads from processes to their calls.
        conditions.add_one_of("+p.unit", matching(wanted.unit, units(connection)))
    if wanted.session_id is not None:
        conditions.add("x.session = ?", wanted.session_id)
    if not is_any(wanted.outcome):
        chosen = [str(number) for number, outcome in enumerate(CALL_OUTCOMES) if matching(wanted.outcome, [outcome])]
        # Written out, so that SQLite uses the partial indices of failed and cancelled calls.
        conditions.add(f"x.outcome = {chosen[0]}" if len(chosen) == 1 else f"x.outcome IN ({', '.join(chosen)})")
    if not is_any(wanted.session):
        names = Conditions()
        names.add_one_of("name", matching(wanted.session, session_names(connection)))
        ids = [row[0] for row in connection.execute(f"SELECT id FROM sessions WHERE {names.text()}", names.parameters)]  # noqa: S608
        # Calls of a few sessions come from their index; those of many are found while scanning back in time.
        conditions.add_one_of("x.session" if len(ids) <= FEW_SESSIONS else "+x.session", ids)
    return conditions


def _call(row: sqlite3.Row) -> Call:
    return Call(
        row["id"], row["name"], row["kind"], row["hostname"], row["unit"], row["process"], row["session"], row["number"],
        row["parent"], row["thread_name"] or "", moment(row["id"]), row["duration"], CALL_OUTCOMES[row["outcome"]], row["cpu"],
        row["memory"], row["read"], row["written"], row["arguments"], error_of(row),
    )  # fmt: skip
