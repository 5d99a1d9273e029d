"""Limits the record: deletion between two batches, a shorter retention on a full disk, and the result of livekeep-tidy."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from livekeep.core import events
from livekeep.core.config.record import Record
from livekeep.record.store import retention, schema, upkeep
from livekeep.record.store.upkeep import CheckResult

LEAST_BYTES = 64 * 1024 * 1024
"""A smaller record is not what fills the disk."""
LEAST_DAYS = 1.0
SHARE_AT_ONCE = 0.1
"""The share of the calls' time range that is deleted each minute while the disk is too full."""
DAY_SECONDS = 86_400.0
LARGEST_LOG_BYTES = 4 * schema.LARGEST_LOG_BYTES
LOG_WAIT_SECONDS, LOG_RETRY_SECONDS = 0.5, 5.0


class Keeping:
    def __init__(self, file: Path, least_bytes: int = LEAST_BYTES, largest_log_bytes: int = LARGEST_LOG_BYTES) -> None:
        self.problem = self.advice = ""
        self.faults: tuple[str, ...] = ()
        """About the current file, from livekeep-tidy."""
        self.checked_at: float | None = None
        self.is_sound = True
        self.oldest_call_at: float | None = None
        self._file, self._least_bytes = file, least_bytes
        self._log, self._largest_log_bytes = schema.log_of(file), largest_log_bytes
        self._log_due = 0.0
        self._work: Iterator[int] | None = None
        self._is_requested = False
        self._result: CheckResult | None = None

    @property
    def is_busy(self) -> bool:
        return self._work is not None or self._is_requested

    def request(self) -> None:
        """Delete what is too old, once the current deletion is done."""
        self._is_requested = True

    def check(self, connection: sqlite3.Connection, settings: Record, now: float) -> None:
        """Once a minute: read livekeep-tidy's result, and check the disk space."""
        oldest = retention.oldest_call(connection)
        self.oldest_call_at = None if oldest is None else oldest / 1e6
        result = upkeep.read_result(self._file.parent)
        if result and result != self._result:
            self._result = result
            self.checked_at, self.is_sound = result.at, not result.faults
            if result.faults and result.inode == self._file.stat().st_ino:
                self.faults = result.faults
        disk = shutil.disk_usage(self._file.parent)
        free_percent = 100 * disk.free / disk.total
        if free_percent >= settings.least_free_percent or self._file.stat().st_size < self._least_bytes:
            self.problem = self.advice = ""
            return
        if self._work is None:
            self._keep_less(connection, settings, now, free_percent)

    def bound_log(self, connection: sqlite3.Connection, now: float) -> None:
        """Keep the -wal file from growing under continuous readers. Outside of a transaction; `now` is monotonic."""
        if now >= self._log_due and self._log.stat().st_size > self._largest_log_bytes:
            is_empty = upkeep.empty_log(connection, LOG_WAIT_SECONDS)
            self._log_due = 0.0 if is_empty else now + LOG_RETRY_SECONDS

    def step(self, connection: sqlite3.Connection, settings: Record, now: float) -> None:
        """Delete one chunk. Outside of a transaction."""
        if self._work is None and self._is_requested:
            self._is_requested = False
            horizon = retention.horizon(now, settings.call_days, settings.summary_days)
            self._work = work(connection, horizon, retention.KEPT_FREE_SHARE)
        if self._work is not None and next(self._work, None) is None:
            self._work = None

    def stop(self) -> None:
        """Called before the connection is closed; the rest is done with the next one."""
        self._is_requested = self.is_busy
        self._work = None

    def _keep_less(self, connection: sqlite3.Connection, settings: Record, now: float, free_percent: float) -> None:
        oldest = self.oldest_call_at if self.oldest_call_at is not None else now
        days = (now - oldest) / DAY_SECONDS
        fewer = max(days * (1 - SHARE_AT_ONCE), LEAST_DAYS)
        if days <= LEAST_DAYS:
            self.problem = f"The disk is full to {100 - free_percent:.0f} %, and the record keeps one day only"
            self.advice = "df -h"
            return
        sentence = f"The disk is {free_percent:.1f} % free: the record keeps the calls of {fewer:.1f} days only"
        if not self.problem:
            events.emit(events.RECORD_KEEPS_LESS, sentence, DAYS=f"{fewer:.1f}", FREE_PERCENT=f"{free_percent:.1f}")
        self.problem, self.advice = sentence, "df -h"
        # Return all free pages to the disk.
        self._work = work(connection, retention.horizon(now, fewer, settings.summary_days), 0.0)


def work(connection: sqlite3.Connection, horizon: retention.Horizon, kept_free_share: float) -> Iterator[int]:
    yield from retention.delete(connection, horizon)
    yield from retention.vacuum(connection, kept_free_share)
    if not kept_free_share:
        # The checkpoint returns the pages.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
