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
        result: dict[str, Any] = {}
        for name in names:
            entry = getattr(value, name)
            if name in MOMENTS:
                result[name] = None if entry is None else iso(entry)
            elif name in LENGTHS and isinstance(entry, int | float | None):
                result[f"{name}_seconds"] = None if entry is None else entry / 1_000_000
            else:
                result[name] = document(entry)
        return result
    if isinstance(value, list | tuple):
        return [document(entry) for entry in value]
    return value


def duration(microseconds: float | None) -> str:
    return figures.duration(None if microseconds is None else microseconds / 1_000_000)


def moment(microseconds: int, now: float) -> str:
    return terminal.local_time(microseconds / 1_000_000, now)
