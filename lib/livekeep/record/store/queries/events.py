"""Events: what a person would read, livekeep's own and those of jobs."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from livekeep.record.store.queries.filter import (
    Conditions,
    Filter,
    Page,
    event_names,
    id_range,
    is_any,
    machine_ids,
    matching,
    moment,
    session_names,
)


@dataclass(frozen=True)
class Event:
    id: int
    at: int
    name: str
    priority: int
    """Of syslog: 3 is an error, 4 a warning, 6 an information."""
    hostname: str
    unit: str
    session: int | None
    message: str
    fields: Mapping[str, str]
    """The LIVEKEEP_* fields of the entry, without that prefix."""


def events(connection: sqlite3.Connection, wanted: Filter, limit: int = 50, after: str = "") -> Page[Event]:
    """Events, the newest first."""
    conditions = _conditions(connection, wanted)
    if after:
        conditions.add("v.id < ?", int(after))
    sql = f"SELECT v.*, m.hostname FROM events v JOIN machines m ON m.id = v.machine WHERE {conditions.text()} "  # noqa: S608
    found = connection.execute(f"{sql} ORDER BY v.id DESC LIMIT ?", [*conditions.parameters, limit + 1]).fetchall()
    rows = tuple(_event(row) for row in found[:limit])
    return Page(rows, str(rows[-1].id) if len(found) > limit else "")


def _conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    conditions = Conditions()
    conditions.add("v.id >= ? AND v.id < ?", *id_range(wanted))
    conditions.add_one_of("v.machine", machine_ids(connection, wanted.machine))
    if not is_any(wanted.event):
        conditions.add_one_of("v.name", matching(wanted.event, event_names(connection)))
    if wanted.priority < 7:
        conditions.add("v.priority <= ?", wanted.priority)
    if wanted.text:
        conditions.add("instr(lower(v.message), lower(?))", wanted.text)
    if wanted.session_id is not None:
        conditions.add("v.session = ?", wanted.session_id)
    if not is_any(wanted.unit):
        conditions.add("v.unit GLOB ?", wanted.unit)
    if not is_any(wanted.session):
        names = Conditions()
        names.add_one_of("name", matching(wanted.session, session_names(connection)))
        conditions.add(f"v.session IN (SELECT id FROM sessions WHERE {names.text()})", *names.parameters)  # noqa: S608
    return conditions


def _event(row: sqlite3.Row) -> Event:
    return Event(
        row["id"], moment(row["id"]), row["name"], row["priority"], row["hostname"], row["unit"], row["session"], row["message"],
        json.loads(row["fields"]),
    )  # fmt: skip
