"""A record of many calls over many days, written directly into the tables of the schema: fast and deterministic."""

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from livekeep.record.store import histogram, schema
from livekeep.record.store.summaries import HOUR, Durations, Summary, day_of, store, summarized

KINDS = ("function", "function", "function", "api", "database")
FUNCTIONS = 50
SESSION_NAMES = ("clip analysis", "fetch", "cut", "upload", "tidy")
STEPS = ("list", "fetch", "analyse", "write", "send")
EVENTS = ("session-began", "session-ended", "picture-changed", "item-played", "probe-verdict-changed", "call-failed")
PRIORITIES = (6, 5, 6, 6, 4, 3)
UNITS = 10
SESSION_SECONDS = 300
DAY = 24 * HOUR


@dataclass(frozen=True)
class Made:
    file: Path
    began_at: int
    ended_at: int
    calls: int


class Maker:
    """Writes hour by hour: sessions every five minutes with their steps and calls, events, a sample each minute."""

    def __init__(self, connection: sqlite3.Connection, seed: int = 1) -> None:
        self.connection = connection
        self.random = random.Random(seed)
        self.days: dict[tuple[int, int], Summary] = {}
        self.hour: dict[int, Durations] = {}
        # Drawing from a pool is ten times faster than from the distribution.
        self.pools = [
            [int(self.random.lognormvariate(7 + number % 9, 0.6)) + 1 for _ in range(4001)] for number in range(FUNCTIONS)
        ]
        self.errors = 200
        self.sessions = self.calls = 0

    def begin(self) -> None:
        write = self.connection.executemany
        self.connection.execute("INSERT INTO machines (id, machine_id, hostname) VALUES (1, ?, 'box')", ["0" * 32])
        kinds = [
            (number + 1, f"job.module{number % 7}.function_{number}", KINDS[number % len(KINDS)]) for number in range(FUNCTIONS)
        ]
        kinds += [(FUNCTIONS + 1 + number, name, "session") for number, name in enumerate(SESSION_NAMES)]
        kinds += [
            (FUNCTIONS + 1 + len(SESSION_NAMES) + number * len(STEPS) + place, f"{name} / {step}", "step")
            for number, name in enumerate(SESSION_NAMES)
            for place, step in enumerate(STEPS)
        ]
        write("INSERT INTO functions VALUES (?, ?, ?)", kinds)
        write(
            "INSERT INTO errors (id, digest, type, message, traceback) VALUES (?, ?, ?, ?, ?)",
            [(n + 1, n.to_bytes(16), f"Error{n % 9}", f"what went wrong, {n}", "Traceback …\n" * 10) for n in range(self.errors)],
        )
        self.connection.execute("INSERT INTO threads VALUES (1, 'MainThread')")

    def make_hour(self, began: int, calls: int) -> None:
        self.hour = {}
        per_session = calls * SESSION_SECONDS // 3600
        for at in range(began, began + HOUR, SESSION_SECONDS * 1_000_000):
            self.make_session(at, per_session)
        self.make_samples(began)
        day = day_of(began)
        for function, durations in self.hour.items():
            summary = summarized(durations)
            store(self.connection, ("hour", began, function, 1), summary)
            self.days.setdefault((day, function), Summary()).add(summary)

    def end_day(self) -> None:
        for (day, function), summary in self.days.items():
            store(self.connection, ("day", day, function, 1), summary)
        self.days = {}

    def make_session(self, at: int, calls: int) -> None:
        self.sessions += 1
        number, place = self.sessions, self.sessions % len(SESSION_NAMES)
        ended = at + int(self.random.uniform(100, 290) * 1_000_000)
        outcome = "failed" if self.random.random() < 0.01 else "succeeded"
        insert(self.connection, "processes", id=number, machine=1, boot_id="b", token=f"t{number}", pid=number, uid=0,
               unit=f"job-{place}.service", program="job", first_at=at, last_at=ended, next_sequence=9)  # fmt: skip
        insert(self.connection, "sessions", id=number, token=f"s{number}", machine=1, process=number, name=SESSION_NAMES[place],
               began_at=at, ended_at=ended, updated_at=ended, outcome=outcome, done=10, percent=100)  # fmt: skip
        self.count(FUNCTIONS + 1 + place, ended - at, outcome == "failed")
        width = (ended - at) // len(STEPS)
        for index, step in enumerate(STEPS):
            insert(self.connection, "steps", session=number, number=index + 1, name=step, began_at=at + index * width,
                   ended_at=at + (index + 1) * width, outcome="succeeded", total=2, done=2)  # fmt: skip
            self.count(FUNCTIONS + 1 + len(SESSION_NAMES) + place * len(STEPS) + index, width, False)
        self.connection.executemany(
            "INSERT INTO calls VALUES (?, ?, 1, ?, ?, ?, ?, 1, ?, ?, ?, NULL, NULL, NULL, ?, ?)",
            self.calls_of(number, at, ended, calls),
        )
        self.connection.executemany(
            "INSERT INTO events (id, machine, process, session, unit, name, priority, message, fields) "
            "VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?)",
            [self.event_of(number, place, at, index, outcome) for index in range(10)],
        )

    def event_of(self, session: int, place: int, at: int, index: int, outcome: str) -> tuple[object, ...]:
        kind = (session + index) % len(EVENTS)
        return (
            (at + index * 20_000_000) * 1000 + 7,
            session,
            session,
            f"job-{place}.service",
            EVENTS[kind],
            PRIORITIES[kind],
            f"Session {session} does what it does, item {index}",
            json.dumps({"SESSION": f"s{session}", "OUTCOME": outcome}),
        )

    def calls_of(self, session: int, at: int, ended: int, calls: int) -> Iterator[tuple[object, ...]]:
        chance = self.random.random
        width = (ended - at) // max(calls, 1)
        for number in range(1, calls + 1):
            function = int(chance() ** 2 * FUNCTIONS)
            duration = self.pools[function][(number * 31 + session) % 4001]
            failed = chance() < 0.01
            self.count(function + 1, duration, failed)
            error = 1 + (number + session) % self.errors if failed else None
            row = (at + number * width) * 1000 + number % 1000
            arguments = f"clip={number}, quality='high'"
            yield row, function + 1, session, session, number, number // 8, duration, int(failed), duration // 2, arguments, error
        self.calls += calls

    def count(self, function: int, duration: int, failed: bool) -> None:
        durations = self.hour.get(function)
        if durations is None:
            durations = self.hour[function] = Durations()
        durations.values.append(duration)
        durations.failures += failed

    def make_samples(self, began: int) -> None:
        moments = range(began, began + HOUR, 60_000_000)
        self.connection.executemany(
            "INSERT INTO samples VALUES (?, 1, ?, ?, 4000000000, ?, 9000000000, 32000000000)",
            [(at, at // 60_000_000 % 50, 1e9 + at % 1e9 // 1, 50 + at // HOUR % 20) for at in moments],
        )
        self.connection.executemany(
            "INSERT INTO unit_samples VALUES (?, 1, ?, ?, ?)",
            [(at, f"livekeep-{unit}.service", 20_000_000 + unit, 1.5) for at in moments for unit in range(UNITS)],
        )


def insert(connection: sqlite3.Connection, table: str, **values: object) -> None:
    """Insert a row; missing columns that must not be null are 0."""
    for _, name, _, notnull, default, _ in connection.execute(f"PRAGMA table_info({table})"):
        if notnull and default is None and name not in values:
            values[name] = 0
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values()))  # noqa: S608


def make(file: Path, calls: int, days: int, ended_at: int | None = None) -> Made:
    """Fill a new database with about `calls` calls over the `days` days before `ended_at` (now)."""
    connection = schema.open_for_writing(file)
    maker = Maker(connection)
    end = (ended_at or int(time.time() * 1_000_000)) // HOUR * HOUR
    begin = end - days * DAY
    connection.execute("BEGIN")
    maker.begin()
    for began in range(begin, end, HOUR):
        maker.make_hour(began, calls // (days * 24))
        if day_of(began + HOUR) != day_of(began) or began + HOUR >= end:
            maker.end_day()
            connection.execute("COMMIT")
            connection.execute("BEGIN")
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    histogram.bucket.cache_clear()
    return Made(file, begin, end, maker.calls)
