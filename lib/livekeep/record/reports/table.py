"""A table of a report: its columns, its cells with text and value, and helpers that write them. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from livekeep.record import figures
from livekeep.system import terminal

Value = str | int | float | None
LONGEST_SENTENCE, LONGEST_NAME = 160, 60
WIDTH_OF_SENTENCES = 4.0
MOST_ROWS = 40
"""In a table for people; CSV has all rows."""


@dataclass(frozen=True)
class Cell:
    text: str
    value: Value = None
    """For CSV: seconds, bytes, shares."""
    is_bad: bool = False


@dataclass(frozen=True)
class Column:
    heading: str
    name: str
    """For CSV, with its unit."""
    width: float = 1.0
    """Relative to the others."""
    is_number: bool = True
    is_optional: bool = False
    """Hidden from people when it has only empty cells or zeros."""
    is_shared: bool = False
    """Hidden from people when all rows have the same value."""

    @property
    def longest(self) -> int:
        """The longest text for people, in characters."""
        return LONGEST_SENTENCE if self.width >= WIDTH_OF_SENTENCES else LONGEST_NAME


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def for_people(self) -> "Section":
        """Without uninformative columns, and limited to a readable number of rows."""
        kept = []
        for place, column in enumerate(self.columns):
            values = {row[place].value for row in self.rows}
            is_blank = column.is_optional and values <= {0, None, ""}
            if not is_blank and not (column.is_shared and len(values) < 2):
                kept.append(place)
        more = len(self.rows) - MOST_ROWS
        notes = [f"… and {figures.count(more)} more."] if more > 0 else []
        columns = tuple(self.columns[place] for place in kept)
        rows: list[tuple[Cell, ...]] = []
        for row in self.rows[:MOST_ROWS]:
            cells = zip(columns, (row[place] for place in kept), strict=True)
            rows.append(tuple(replace(cell, text=terminal.shortened(cell.text, column.longest)) for column, cell in cells))
        return replace(self, columns=columns, rows=tuple(rows), note=" ".join([*notes, self.note]).strip())


Entry = TypeVar("Entry")


def section(
    name: str, title: str, entries: Iterable[Entry], columns: Sequence[tuple[Column, Callable[[Entry], Cell]]], note: str = ""
) -> Section:
    """A row for each of `entries`; each column comes with the function that makes its cell."""
    rows = tuple(tuple(cell(entry) for _column, cell in columns) for entry in entries)
    return Section(name, title, tuple(column for column, _cell in columns), rows, note)


def words(text: str, is_bad: bool = False) -> Cell:
    return Cell(text, text, is_bad)


def number(value: float | None, is_bad: bool = False) -> Cell:
    return Cell(figures.count(value), value, is_bad)


def bad_count(value: int) -> Cell:
    """A count that should be zero."""
    return Cell(figures.count(value), value, value > 0)


def length(value: float | None) -> Cell:
    return Cell(figures.duration(value), value)


def share(value: float | None) -> Cell:
    return Cell(figures.percent(value), value)


def size(value: float | None) -> Cell:
    return Cell(figures.size(value), value)


def change(value: float | None) -> Cell:
    """Of a duration: an increase by more than 15 % is highlighted."""
    return Cell(figures.change(value), value, value is not None and value > 0.15)


def moment(value: float) -> Cell:
    return Cell(figures.moment(value), figures.iso(value))


def text_column(heading: str, name: str, width: float = 2.0, is_shared: bool = False) -> Column:
    return Column(heading, name, width, is_number=False, is_shared=is_shared)


MACHINE = text_column("machine", "machine", 1.4, is_shared=True)
