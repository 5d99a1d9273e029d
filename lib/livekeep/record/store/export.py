"""The record as CSV or as JSON lines: all metrics, times and names, row after row, in constant memory.

Moments are ISO 8601 with microseconds in the local zone, durations are seconds. In CSV a text that begins with = + - @ ' or a
control character has a ' in front of it, so that a spreadsheet takes nothing that came from outside for a formula; without that
sign it is the text again. What is not known is an empty cell, and null in JSON.
"""

import csv
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Literal, TextIO

from livekeep.record.store import histogram
from livekeep.record.store.queries.call_rows import call_conditions
from livekeep.record.store.queries.event_rows import event_conditions
from livekeep.record.store.queries.filter import CALL_OUTCOMES, Conditions, Filter, function_ids, id_range, is_any, machine_ids
from livekeep.record.store.queries.session_rows import session_conditions

Format = Literal["csv", "json"]
CHUNK = 1000
GUARDED = tuple("=+-@'\t\r\n\0")

Column = Iterable[Any]
Convert = Callable[[Column], Column]
"""Of a column of some hundred rows: many times as fast as value by value."""
TEXT, LONG_TEXT = "text", "long text"
"""Names that come again and again, and texts that don't."""
NUMBER = "number"
ID = "id"
"""Too long a number for the floats of JavaScript and jq: text in JSON."""
MOMENT = "moment"
SECONDS = "seconds"
OUTCOME = "outcome"
FIELDS = "fields"
HISTOGRAM = "histogram"
P50, P95, P99 = "p50", "p95", "p99"


@dataclass(frozen=True)
class Table:
    """What can be exported: the columns' names with their kind and SQL, where from, and which rows are meant."""

    columns: Mapping[str, tuple[str, str]]
    source: str
    order: str
    conditions: Callable[[sqlite3.Connection, Filter], Conditions]


def export(connection: sqlite3.Connection, table: str, wanted: Filter, form: Format, to: TextIO) -> int:
    """Write a table of `TABLES` to `to`; the number of its rows. One moment's state, whatever is written meanwhile."""
    names = list(TABLES[table].columns)
    converts = [(CSV if form == "csv" else JSON)[kind] for kind, _sql in TABLES[table].columns.values()]
    # The values are JSON already.
    line = "{" + ",".join(f'"{name}":%s' for name in names) + "}\n"
    # The lines' ends of RFC 4180: with others a lone carriage return within a cell would not be quoted.
    writer = csv.writer(to, lineterminator="\r\n")
    if form == "csv":
        writer.writerow(names)
    count = 0
    for rows in _rows(connection, TABLES[table], wanted):
        columns = [convert(column) for convert, column in zip(converts, zip(*rows, strict=True), strict=True)]
        count += len(rows)
        if form == "csv":
            writer.writerows(zip(*columns, strict=True))
        else:
            to.writelines(map(line.__mod__, zip(*columns, strict=True)))
    return count


def iso(moment: int) -> str:
    """A moment in the local zone: "2026-11-29T10:02:11.000001+01:00"."""
    second, microseconds = divmod(moment, 1_000_000)
    date, zone = _second(second)
    return f"{date}.{microseconds:06d}{zone}"


@lru_cache(maxsize=4096)
def _second(second: int) -> tuple[str, str]:
    text = datetime.fromtimestamp(second).astimezone().isoformat()
    return text[:19], text[19:]


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(GUARDED) else text


def _each(convert: Callable[[Any], Any], unknown: str = "") -> Convert:
    """Convert value by value what is known."""
    return lambda column: [unknown if value is None else convert(value) for value in column]


def _cached(convert: Callable[[Any], Any], unknown: str = "") -> Convert:
    """Convert each value once, as long as there are few of them."""
    cached = lru_cache(maxsize=2048)(lambda value: unknown if value is None else convert(value))
    return lambda column: map(cached, column)


def _decimal(microseconds: int) -> str:
    """Exactly, in seconds."""
    return f"-{_decimal(-microseconds)}" if microseconds < 0 else "{}.{:06d}".format(*divmod(microseconds, 1_000_000))


def _percentile(share: float) -> Convert:
    return _each(lambda blob: _decimal(round(histogram.percentile(histogram.decode(blob), share) or 0)))


def _buckets(blob: bytes) -> str:
    """The middle of each bucket in seconds, with its count."""
    return json.dumps([(histogram.value_of(bucket) / 1_000_000, count) for bucket, count in histogram.decode(blob).items()])


CSV: dict[str, Convert] = {
    TEXT: _cached(guarded),
    LONG_TEXT: _each(guarded),
    NUMBER: lambda column: column,
    ID: lambda column: column,
    MOMENT: _each(iso),
    SECONDS: _each(_decimal),
    OUTCOME: _each(CALL_OUTCOMES.__getitem__),
    FIELDS: lambda column: column,
    HISTOGRAM: _each(_buckets),
    P50: _percentile(0.5),
    P95: _percentile(0.95),
    P99: _percentile(0.99),
}
JSON: dict[str, Convert] = {
    **CSV,
    TEXT: _cached(encode_basestring, "null"),
    LONG_TEXT: _each(encode_basestring, "null"),
    NUMBER: _each(lambda number: number, "null"),
    ID: _each(lambda number: f'"{number}"'),
    MOMENT: _each(lambda moment: f'"{iso(moment)}"', "null"),
    SECONDS: _each(_decimal, "null"),
    OUTCOME: _cached(lambda outcome: f'"{CALL_OUTCOMES[outcome]}"'),
}


def _rows(connection: sqlite3.Connection, table: Table, wanted: Filter) -> Iterator[list[tuple[Any, ...]]]:
    conditions = table.conditions(connection, wanted)
    columns = ", ".join(sql for _kind, sql in table.columns.values())
    cursor = connection.cursor()
    cursor.row_factory = None
    source = table.source.format(conditions.text())
    cursor.execute(f"SELECT {columns} FROM {source} ORDER BY {table.order}", conditions.parameters)  # noqa: S608
    while rows := cursor.fetchmany(CHUNK):
        yield rows


def _call_range(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    return call_conditions(connection, wanted)


def _event_range(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    conditions = event_conditions(connection, wanted)
    conditions.add("x.id >= ? AND x.id < ?", *id_range(wanted))
    return conditions


def _error_conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    conditions = call_conditions(connection, wanted)
    conditions.add("x.outcome = 1")
    return conditions


def _sample_conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    conditions = Conditions()
    conditions.add("x.at >= ? AND x.at < ?", wanted.begin, wanted.end)
    conditions.add_one_of("x.machine", machine_ids(connection, wanted.machine))
    return conditions


def _unit_conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    conditions = _sample_conditions(connection, wanted)
    if not is_any(wanted.unit):
        conditions.add("x.unit GLOB ?", wanted.unit)
    return conditions


def _summary_conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    conditions = Conditions()
    conditions.add("x.began_at >= ? AND x.began_at < ?", wanted.begin, wanted.end)
    conditions.add_one_of("x.function", function_ids(connection, wanted))
    conditions.add_one_of("x.machine", machine_ids(connection, wanted.machine))
    return conditions


MACHINE = {"hostname": (TEXT, "m.hostname"), "machine_id": (TEXT, "m.machine_id")}
PROCESS = {"unit": (TEXT, "p.unit"), "program": (TEXT, "p.program"), "pid": (NUMBER, "p.pid"), "process": (TEXT, "p.token")}
ERROR = {"error_type": (TEXT, "e.type"), "error_message": (LONG_TEXT, "e.message"), "error_traceback": (LONG_TEXT, "e.traceback")}
BATCH = {"outcome": (TEXT, "{0}.outcome"), "total": (NUMBER, "{0}.total"), "done": (NUMBER, "{0}.done")}
SPAN = {
    "began_at": (MOMENT, "{0}.began_at"),
    "ended_at": (MOMENT, "{0}.ended_at"),
    "duration_seconds": (SECONDS, "{0}.ended_at - {0}.began_at"),
}


def _of(alias: str, columns: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {name: (kind, sql.format(alias)) for name, (kind, sql) in columns.items()}


TABLES: dict[str, Table] = {
    "calls": Table(
        {
            "id": (ID, "x.id"),
            "began_at": (MOMENT, "x.id / 1000"),
            "duration_seconds": (SECONDS, "x.duration"),
            "function": (TEXT, "f.name"),
            "kind": (TEXT, "f.kind"),
            "outcome": (OUTCOME, "x.outcome"),
            "session": (NUMBER, "x.session"),
            "session_name": (TEXT, "s.name"),
            "number": (NUMBER, "x.number"),
            "parent": (NUMBER, "x.parent"),
            "thread": (TEXT, "t.name"),
            "cpu_seconds": (SECONDS, "x.cpu"),
            "memory_bytes": (NUMBER, "x.memory"),
            "read_bytes": (NUMBER, "x.read"),
            "written_bytes": (NUMBER, "x.written"),
            "arguments": (LONG_TEXT, "x.arguments"),
            **ERROR,
            **MACHINE,
            **PROCESS,
        },
        "calls x JOIN functions f ON f.id = x.function JOIN machines m ON m.id = x.machine JOIN processes p ON p.id = x.process "
        "LEFT JOIN sessions s ON s.id = x.session LEFT JOIN threads t ON t.id = x.thread LEFT JOIN errors e ON e.id = x.error "
        "WHERE {}",
        "x.id",
        _call_range,
    ),
    "sessions": Table(
        {
            "id": (NUMBER, "s.id"),
            "name": (TEXT, "s.name"),
            **_of("s", SPAN),
            **_of("s", BATCH),
            "percent": (NUMBER, "s.percent"),
            "rate": (NUMBER, "s.rate"),
            "left_seconds": (NUMBER, "s.left_seconds"),
            "message": (LONG_TEXT, "s.message"),
            "updated_at": (MOMENT, "s.updated_at"),
            "parent": (NUMBER, "s.parent"),
            "token": (TEXT, "s.token"),
            **ERROR,
            **MACHINE,
            **PROCESS,
        },
        "sessions s JOIN machines m ON m.id = s.machine JOIN processes p ON p.id = s.process "
        "LEFT JOIN errors e ON e.id = s.error WHERE {}",
        "s.began_at, s.id",
        session_conditions,
    ),
    "steps": Table(
        {
            "session": (NUMBER, "t.session"),
            "session_name": (TEXT, "s.name"),
            "number": (NUMBER, "t.number"),
            "parent": (NUMBER, "t.parent"),
            "name": (TEXT, "t.name"),
            "weight": (NUMBER, "t.weight"),
            **_of("t", SPAN),
            **_of("t", BATCH),
            **ERROR,
            **MACHINE,
        },
        "sessions s JOIN steps t ON t.session = s.id JOIN machines m ON m.id = s.machine LEFT JOIN errors e ON e.id = t.error "
        "WHERE {}",
        "s.began_at, s.id, t.number",
        session_conditions,
    ),
    "events": Table(
        {
            "id": (ID, "x.id"),
            "at": (MOMENT, "x.id / 1000"),
            "name": (TEXT, "x.name"),
            "priority": (NUMBER, "x.priority"),
            "message": (LONG_TEXT, "x.message"),
            "fields": (FIELDS, "x.fields"),
            "session": (NUMBER, "x.session"),
            "session_name": (TEXT, "s.name"),
            **MACHINE,
            "unit": (TEXT, "x.unit"),
        },
        "events x JOIN machines m ON m.id = x.machine LEFT JOIN sessions s ON s.id = x.session WHERE {}",
        "x.id",
        _event_range,
    ),
    "errors": Table(
        {
            "function": (TEXT, "f.name"),
            "kind": (TEXT, "f.kind"),
            "count": (NUMBER, "g.count"),
            "first_at": (MOMENT, "g.first / 1000"),
            "last_at": (MOMENT, "g.last / 1000"),
            "last_call": (ID, "g.last"),
            **ERROR,
        },
        "(SELECT x.function, x.error, count(*) AS count, min(x.id) AS first, max(x.id) AS last FROM calls x "
        "JOIN processes p ON p.id = x.process WHERE {} GROUP BY x.function, x.error) g "
        "JOIN functions f ON f.id = g.function LEFT JOIN errors e ON e.id = g.error",
        "g.last",
        _error_conditions,
    ),
    "samples": Table(
        {
            "at": (MOMENT, "x.at"),
            **MACHINE,
            "cpu_percent": (NUMBER, "x.cpu_percent"),
            "memory_bytes": (NUMBER, "x.memory_bytes"),
            "memory_total_bytes": (NUMBER, "x.memory_total_bytes"),
            "temperature_celsius": (NUMBER, "x.temperature_celsius"),
            "disk_bytes": (NUMBER, "x.disk_bytes"),
            "disk_total_bytes": (NUMBER, "x.disk_total_bytes"),
        },
        "samples x JOIN machines m ON m.id = x.machine WHERE {}",
        "x.machine, x.at",
        _sample_conditions,
    ),
    "unit-samples": Table(
        {
            "at": (MOMENT, "x.at"),
            **MACHINE,
            "unit": (TEXT, "x.unit"),
            "memory_bytes": (NUMBER, "x.memory_bytes"),
            "cpu_percent": (NUMBER, "x.cpu_percent"),
        },
        "unit_samples x JOIN machines m ON m.id = x.machine WHERE {}",
        "x.machine, x.unit, x.at",
        _unit_conditions,
    ),
    "summaries": Table(
        {
            "period": (TEXT, "x.period"),
            "began_at": (MOMENT, "x.began_at"),
            "function": (TEXT, "f.name"),
            "kind": (TEXT, "f.kind"),
            **MACHINE,
            "count": (NUMBER, "x.count"),
            "failures": (NUMBER, "x.failures"),
            "sum_seconds": (SECONDS, "x.sum"),
            "min_seconds": (SECONDS, "x.min"),
            "max_seconds": (SECONDS, "x.max"),
            "p50_seconds": (P50, "x.histogram"),
            "p95_seconds": (P95, "x.histogram"),
            "p99_seconds": (P99, "x.histogram"),
            "histogram": (HISTOGRAM, "x.histogram"),
        },
        "summaries x JOIN functions f ON f.id = x.function JOIN machines m ON m.id = x.machine WHERE {}",
        "x.period, x.function, x.machine, x.began_at",
        _summary_conditions,
    ),
    "losses": Table(
        {
            "id": (NUMBER, "x.id"),
            "at": (MOMENT, "x.at"),
            **MACHINE,
            "unit": (TEXT, "x.unit"),
            "reason": (TEXT, "x.reason"),
            "entries": (NUMBER, "x.entries"),
            "calls": (NUMBER, "x.calls"),
            "sentence": (LONG_TEXT, "x.sentence"),
        },
        "losses x JOIN machines m ON m.id = x.machine WHERE {}",
        "x.id",
        _sample_conditions,
    ),
}
