"""Calls that wait for a commit, and their ids: the start time of each, and a counter for calls in the same microsecond."""

import random
import sqlite3
from typing import Any

from livekeep.record.store import records
from livekeep.record.store.names import Names
from livekeep.record.store.sessions import Sessions
from livekeep.record.store.summaries import Summaries

IDS_PER_MICROSECOND = 1000
INSERT_CALL = (
    "INSERT INTO calls (id, function, machine, process, session, number, parent, thread, duration, outcome, cpu, memory, read, "
    "written, arguments, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Calls:
    def __init__(self, connection: sqlite3.Connection, names: Names, sessions: Sessions, summaries: Summaries) -> None:
        self._connection, self._names, self._sessions, self._summaries = connection, names, sessions, summaries
        self.waiting: list[tuple[Any, ...]] = []
        self._ids: set[int] = set()
        self._next_ids: dict[int, int] = {}
        self._counter = 0

    def add(self, calls: list[records.Call], machine: int, process: int, moment: int) -> None:
        """Add calls of a process, from an entry that arrived at `moment`. The inner loop: it runs for each call."""
        names, ids, session_of = self._names, self._ids, self._sessions.id_of
        counter, append, summarize = self._counter, self.waiting.append, self._summaries.add
        for call in calls:
            function = names.function(call.function)
            counter = (counter + 1) % IDS_PER_MICROSECOND
            number = call.start * IDS_PER_MICROSECOND + counter
            if number in ids:
                # Another call of this transaction began in the same microsecond.
                number = max(number, self._next_ids.get(call.start, 0))
                while number in ids:
                    number += 1
                self._next_ids[call.start] = number + 1
            ids.add(number)
            session = call.session
            append(
                (
                    number,
                    function,
                    machine,
                    process,
                    None if session is None else session_of(session, process, machine, moment),
                    call.number,
                    call.parent,
                    None if call.thread is None else names.thread(call.thread),
                    call.duration,
                    call.outcome,
                    call.cpu,
                    call.memory,
                    call.read,
                    call.written,
                    call.arguments,
                    None if call.error is None else names.error(call.error, call.start),
                )
            )
            summarize(function, machine, call.start, call.duration, call.outcome == 1)
        self._counter = counter

    def write(self) -> None:
        """Within the transaction of all rows."""
        if not self.waiting:
            return
        self._connection.execute("SAVEPOINT calls")
        try:
            self._connection.executemany(INSERT_CALL, self.waiting)
        except sqlite3.IntegrityError:
            # Rare: a call that began in the same microsecond was committed before.
            self._connection.execute("ROLLBACK TO calls")
            for number, *values in self.waiting:
                candidate, window = number, 2
                while self._connection.execute("SELECT 1 FROM calls WHERE id = ?", (candidate,)).fetchone():
                    # Random: thousands may begin in one microsecond if a clock is coarse.
                    candidate, window = number + random.randrange(window), window * 2  # noqa: S311
                self._connection.execute(INSERT_CALL, (candidate, *values))
        self._connection.execute("RELEASE calls")
        self.clear()

    def clear(self) -> None:
        self.waiting.clear()
        self._ids.clear()
        self._next_ids.clear()
