"""The tables that can be exported: their columns with a description, and the rows that a filter selects."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from livekeep.record.store.queries.call_rows import call_conditions
from livekeep.record.store.queries.event_rows import event_conditions
from livekeep.record.store.queries.filter import Conditions, Filter, function_ids, id_range, is_any, machine_ids
from livekeep.record.store.queries.session_rows import session_conditions

TEXT, LONG_TEXT = "text", "long text"
"""Texts that repeat often, and texts that don't."""
NUMBER = "number"
ID = "id"
"""A number too large for the floats of JavaScript and jq: text in JSON."""
MOMENT = "moment"
SECONDS = "seconds"
OUTCOME = "outcome"
FIELDS = "fields"
HISTOGRAM = "histogram"
P50, P95, P99 = "p50", "p95", "p99"


@dataclass(frozen=True)
class Table:
    """A table that can be exported: its columns' names with kind and SQL, its source, and the selection of rows."""

    columns: Mapping[str, tuple[str, str]]
    source: str
    order: str
    conditions: Callable[[sqlite3.Connection, Filter], Conditions]


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
        call_conditions,
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
