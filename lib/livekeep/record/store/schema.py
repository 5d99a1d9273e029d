"""The record's SQLite database: its tables, its version, how it is opened. Standard library only.

Only livekeep-recorder writes it (livekeep-tidy requests deletions: see store/retention.py). All others open it read-only.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from livekeep.core import paths
from livekeep.core.errors import ConfigError

FILE = paths.ROOT / "var/lib/livekeep/record/record.db"
BUSY_SECONDS = 10.0
CHECKPOINT_PAGES = 4000
LARGEST_LOG_BYTES = 16 * 1024 * 1024
"""The largest -wal file between two bursts."""

SCHEMA = """
CREATE TABLE machines (
    id INTEGER PRIMARY KEY,
    machine_id TEXT NOT NULL UNIQUE,                -- _MACHINE_ID
    hostname TEXT NOT NULL,                         -- _HOSTNAME, the newest
    boot_id TEXT NOT NULL DEFAULT '',               -- the newest that wrote
    boot_at INTEGER NOT NULL DEFAULT 0              -- us: its first entry
) STRICT;
CREATE TABLE processes (
    id INTEGER PRIMARY KEY,
    machine INTEGER NOT NULL REFERENCES machines,
    boot_id TEXT NOT NULL,
    token TEXT NOT NULL,                            -- LIVEKEEP_PROCESS
    pid INTEGER NOT NULL,
    uid INTEGER NOT NULL,                           -- -1: not known
    unit TEXT NOT NULL,                             -- _SYSTEMD_UNIT, or _SYSTEMD_USER_UNIT, or ""
    program TEXT NOT NULL,                          -- SYSLOG_IDENTIFIER
    first_monotonic INTEGER,                        -- us since boot, of its first entry
    first_at INTEGER NOT NULL,                      -- us
    last_at INTEGER NOT NULL,
    next_sequence INTEGER NOT NULL,
    calls_sent INTEGER NOT NULL,                    -- in all its entries up to the newest, those lost included
    UNIQUE (boot_id, token, pid, uid)               -- who uses the token of another is another
) STRICT;
CREATE INDEX processes_unit ON processes (unit);
CREATE TABLE gaps (                                 -- sequence numbers that did not come, until they do
    process INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    loss INTEGER NOT NULL,                          -- losses.id
    PRIMARY KEY (process, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE functions (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    UNIQUE (name, kind)
) STRICT;
CREATE TABLE errors (                               -- each text once
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    traceback TEXT NOT NULL,
    last_day INTEGER NOT NULL DEFAULT 0             -- since 1970: when it came last
) STRICT;
CREATE TABLE threads (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,                         -- begin in us since 1970, times 1000, plus a counter
    function INTEGER NOT NULL,
    machine INTEGER NOT NULL,
    process INTEGER NOT NULL,
    session INTEGER,                                -- sessions.id
    number INTEGER NOT NULL,                        -- within the process
    parent INTEGER NOT NULL,                        -- its number, or 0
    thread INTEGER,
    duration INTEGER NOT NULL,                      -- us
    outcome INTEGER NOT NULL,                       -- 0 succeeded, 1 failed, 2 cancelled
    cpu INTEGER,                                    -- us
    memory INTEGER,                                 -- bytes
    read INTEGER,
    written INTEGER,
    arguments TEXT,
    error INTEGER                                   -- errors.id
) STRICT;
CREATE INDEX calls_function ON calls (function);
CREATE INDEX calls_session ON calls (session) WHERE session IS NOT NULL;
CREATE INDEX calls_failed ON calls (id, function, machine, session, error, outcome) WHERE outcome = 1; -- for the lists of errors
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    token TEXT NOT NULL,
    machine INTEGER NOT NULL,
    process INTEGER NOT NULL,
    parent INTEGER,                                 -- sessions.id
    name TEXT NOT NULL,
    began_at INTEGER NOT NULL,                      -- us
    ended_at INTEGER,
    updated_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,                          -- running, succeeded, failed, cancelled, lost
    total REAL,
    done REAL NOT NULL DEFAULT 0,
    percent REAL,
    rate REAL,
    left_seconds REAL,
    message TEXT NOT NULL DEFAULT '',
    error INTEGER,
    UNIQUE (token, process)
) STRICT;
CREATE INDEX sessions_began ON sessions (began_at);
CREATE INDEX sessions_name ON sessions (name, began_at);
CREATE INDEX sessions_running ON sessions (process) WHERE outcome = 'running';
CREATE TABLE steps (
    session INTEGER NOT NULL,
    number INTEGER NOT NULL,
    parent INTEGER,                                 -- steps.number of the same session
    name TEXT NOT NULL,
    weight REAL NOT NULL DEFAULT 1,
    began_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT NOT NULL,
    total REAL,
    done REAL NOT NULL DEFAULT 0,
    error INTEGER,
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (                               -- what a person reads: livekeep's own, and those of jobs
    id INTEGER PRIMARY KEY,                         -- as in calls
    machine INTEGER NOT NULL,
    process INTEGER,
    session INTEGER,
    unit TEXT NOT NULL,
    name TEXT NOT NULL,                             -- LIVEKEEP_EVENT
    priority INTEGER NOT NULL,
    message TEXT NOT NULL,
    fields TEXT NOT NULL,                           -- JSON object, names without LIVEKEEP_
    origin BLOB UNIQUE,                             -- identity in the journal, where no sequence shows what comes twice
    arrival INTEGER UNIQUE                          -- 1, 2, 3 ... in the order of writing: some come late; set by the trigger
) STRICT;
CREATE INDEX events_name ON events (name);
CREATE TRIGGER events_arrive AFTER INSERT ON events BEGIN
    UPDATE events SET arrival = (SELECT ifnull(max(arrival), 0) + 1 FROM events) WHERE id = new.id;
END;
CREATE TABLE samples (
    at INTEGER NOT NULL,                            -- us
    machine INTEGER NOT NULL,
    cpu_percent REAL,
    memory_bytes INTEGER,
    memory_total_bytes INTEGER,
    temperature_celsius REAL,
    disk_bytes INTEGER,
    disk_total_bytes INTEGER,
    PRIMARY KEY (machine, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE unit_samples (
    at INTEGER NOT NULL,
    machine INTEGER NOT NULL,
    unit TEXT NOT NULL,
    memory_bytes INTEGER,
    cpu_percent REAL,                               -- of one core, since the sample before
    PRIMARY KEY (machine, unit, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE summaries (                            -- of calls, and of sessions and steps as kinds "session" and "step"
    period TEXT NOT NULL,                           -- hour, day
    began_at INTEGER NOT NULL,                      -- us; a day begins at local midnight
    function INTEGER NOT NULL,
    machine INTEGER NOT NULL,
    count INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    sum INTEGER NOT NULL,                           -- us
    min INTEGER NOT NULL,
    max INTEGER NOT NULL,
    histogram BLOB NOT NULL,                        -- store/histogram.py
    PRIMARY KEY (period, function, machine, began_at)
) STRICT, WITHOUT ROWID;
CREATE TABLE losses (                               -- what is known to be missing
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    machine INTEGER NOT NULL,
    process INTEGER,
    unit TEXT NOT NULL,
    reason TEXT NOT NULL,                           -- gap, suppressed, vacuumed, unreadable, corrupt, retention
    entries INTEGER,
    calls INTEGER,
    sentence TEXT NOT NULL,
    origin BLOB UNIQUE                              -- as in events
) STRICT;
CREATE TABLE positions (
    journal TEXT PRIMARY KEY,
    cursor TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
"""


INDICES = """
CREATE INDEX events_session ON events (session) WHERE session IS NOT NULL;
CREATE INDEX calls_cancelled ON calls (id, function, machine, session, error, outcome) WHERE outcome = 2;
"""
"""Before, the events of one session, and the few cancelled calls, needed a scan from the newest backwards."""

MIGRATIONS: tuple[str, ...] = (SCHEMA, INDICES)
"""The scripts from each version to the next: a new record runs all of them, an older one those that it lacks."""
VERSION = len(MIGRATIONS)


class Connection(sqlite3.Connection):
    snapshot_of: Path | None = None
    """The record's file, if this connection never sees changes: no writer ran, and this program cannot write to the folder."""

    @property
    def is_outdated(self) -> bool:
        """Whether it is a snapshot, and a writer runs again: then reopen the record."""
        return self.snapshot_of is not None and log_of(self.snapshot_of).exists()


def log_of(file: Path) -> Path:
    """The -wal file: committed pages that are not yet in the database file."""
    return file.with_name(f"{file.name}-wal")


def open_read_only(file: Path = FILE) -> Connection:
    """Open the record for reading. Raises `sqlite3.OperationalError` when it is absent or not readable.

    While the recorder runs, or after it was killed, you see all committed rows. After it has ended, SQLite's shared files are
    gone, and a program that cannot create them gets a snapshot: reopen it for each query, or when `is_outdated` is true.
    """
    try:
        return connected(file, "mode=ro")
    except sqlite3.OperationalError:
        log = log_of(file)
        if not file.exists() or (log.exists() and log.stat().st_size):
            raise
        connection = connected(file, "mode=ro&immutable=1")
        connection.snapshot_of = file
        return connection


def connected(file: Path, options: str) -> Connection:
    uri = f"file:{quote(str(file))}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, factory=Connection)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA query_only = ON")
        # SQLite opens its files at the first read.
        connection.execute("PRAGMA data_version").fetchone()
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def open_for_writing(file: Path = FILE, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Open the record for its only writer; create it when absent, upgrade an older one to this version.

    Raises `sqlite3.Error`, and `ConfigError` for a record of a newer livekeep, which stays unchanged.
    """
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        version = version_of(connection, file, len(migrations))
        # Must come before the first table.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        # Debian enables it at compile time; it would write each deleted page once more.
        connection.execute("PRAGMA secure_delete = OFF")
        # A page that each commit changes, such as a summary's, is written to the database file only occasionally.
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG_BYTES}")
        for number in range(version, len(migrations)):
            connection.executescript(f"BEGIN; {migrations[number]} PRAGMA user_version = {number + 1}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def version_of(connection: sqlite3.Connection, file: Path, newest: int) -> int:
    """Raises `ConfigError` when it is newer than this program supports."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > newest:
        sentence = (
            f"{file}: a newer livekeep wrote it (version {version}, this one knows {newest}); update livekeep, or move it away"
        )
        raise ConfigError([sentence])
    return version
