"""Turns gathered alerts into messages: one per rule and kind when it is due, with everything gathered until then."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from livekeep.core.config.record import Alert
from livekeep.record.alerts import message as words
from livekeep.record.alerts import outbox
from livekeep.record.alerts.channels import Channel
from livekeep.record.alerts.message import AlertText
from livekeep.record.alerts.notify import Message
from livekeep.record.alerts.rules import Finding

Announced = Callable[[Sequence[int], float], None]
NewestFinding = Callable[[tuple[str, str]], Finding | None]


def flush(
    database: sqlite3.Connection,
    rules: Mapping[str, Alert],
    known: Mapping[str, Channel],
    newest: NewestFinding,
    announced: Announced,
    now: float,
) -> int:
    """Make the due messages; return their number. `newest` gives an open alert's newest finding; `announced` gets the alerts."""
    if not known:
        keep_for_the_first_channel(database)
        return 0
    due = database.execute(
        "SELECT DISTINCT rule, kind FROM gathering WHERE due_at <= ? OR due_at > ?", [now, now + 2 * 31_536_000]
    )
    pairs = [(row["rule"], row["kind"]) for row in due.fetchall()]
    for name, kind in pairs:
        rows = database.execute(
            "SELECT a.* FROM gathering g JOIN alerts a ON a.id = g.alert WHERE g.rule = ? AND g.kind = ? "
            "ORDER BY a.began_at, a.id",
            [name, kind],
        ).fetchall()
        numbers = [row["id"] for row in rows]
        database.execute("BEGIN IMMEDIATE")
        if rows:
            message = message_of(name, rules.get(name), kind, rows, newest, now)
            usable = tuple(channel for channel in message.channels if channel in known)
            outbox.enqueue(database, replace(message, channels=usable), kind, known, now, rule=name)
        database.execute("DELETE FROM gathering WHERE rule = ? AND kind = ?", [name, kind])
        if kind != "over":
            database.executemany("UPDATE alerts SET announced_at = ? WHERE id = ?", [(now, number) for number in numbers])
        database.execute("UPDATE rules SET messaged_at = ? WHERE rule = ?", [now, name])
        database.execute("COMMIT")
        if kind != "over" and numbers:
            announced(numbers, now)
    return len(pairs)


def keep_for_the_first_channel(database: sqlite3.Connection) -> None:
    """While no channel exists, keep only open alerts: the first channel gets these, and nothing else."""
    database.execute("DELETE FROM gathering WHERE kind <> 'begin' OR alert IN (SELECT id FROM alerts WHERE over_at IS NOT NULL)")


def message_of(
    name: str, rule: Alert | None, kind: str, rows: Sequence[sqlite3.Row], newest: NewestFinding, now: float
) -> Message:
    """For a removed rule, the stored alerts have all that is needed."""
    rule = rule or Alert(severity=rows[0]["severity"], advice=rows[0]["advice"])
    texts = [text_of(row, newest((row["rule"], row["subject"])) if kind == "reminder" else None) for row in rows]
    return words.compose(name, rule, kind, texts, now)


def text_of(row: sqlite3.Row, newest: Finding | None) -> AlertText:
    return AlertText(
        row["subject"],
        newest.sentence if newest else row["sentence"],
        row["since"],
        row["over_at"],
        (newest.why if newest else "") or row["why"],
        row["log"],
        row["count"],
        row["times"],
    )


def next_due(database: sqlite3.Connection) -> float | None:
    """When the next message is to be made."""
    due = database.execute("SELECT min(due_at) FROM gathering").fetchone()[0]
    return float(due) if due is not None else None


def shift(database: sqlite3.Connection, seconds: float) -> None:
    """The clock was set by `seconds`: move the due times with it."""
    database.execute("UPDATE gathering SET due_at = due_at + ?", [seconds])


def bound(database: sqlite3.Connection, name: str, longest_seconds: float, now: float) -> None:
    """Bound the wait of a rule's messages, whatever the clock did meanwhile."""
    database.execute("UPDATE gathering SET due_at = min(due_at, ?) WHERE rule = ?", [now + longest_seconds, name])
