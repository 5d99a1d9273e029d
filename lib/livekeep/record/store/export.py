"""The record as CSV or as JSON lines: all metrics, times and names, row after row, in constant memory.

Times are ISO 8601 with microseconds in the local zone, durations are seconds. In CSV a text that begins with = + - @ ' or a
control character is prefixed with ', so that a spreadsheet does not interpret external text as a formula; removing it restores
the text. An unknown value is an empty cell, and null in JSON.
"""

import csv
import json
import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Literal, TextIO

from livekeep.record.store import histogram
from livekeep.record.store.export_tables import (
    FIELDS,
    HISTOGRAM,
    ID,
    LONG_TEXT,
    MOMENT,
    NUMBER,
    OUTCOME,
    P50,
    P95,
    P99,
    SECONDS,
    TABLES,
    TEXT,
)
from livekeep.record.store.queries.filter import CALL_OUTCOMES, Filter

Format = Literal["csv", "json"]
CHUNK = 1000
GUARDED = tuple("=+-@'\t\r\n\0")

Column = Iterable[Any]
Convert = Callable[[Column], Column]
"""Converts a column of some hundred rows: many times as fast as value by value."""


def export(connection: sqlite3.Connection, table: str, wanted: Filter, form: Format, to: TextIO) -> int:
    """Write a table of `TABLES` to `to`; return its number of rows. A consistent snapshot, despite concurrent writes."""
    names = list(TABLES[table].columns)
    converts = [(CSV if form == "csv" else JSON)[kind] for kind, _sql in TABLES[table].columns.values()]
    # The values are already JSON.
    line = "{" + ",".join(f'"{name}":%s' for name in names) + "}\n"
    # The line ends of RFC 4180: with others a lone carriage return within a cell would not be quoted.
    writer = csv.writer(to, lineterminator="\r\n")
    if form == "csv":
        writer.writerow(names)
    conditions = TABLES[table].conditions(connection, wanted)
    expressions = ", ".join(sql for _kind, sql in TABLES[table].columns.values())
    source = TABLES[table].source.format(conditions.text())
    cursor = connection.cursor()
    cursor.row_factory = None
    cursor.execute(f"SELECT {expressions} FROM {source} ORDER BY {TABLES[table].order}", conditions.parameters)  # noqa: S608
    count = 0
    while rows := cursor.fetchmany(CHUNK):
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
    """A text that a spreadsheet does not interpret as a formula."""
    return f"'{text}" if text.startswith(GUARDED) else text


def _each(convert: Callable[[Any], Any], unknown: str = "") -> Convert:
    """Convert the known values one by one."""
    return lambda column: [unknown if value is None else convert(value) for value in column]


def _cached(convert: Callable[[Any], Any], unknown: str = "") -> Convert:
    """Convert each distinct value once, while there are few of them."""
    cached = lru_cache(maxsize=2048)(lambda value: unknown if value is None else convert(value))
    return lambda column: map(cached, column)


def _decimal(microseconds: int) -> str:
    """Exactly, in seconds."""
    return f"-{_decimal(-microseconds)}" if microseconds < 0 else "{}.{:06d}".format(*divmod(microseconds, 1_000_000))


def _percentile(share: float) -> Convert:
    return _each(lambda blob: _decimal(round(histogram.percentile(histogram.decode(blob), share) or 0)))


CSV: dict[str, Convert] = {
    TEXT: _cached(guarded),
    LONG_TEXT: _each(guarded),
    NUMBER: lambda column: column,
    ID: lambda column: column,
    MOMENT: _each(iso),
    SECONDS: _each(_decimal),
    OUTCOME: _each(CALL_OUTCOMES.__getitem__),
    FIELDS: lambda column: column,
    # The middle of each bucket in seconds, with its count.
    HISTOGRAM: _each(lambda blob: json.dumps([(histogram.value_of(it) / 1e6, n) for it, n in histogram.decode(blob).items()])),
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
