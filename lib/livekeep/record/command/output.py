"""The output of `livekeep record`: tables that fit the terminal for people, documents for programs."""

import dataclasses
import shutil
import sys
from collections.abc import Collection, Sequence
from typing import Any

from livekeep.record import figures
from livekeep.record.store.export import iso
from livekeep.system import terminal

COLOURS: dict[str, terminal.Colour] = {"failed": "red", "lost": "red", "running": "green", "cancelled": "dim"}
MOMENTS = ("at", "began_at", "ended_at", "ends_at", "updated_at", "first_at", "last_at", "since", "searched_to")
LENGTHS = ("duration", "cpu", "sum", "min", "max", "p50", "p95", "p99", "mean")
"""Microseconds in the record; seconds in a document."""


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[int] = (), outcomes: Sequence[str] = ()
) -> str:
    """A table that fits the terminal. `outcomes`, one per row, determine the colours."""
    head, *lines = terminal.table([heads, *rows], numbers=numbers, widest=columns()).split("\n")
    colours = [COLOURS.get(outcome, "") for outcome in outcomes] or [""] * len(lines)
    painted = [terminal.paint(line, colour) for line, colour in zip(lines, colours, strict=True)]
    return "\n".join([terminal.paint(head, "bold"), *painted])


def columns() -> int:
    """The width of the terminal; 80 without one."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def document(value: Any) -> Any:
    """A result as JSON: times in ISO 8601, durations in seconds."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        names += [name for name, entry in vars(type(value)).items() if isinstance(entry, property)]
        return {key: entry for name in names for key, entry in [named(name, getattr(value, name))]}
    if isinstance(value, list | tuple):
        return [document(entry) for entry in value]
    return value


def named(name: str, value: Any) -> tuple[str, Any]:
    if name in MOMENTS:
        return name, None if value is None else iso(value)
    if name in LENGTHS and isinstance(value, int | float | None):
        return f"{name}_seconds", None if value is None else value / 1_000_000
    return name, document(value)


def duration(microseconds: float | None) -> str:
    return figures.duration(None if microseconds is None else microseconds / 1_000_000)


def moment(microseconds: int, now: float) -> str:
    return terminal.local_time(microseconds / 1_000_000, now)
