"""The only writer of the record: journal entries become rows, committed together with the journal position.

Duplicates are dropped: a job's entries by boot, process and sequence, all others by the identity of their entry. A missing
sequence number is a row in losses, until it arrives. Only fields that begin with "_" identify an entry's writer: a process that
uses another's token is still a separate process here, and cannot affect the real one.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from livekeep.record import wire
from livekeep.record.store import records, schema
from livekeep.record.store.calls import IDS_PER_MICROSECOND, Calls
from livekeep.record.store.entry import (
    CARRIER,
    LONGEST_FIELD,
    LONGEST_MESSAGE,
    RECORDER,
    SUPPRESSED,
    UNIT_EVENTS,
    UNIT_FIELDS,
    Entry,
    fields_of,
    identity_of,
    is_own_error,
    moment_of,
    monotonic_of,
    natural,
    priority_of,
    whole,
)
from livekeep.record.store.names import Names
from livekeep.record.store.processes import Process, Processes
from livekeep.record.store.records import text
from livekeep.record.store.sessions import Sessions
from livekeep.record.store.summaries import Summaries


@dataclass(slots=True)
class Counters:
    """Since the writer was opened."""

    entries: int = 0
    """Entries that belong to the record, not all that were read."""
    calls: int = 0
    events: int = 0
    duplicates: int = 0
    lost_entries: int = 0
    lost_calls: int = 0
    commits: int = 0


class Position(NamedTuple):
    """The reading position in a journal."""

    cursor: str
    boot_id: str
    at: int
    """us."""


class Origin(NamedTuple):
    """The origin of an entry, from its trusted fields."""

    machine: int
    boot_id: str
    unit: str
    moment: int
    """us: when the journal received it."""


class Writer:
    """Raises `sqlite3.Error` wherever it writes. Then call `rollback`, which forgets uncommitted rows, and pass the entries since
    the last committed position again."""

    def __init__(self, file: Path = schema.FILE, journal: str = "", counters: Counters | None = None) -> None:
        self.connection = schema.open_for_writing(file)
        self.journal = journal
        self.counters = counters or Counters()
        self._committed_counters = replace(self.counters)
        self.names = Names(self.connection)
        self.summaries = Summaries()
        self.sessions = Sessions(self.connection, self.names, self.summaries)
        self.processes = Processes(self.connection)
        self.calls = Calls(self.connection, self.names, self.sessions, self.summaries)

    def close(self) -> None:
        self.rollback()
        self.connection.close()

    @property
    def has_rows(self) -> bool:
        """Whether rows wait for a commit."""
        return self.connection.in_transaction

    @property
    def waiting(self) -> int:
        """The calls that wait for a commit."""
        return len(self.calls.waiting)

    def read_position(self, journal: str) -> Position | None:
        row = self.connection.execute("SELECT cursor, boot_id, at FROM positions WHERE journal = ?", (journal,)).fetchone()
        return Position(*row) if row else None

    def ingest(self, entries: Iterable[Entry]) -> Counters:
        """Add all and commit them, with the cursor of the last. Returns the counters since the writer was opened."""
        position = None
        for entry in entries:
            self.add(entry)
            if "__CURSOR" in entry:
                position = Position(entry["__CURSOR"], entry.get("_BOOT_ID", ""), moment_of(entry))
        self.commit({self.journal: position} if position else {})
        return self.counters

    def add(self, entry: Entry) -> bool:
        """Add one entry; return whether it is for the record. Never raises because of an entry's content."""
        if wire.PROCESS in entry and (wire.SEQUENCE in entry or wire.RECORDS in entry):
            self._begin()
            self._add_of_job(entry)
        elif wire.EVENT in entry:
            self._begin()
            self._add_event(entry, self._origin(entry), text(entry[wire.EVENT], records.LONGEST_NAME), fields_of(entry))
        elif entry.get("MESSAGE_ID") == SUPPRESSED:
            return self._add_suppressed(entry)
        elif entry.get("MESSAGE_ID") in UNIT_EVENTS:
            return self._add_unit_event(entry)
        elif is_own_error(entry):
            self._begin()
            self._add_event(entry, self._origin(entry), "log", {})
        else:
            return False
        self.counters.entries += 1
        return True

    def add_loss(
        self,
        reason: str,
        sentence: str,
        origin: Origin,
        process: int | None = None,
        entries: int | None = None,
        calls: int | None = None,
        identity: bytes | None = None,
    ) -> int | None:
        """Add a loss; return its id, or None when it was noted before."""
        self._begin()
        cursor = self.connection.execute(
            "INSERT OR IGNORE INTO losses (at, machine, process, unit, reason, entries, calls, sentence, origin) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (origin.moment, origin.machine, process, origin.unit, reason, entries, calls, sentence, identity),
        )
        if not cursor.rowcount:
            return None
        self.counters.lost_entries += entries or 0
        self.counters.lost_calls += calls or 0
        return cursor.lastrowid

    def origin_here(self, machine_id: str, hostname: str, boot_id: str, moment: int) -> Origin:
        """The origin of the recorder's own entries."""
        self._begin()
        return Origin(self.names.machine(machine_id, hostname, boot_id, moment), boot_id, RECORDER, moment)

    def add_sample(self, machine_id: str, hostname: str, moment: int, sample: Mapping[str, float | None], unit: str = "") -> None:
        """Of the box, or of a unit: columns of the table samples or unit_samples."""
        origin = self.origin_here(machine_id, hostname, "", moment)
        values = {"at": moment, "machine": origin.machine, **({"unit": unit} if unit else {}), **sample}
        self.connection.execute(
            f"INSERT OR REPLACE INTO {'unit_samples' if unit else 'samples'} ({', '.join(values)}) "  # noqa: S608
            f"VALUES ({', '.join('?' * len(values))})",
            tuple(values.values()),
        )

    def lose_session(self, session: int) -> None:
        """The process of a running session is gone."""
        self._begin()
        self.sessions.lose(session)

    def commit(self, positions: Mapping[str, Position] | None = None) -> None:
        """Commit what was added, together with the reading position of each journal."""
        if not positions and not self.has_rows:
            return
        try:
            self._begin()
            self.calls.write()
            self.sessions.write()
            self.processes.write()
            self.summaries.write(self.connection)
            self.connection.executemany(
                "INSERT OR REPLACE INTO positions (journal, cursor, boot_id, at) VALUES (?, ?, ?, ?)",
                [(journal, *position) for journal, position in (positions or {}).items()],
            )
            self.connection.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise
        self.counters.commits += 1
        self._committed_counters = replace(self.counters)
        self.names.bound()

    def rollback(self) -> None:
        """Forget what was not committed."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        for memory in (self.names, self.summaries, self.sessions, self.processes, self.calls):
            memory.clear()
        for counter in fields(Counters):
            setattr(self.counters, counter.name, getattr(self._committed_counters, counter.name))

    # Entries

    def _begin(self) -> None:
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN IMMEDIATE")

    def _origin(self, entry: Entry) -> Origin:
        hostname = text(entry.get("_HOSTNAME", ""), 255)
        machine_id = text(entry.get("_MACHINE_ID", "") or hostname or "unknown", 255)
        unit = entry.get("_SYSTEMD_USER_UNIT") or entry.get("_SYSTEMD_UNIT") or ""
        boot, moment = text(entry.get("_BOOT_ID", ""), 64), moment_of(entry)
        machine = self.names.machine(machine_id, hostname or machine_id, boot, moment)
        return Origin(machine, boot, text(unit, 255), moment)

    def _add_of_job(self, entry: Entry) -> None:
        origin = self._origin(entry)
        try:
            sequence = natural(entry[wire.SEQUENCE])
            sent, number_of_calls = natural(entry.get(wire.SENT, "0")), natural(entry.get(wire.COUNT, "0"))
        except (ValueError, LookupError):
            self._add_unreadable(entry, origin, None, 1, None)
            return
        process = self._process(entry, origin)
        if sequence < process.next_sequence:
            loss = self.processes.fill_gap(process, sequence)
            if loss is None:
                self.counters.duplicates += 1
                return
            sql = "UPDATE losses SET entries = entries - 1, calls = max(calls - ?, 0) WHERE id = ?"
            self.connection.execute(sql, (number_of_calls, loss))
            self.connection.execute("DELETE FROM losses WHERE id = ? AND entries <= 0", (loss,))
            self.counters.lost_entries -= 1
            self.counters.lost_calls -= number_of_calls
        else:
            if sequence > process.next_sequence and not process.is_joined_late:
                first, last, calls = process.next_sequence, sequence - 1, max(sent - process.calls_sent, 0)
                what = f"entries {first} to {last} did not arrive, with {calls} calls"
                sentence = f"{process.program or 'a job'} (PID {process.pid}): {what}"
                loss = self.add_loss("gap", sentence, origin, process.id, last - first + 1, calls)
                if loss is not None:
                    self.processes.open_gap(process, first, last, loss)
            process.next_sequence = sequence + 1
            process.calls_sent = max(process.calls_sent, sent + number_of_calls)
        process.is_joined_late = False
        process.first_at, process.last_at = min(process.first_at, origin.moment), max(process.last_at, origin.moment)
        self.processes.changed(process)
        self._add_records(entry, origin, process, number_of_calls)
        if entry.get(wire.EVENT, CARRIER) != CARRIER:
            self._add_event(entry, origin, text(entry[wire.EVENT], records.LONGEST_NAME), fields_of(entry), process)

    def _process(self, entry: Entry, origin: Origin) -> Process:
        return self.processes.find(
            origin.boot_id,
            text(entry[wire.PROCESS], records.LONGEST_TOKEN),
            whole(entry.get("_PID", "0")),
            whole(entry.get("_UID", "-1")),
            Process(
                machine=origin.machine,
                unit=origin.unit,
                program=text(entry.get("SYSLOG_IDENTIFIER", ""), 255),
                first_at=origin.moment,
                last_at=origin.moment,
                first_monotonic=monotonic_of(entry),
            ),
        )

    def _add_records(self, entry: Entry, origin: Origin, process: Process, number_of_calls: int) -> None:
        content = records.read(entry.get(wire.RECORDS, ""))
        for token, session in content.sessions:
            self.sessions.take(token, session, process.id, origin.machine, origin.moment)
        for token, number, step in content.steps:
            self.sessions.take_step(token, number, step, process.id, origin.machine, origin.moment)
        self.calls.add(content.calls, origin.machine, process.id, origin.moment)
        self.counters.calls += len(content.calls)
        missing = max(number_of_calls - len(content.calls), 0)
        if content.malformed or missing:
            self._add_unreadable(entry, origin, process.id, 0, missing, content.malformed)

    def _add_event(self, entry: Entry, origin: Origin, name: str, fields: dict[str, str], process: Process | None = None) -> None:
        session = None
        token = fields.get("SESSION", "")
        if process and token:
            session = self.sessions.id_of(text(token, records.LONGEST_TOKEN), process.id, origin.machine, origin.moment)
        elif token:
            session = self.sessions.find(token)
        number = origin.moment * IDS_PER_MICROSECOND
        while self.connection.execute("SELECT 1 FROM events WHERE id = ?", (number,)).fetchone():
            number += 1
        cursor = self.connection.execute(
            "INSERT OR IGNORE INTO events (id, machine, process, session, unit, name, priority, message, fields, origin) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                origin.machine,
                process.id if process else None,
                session,
                origin.unit,
                name,
                priority_of(entry),
                text(entry.get("MESSAGE", ""), LONGEST_MESSAGE),
                json.dumps(fields, ensure_ascii=False, separators=(",", ":")),
                None if process else identity_of(entry),
            ),
        )
        self.counters.events += cursor.rowcount
        self.counters.duplicates += 1 - cursor.rowcount

    def _add_unreadable(
        self, entry: Entry, origin: Origin, process: int | None, entries: int, calls: int | None, lines: int = 0
    ) -> None:
        program = text(entry.get("SYSLOG_IDENTIFIER", "") or "a job", 255)
        what = f"{lines} lines of an entry" if lines else "an entry"
        sentence = f"{program} (PID {whole(entry.get('_PID', '0'))}): {what} cannot be read"
        self.add_loss("unreadable", sentence, origin, process, entries, calls, identity_of(entry))

    def _add_suppressed(self, entry: Entry) -> bool:
        """journald dropped messages of a unit that writes to the record."""
        match = re.search(r"Suppressed (\d{1,9}) messages from (\S{1,255})", entry.get("MESSAGE", ""))
        if entry.get("_TRANSPORT") != "driver" or not match:
            return False
        unit = text(match[2].rsplit("/", 1)[-1], 255)
        if not self._is_known(unit):
            return False
        self._begin()
        origin = self._origin(entry)._replace(unit=unit)
        sentence = f"journald dropped {match[1]} messages of {unit}: its rate limit (RateLimitBurst=) was reached"
        self.add_loss("suppressed", sentence, origin, None, int(match[1]), None, identity_of(entry))
        self.counters.entries += 1
        return True

    def _add_unit_event(self, entry: Entry) -> bool:
        """systemd reports the failure of a unit that is livekeep's or has written to the record."""
        is_system = entry.get("_PID") == "1" and entry.get("_UID") == "0"
        unit = text(entry.get("UNIT" if is_system else "USER_UNIT", ""), 255)
        if not unit or not (is_system or entry.get("_SYSTEMD_UNIT") == f"user@{entry.get('_UID')}.service"):
            return False
        if not self._is_known(unit):
            return False
        self._begin()
        origin = self._origin(entry)._replace(unit=unit)
        fields = {name: text(entry[name], LONGEST_FIELD) for name in UNIT_FIELDS if name in entry}
        fields["UNIT"] = unit
        self._add_event(entry, origin, UNIT_EVENTS[entry["MESSAGE_ID"]], fields)
        self.counters.entries += 1
        return True

    def _is_known(self, unit: str) -> bool:
        """Whether a unit is livekeep's, or one of a job."""
        sql = "SELECT 1 FROM processes WHERE unit = ? LIMIT 1"
        return unit.startswith("livekeep-") or self.connection.execute(sql, (unit,)).fetchone() is not None
