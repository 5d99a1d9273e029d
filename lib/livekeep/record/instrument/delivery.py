"""The sender: takes records from the queue in batches and sends them, twice a second or when there are many.

The first record after a quiet time is sent at once. One thread does this, and sleeps while there is nothing to send. lifecycle.py
handles exit, SIGTERM and forks. Each entry has a number; sending is retried for a while, then given up, which leaves a gap in the
numbers (record/wire.py).
"""

import _thread
import contextlib
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from livekeep.core.text import shown
from livekeep.record import wire
from livekeep.record.instrument import sinks
from livekeep.record.instrument.encoding import Encoder, Entry
from livekeep.record.instrument.recording import MANY, MOST_QUEUED, EntryRecord, gate, own_threads, queue
from livekeep.record.instrument.subscribers import subscribers

BATCH_SECONDS = 0.5
"""From one batch to the next."""
FIRST_SECONDS = 0.02
"""From the first record after a quiet time to its batch, so that records of one moment travel together."""
SUBSCRIBERS_SECONDS = 0.05
"""The longest time for subscribers before the sender does other work."""
PROGRESS_SECONDS = 1.0
"""Between two progress entries of a session when nothing else happens."""
MOST_TAKEN = 4 * MANY
"""Records per encoding pass."""
GIVE_UP_SECONDS = 10.0
MOST_PENDING = 200
"""Entries that wait for the journal."""
EXIT_SECONDS = 2.0
RETRY_SECONDS = 0.05
HALT_SECONDS = 0.5
GONE_SECONDS = 0.01
"""From the end of the thread's function to the end of the thread."""

NO_JOURNAL = (
    "livekeep: there is no journal here, so what this program does is not recorded. LIVEKEEP_EVENTS=FILE writes it to a file,"
    " LIVEKEEP_EVENTS=/dev/null stops this warning."
)

Progress = Callable[[], list[list[Any]]]
"""Lines of changed sessions and steps."""


class Pending:
    """An entry that has a number and is not yet sent."""

    __slots__ = ("fields", "since")

    def __init__(self, fields: dict[str, str], since: float) -> None:
        self.fields, self.since = fields, since


class Sender:
    def __init__(self) -> None:
        self.progress: Progress = list
        self.has_progress: Callable[[], bool] = bool
        self.warned = False
        self.program = Path(sys.argv[0]).name if getattr(sys, "argv", None) and sys.argv[0] else "python3"
        self.begin_process()

    def begin_process(self) -> None:
        """Also in the child of a fork: nothing of the parent's is sent twice, and none of its threads holds a lock."""
        self.token = os.urandom(8).hex()
        self.sequence = 0
        self.sent = 0
        self.drops, self.drops_seen = count(), 0
        self.encoder = Encoder()
        self.pending: deque[Pending] = deque()
        self.sink: sinks.Sink | None = None
        self.lock = threading.Lock()
        self.owner = 0
        self.wake = _thread.allocate_lock()
        self.wake.acquire()
        self.is_urgent = False
        self.is_running = False
        self.is_halted = False
        self.ended = _thread.allocate_lock()
        self.progress_at = self.sent_at = -math.inf
        queue.clear()
        subscribers.begin_process()
        gate.limit, gate.crowded, gate.is_closed = 0, self.crowded, False

    # Called by the job's threads, and from signal handlers and finalizers: takes no locks.

    def crowded(self) -> None:
        """The queue holds more records than `gate.limit`."""
        if gate.is_closed:
            queue.clear()
            return
        if len(queue) > MOST_QUEUED:
            with contextlib.suppress(IndexError):
                queue.pop()
                next(self.drops)
        if gate.limit == 0:
            gate.limit = MANY
            self.start()
            self.ring()
        elif gate.limit == MANY:
            gate.limit = MOST_QUEUED
            self.is_urgent = True
            self.ring()

    def ring(self) -> None:
        """Wake the thread; may be called any number of times."""
        with contextlib.suppress(RuntimeError):
            self.wake.release()

    def urge(self) -> None:
        """Send everything now."""
        self.is_urgent = True
        self.note()

    def note(self) -> None:
        """There is progress to send."""
        if gate.limit == 0 and not gate.is_closed:
            gate.limit = MANY
            self.start()
            self.ring()
        elif self.is_urgent:
            self.ring()

    def start(self) -> None:
        if self.is_running or self.is_halted:
            return
        self.is_running = True
        for begin in self.at_start:
            with contextlib.suppress(Exception):
                begin()
        self.ended = _thread.allocate_lock()
        self.ended.acquire()
        try:
            # Not threading.Thread, whose locks may be held when a signal handler or a finalizer records something.
            _thread.start_new_thread(self.run, (self.token,))
        except RuntimeError:  # too many threads, or the interpreter is shutting down
            self.is_running = False

    at_start: tuple[Callable[[], None], ...] = ()

    def halt(self) -> None:
        """Before a fork: send everything and end the thread, because Python warns about forks with threads."""
        if not self.is_running or self.owner == _thread.get_ident():
            return
        threads = kernel_threads()
        self.is_halted = True
        self.ring()
        if self.ended.acquire(timeout=HALT_SECONDS):
            self.is_running = False
            deadline = time.monotonic() + GONE_SECONDS
            while kernel_threads() >= threads > 0 and time.monotonic() < deadline:
                time.sleep(GONE_SECONDS / 100)

    def go_on(self) -> None:
        """After the fork, in the parent: the next record starts a thread; so do records that arrived meanwhile."""
        self.is_halted = False
        if not self.is_running:
            gate.limit = 0
            if queue or self.pending or subscribers.waiting or self.has_progress():
                self.note()

    # The thread

    def run(self, token: str) -> None:
        ended, me = self.ended, _thread.get_ident()
        own_threads.add(me)
        try:
            while self.token == token and not gate.is_closed and not self.is_halted:
                self.sleep()
                self.gather()
                self.flush(BATCH_SECONDS, is_final=False)
            # Records that arrived since, or before this thread first ran.
            if self.is_halted:
                self.flush(BATCH_SECONDS, is_final=False)
        finally:
            own_threads.discard(me)
            if self.token == token:
                # The next record starts another thread, also when the fork did not wait for this one's end.
                self.is_running, gate.limit = False, 0
            ended.release()

    def sleep(self) -> None:
        gate.limit = 0
        if queue or self.pending or self.is_urgent or self.is_halted or subscribers.waiting or self.has_progress():
            gate.limit = max(gate.limit, MANY)
            # The wake-ups for these records are consumed.
            self.wake.acquire(blocking=False)
        else:
            self.wake.acquire()

    def gather(self) -> None:
        """Wait for more records, so that they travel together; meanwhile call subscribers."""
        due = max(self.sent_at + BATCH_SECONDS, time.monotonic() + FIRST_SECONDS)
        is_delivered = subscribers.deliver(time.monotonic() + SUBSCRIBERS_SECONDS)
        while not (is_delivered or self.is_hurried() or time.monotonic() >= due):
            is_delivered = subscribers.deliver(time.monotonic() + SUBSCRIBERS_SECONDS)
        if not self.is_hurried():
            self.wake.acquire(timeout=max(due - time.monotonic(), 0))
        if not self.is_hurried() and not queue and not self.pending and not subscribers.waiting:
            wait = self.progress_at + PROGRESS_SECONDS - time.monotonic()
            if wait > 0:
                self.wake.acquire(timeout=wait)
        self.is_urgent = False

    def is_hurried(self) -> bool:
        return self.is_urgent or self.is_halted

    def flush(self, seconds: float = EXIT_SECONDS, is_final: bool = True) -> bool:
        """Send everything; return whether that was done in time.

        `is_final`: retry failed entries until then, and call subscribers.
        """
        if self.owner == _thread.get_ident():
            return False
        deadline = time.monotonic() + seconds
        if not self.lock.acquire(timeout=seconds):
            return False
        try:
            self.owner = _thread.get_ident()
            self.send(deadline)
            while is_final and self.pending and time.monotonic() < deadline:
                time.sleep(RETRY_SECONDS)
                self.send(deadline)
        except Exception as error:
            self.warn(f"livekeep: recording failed: {type(error).__name__}: {error}")
            return False
        finally:
            self.owner = 0
            self.lock.release()
        is_all = not self.pending and not queue
        if is_final:
            subscribers.deliver(deadline)
        return is_all

    def send(self, deadline: float) -> None:
        """Send everything, until `deadline` at most: a thread of the job may record faster than this sends."""
        if queue or self.pending or self.has_progress():
            self.sent_at = time.monotonic()
        self.send_pending()
        while not self.pending:
            records = self.taken()
            is_all = len(records) < MOST_TAKEN
            self.count_drops()
            lines = self.progress()
            if not records and not lines:
                return
            if lines:
                self.progress_at = time.monotonic()
            subscribers.add(records, lines)
            if self.receiver().is_there():
                self.pending.extend(self.numbered(self.encoder.entries(records, lines)))
                self.send_pending()
            else:
                self.warn(NO_JOURNAL)
                self.leave_out(sum(not isinstance(record, EntryRecord) for record in records))
            if is_all or time.monotonic() >= deadline:
                return

    def taken(self) -> list[Any]:
        records: list[Any] = []
        with contextlib.suppress(IndexError):
            while len(records) < MOST_TAKEN:
                record = queue.popleft()
                # Calls made by subscribers in this thread are skipped, or they would never end.
                if isinstance(record, EntryRecord) or record[5] is not None:
                    records.append(record)
        return records

    def count_drops(self) -> None:
        """Leave a gap in the numbers for records that the queue dropped."""
        # Reading the counter increments it.
        dropped = next(self.drops) - self.drops_seen
        self.drops_seen += dropped + 1
        if dropped:
            self.leave_out(dropped)

    def leave_out(self, calls: int) -> None:
        self.sequence += 1
        self.sent += calls

    def receiver(self) -> sinks.Sink:
        if self.sink is None:
            self.sink = sinks.chosen()
        return self.sink

    def numbered(self, entries: Iterator[Entry]) -> Iterator[Pending]:
        now = time.monotonic()
        for entry in entries:
            self.sequence += 1
            fields = {
                "MESSAGE": shown(entry.message),
                "MESSAGE_ID": entry.event.message_id,
                "PRIORITY": str(entry.event.priority),
                "SYSLOG_IDENTIFIER": self.program,
                wire.EVENT: entry.event.name,
                wire.PROCESS: self.token,
                wire.SEQUENCE: str(self.sequence),
                wire.SENT: str(self.sent),
                **{f"LIVEKEEP_{name}": value for name, value in entry.fields.items()},
            }
            if entry.lines:
                fields[wire.COUNT] = str(entry.calls)
                fields[wire.RECORDS] = "\n".join(entry.lines)
            self.sent += entry.calls
            yield Pending(fields, now)

    def send_pending(self) -> None:
        while self.pending:
            try:
                self.receiver().send(self.pending[0].fields)
            except OSError as error:
                oldest = time.monotonic() - GIVE_UP_SECONDS
                while self.pending and (self.pending[0].since < oldest or len(self.pending) > MOST_PENDING):
                    self.pending.popleft()
                    self.warn(f"livekeep: what this program does cannot be recorded: {error.strerror or error}")
                return
            self.pending.popleft()

    def warn(self, text: str) -> None:
        """Once per process."""
        if not self.warned:
            self.warned = True
            with contextlib.suppress(Exception):
                print(shown(text), file=sys.stderr, flush=True)


def kernel_threads() -> int:
    """The number of this process's threads; 0 where the kernel does not report it."""
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 – the fastest way, before each fork
    except OSError:
        return 0


sender = Sender()


def flush(seconds: float = EXIT_SECONDS) -> bool:
    """Send all records now, such as before `os._exit` or `os.execv`; return whether all were sent in time."""
    return sender.flush(seconds)
