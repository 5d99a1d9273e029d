"""The outbox: a message waits here for each of its channels until the channel accepts it. Times are Unix seconds.

| a delivery is | means                                                                                             |
|---------------|---------------------------------------------------------------------------------------------------|
| waiting       | to be tried at `due_at`; after a failure later each time, up to an hour                            |
| held          | above the channel's limit of messages in an hour; one summary lists all of them when there is room |
| delivered     | the channel has it; it never gets it again                                                        |
| summarised    | listed in a summary                                                                               |
| given-up      | its channel has been gone from the configuration for a month                                       |

Everything is in the alerter's database, so a message survives a kill and a power cut at any moment.
"""

import base64
import json
import random
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from livekeep.record.alerts import message as words
from livekeep.record.alerts.channels import Channel
from livekeep.record.alerts.notify import Message
from livekeep.record.alerts.rules import channels_of

BACK_OFF_SECONDS = (15.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
MOST_IN_A_BATCH = 30
LARGEST_BATCH_BYTES = 20 * 1024 * 1024
HOUR = 3600.0
GONE_SECONDS = 30 * 86400.0
UNLIMITED = ("test", "summary", "report")
"""Kinds exempt from the limit: somebody requested them, or they are few."""


def enqueue(
    database: sqlite3.Connection,
    message: Message,
    kind: str,
    known: Mapping[str, Channel],
    now: float,
    rule: str = "",
    token: str = "",
) -> int:
    """Add a message for each of its channels; return its id. Runs within the caller's transaction."""
    token = token or uuid.uuid4().hex
    cursor = database.execute(
        "INSERT INTO messages (token, created_at, rule, kind, severity, title, text, html) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [token, now, rule, kind, message.severity, message.title, message.text, message.html],
    )
    number = int(cursor.lastrowid or 0)
    database.executemany(
        "INSERT INTO attachments VALUES (?, ?, ?, ?, ?)",
        [(number, index, it.name, it.type, it.content) for index, it in enumerate(message.attachments)],
    )
    for name in recipients(message, kind, known):
        is_held = kind not in UNLIMITED and room(database, known[name], now) <= 0
        database.execute(
            "INSERT INTO deliveries (message, channel, state, due_at) VALUES (?, ?, ?, ?)",
            [number, name, "held" if is_held else "waiting", now],
        )
    return number


def recipients(message: Message, kind: str, known: Mapping[str, Channel]) -> list[str]:
    named = [name for name in message.channels if name in known]
    if kind in UNLIMITED and named:
        return named
    return channels_of(message.channels, message.severity, {name: channel.severity for name, channel in known.items()})


def room(database: sqlite3.Connection, channel: Channel, now: float) -> int:
    """How many more messages the channel may get in this hour."""
    sent = database.execute(
        "SELECT count(*) FROM messages m JOIN deliveries d ON d.message = m.id WHERE m.created_at > ? AND m.created_at <= ? "
        "AND d.channel = ? AND d.state NOT IN ('held', 'summarised') AND m.kind NOT IN ('test', 'report')",
        [now - HOUR, now, channel.name],
    ).fetchone()[0]
    return channel.limit_per_hour - int(sent)


def summarise(database: sqlite3.Connection, known: Mapping[str, Channel], now: float) -> None:
    """Where the limit allows it again, list the held messages in one summary."""
    rows = database.execute("SELECT channel, count(*) FROM deliveries WHERE state = 'held' GROUP BY channel").fetchall()
    for name, count in rows:
        if name not in known or room(database, known[name], now) <= 0:
            continue
        titles = database.execute(
            "SELECT m.title FROM messages m JOIN deliveries d ON d.message = m.id WHERE d.state = 'held' AND d.channel = ? "
            "ORDER BY m.id LIMIT 20",
            [name],
        ).fetchall()
        message = words.summary(name, [row["title"] for row in titles], count, known[name].limit_per_hour, now)
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "UPDATE deliveries SET state = 'summarised', delivered_at = ? WHERE state = 'held' AND channel = ?", [now, name]
        )
        enqueue(database, message, "summary", known, now)
        database.execute("COMMIT")


def next_summary(database: sqlite3.Connection, known: Mapping[str, Channel], now: float) -> float | None:
    """Seconds until a channel with held messages may get one again; None when none has any."""
    waits = []
    for row in database.execute("SELECT DISTINCT channel FROM deliveries WHERE state = 'held'"):
        if row["channel"] not in known:
            continue
        oldest = database.execute(
            "SELECT min(m.created_at) FROM messages m JOIN deliveries d ON d.message = m.id WHERE m.created_at > ? "
            "AND d.channel = ? AND d.state NOT IN ('held', 'summarised')",
            [now - HOUR, row["channel"]],
        ).fetchone()[0]
        waits.append(max((oldest or now) + HOUR - now, 0.0) + 0.1)
    return min(waits, default=None)


def due_channels(database: sqlite3.Connection, known: Mapping[str, Channel], now: float) -> list[str]:
    """Channels with due deliveries."""
    rows = database.execute("SELECT DISTINCT channel FROM deliveries WHERE state = 'waiting' AND due_at <= ?", [now])
    return [row["channel"] for row in rows if row["channel"] in known]


def next_due(database: sqlite3.Connection, known: Mapping[str, Channel], busy: Sequence[str]) -> float | None:
    """When the next delivery to a channel without a running child is due."""
    rows = database.execute("SELECT channel, min(due_at) AS due FROM deliveries WHERE state = 'waiting' GROUP BY channel")
    return min((row["due"] for row in rows if row["channel"] in known and row["channel"] not in busy), default=None)


def batch(database: sqlite3.Connection, channel: Channel, now: float) -> list[dict[str, Any]]:
    """The due messages of a channel, the oldest first, in the form that `delivery` reads; counts the attempt."""
    rows = database.execute(
        "SELECT m.*, d.taken FROM deliveries d JOIN messages m ON m.id = d.message WHERE d.channel = ? AND d.state = 'waiting' "
        "AND d.due_at <= ? ORDER BY m.id LIMIT ?",
        [channel.name, now, MOST_IN_A_BATCH],
    ).fetchall()
    documents: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        document = document_of(database, row)
        size += sum(len(it["content"]) for it in document["attachments"])
        if documents and size > LARGEST_BATCH_BYTES:
            break
        documents.append(document)
    database.executemany(
        "UPDATE deliveries SET attempts = attempts + 1 WHERE message = ? AND channel = ?",
        [(document["message"], channel.name) for document in documents],
    )
    return documents


def document_of(database: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    attachments = database.execute("SELECT name, type, content FROM attachments WHERE message = ? ORDER BY number", [row["id"]])
    fields = {name: row[name] for name in ("token", "created_at", "severity", "title", "text", "html")}
    return {
        **fields,
        "message": row["id"],
        "taken": json.loads(row["taken"]),
        "attachments": [
            {"name": it["name"], "type": it["type"], "content": base64.b64encode(it["content"]).decode("ascii")}
            for it in attachments
        ],
    }


def settle(
    database: sqlite3.Connection, channel: str, message: int, taken: Sequence[str], reason: str, now: float
) -> float | None:
    """Record the result of an attempt; return the seconds until the next one, None when delivered. Safe to repeat."""
    row = database.execute(
        "SELECT attempts, taken FROM deliveries WHERE message = ? AND channel = ? AND state = 'waiting'", [message, channel]
    ).fetchone()
    if row is None:
        return None
    everybody = json.dumps(sorted({*json.loads(row["taken"]), *taken}))
    if not reason:
        database.execute(
            "UPDATE deliveries SET state = 'delivered', taken = ?, delivered_at = ?, reason = '' "
            "WHERE message = ? AND channel = ?",
            [everybody, now, message, channel],
        )
        return None
    step = min(max(row["attempts"], 1), len(BACK_OFF_SECONDS)) - 1
    wait = BACK_OFF_SECONDS[step] * random.uniform(0.9, 1.1)  # noqa: S311
    database.execute(
        "UPDATE deliveries SET taken = ?, reason = ?, due_at = ? WHERE message = ? AND channel = ?",
        [everybody, reason, now + wait, message, channel],
    )
    return wait


def postpone(database: sqlite3.Connection, channel: str, seconds: float, now: float) -> None:
    """Delay everything due for a channel: other messages would fail like the last one."""
    database.execute(
        "UPDATE deliveries SET due_at = ? WHERE channel = ? AND state = 'waiting' AND due_at < ?",
        [now + seconds, channel, now + seconds],
    )


def try_now(database: sqlite3.Connection, now: float) -> None:
    """Retry every channel after a configuration change."""
    database.execute("UPDATE deliveries SET due_at = min(due_at, ?) WHERE state = 'waiting'", [now])


def give_up_on_gone(database: sqlite3.Connection, known: Mapping[str, Channel], now: float) -> None:
    """Drop messages that waited a month for a channel that is not in the configuration."""
    rows = database.execute(
        "SELECT DISTINCT d.channel FROM deliveries d JOIN messages m ON m.id = d.message WHERE d.state IN ('waiting', 'held') "
        "AND m.created_at < ?",
        [now - GONE_SECONDS],
    ).fetchall()
    for row in rows:
        if row["channel"] not in known:
            database.execute(
                "UPDATE deliveries SET state = 'given-up', reason = 'the channel is gone' WHERE channel = ? "
                "AND state IN ('waiting', 'held') AND message IN (SELECT id FROM messages WHERE created_at < ?)",
                [row["channel"], now - GONE_SECONDS],
            )


def waiting(database: sqlite3.Connection) -> int:
    """Messages not yet delivered to all of their channels."""
    sql = "SELECT count(DISTINCT message) FROM deliveries WHERE state IN ('waiting', 'held')"
    return int(database.execute(sql).fetchone()[0])
