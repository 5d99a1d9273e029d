"""Takes files from the spool into the database: messages, silences, tests. Each file is taken once, then removed."""

import json
import logging
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from livekeep.core import files
from livekeep.core.text import shown
from livekeep.record.alerts import message as words
from livekeep.record.alerts import notify, outbox
from livekeep.record.alerts.channels import Channel

SILENCE = ".silence"
TEST = ".test"
MOST_AT_ONCE = 20

logger = logging.getLogger("livekeep.alerter")


def take(database: sqlite3.Connection, spool: Path, known: Mapping[str, Channel], now: float) -> int:
    """Take the files; return their number. Raises `OSError` when the spool cannot be read."""
    with os.scandir(spool) as entries:
        ages = [
            (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name) for entry in entries if not entry.name.startswith(".")
        ]
    names = [name for _modified, name in sorted(ages)[:MOST_AT_ONCE]]
    for name in names:
        file = spool / name
        try:
            take_file(database, file, known, now)
        except (OSError, ValueError) as error:
            logger.warning("%s: is dropped: %s", shown(name), error)
        file.unlink(missing_ok=True)
    return len(names)


def take_file(database: sqlite3.Connection, file: Path, known: Mapping[str, Channel], now: float) -> None:
    """Raises `ValueError` for an invalid file."""
    owner = file.lstat().st_uid
    content = files.read(file, notify.LARGEST_FILE_BYTES)
    database.execute("BEGIN IMMEDIATE")
    try:
        # A file that was taken but not yet removed when the alerter was killed.
        is_known = database.execute("SELECT 1 FROM messages WHERE token = ?", [file.stem]).fetchone()
        if file.suffix == notify.SUFFIX and not is_known:
            outbox.enqueue(database, notify.decode(content), "report", known, now, token=file.stem)
        elif file.suffix == TEST and not is_known:
            take_test(database, content, file.stem, known, now)
        elif file.suffix == SILENCE:
            take_silence(database, content, owner, now)
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def take_test(database: sqlite3.Connection, content: bytes, token: str, known: Mapping[str, Channel], now: float) -> None:
    channel = str(json.loads(content)["channel"])
    if channel not in known:
        raise ValueError(f"there is no channel {shown(channel)}")
    outbox.enqueue(database, words.test(channel, now), "test", known, now, token=token)


def take_silence(database: sqlite3.Connection, content: bytes, owner: int, now: float) -> None:
    """A silence replaces those of the same patterns; one that ends at once only removes them.

    Only root's is accepted: a compromised unit must not silence its own alert.
    """
    if owner not in (0, os.geteuid()):
        raise ValueError("only root may silence alerts")
    document = json.loads(content)
    try:
        rule, subject, until = str(document["rule"]), str(document["subject"]), float(document["until"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"is no silence ({error})") from error
    database.execute("DELETE FROM silences WHERE rule = ? AND subject = ?", [rule, subject])
    if until > now:
        database.execute("INSERT INTO silences (rule, subject, began_at, until) VALUES (?, ?, ?, ?)", [rule, subject, now, until])
