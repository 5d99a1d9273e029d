"""The alerter's view of the record: opens it when it exists, and again when another file replaces it.

While the record cannot be read, no rule is evaluated and nothing changes.
"""

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from livekeep.record.reading import CurrentRecord, NoRecordError
from livekeep.record.store import schema
from livekeep.record.store.queries.filter import IDS_PER_MICROSECOND, Watch, moment
from livekeep.system.redaction import redacted

LOG_LINES = 12
TRACEBACK_LINES = 16
LONGEST_LINE = 300
SECRET = re.compile(
    r"""(?i)((?:password|passwd|secret|token|api[_-]?key)["']?\s*(?:=|["']\s*:)\s*["']?|\bbearer\s+)[^\s"',;)&]{3,}"""
)
SECOND = 1_000_000


class Record(CurrentRecord):
    """`problem` says in one sentence why it cannot be read; "" when it can."""

    def __init__(self, file: Path = schema.FILE) -> None:
        super().__init__(file)
        self.problem = ""
        self._watch: Watch | None = None
        self._watched: sqlite3.Connection | None = None

    def has_changed(self) -> bool:
        """Whether it was written to or replaced since the last call. Raises `NoRecordError`."""
        connection = self.connection()
        if self._watch is not None and connection is self._watched:
            return self._watch.has_changed()
        connection.execute("PRAGMA cache_size = -1024")
        self._watch, self._watched = Watch(connection), connection
        return True

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Around queries: an error becomes `problem` and does not end the program."""
        try:
            yield
            self.problem = ""
        except NoRecordError as error:
            self.problem = f"{self.file}: {error}"
        except sqlite3.Error as error:
            self.close()
            self.problem = f"{self.file}: cannot be read ({error}); see systemctl status livekeep-recorder"


# The last lines


def lines_of_session(record: sqlite3.Connection, session: int) -> str:
    """The traceback that ended it, and its last events."""
    row = record.execute(
        "SELECT e.traceback FROM sessions s JOIN errors e ON e.id = s.error WHERE s.id = ?", [session]
    ).fetchone()
    messages = newest(record, "session = ?", session)
    return fit([*messages, *(tail(row["traceback"]) if row else [])])


def lines_of_unit(record: sqlite3.Connection, unit: str, before: int) -> str:
    """The last events of a unit up to `before`, an event's id, inclusive."""
    return fit(newest(record, "unit = ? AND id <= ? AND id > ?", unit, before, before - 3600 * SECOND * IDS_PER_MICROSECOND))


def lines_of_units(record: sqlite3.Connection, pattern: str, since: float, priority: int = 5) -> str:
    """The last notable events of some units."""
    begin = int(since * SECOND) * IDS_PER_MICROSECOND
    return fit(newest(record, "unit GLOB ? AND id > ? AND priority <= ?", pattern, begin, priority))


def traceback_of(record: sqlite3.Connection, call: int) -> str:
    """The traceback of a failed call."""
    row = record.execute("SELECT e.traceback FROM calls c JOIN errors e ON e.id = c.error WHERE c.id = ?", [call]).fetchone()
    return fit(tail(row["traceback"])) if row else ""


def newest(record: sqlite3.Connection, terms: str, *parameters: object) -> list[str]:
    rows = record.execute(
        f"SELECT id, message FROM events WHERE {terms} ORDER BY id DESC LIMIT {LOG_LINES}",  # noqa: S608
        parameters,
    ).fetchall()
    times = [time.strftime("%H:%M:%S", time.localtime(moment(row["id"]) / SECOND)) for row in rows]
    return [f"{at} {row['message']}" for at, row in zip(reversed(times), reversed(rows), strict=True)]


def tail(text: str) -> list[str]:
    return text.rstrip().splitlines()[-TRACEBACK_LINES:]


def fit(lines: list[str]) -> str:
    """Lines of other programs for a message: each shortened, and without what looks like a secret."""
    kept = []
    for line in lines:
        bare = line.strip()
        kept.append(" " * (len(line) - len(line.lstrip())) + redacted(SECRET.sub(r"\1…", bare))[:LONGEST_LINE])
    return "\n".join(kept)
