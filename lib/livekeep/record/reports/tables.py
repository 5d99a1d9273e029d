"""A report for programs: one table per kind, with plain values, as CSV or JSON."""

import csv
import io

from livekeep.record import figures
from livekeep.record.reports import headlines
from livekeep.record.reports.content import Report
from livekeep.record.reports.sections import sections
from livekeep.record.reports.table import Cell, Section
from livekeep.record.store.export import guarded
from livekeep.system import terminal


def render(report: Report) -> str:
    """All tables in one file: the name of each on a separate line, a blank line between them."""
    head = written([["report", "begin", "end", "filter"], ["", *about(report)]])
    return "\r\n".join([head, *(f"{section.name}\r\n{table(section)}" for section in sections(report))])


def render_json(report: Report) -> str:
    """The tables by their names, each row an object."""
    begin, end, filter_ = about(report)
    document: dict[str, object] = {"begin": begin, "end": end, "filter": filter_, "headlines": headlines.headlines(report)}
    for section in sections(report):
        names = [column.name for column in section.columns]
        document[section.name] = [dict(zip(names, (cell.value for cell in row), strict=True)) for row in section.rows]
    return terminal.json_text(document) + "\n"


def about(report: Report) -> list[str]:
    return [figures.iso(report.period.begin), figures.iso(report.period.end), guarded(report.restriction)]


def table(section: Section) -> str:
    return written([[column.name for column in section.columns], *([value(cell) for cell in row] for row in section.rows)])


def value(cell: Cell) -> str:
    if isinstance(cell.value, str):
        return guarded(cell.value)
    if isinstance(cell.value, float):
        return f"{cell.value:.6f}".rstrip("0").rstrip(".")
    return "" if cell.value is None else str(cell.value)


def written(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return stream.getvalue()
