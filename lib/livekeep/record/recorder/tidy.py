"""livekeep-tidy: has the recorder delete what is too old, then checks the record and copies it.

Unit: livekeep-tidy.service, by its timer. Reads: record.db, the configuration. Writes: record.db.copy, check.json, and a request
to the recorder, which is the record's only writer. Checking and copying only read, but take minutes, which would block the
recorder.
"""

import contextlib
import logging
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from livekeep.core import config, log, state
from livekeep.core.errors import LivekeepError, TemporaryError
from livekeep.core.record_states import RecorderState
from livekeep.record.store import requests, schema, upkeep
from livekeep.record.store.upkeep import CheckResult

DELETION_SECONDS = 1800.0

logger = logging.getLogger("livekeep.tidy")


def tidy(file: Path, least_free_percent: float, deletion_seconds: float = DELETION_SECONDS) -> CheckResult:
    """Raises `LivekeepError` when there is no record, and `TemporaryError` when the recorder does not respond."""
    if not file.exists():
        raise LivekeepError(f"{file}: there is no record; is the recorder running? systemctl status livekeep-recorder")
    request = requests.request_tidy(file)
    try:
        state.read(RecorderState)
        is_done = requests.wait(request, deletion_seconds)
    except TemporaryError:
        # No recorder runs: the request waits for its start.
        is_done = requests.wait(request, 0)
    inode, faults = file.stat().st_ino, check(file)
    copied_bytes: int | None = None
    reason = ""
    if faults:
        logger.error("%s is damaged: %s", file, "; ".join(faults))
    else:
        try:
            copied_bytes, reason = upkeep.copy(file, least_free_percent)
        except (sqlite3.Error, OSError) as error:
            reason = str(error)
    if reason:
        logger.warning("%s is not copied: %s", file, reason)
    result = CheckResult(time.time(), inode, faults, copied_bytes, reason)
    upkeep.write_result(file.parent, result)
    if not is_done:
        raise TemporaryError("The recorder did not delete what is too old; see: systemctl status livekeep-recorder")
    return result


def check(file: Path) -> tuple[str, ...]:
    """The faults of the record. Raises `TemporaryError` when it cannot be opened."""
    try:
        with contextlib.closing(schema.open_read_only(file)) as connection:
            return upkeep.check(connection)
    except sqlite3.OperationalError as error:
        raise TemporaryError(f"{file}: cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        return (str(error),)


def main(_argv: Sequence[str] | None = None) -> int:
    settings = config.load()
    log.set_up(settings.log.level)
    result = tidy(schema.FILE, settings.record.least_free_percent)
    print("The record is sound" if not result.faults else "The record is damaged; the recorder sets it aside", file=sys.stderr)
    return 0
