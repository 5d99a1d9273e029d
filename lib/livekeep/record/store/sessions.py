"""Rows of sessions and steps, for the only writer: the newest line replaces earlier ones.

A session is identified by its token within its process, so that no process can end another's session. If a call or an event
refers to a session before its own line arrives (that line was lost), it gets a row without a name.
"""

import dataclasses
import sqlite3
from dataclasses import dataclass

from livekeep.record import wire
from livekeep.record.store.names import Names
from livekeep.record.store.summaries import SESSION_FAILED, Summaries

MOST_CACHED = 2000


@dataclass(slots=True)
class Row:
    """The common part of sessions and steps."""

    name: str = ""
    began_at: int = 0
    ended_at: int | None = None
    outcome: str = "running"
    total: float | None = None
    done: float = 0.0
    error: int | None = None

    def take(self, content: wire.Session | wire.Step, names: Names, moment: int) -> None:
        self.name = content.get("name", self.name)
        self.began_at = content.get("began", self.began_at)
        self.ended_at = content.get("ended", self.ended_at)
        self.outcome = content.get("outcome", self.outcome)
        self.total = content.get("total", self.total)
        self.done = content.get("done", self.done)
        if self.outcome == "running":
            self.ended_at = None
        error = content.get("error")
        if error is not None:
            self.error = names.error(error, moment)


@dataclass(slots=True)
class SessionRow(Row):
    id: int = 0
    token: str = ""
    machine: int = 0
    process: int = 0
    parent: int | None = None
    updated_at: int = 0
    percent: float | None = None
    rate: float | None = None
    left_seconds: float | None = None
    message: str = ""


@dataclass(slots=True)
class StepRow(Row):
    session: int = 0
    number: int = 0
    parent: int | None = None
    weight: float = 1.0


SESSION_COLUMNS = tuple(field.name for field in dataclasses.fields(SessionRow))
STEP_COLUMNS = tuple(field.name for field in dataclasses.fields(StepRow))


def replace_statement(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


class Sessions:
    def __init__(self, connection: sqlite3.Connection, names: Names, summaries: Summaries) -> None:
        self._connection, self._names, self._summaries = connection, names, summaries
        self._sessions: dict[tuple[str, int], SessionRow] = {}
        self._steps: dict[tuple[int, int], StepRow] = {}
        self._changed_sessions: dict[int, SessionRow] = {}
        self._changed_steps: dict[tuple[int, int], StepRow] = {}
        self._next_id = 0

    def clear(self) -> None:
        """Forget what was not committed."""
        for rows in (self._sessions, self._steps, self._changed_sessions, self._changed_steps):
            rows.clear()
        self._next_id = 0

    def id_of(self, token: str, process: int, machine: int, moment: int) -> int:
        """The session of a call or an event, created when absent."""
        return self._row(token, process, machine, moment).id

    def find(self, token: str) -> int | None:
        """The newest session with that token, in any process."""
        row = self._connection.execute("SELECT max(id) FROM sessions WHERE token = ?", (token,)).fetchone()
        waiting = [session.id for (known, _process), session in self._sessions.items() if known == token]
        newest: int | None = max([*waiting, row[0] or 0])
        return newest or None

    def take(self, token: str, content: wire.Session, process: int, machine: int, moment: int) -> None:
        row = self._row(token, process, machine, moment)
        before = dataclasses.replace(row)
        row.take(content, self._names, moment)
        row.updated_at = max(row.updated_at, moment)
        row.percent = content.get("percent", row.percent)
        row.rate = content.get("rate", row.rate)
        row.left_seconds = content.get("left", row.left_seconds)
        row.message = content.get("message", row.message)
        parent = content.get("parent")
        if parent is not None and row.parent is None and parent != token:
            known = self._sessions.get((parent, process))
            row.parent = known.id if known else self.find(parent)
        self._end(row, moment)
        self._changed_sessions[row.id] = row
        self._count(before, row, (before.name, "session"), (row.name, "session"), machine)
        if before.name == row.name:
            return
        # The session got its name after its steps were counted.
        for step in self._all_steps(row.id):
            for name in (before.name, row.name) if step.ended_at is not None else ():
                function = self._names.function((f"{name} / {step.name}", "step"))
                self._summaries.rebuild_later(function, row.machine, step.began_at)

    def take_step(self, token: str, number: int, content: wire.Step, process: int, machine: int, moment: int) -> None:
        session = self._row(token, process, machine, moment)
        session.updated_at = max(session.updated_at, moment)
        self._changed_sessions[session.id] = session
        row = self._steps.get((session.id, number))
        if row is None:
            loaded = self._load_steps("session = ? AND number = ?", (session.id, number))
            row = loaded[0] if loaded else StepRow(session=session.id, number=number, began_at=moment)
            self._steps[session.id, number] = row
        before = dataclasses.replace(row)
        row.take(content, self._names, moment)
        row.parent = content.get("parent", row.parent)
        row.weight = content.get("weight", row.weight)
        self._end(row, moment)
        self._changed_steps[session.id, number] = row
        self._count(before, row, (f"{session.name} / {before.name}", "step"), (f"{session.name} / {row.name}", "step"), machine)

    def lose(self, session: int) -> None:
        """Its process is gone. The session and its steps end with the last sign of life."""
        row = self._load_session("id = ?", (session,))
        if row is None or row.outcome != "running":
            return
        for step in self._all_steps(session):
            if step.ended_at is not None:
                continue
            before = dataclasses.replace(step)
            step.outcome, step.ended_at = "lost", max(step.began_at, row.updated_at)
            self._changed_steps[session, step.number] = step
            function = (f"{row.name} / {step.name}", "step")
            self._count(before, step, function, function, row.machine)
        before_session = dataclasses.replace(row)
        row.outcome, row.ended_at, row.left_seconds = "lost", max(row.began_at, row.updated_at), None
        self._changed_sessions[row.id] = row
        self._count(before_session, row, (row.name, "session"), (row.name, "session"), row.machine)

    def write(self) -> None:
        """Within the transaction, before the summaries."""
        self._connection.executemany(
            replace_statement("sessions", SESSION_COLUMNS),
            [tuple(getattr(row, column) for column in SESSION_COLUMNS) for row in self._changed_sessions.values()],
        )
        self._connection.executemany(
            replace_statement("steps", STEP_COLUMNS),
            [tuple(getattr(row, column) for column in STEP_COLUMNS) for row in self._changed_steps.values()],
        )
        self._changed_sessions.clear()
        self._changed_steps.clear()
        if len(self._sessions) + len(self._steps) > MOST_CACHED:
            self._sessions.clear()
            self._steps.clear()

    def _end(self, row: Row, moment: int) -> None:
        """An ended row has an end time."""
        if row.outcome != "running" and row.ended_at is None:
            row.ended_at = max(moment, row.began_at)

    def _count(self, before: Row, row: Row, old_function: tuple[str, str], function: tuple[str, str], machine: int) -> None:
        """Update the summaries once it has ended, and again when a counted value changes."""
        if before.ended_at is None:
            if row.ended_at is not None:
                is_failure = row.outcome in SESSION_FAILED
                number = self._names.function(function)
                self._summaries.add(number, machine, row.began_at, max(row.ended_at - row.began_at, 0), is_failure)
            return
        counted = (before.name, before.began_at, before.ended_at, before.outcome)
        if counted != (row.name, row.began_at, row.ended_at, row.outcome):
            self._summaries.rebuild_later(self._names.function(old_function), machine, before.began_at)
            self._summaries.rebuild_later(self._names.function(function), machine, row.began_at)

    def _row(self, token: str, process: int, machine: int, moment: int) -> SessionRow:
        row = self._sessions.get((token, process))
        if row is None:
            row = self._load_session("token = ? AND process = ?", (token, process))
        if row is None:
            if not self._next_id:
                self._next_id = self._connection.execute("SELECT ifnull(max(id), 0) + 1 FROM sessions").fetchone()[0]
            row = SessionRow(id=self._next_id, token=token, machine=machine, process=process, began_at=moment, updated_at=moment)
            self._next_id += 1
            self._changed_sessions[row.id] = row
        self._sessions[token, process] = row
        return row

    def _load_session(self, where: str, values: tuple[object, ...]) -> SessionRow | None:
        stored = self._connection.execute(f"SELECT {', '.join(SESSION_COLUMNS)} FROM sessions WHERE {where}", values).fetchone()  # noqa: S608
        if stored is None:
            return None
        row = SessionRow(**dict(zip(SESSION_COLUMNS, stored, strict=True)))
        # Rows that wait for a write are newer.
        return self._sessions.setdefault((row.token, row.process), row)

    def _all_steps(self, session: int) -> list[StepRow]:
        steps = {step.number: step for step in self._load_steps("session = ?", (session,))}
        steps |= {number: step for (known, number), step in self._steps.items() if known == session}
        return list(steps.values())

    def _load_steps(self, where: str, values: tuple[object, ...]) -> list[StepRow]:
        rows = self._connection.execute(f"SELECT {', '.join(STEP_COLUMNS)} FROM steps WHERE {where}", values)  # noqa: S608
        return [StepRow(**dict(zip(STEP_COLUMNS, row, strict=True))) for row in rows]
