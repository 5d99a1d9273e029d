"""The alerter's SQLite database: alerts (open and over), silences, what is being gathered, messages and their deliveries.

Only livekeep-alerter writes it; `livekeep alert`, the web page and reports open it read-only. It uses a rollback journal (not
WAL), so that readers without write access to its folder can open it even while the alerter does not run. Times are Unix seconds.
"""

import sqlite3
import time
from pathlib import Path

from livekeep.core import paths

FILE = paths.ROOT / "var/lib/livekeep/alerter/alerts.db"
VERSION = 1
BUSY_SECONDS = 10.0
KEPT_SECONDS = 90 * 86400.0
"""Applies to ended alerts and delivered messages."""
TITLES_SHOWN = 20

SCHEMA = """
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    since REAL NOT NULL,                            -- when what it is about began
    began_at REAL NOT NULL,                         -- when the alert began
    over_at REAL,
    count INTEGER NOT NULL DEFAULT 1,               -- of events in it
    times INTEGER NOT NULL DEFAULT 1,               -- how often it began in a row: it flaps
    sentence TEXT NOT NULL,
    why TEXT NOT NULL DEFAULT '',
    log TEXT NOT NULL DEFAULT '',                   -- the last lines
    advice TEXT NOT NULL DEFAULT '',
    announced_at REAL,                              -- the newest message of it
    outcome TEXT NOT NULL DEFAULT ''                -- over, event, removed
) STRICT;
CREATE INDEX alerts_open ON alerts (rule, subject) WHERE over_at IS NULL;
CREATE INDEX alerts_over ON alerts (rule, subject, over_at);
CREATE INDEX alerts_began ON alerts (began_at);
CREATE TABLE gathering (                            -- what the next message of a rule will hold
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,                             -- begin, over, reminder, event
    due_at REAL NOT NULL,
    alert INTEGER NOT NULL,
    PRIMARY KEY (rule, kind, alert)
) STRICT, WITHOUT ROWID;
CREATE TABLE rules (                                -- since when there is a rule of that name and content
    rule TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    first_at REAL NOT NULL,
    messaged_at REAL NOT NULL DEFAULT 0             -- the newest message of its events
) STRICT;
CREATE TABLE silences (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,                             -- a pattern
    subject TEXT NOT NULL,                          -- a pattern
    began_at REAL NOT NULL,
    until REAL NOT NULL
) STRICT;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    rule TEXT NOT NULL,                             -- "" for a message of others
    kind TEXT NOT NULL,                             -- begin, over, reminder, event, report, test, summary
    severity TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    html TEXT NOT NULL
) STRICT;
CREATE TABLE attachments (
    message INTEGER NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (message, number)
) STRICT;
CREATE TABLE deliveries (
    message INTEGER NOT NULL,
    channel TEXT NOT NULL,
    state TEXT NOT NULL,                            -- waiting, held, delivered, summarised, given-up
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '',                -- why the newest attempt failed
    taken TEXT NOT NULL DEFAULT '[]',               -- digests of the recipients that have it
    delivered_at REAL,
    PRIMARY KEY (message, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (channel, message) WHERE state IN ('waiting', 'held');
CREATE TABLE positions (                            -- up to which event of the record all has been judged
    name TEXT PRIMARY KEY,
    record TEXT NOT NULL,                           -- which file it holds for
    arrival INTEGER NOT NULL,
    newest INTEGER NOT NULL
) STRICT;
"""


def open_for_writing(file: Path = FILE) -> sqlite3.Connection:
    """Open the database for livekeep-alerter; create it when absent. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -512")
    connection.execute("PRAGMA secure_delete = OFF")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    return connection


def open_sound(file: Path, now: float) -> tuple[sqlite3.Connection, str]:
    """Open the database for livekeep-alerter; return it and the problem, if any: a damaged one is set aside and replaced.

    Raises `sqlite3.OperationalError` and `OSError` when none can be created.
    """
    try:
        connection = open_for_writing(file)
        fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault == "ok":
            return connection, ""
        connection.close()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        fault = str(error)
    aside = file.with_name(f"{file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}")
    file.rename(aside)
    file.with_name(f"{file.name}-journal").unlink(missing_ok=True)
    return open_for_writing(file), f"{file}: was damaged ({fault}) and is set aside as {aside.name}; open alerts come again"


def tidy(connection: sqlite3.Connection, now: float) -> None:
    """Delete what ended long ago. Messages that wait for delivery stay."""
    before = now - KEPT_SECONDS
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM alerts WHERE over_at < ? AND id NOT IN (SELECT alert FROM gathering)", [before])
    connection.execute("DELETE FROM silences WHERE until < ?", [before])
    connection.execute(
        "DELETE FROM messages WHERE created_at < ? "
        "AND id NOT IN (SELECT message FROM deliveries WHERE state IN ('waiting', 'held'))",
        [before],
    )
    for table in ("deliveries", "attachments"):
        connection.execute(f"DELETE FROM {table} WHERE message NOT IN (SELECT id FROM messages)")  # noqa: S608
    # A delivered report is not kept for 90 days.
    connection.execute(
        "DELETE FROM attachments WHERE message NOT IN (SELECT message FROM deliveries WHERE state IN ('waiting', 'held'))"
    )
    connection.execute("COMMIT")
    connection.executescript("PRAGMA incremental_vacuum(200)")


# For other programs


def open_alerts(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """Open alerts, the most severe first."""
    rank = "CASE severity WHEN 'critical' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END"
    return connection.execute(f"SELECT * FROM alerts WHERE over_at IS NULL ORDER BY {rank}, began_at DESC").fetchall()  # noqa: S608


def alerts_since(connection: sqlite3.Connection, begin: float, limit: int = 200, rule: str = "*") -> list[sqlite3.Row]:
    """Alerts that began since then, open or ended, the newest first; `rule` is a pattern."""
    sql = "SELECT * FROM alerts WHERE began_at >= ? AND rule GLOB ? ORDER BY began_at DESC, id DESC LIMIT ?"
    return connection.execute(sql, [begin, rule, limit]).fetchall()


def deliveries_since(connection: sqlite3.Connection, begin: float, limit: int = 200) -> list[sqlite3.Row]:
    """Deliveries, the newest first: message, rule, kind, severity, title, channel, state, attempts, reason, times."""
    return connection.execute(
        "SELECT m.id AS message, m.rule, m.kind, m.severity, m.title, m.created_at, d.channel, d.state, d.attempts, d.due_at, "
        "d.reason, d.delivered_at FROM messages m JOIN deliveries d ON d.message = m.id WHERE m.created_at >= ? "
        "ORDER BY m.id DESC, d.channel LIMIT ?",
        [begin, limit],
    ).fetchall()


def silences(connection: sqlite3.Connection, now: float) -> list[sqlite3.Row]:
    """Silences in force, the first to end first."""
    return connection.execute("SELECT * FROM silences WHERE until > ? ORDER BY until", [now]).fetchall()
