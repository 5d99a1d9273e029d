"""Processes of jobs, for the only writer: what arrived from each, and what is missing.

Missing sequence numbers are kept, so that a late entry (from another journal file, or from a box that was offline) is accepted
and no longer counts as lost.
"""

import sqlite3
from dataclasses import dataclass

MOST_CACHED = 2000
MOST_GAPS = 10_000
"""Per process: a forger who omits every second number must not fill the disk."""


@dataclass(slots=True)
class Process:
    machine: int
    unit: str
    program: str
    first_at: int
    """us, as `last_at`."""
    last_at: int
    id: int = 0
    pid: int = 0
    next_sequence: int = 1
    calls_sent: int = 0
    gaps: int = 0
    first_monotonic: int | None = None
    """us since boot."""
    is_joined_late: bool = False
    """It continues with another process's token and numbers (a fork that Python did not notice): its first number is no gap."""


class Processes:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, str, int, int], Process] = {}
        self._changed: dict[int, Process] = {}

    def clear(self) -> None:
        """Forget what was not committed."""
        self._known.clear()
        self._changed.clear()

    def find(self, boot_id: str, token: str, pid: int, uid: int, new: Process) -> Process:
        """The process that wrote; stores `new` if there is none."""
        key = (boot_id, token, pid, uid)
        if key in self._known:
            return self._known[key]
        row = self._connection.execute(
            "SELECT machine, unit, program, first_at, last_at, id, pid, next_sequence, calls_sent, "
            "(SELECT count(*) FROM gaps WHERE process = processes.id), first_monotonic "
            "FROM processes WHERE boot_id = ? AND token = ? AND pid = ? AND uid = ?",
            key,
        ).fetchone()
        if row:
            process = Process(*row)
        else:
            sql = "SELECT 1 FROM processes WHERE boot_id = ? AND token = ?"
            new.pid, new.is_joined_late = pid, self._connection.execute(sql, (boot_id, token)).fetchone() is not None
            cursor = self._connection.execute(
                "INSERT INTO processes "
                "(machine, boot_id, token, pid, uid, unit, program, first_at, last_at, first_monotonic, next_sequence, "
                "calls_sent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0)",
                (new.machine, *key, new.unit, new.program, new.first_at, new.last_at, new.first_monotonic),
            )
            new.id, process = cursor.lastrowid or 0, new
        self._known[key] = process
        return process

    def changed(self, process: Process) -> None:
        self._changed[process.id] = process

    def open_gap(self, process: Process, first: int, last: int, loss: int) -> None:
        if process.gaps < MOST_GAPS:
            self._connection.execute(
                "INSERT OR REPLACE INTO gaps (process, first, last, loss) VALUES (?, ?, ?, ?)", (process.id, first, last, loss)
            )
            process.gaps += 1

    def fill_gap(self, process: Process, sequence: int) -> int | None:
        """Remove a number from its gap; return the id of the gap's loss, or None if that number is not missing."""
        if not process.gaps:
            return None
        row = self._connection.execute(
            "SELECT first, last, loss FROM gaps WHERE process = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (process.id, sequence),
        ).fetchone()
        if row is None or row[1] < sequence:
            return None
        first, last, loss = row
        self._connection.execute("DELETE FROM gaps WHERE process = ? AND first = ?", (process.id, first))
        process.gaps -= 1
        for begin, end in ((first, sequence - 1), (sequence + 1, last)):
            if begin <= end:
                self.open_gap(process, begin, end, loss)
        return int(loss)

    def write(self) -> None:
        """Within the transaction."""
        self._connection.executemany(
            "UPDATE processes SET first_at = ?, last_at = ?, next_sequence = ?, calls_sent = ? WHERE id = ?",
            [
                (process.first_at, process.last_at, process.next_sequence, process.calls_sent, process.id)
                for process in self._changed.values()
            ],
        )
        self._changed.clear()
        if len(self._known) > MOST_CACHED:
            self._known.clear()
