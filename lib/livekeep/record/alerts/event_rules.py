"""Rules of kind "event": each event of the record is evaluated exactly once, in order of arrival.

An event's id is its time, and events of other machines arrive late; so the position is the arrival number. When a record is
replaced by a new one, the numbers start again, and the newest event's time shows which events were already evaluated.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from livekeep.core import events
from livekeep.core.config.record import Alert
from livekeep.record.alerts.rules import fits
from livekeep.record.store.queries.filter import moment

MOST_AT_ONCE = 500
OWN = frozenset({events.ALERT_BEGAN.name, events.ALERT_OVER.name, events.DELIVERY_FAILED.name})
"""The alerter's own events; a rule that matches all events must not alert about alerts."""


@dataclass(frozen=True)
class Position:
    record: str
    """The file that it applies to."""
    arrival: int
    newest: int
    """The id of the newest evaluated event."""


@dataclass(frozen=True)
class Event:
    id: int
    arrival: int
    at: float
    """Unix seconds."""
    name: str
    message: str
    hostname: str
    unit: str
    session: int | None
    session_name: str
    fields: Mapping[str, str]

    def subject(self) -> str:
        """What it is about, as one word."""
        named = [self.session_name, *(self.fields.get(name, "") for name in ("CHANNEL", "FUNCTION", "NAME", "SOURCE"))]
        return next(filter(None, [*named, self.unit.removesuffix(".service")]), "")


def end(record: sqlite3.Connection, identity: str) -> Position:
    """The position after all existing events."""
    row = record.execute("SELECT ifnull(max(arrival), 0), ifnull(max(id), 0) FROM events").fetchone()
    return Position(identity, *row)


def unjudged(record: sqlite3.Connection, identity: str, position: Position) -> tuple[list[Event], Position]:
    """The next events, 500 at most, and the position after them. `identity` is that of the current file."""
    last = end(record, identity)
    is_same_record = identity == position.record and last.arrival >= position.arrival
    terms = "v.arrival > ?" if is_same_record else "v.arrival > 0 AND v.id > ?"
    rows = record.execute(
        "SELECT v.*, m.hostname, s.name AS session_name FROM events v JOIN machines m ON m.id = v.machine "  # noqa: S608
        f"LEFT JOIN sessions s ON s.id = v.session WHERE {terms} ORDER BY v.arrival LIMIT {MOST_AT_ONCE}",
        [position.arrival if is_same_record else position.newest],
    ).fetchall()
    next_events = [event_of(row) for row in rows]
    if not next_events:
        return [], position if is_same_record else last
    return next_events, Position(identity, next_events[-1].arrival, max(position.newest, *(event.id for event in next_events)))


def event_of(row: sqlite3.Row) -> Event:
    try:
        fields = json.loads(row["fields"])
    except ValueError:
        fields = {}
    texts = {str(name): str(value) for name, value in fields.items()} if isinstance(fields, dict) else {}
    at = moment(row["id"]) / 1e6
    name = row["session_name"] or (texts.get("NAME", "") if "SESSION" in texts else "")
    return Event(
        row["id"], row["arrival"], at, row["name"], row["message"], row["hostname"], row["unit"], row["session"], name, texts
    )


def matches(rule: Alert, event: Event) -> bool:
    """Whether a rule of kind "event" matches this event."""
    # FIELD=PATTERN; a missing field is empty.
    terms = [term.partition("=")[::2] for term in rule.match]
    values = [(event.fields.get(field, ""), pattern) for field, pattern in terms]
    return (
        event.name not in OWN
        and fits(rule.event, event.name)
        and fits(rule.machine, event.hostname)
        and fits(rule.session, event.session_name)
        and (fits(rule.unit, event.unit) or fits(rule.unit, event.unit.removesuffix(".service")))
        and fits(rule.function, event.fields.get("FUNCTION", ""))
        and all(value == pattern or fnmatchcase(value, pattern) for value, pattern in values)
    )
