"""livekeep-recorder: copies the journal's entries into the record.

Unit: livekeep-recorder.service. Reads: the journal (this machine's, or those of many boxes), the configuration, requests in
/var/lib/livekeep/record/requests, the result of livekeep-tidy (check.json). Writes: record.db, as its only writer, and
recorder/state.json.

Rows and the journal position are committed together, at most a fifth of a second after the first row. When idle, there is one
commit per sample of the box. If the database cannot be written, nothing is lost as long as the journal has it: reading resumes
from the last committed position.
"""

import logging
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote

from systemd import id128

from livekeep.core import config, events, log, state
from livekeep.core.config import Config
from livekeep.core.config import watch as config_watch
from livekeep.core.errors import TemporaryError
from livekeep.core.record_states import RecorderState
from livekeep.core.service import Service
from livekeep.record import wire
from livekeep.record.recorder import lost
from livekeep.record.recorder.box import Box
from livekeep.record.recorder.journal import Journals, Missing
from livekeep.record.recorder.keeping import Keeping
from livekeep.record.recorder.lost import Here
from livekeep.record.recorder.requests import Requests
from livekeep.record.store import retention, schema, upkeep
from livekeep.record.store.entry import digest
from livekeep.record.store.writer import Counters, Writer

COMMIT_SECONDS = 0.05
"""The longest time from the first row to its commit."""
POLL_SECONDS, POLLED_SECONDS = 0.1, 3.0
"""How often, and how long after the last rows, the journal is polled: journald's notification takes up to half a second."""
MOST_CALLS = 20_000
"""In one transaction; a call takes about 1 KiB of memory until then."""
PASS_SECONDS = 0.1
LOST_SECONDS, SECOND_CHECK_SECONDS = 5.0, 1.0
STATE_SECONDS, SOONEST_STATE_SECONDS = 10.0, 1.0
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 2.0, 60.0
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")

logger = logging.getLogger("livekeep.recorder")


class DamagedError(sqlite3.DatabaseError):
    """The record is damaged, according to livekeep-tidy."""


class Recorder:
    """The program's state, and one pass of its work."""

    def __init__(self, service: Service, settings: Config, file: Path = schema.FILE) -> None:
        self.service, self.settings, self.file = service, settings, file
        self.here = Here(id128.get_machine().hex, id128.get_boot().hex)
        self.box = Box(file.parent)
        self.state = RecorderState(started_at=time.time())
        self.keeping = Keeping(file)
        self.requests = Requests(service, file)
        self.config_watch = config_watch.follow()
        if self.config_watch:
            service.watch(self.config_watch, self.config_watch.drain)
        self.writer: Writer | None = None
        self.journals: Journals | None = None
        self.problem = self.advice = ""
        self.failures = 0
        self.paused_until = 0.0
        self.commit_due = 0.0
        self.sample_due = self.lost_due = self.state_due = 0.0
        self.suspects: set[int] = set()
        self.is_check_due = True
        """Whether rows arrived since the last check for lost sessions."""
        self.counters = Counters()
        self.soonest_state = 0.0
        self.published: tuple[object, ...] = ()
        self.lag = 0.0
        self.newest = 0
        self.polled_until = 0.0

    # Configuration

    def reload(self) -> None:
        """For SIGHUP."""
        if self.config_watch and (settings := self.config_watch.changed(anyway=True)):
            self.adopt(settings)

    def adopt(self, settings: Config) -> None:
        before, self.settings = self.settings, settings
        log.set_up(settings.log.level)
        self.sample_due = 0.0
        if settings.record.journal != before.record.journal:
            if self.writer:
                self.writer.rollback()
            self.requests.rewind()
            self.commit_due = 0.0
            self.close_journals()

    # A pass

    def one_pass(self, now: float) -> float:
        if self.config_watch and (settings := self.config_watch.changed()):
            self.adopt(settings)
        if now >= self.paused_until:
            try:
                self.work(now)
                self.failures = 0
                self.problem = self.advice = ""
            except sqlite3.Error as error:
                name = getattr(error, "sqlite_errorname", "") or ""
                if isinstance(error, DamagedError) or name.startswith(DAMAGED):
                    self.set_aside(str(error), now)
                elif name == "SQLITE_FULL":
                    self.pause("The disk is full: the record waits, and the journal keeps new entries", "df -h", now)
                else:
                    self.pause(f"The record cannot be written: {error}", f"ls -l {quote(str(self.file.parent))}; df -h", now)
            except (OSError, TemporaryError) as error:
                self.pause(f"The recorder waits: {error}", "journalctl -u livekeep-recorder", now)
        if now >= self.state_due or (now >= self.soonest_state and self.published != self.urgent_state()):
            self.write_state()
            self.state_due, self.soonest_state = now + STATE_SECONDS, now + SOONEST_STATE_SECONDS
        return self.next_pass()

    def work(self, now: float) -> None:
        if self.writer is None:
            self.writer = Writer(self.file, counters=self.counters)
            self.newest = 0
        if self.journals is None:
            self.journals = Journals(self.service, self.settings.record.journal, self.writer.read_position)
        writer, journals = self.writer, self.journals
        if journals.has_more or now < self.polled_until:
            self.read(writer, journals, now)
        self.requests.take_entries(writer, now + PASS_SECONDS)
        if now >= self.sample_due:
            self.sample(writer, now)
        if now >= self.lost_due and not journals.has_more:
            self.check_for_lost(writer)
            self.lost_due = now + (SECOND_CHECK_SECONDS if self.suspects else LOST_SECONDS)
        self.commit_when_due(writer, journals)
        if not writer.has_rows:
            self.keeping.bound_log(writer.connection, now)
            self.keeping.step(writer.connection, self.settings.record, time.time())
            self.requests.finish(self.keeping)

    def next_pass(self) -> float:
        if time.monotonic() < self.paused_until:
            return min(self.paused_until, self.state_due)
        if not self.journals or self.journals.has_more or self.requests.is_busy or self.keeping.is_busy:
            return 0.0
        due = [self.sample_due, self.state_due]
        if self.writer and self.writer.has_rows:
            due.append(self.commit_due)
        if (now := time.monotonic()) < self.polled_until:
            due.append(now + POLL_SECONDS)
        if self.suspects or self.state.sessions_running or self.is_check_due:
            due.append(self.lost_due)
        return min(due)

    # The journal

    def read(self, writer: Writer, journals: Journals, now: float) -> None:
        until = now + PASS_SECONDS
        for entry in journals.entries(lambda: time.monotonic() >= until or writer.waiting >= MOST_CALLS):
            if writer.add(entry):
                self.newest = int(entry["__REALTIME_TIMESTAMP"])
                if wire.PROCESS in entry:
                    self.polled_until = now + POLLED_SECONDS
        for word in journals.missing:
            self.add_loss(writer, word)
        journals.missing.clear()

    def add_loss(self, writer: Writer, word: Missing) -> None:
        origin = writer.origin_here(self.here.machine_id, os.uname().nodename, self.here.boot_id, time.time_ns() // 1000)
        if writer.add_loss(word.reason, word.sentence, origin, identity=digest(f"{word.reason} {word.identity}")):
            logger.warning("%s", word.sentence)

    def commit_when_due(self, writer: Writer, journals: Journals) -> None:
        now = time.monotonic()
        if not writer.has_rows:
            self.commit_due = 0.0
            return
        self.commit_due = self.commit_due or now + COMMIT_SECONDS
        if now < self.commit_due and writer.waiting < MOST_CALLS:
            return
        positions = journals.positions()
        writer.commit({**positions, **self.requests.positions()})
        journals.note_committed(positions)
        self.requests.note_committed()
        self.commit_due = 0.0
        self.is_check_due = True
        if self.newest:
            self.lag = max(time.time() - self.newest / 1e6, 0.0)
        self.state = replace(self.state, last_commit_at=time.time())

    # The recorder's own measurements

    def sample(self, writer: Writer, now: float) -> None:
        """Sample the box once a minute; other work with the same interval runs here, too."""
        self.sample_due = now + self.settings.record.sample_seconds
        moment, hostname = time.time_ns() // 1000, os.uname().nodename
        writer.add_sample(self.here.machine_id, hostname, moment, self.box.sample())
        week = moment - 7 * retention.DAY
        units = [row[0] for row in writer.connection.execute("SELECT DISTINCT unit FROM processes WHERE last_at > ?", (week,))]
        for used in self.box.units(units, now):
            figures = {"memory_bytes": used.memory_bytes, "cpu_percent": used.cpu_percent}
            writer.add_sample(self.here.machine_id, hostname, moment, figures, used.unit)
        self.keeping.check(writer.connection, self.settings.record, time.time())
        if self.keeping.faults:
            raise DamagedError("; ".join(self.keeping.faults))

    def check_for_lost(self, writer: Writer) -> None:
        """A process that ended may have left unread entries: its sessions are lost at the second check."""
        sessions = lost.running(writer.connection)
        gone = [session for session in sessions if lost.is_gone(session, self.here, time.time())]
        for session in gone:
            if session.id in self.suspects:
                process = f"its process (PID {session.pid} on {session.hostname}) is gone"
                sentence = f'The session "{session.name or session.token}" ended unexpectedly: {process}'
                events.emit(events.SESSION_LOST, sentence, SESSION=session.token, NAME=session.name, UNIT=session.unit)
                writer.lose_session(session.id)
        self.suspects = {session.id for session in gone} - self.suspects
        self.is_check_due = False
        self.state = replace(self.state, sessions_running=len(sessions))

    # Errors

    def set_aside(self, reason: str, now: float) -> None:
        self.close_writer()
        try:
            aside, has_copy = upkeep.set_aside(self.file, time.time())
        except OSError as error:
            self.pause(f"The record is damaged and cannot be set aside: {error}", "sudo livekeep doctor", now)
            return
        sentence = f"The record is damaged ({reason}); it is kept as {aside}"
        sentence += ", and the last copy takes its place" if has_copy else ", and a new one is begun"
        events.emit(events.RECORD_SET_ASIDE, sentence, FILE=aside, REASON=reason)
        self.keeping.faults = ()

    def pause(self, problem: str, advice: str, now: float) -> None:
        """Wait, longer each time, then read again from the last committed position."""
        if problem != self.problem:
            logger.error("%s", problem)
        self.problem, self.advice = problem, advice
        self.failures += 1
        self.paused_until = now + min(RETRY_SECONDS * 2 ** (self.failures - 1), LONGEST_RETRY_SECONDS)
        self.state_due = 0.0
        self.close_writer()

    def close_writer(self) -> None:
        """Forget uncommitted rows; their entries are read again."""
        self.close_journals()
        self.requests.rewind()
        self.keeping.stop()
        self.commit_due = 0.0
        if self.writer:
            try:
                self.writer.close()
            except sqlite3.Error as error:
                logger.info("closing the record: %s", error)
            self.writer = None

    def close_journals(self) -> None:
        if self.journals:
            self.journals.close()
            self.journals = None

    def finish(self) -> None:
        """Commit pending rows."""
        if self.writer and self.journals and time.monotonic() >= self.paused_until:
            try:
                self.writer.commit({**self.journals.positions(), **self.requests.positions()})
            except sqlite3.Error as error:
                logger.warning("The last rows are not in the record yet (%s); they will be read again", error)
        self.close_writer()
        state.remove(RecorderState)

    # State

    def urgent_state(self) -> tuple[object, ...]:
        """What others need to know within a second."""
        return self.problem, self.keeping.problem, self.state.sessions_running, self.keeping.is_sound

    def write_state(self) -> None:
        self.published = self.urgent_state()
        counters = self.counters
        self.state = replace(
            self.state,
            problem=self.problem or self.keeping.problem,
            advice=self.advice or self.keeping.advice,
            entries=counters.entries,
            calls=counters.calls,
            events=counters.events,
            duplicates=counters.duplicates,
            lost_entries=max(counters.lost_entries, 0),
            lost_calls=max(counters.lost_calls, 0),
            commits=counters.commits,
            lag_seconds=self.lag,
            database_bytes=sum(path.stat().st_size for path in (self.file, Path(f"{self.file}-wal")) if path.exists()),
            oldest_call_at=self.keeping.oldest_call_at,
            checked_at=self.keeping.checked_at,
            is_sound=self.keeping.is_sound,
        )
        state.write(state.stamped(self.state))
        self.service.status(self.problem or self.keeping.problem or f"{counters.calls} calls, {counters.events} events recorded")


def main(argv: Sequence[str] | None = None) -> int:
    if "--check-config" in (sys.argv[1:] if argv is None else argv):
        config.load()
        return 0
    settings = config.load()
    log.set_up(settings.log.level)
    recorder = Recorder(Service(), settings)
    recorder.service.run(recorder.one_pass, recorder.reload)
    recorder.finish()
    return 0
