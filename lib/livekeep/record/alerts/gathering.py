"""Turns gathered alerts into messages: one per rule and kind when it is due, with everything gathered until then."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from livekeep.core.config.record import Alert
from livekeep.record.alerts import message as words
from livekeep.record.alerts import outbox
from livekeep.record.alerts.channels import Channel
from livekeep.record.alerts.message import AlertText
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
        # Keep only open alerts: the first channel gets these, and nothing else.
        ended = "SELECT id FROM alerts WHERE over_at IS NOT NULL"
        database.execute(f"DELETE FROM gathering WHERE kind <> 'begin' OR alert IN ({ended})")  # noqa: S608
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
            texts = []
            for row in rows:
                finding = newest((name, row["subject"])) if kind == "reminder" else None
                sentence, why = (finding.sentence, finding.why or row["why"]) if finding else (row["sentence"], row["why"])
                times = row["count"], row["times"]
                texts.append(AlertText(row["subject"], sentence, row["since"], row["over_at"], why, row["log"], *times))
            # For a removed rule, the stored alerts have all that is needed.
            rule = rules.get(name) or Alert(severity=rows[0]["severity"], advice=rows[0]["advice"])
            message = words.compose(name, rule, kind, texts, now)
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


def next_due(database: sqlite3.Connection) -> float | None:
    """When the next message is to be made."""
    due = database.execute("SELECT min(due_at) FROM gathering").fetchone()[0]
    return float(due) if due is not None else None
