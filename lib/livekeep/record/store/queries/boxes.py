"""The machines: samples of processor, memory, temperature and disk, and what is known to be missing from the record."""

import sqlite3
from dataclasses import dataclass

from livekeep.record.store.queries.filter import Conditions, Filter, Page, is_any, machine_ids


@dataclass(frozen=True)
class Sample:
    """The figures of a machine: as read at one moment, or their mean from `at` on when several were put together."""

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
    at: int
    hostname: str
    unit: str
    memory_bytes: float | None
    cpu_percent: float | None
    """Of one core."""


@dataclass(frozen=True)
class Loss:
    """Something that is known to be missing from the record."""

    id: int
    at: int
    hostname: str
    unit: str
    reason: str
    entries: int | None
    calls: int | None
    sentence: str


def samples(connection: sqlite3.Connection, wanted: Filter, most: int = 500) -> tuple[Sample, ...]:
    """The samples of each machine in the order of time, put together to about `most` of each machine."""
    conditions = _conditions(connection, wanted)
    width = _width(connection, "samples", conditions, most)
    rows = connection.execute(
        "SELECT min(x.at) AS at, m.hostname, avg(cpu_percent) AS cpu_percent, avg(memory_bytes) AS memory_bytes, "  # noqa: S608
        "max(memory_total_bytes) AS memory_total_bytes, avg(temperature_celsius) AS temperature_celsius, "
        "avg(disk_bytes) AS disk_bytes, max(disk_total_bytes) AS disk_total_bytes "
        f"FROM samples x JOIN machines m ON m.id = x.machine WHERE {conditions.text()} "
        "GROUP BY x.machine, x.at / ? ORDER BY m.hostname, x.at",
        [*conditions.parameters, width],
    )
    return tuple(Sample(**dict(row)) for row in rows)


def unit_samples(connection: sqlite3.Connection, wanted: Filter, most: int = 500) -> tuple[UnitSample, ...]:
    """The samples of each unit in the order of time, put together to about `most` of each unit."""
    conditions = _conditions(connection, wanted)
    if not is_any(wanted.unit):
        conditions.add("x.unit GLOB ?", wanted.unit)
    width = _width(connection, "unit_samples", conditions, most)
    rows = connection.execute(
        "SELECT min(x.at) AS at, m.hostname, x.unit, avg(memory_bytes) AS memory_bytes, avg(cpu_percent) AS cpu_percent "  # noqa: S608
        f"FROM unit_samples x JOIN machines m ON m.id = x.machine WHERE {conditions.text()} "
        "GROUP BY x.machine, x.unit, x.at / ? ORDER BY m.hostname, x.unit, x.at",
        [*conditions.parameters, width],
    )
    return tuple(UnitSample(**dict(row)) for row in rows)


def losses(connection: sqlite3.Connection, wanted: Filter, limit: int = 50, after: str = "") -> Page[Loss]:
    """What is known to be missing, the newest first."""
    conditions = _conditions(connection, wanted)
    if after:
        at, row = (int(part) for part in after.split("-"))
        conditions.add("(x.at, x.id) < (?, ?)", at, row)
    found = connection.execute(
        "SELECT x.id, x.at, m.hostname, x.unit, x.reason, x.entries, x.calls, x.sentence FROM losses x "  # noqa: S608
        f"JOIN machines m ON m.id = x.machine WHERE {conditions.text()} ORDER BY x.at DESC, x.id DESC LIMIT ?",
        [*conditions.parameters, limit + 1],
    ).fetchall()
    rows = tuple(Loss(**dict(row)) for row in found[:limit])
    return Page(rows, f"{rows[-1].at}-{rows[-1].id}" if len(found) > limit else "")


def _conditions(connection: sqlite3.Connection, wanted: Filter) -> Conditions:
    conditions = Conditions()
    conditions.add("x.at >= ? AND x.at < ?", wanted.begin, wanted.end)
    conditions.add_one_of("x.machine", machine_ids(connection, wanted.machine))
    return conditions


def _width(connection: sqlite3.Connection, table: str, conditions: Conditions, most: int) -> int:
    """How many microseconds are put together so that about `most` samples are left of each series."""
    sql = f"SELECT min(x.at), max(x.at) FROM {table} x WHERE {conditions.text()}"  # noqa: S608
    first, last = connection.execute(sql, conditions.parameters).fetchone()
    return max((last - first) // most, 1) if first is not None else 1
