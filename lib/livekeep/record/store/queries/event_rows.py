"""Events for people: livekeep's own and those of jobs."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from livekeep.record.store.queries.filter import (
    Conditions,
    Filter,
    Page,
    event_names,
    is_any,
    machine_ids,
    matching,
    moment,
    newest,
)

EVENT = "SELECT x.*, m.hostname FROM events x JOIN machines m ON m.id = x.machine"


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
    """The LIVEKEEP_* fields of the entry, without the prefix."""


def events(connection: sqlite3.Connection, wanted: Filter, limit: int = 50, after: str = "") -> Page[Event]:
    """Events, the newest first."""
    page = newest(connection, "events", EVENT, event_conditions(connection, wanted), (wanted, limit, after))
    rows = [
        Event(
            row["id"], moment(row["id"]), row["name"], row["priority"], row["hostname"], row["unit"], row["session"],
            row["message"], json.loads(row["fields"]),
        )
        for row in page.rows
    ]  # fmt: skip
    return Page(tuple(rows), page.after, page.searched_to)


def event_conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    """For a statement in which events are x; without the time range."""
    conditions = Conditions()
    conditions.add_one_of("x.machine", machine_ids(connection, wanted.machine))
    if not is_any(wanted.event):
        conditions.add_one_of("x.name", matching(wanted.event, event_names(connection)))
    if wanted.priority < 7:
        conditions.add("x.priority <= ?", wanted.priority)
    if wanted.text:
        conditions.add("instr(lower(x.message), lower(?))", wanted.text)
    if wanted.session_id is not None:
        conditions.add("x.session = ?", wanted.session_id)
    if not is_any(wanted.unit):
        conditions.add("x.unit GLOB ?", wanted.unit)
    conditions.add_sessions("x.session", connection, wanted.session)
    return conditions
