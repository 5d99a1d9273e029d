"""The record's file: integrity check, copy, and replacement of a damaged file."""

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from livekeep.core import files
from livekeep.record.store import schema

COPY_NAME = "record.db.copy"
RESULT_NAME = "check.json"
LARGEST_RESULT_BYTES = 65536
MOST_FAULTS = 10
MOST_SET_ASIDE = 2
LARGEST_COPY_BYTES = 4 * 1024**3
"""A larger record is not copied daily: use a separate disk for it, and your own backup."""


@dataclass(frozen=True)
class CheckResult:
    """The result of livekeep-tidy, for the recorder."""

    at: float
    """Unix seconds."""
    inode: int
    """Of the checked file."""
    faults: tuple[str, ...] = ()
    copied_bytes: int | None = None
    reason: str = ""
    """Why there is no new copy."""


def check(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The errors that SQLite finds in the file, ten at most; empty for a sound one."""
    try:
        lines = [row[0] for row in connection.execute(f"PRAGMA quick_check({MOST_FAULTS})")]
    except sqlite3.DatabaseError as error:
        return (str(error),)
    return () if lines == ["ok"] else tuple(lines)


def empty_log(connection: sqlite3.Connection, wait_seconds: float) -> bool:
    """Restart the -wal file once its current readers have ended; return whether they did in time. Outside of a transaction.

    With continuous readers, SQLite never gets to do this by itself. New readers meanwhile read only the database.
    """
    (usual,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {round(wait_seconds * 1000)}")
    try:
        return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.execute(f"PRAGMA busy_timeout = {usual}")


def copy(file: Path, least_free_percent: float) -> tuple[int | None, str]:
    """Copy the record beside itself, as of one moment; return its size or the obstacle. Raises `sqlite3.Error`, `OSError`."""
    target, unfinished = file.with_name(COPY_NAME), file.with_name(f"{COPY_NAME}.new")
    size = file.stat().st_size
    disk = shutil.disk_usage(file.parent)
    # The old copy is removed only when the new one exists.
    if size > LARGEST_COPY_BYTES:
        return None, f"the record is larger than {LARGEST_COPY_BYTES // 1024**3} GiB"
    if disk.free - size < disk.total * least_free_percent / 100:
        return None, "the disk has too little room for a copy"
    unfinished.unlink(missing_ok=True)
    source, destination = schema.open_read_only(file), sqlite3.connect(unfinished)
    try:
        # In one step: it reads one moment, while the writer continues.
        source.backup(destination)
        destination.execute("PRAGMA journal_mode = DELETE")
    finally:
        source.close()
        destination.close()
    with unfinished.open("rb") as stream:
        os.fsync(stream.fileno())
    unfinished.replace(target)
    return target.stat().st_size, ""


def write_result(folder: Path, result: CheckResult) -> None:
    files.replace(folder / RESULT_NAME, json.dumps(dataclasses.asdict(result)).encode())


def read_result(folder: Path) -> CheckResult | None:
    """None when absent, or unreadable."""
    try:
        document = json.loads(files.read(folder / RESULT_NAME, LARGEST_RESULT_BYTES))
        return CheckResult(**{**document, "faults": tuple(document["faults"])})
    except (OSError, ValueError, TypeError, LookupError):
        return None


def set_aside(file: Path, now: float) -> tuple[Path, bool]:
    """Rename a damaged record, and put the last copy in its place; return its new name, and whether there was a copy.

    The copy contains its journal position, so that later entries are read again. Raises `OSError`.
    """
    moment = time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(now))
    aside = file.with_name(f"{file.name}.corrupt-{moment}")
    if file.exists():
        file.replace(aside)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            file.with_name(f"{file.name}{suffix}").replace(aside.with_name(f"{aside.name}{suffix}"))
    older = sorted(path for path in file.parent.glob(f"{file.name}.corrupt-*") if not path.name.endswith(("-wal", "-shm")))
    for path in older[:-MOST_SET_ASIDE]:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    copied = file.with_name(COPY_NAME)
    if copied.exists():
        copied.replace(file)
        return aside, True
    return aside, False
