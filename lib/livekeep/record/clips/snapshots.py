"""clips.db: the clips of all sources, and snapshots of their counters. Only livekeep-clips writes it; see docs/how-to/clips.md.

A snapshot has a row only if a counter changed since the previous fetch; `gained` is the growth of plays, so that the plays of any
span are a sum. A counter that decreases or newly appears gains nothing. Old fetches are thinned: a clip's gain within an hour,
later within a day, moves to the last fetch. The database uses a rollback journal: other users read it, and a run commits only a
few times.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from livekeep.core import paths
from livekeep.record import instrument_sqlite, monitor_execution, track_performance
from livekeep.record.clips.clip import Clip
from livekeep.record.clips.course import AGE_HOURS, HOUR

FILE = paths.ROOT / "var/lib/livekeep/clips/clips.db"
VERSION = 1
BUSY_SECONDS = 10.0
MICROSECONDS = 1_000_000
THINNED = ((2.0, HOUR), (14.0, 24 * HOUR))
"""After this many days, one fetch per this many seconds is kept."""
AHEAD_SECONDS = 60.0
"""Fetches further in the future were made while the clock was wrong."""

SCHEMA = """
CREATE TABLE sources (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,                      -- of [clips.NAME]
    outcome TEXT NOT NULL DEFAULT '',               -- succeeded, failed; of the newest run
    reason TEXT NOT NULL DEFAULT '',
    advice TEXT NOT NULL DEFAULT '',
    outcome_since INTEGER                           -- us
) STRICT;
CREATE TABLE clips (
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources,
    clip TEXT NOT NULL,                             -- its number or id at its source
    name TEXT NOT NULL,
    link TEXT NOT NULL,
    duration_seconds REAL,
    created_at INTEGER,                             -- us since 1970
    known_since INTEGER NOT NULL,                   -- us; all plays after it are in the snapshots
    gone_at INTEGER,                                -- us; its source no longer lists it
    plays INTEGER,
    likes INTEGER,
    comments INTEGER,
    UNIQUE (source, clip)
) STRICT;
CREATE TABLE fetches (
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources,
    at INTEGER NOT NULL                             -- us
) STRICT;
CREATE INDEX fetches_source ON fetches (source, at);
CREATE TABLE snapshots (
    fetch INTEGER NOT NULL,
    clip INTEGER NOT NULL,
    plays INTEGER,
    likes INTEGER,
    comments INTEGER,
    gained INTEGER NOT NULL,                        -- plays since the snapshot before
    PRIMARY KEY (fetch, clip)
) STRICT, WITHOUT ROWID;
CREATE TABLE ranking (                              -- of the newest run
    clip INTEGER PRIMARY KEY REFERENCES clips,
    score REAL NOT NULL,
    ratio REAL NOT NULL,                            -- plays against what was expected
    plays INTEGER NOT NULL,                         -- in so many hours
    hours REAL NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE TABLE takeoffs (
    id INTEGER PRIMARY KEY,
    clip INTEGER NOT NULL REFERENCES clips,
    began_at INTEGER NOT NULL,                      -- us
    ended_at INTEGER,                               -- us; NULL while it goes on
    usual REAL NOT NULL,                            -- plays in an hour, as expected before it
    size REAL NOT NULL,                             -- of the negative binomial around that
    score REAL NOT NULL,                            -- the highest
    reason TEXT NOT NULL                            -- the newest
) STRICT;
CREATE INDEX takeoffs_going_on ON takeoffs (clip) WHERE ended_at IS NULL;
"""


@dataclass(frozen=True, slots=True)
class KnownClip:
    """A clip that its source lists. Times are Unix seconds."""

    id: int
    clip: str
    name: str
    link: str
    created: float | None
    since: float


def open_for_writing(file: Path = FILE) -> sqlite3.Connection:
    """Open the database, create it when absent; each statement is recorded. Raises `sqlite3.Error`."""
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    # Must come before the first table.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # Debian enables it at compile time; it would write each deleted page once more.
    connection.execute("PRAGMA secure_delete = OFF")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    elif version != VERSION:
        connection.close()
        raise sqlite3.DatabaseError(f"it is of version {version}, and this program knows {VERSION}")
    return instrument_sqlite(connection)


class Snapshots:
    """The database, and what a run does with it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def source(self, name: str) -> int:
        """The id of a source, created when new."""
        self._db.execute("INSERT INTO sources (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
        return int(self._db.execute("SELECT id FROM sources WHERE name = ?", (name,)).fetchone()[0])

    @track_performance(kind="database")
    def take(self, source: int, clips: Sequence[Clip], now: float) -> int:
        """Store a source's clips as of `now` (Unix seconds), all or nothing; return the number of snapshots."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            limit = round((now + AHEAD_SECONDS) * MICROSECONDS)
            late = "SELECT id FROM fetches WHERE source = ? AND at > ?"
            self._db.execute(f"DELETE FROM snapshots WHERE fetch IN ({late})", (source, limit))  # noqa: S608
            self._db.execute("DELETE FROM fetches WHERE source = ? AND at > ?", (source, limit))
            self._db.execute("UPDATE clips SET known_since = ?1 WHERE source = ?2 AND known_since > ?1", (limit, source))
            count = self._take(source, clips, now)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return count

    def _take(self, source: int, clips: Sequence[Clip], now: float) -> int:
        at = round(now * MICROSECONDS)
        previous = self._db.execute("SELECT max(at) FROM fetches WHERE source = ?", (source,)).fetchone()[0]
        if previous is not None:
            at = max(at, previous + 1)
        fetch = self._db.execute("INSERT INTO fetches (source, at) VALUES (?, ?)", (source, at)).lastrowid
        known = self._known(source)
        self._add([clip for clip in clips if clip.id not in known], source, at, previous)
        now_known = self._known(source)
        changed, snapshots = [], []
        for clip in clips:
            before, row = known.get(clip.id), now_known[clip.id]
            gained, is_seen_again = gained_by(clip, before, row, at)
            if before is None or is_seen_again or figures(before) != figures_of(clip):
                snapshots.append((fetch, row["id"], *figures_of(clip), gained))
            columns = ("name", "link", "duration_seconds", "created_at", "plays", "likes", "comments")
            if before is not None and (is_seen_again or tuple(before[column] for column in columns) != all_of(clip)):
                changed.append((*all_of(clip), at if is_seen_again else row["known_since"], row["id"]))
        # Many rows in one statement: each statement is a recorded call.
        self._db.executemany(
            "UPDATE clips SET name = ?, link = ?, duration_seconds = ?, created_at = ?, plays = ?, likes = ?, comments = ?,"
            " known_since = ?, gone_at = NULL WHERE id = ?",
            changed,
        )
        self._db.executemany("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?)", snapshots)
        listed = {clip.id for clip in clips}
        gone = [(at, row["id"]) for identity, row in known.items() if identity not in listed and row["gone_at"] is None]
        self._db.executemany("UPDATE clips SET gone_at = ? WHERE id = ?", gone)
        return len(snapshots)

    def _known(self, source: int) -> dict[str, sqlite3.Row]:
        return {row["clip"]: row for row in self._db.execute("SELECT * FROM clips WHERE source = ?", (source,)).fetchall()}

    def _add(self, clips: Sequence[Clip], source: int, at: int, previous: int | None) -> None:
        """Add rows for new clips. A clip published since the previous fetch is known from its beginning."""
        rows = []
        for clip in clips:
            created = created_at(clip)
            is_seen_from_the_start = created is not None and previous is not None and previous <= created < at
            rows.append((source, clip.id, created if is_seen_from_the_start else at, *all_of(clip)))
        self._db.executemany(
            "INSERT INTO clips (source, clip, known_since, name, link, duration_seconds, created_at, plays, likes, comments)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def moments(self, source: int, since: float) -> list[float]:
        """Fetch times of a source since a moment, Unix seconds, ascending."""
        values = source, round(since * MICROSECONDS)
        rows = self._db.execute("SELECT at FROM fetches WHERE source = ? AND at >= ? ORDER BY at", values)
        return [row["at"] / MICROSECONDS for row in rows]

    def clips(self, source: int) -> list[KnownClip]:
        """The clips that the source lists with their plays."""
        rows = self._db.execute(
            "SELECT id, clip, name, link, created_at, known_since FROM clips"
            " WHERE source = ? AND gone_at IS NULL AND plays IS NOT NULL ORDER BY id",
            (source,),
        )
        return [
            KnownClip(
                row["id"],
                row["clip"],
                row["name"],
                row["link"],
                None if row["created_at"] is None else row["created_at"] / MICROSECONDS,
                row["known_since"] / MICROSECONDS,
            )
            for row in rows
        ]

    @track_performance(kind="database")
    def gains(self, source: int, edges: Sequence[float]) -> dict[int, list[int]]:
        """Per clip, its gain between each two neighbours of `edges` (fetch times, ascending)."""
        moments = [round(edge * MICROSECONDS) for edge in edges]
        cases = " ".join(f"WHEN at <= {moment} THEN {number}" for number, moment in enumerate(moments[1:]))
        rows = self._db.execute(
            f"SELECT clip, CASE {cases} END AS span, sum(gained) AS gained FROM fetches JOIN snapshots ON fetch = fetches.id"  # noqa: S608
            " WHERE source = ? AND at > ? AND at <= ? GROUP BY clip, span",
            (source, moments[0], moments[-1]),
        ).fetchall()
        by_clip: dict[int, list[int]] = {}
        for row in rows:
            by_clip.setdefault(row["clip"], [0] * (len(edges) - 1))[row["span"]] = row["gained"]
        return by_clip

    def gains_of_fetches(self, source: int, since: float) -> list[tuple[float, int]]:
        """Per fetch since a moment, Unix seconds, the gain of all clips since the previous one."""
        rows = self._db.execute(
            "SELECT at, ifnull(sum(gained), 0) AS gained FROM fetches LEFT JOIN snapshots ON fetch = fetches.id"
            " WHERE source = ? AND at >= ? GROUP BY fetches.id ORDER BY at",
            (source, round(since * MICROSECONDS)),
        ).fetchall()
        return [(row["at"] / MICROSECONDS, row["gained"]) for row in rows]

    @track_performance(kind="database")
    def gains_by_age(self, source: int, since: float) -> dict[tuple[int, int], int]:
        """Each clip's gain at each age, by clip and age bin."""
        edges = [round(hours * HOUR * MICROSECONDS) for hours in AGE_HOURS[1:]]
        limits = " ".join(f"WHEN at - created_at < {edge} THEN {number}" for number, edge in enumerate(edges))
        rows = self._db.execute(
            f"SELECT snapshots.clip AS clip, CASE {limits} ELSE {len(AGE_HOURS) - 1} END AS bin, sum(gained) AS gained"  # noqa: S608
            " FROM fetches JOIN snapshots ON fetch = fetches.id JOIN clips ON clips.id = snapshots.clip"
            " WHERE fetches.source = ? AND at >= ? AND created_at IS NOT NULL GROUP BY snapshots.clip, bin",
            (source, round(since * MICROSECONDS)),
        ).fetchall()
        return {(row["clip"], row["bin"]): row["gained"] for row in rows}

    @monitor_execution
    def tidy(self, now: float, keep_days: int) -> None:
        """Thin old fetches, and delete those older than `keep_days`."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            limit = round((now - keep_days * 86400) * MICROSECONDS)
            self._db.execute("DELETE FROM snapshots WHERE fetch IN (SELECT id FROM fetches WHERE at < ?)", (limit,))
            self._db.execute("DELETE FROM fetches WHERE at < ?", (limit,))
            self._db.execute("DELETE FROM takeoffs WHERE ended_at < ?", (limit,))
            for days, seconds in THINNED:
                self._thin(round((now - days * 86400) * MICROSECONDS), round(seconds * MICROSECONDS))
            gone = "SELECT id FROM clips WHERE gone_at < ?"
            for table in ("ranking", "takeoffs", "snapshots"):
                self._db.execute(f"DELETE FROM {table} WHERE clip IN ({gone})", (limit,))  # noqa: S608
            self._db.execute("DELETE FROM clips WHERE gone_at < ?", (limit,))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        # execute() would free one page only.
        self._db.executescript("PRAGMA incremental_vacuum(1000);")

    def _thin(self, before: int, span: int) -> None:
        """Merge the fetches of each `span` before a moment into the last one."""
        spans = self._db.execute(
            "SELECT source, at / ?1 AS span, max(id) AS kept FROM fetches WHERE at < ?2 / ?1 * ?1"
            " GROUP BY source, span HAVING count(*) > 1",
            (span, before),
        ).fetchall()
        for row in spans:
            within = "SELECT id FROM fetches WHERE source = ? AND at / ? = ?"
            which = (row["source"], span, row["span"])
            merged = self._db.execute(
                "SELECT clip, max(fetch), plays, likes, comments, sum(gained) AS gained FROM snapshots"  # noqa: S608
                f" WHERE fetch IN ({within}) GROUP BY clip",
                which,
            ).fetchall()
            self._db.execute(f"DELETE FROM snapshots WHERE fetch IN ({within})", which)  # noqa: S608
            self._db.executemany(
                "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?)",
                [(row["kept"], it["clip"], it["plays"], it["likes"], it["comments"], it["gained"]) for it in merged],
            )
            self._db.execute("DELETE FROM fetches WHERE source = ? AND at / ? = ? AND id <> ?", (*which, row["kept"]))

    def forget_others(self, names: Iterable[str], now: float) -> None:
        """Mark the clips of all sources except `names`, the configured ones, as gone."""
        kept = set(names)
        others = [row["id"] for row in self._db.execute("SELECT id, name FROM sources").fetchall() if row["name"] not in kept]
        at = round(now * MICROSECONDS)
        for source in others:
            self._db.execute("UPDATE clips SET gone_at = ? WHERE gone_at IS NULL AND source = ?", (at, source))
            self._db.execute("DELETE FROM ranking WHERE clip IN (SELECT id FROM clips WHERE source = ?)", (source,))

    def outcome(self, source: int) -> tuple[str, str]:
        """The source's outcome and advice of the last run; "" twice before the first one."""
        row = self._db.execute("SELECT outcome, advice FROM sources WHERE id = ?", (source,)).fetchone()
        return str(row["outcome"]), str(row["advice"])

    def note_outcome(self, source: int, outcome: str, reason: str, advice: str, now: float) -> None:
        self._db.execute(
            "UPDATE sources SET outcome_since = CASE WHEN outcome = ?1 THEN outcome_since ELSE ?4 END,"
            " outcome = ?1, reason = ?2, advice = ?3 WHERE id = ?5",
            (outcome, reason, advice, round(now * MICROSECONDS), source),
        )


def gained_by(clip: Clip, before: sqlite3.Row | None, row: sqlite3.Row, at: int) -> tuple[int, bool]:
    """The plays that a clip gained at a fetch, and whether its earlier plays are unknown."""
    if before is None:
        return (clip.plays or 0) if row["known_since"] < at else 0, False
    if before["gone_at"] is not None or (before["plays"] is None and clip.plays is not None):
        return 0, True
    return max((clip.plays or 0) - (before["plays"] or 0), 0), False


def created_at(clip: Clip) -> int | None:
    return None if clip.created is None else round(clip.created * MICROSECONDS)


def figures_of(clip: Clip) -> tuple[int | None, int | None, int | None]:
    return clip.plays, clip.likes, clip.comments


def all_of(clip: Clip) -> tuple[str, str, float | None, int | None, int | None, int | None, int | None]:
    return clip.name, clip.link, clip.duration_seconds, created_at(clip), *figures_of(clip)


def figures(row: sqlite3.Row) -> tuple[int | None, int | None, int | None]:
    return row["plays"], row["likes"], row["comments"]
