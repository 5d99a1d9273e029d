"""The machines: samples of processor, memory, temperature and disk, and known losses of the record."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from livekeep.record.store.queries.filter import Conditions, Filter, Machine, Page, machine_ids, machines, matching
from livekeep.record.store.summaries import HOUR

MOST_SAMPLES = 240
"""Per series: as many as a chart shows."""
SHORTEST_PIECE = 10_000_000
"""The shortest interval between samples."""
WHOLE_PIECE = HOUR
MOMENTS, MOMENT = 6, HOUR // 6
"""In a longer piece, this many moments of this length are read, spread evenly: 90 days have 130,000 samples per machine."""


@dataclass(frozen=True)
class Sample:
    """The values of a machine: read at one moment, or the mean from `at` on if several samples were merged."""

    at: int
    hostname: str
    cpu_percent: float | None
    memory_bytes: float | None
    memory_total_bytes: int | None
    temperature_celsius: float | None
    disk_bytes: float | None
    disk_total_bytes: int | None


@dataclass(frozen=True)
class UnitSample:
    """The values of a unit, like those of `Sample`."""

    at: int
    hostname: str
    unit: str
    memory_bytes: float | None
    cpu_percent: float | None
    """Percent of one core."""


@dataclass(frozen=True)
class Loss:
    """A known loss of the record."""

    id: int
    at: int
    hostname: str
    unit: str
    reason: str
    entries: int | None
    calls: int | None
    sentence: str


class Series(NamedTuple):
    """The samples of a machine, or of one of its units."""

    table: str
    columns: str
    where: str
    parameters: tuple[object, ...]


def samples(connection: sqlite3.Connection, wanted: Filter, most: int = MOST_SAMPLES) -> tuple[Sample, ...]:
    """The samples of each machine in chronological order, merged into about `most` per machine."""
    columns = (
        "min(at), avg(cpu_percent), avg(memory_bytes), max(memory_total_bytes), avg(temperature_celsius), avg(disk_bytes), "
        "max(disk_total_bytes)"
    )
    return tuple(
        Sample(row[0], machine.hostname, *row[1:])
        for machine in _machines(connection, wanted)
        for row in _means(connection, Series("samples", columns, "machine = ?", (machine.id,)), wanted, most)
    )


def unit_samples(connection: sqlite3.Connection, wanted: Filter, most: int = MOST_SAMPLES) -> tuple[UnitSample, ...]:
    """The samples of each unit in chronological order, merged into about `most` per unit."""
    columns = "min(at), avg(memory_bytes), avg(cpu_percent)"
    return tuple(
        UnitSample(row[0], machine.hostname, unit, *row[1:])
        for machine in _machines(connection, wanted)
        for unit in _units(connection, machine.id, wanted.unit)
        for row in _means(
            connection, Series("unit_samples", columns, "machine = ? AND unit = ?", (machine.id, unit)), wanted, most
        )
    )


def losses(connection: sqlite3.Connection, wanted: Filter, limit: int = 50, after: str = "") -> Page[Loss]:
    """Known losses, the newest first."""
    conditions = Conditions()
    conditions.add("x.at >= ? AND x.at < ?", wanted.begin, wanted.end)
    conditions.add_one_of("x.machine", machine_ids(connection, wanted.machine))
    if after:
        at, row = (int(part) for part in after.split("-"))
        conditions.add("(x.at, x.id) < (?, ?)", at, row)
    fetched = connection.execute(
        "SELECT x.id, x.at, m.hostname, x.unit, x.reason, x.entries, x.calls, x.sentence FROM losses x "  # noqa: S608
        f"JOIN machines m ON m.id = x.machine WHERE {conditions.text()} ORDER BY x.at DESC, x.id DESC LIMIT ?",
        [*conditions.parameters, limit + 1],
    ).fetchall()
    rows = tuple(Loss(*row) for row in fetched[:limit])
    return Page(rows, f"{rows[-1].at}-{rows[-1].id}" if len(fetched) > limit else "")


def _machines(connection: sqlite3.Connection, wanted: Filter) -> list[Machine]:
    ids = machine_ids(connection, wanted.machine)
    return [machine for machine in machines(connection) if ids is None or machine.id in ids]


def _units(connection: sqlite3.Connection, machine: int, pattern: str) -> list[str]:
    """The units with samples: one search of the table per unit."""
    names: list[str] = []
    sql = "SELECT min(unit) FROM unit_samples WHERE machine = ? AND unit > ?"
    while name := connection.execute(sql, [machine, names[-1] if names else ""]).fetchone()[0]:
        names.append(name)
    chosen = matching(pattern, names)
    return names if chosen is None else chosen


def _means(connection: sqlite3.Connection, series: Series, wanted: Filter, most: int) -> Iterator[tuple[Any, ...]]:
    """A row for each of about `most` periods with samples: its mean, or the mean of a few moments in a long one."""

    def end(which: str) -> int | None:
        sql = f"SELECT {which}(at) FROM {series.table} WHERE {series.where} AND at >= ? AND at < ?"  # noqa: S608
        moment: int | None = connection.execute(sql, [*series.parameters, wanted.begin, wanted.end]).fetchone()[0]
        return moment

    def mean(begins: Sequence[int], length: int) -> tuple[Any, ...]:
        sql = (
            f"SELECT {series.columns} FROM json_each(?) CROSS JOIN {series.table} "  # noqa: S608
            f"WHERE {series.where} AND at >= value AND at < min(value + ?, ?)"
        )
        return tuple(connection.execute(sql, [json.dumps(begins), *series.parameters, length, wanted.end]).fetchone())

    first, last = end("min"), end("max")
    if first is None or last is None:
        return
    width = max(-(-(last + 1 - first) // most), SHORTEST_PIECE)
    for begin in range(first, last + 1, width):
        row: tuple[Any, ...] = (None,)
        if width > WHOLE_PIECE:
            row = mean([begin + number * width // MOMENTS for number in range(MOMENTS)], MOMENT)
        if row[0] is None:
            row = mean([begin], width)
        if row[0] is not None:
            yield row
