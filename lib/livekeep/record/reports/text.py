"""A report as plain text, for mails and terminals."""

import textwrap

from livekeep.core.text import shown
from livekeep.record import figures
from livekeep.record.reports import headlines
from livekeep.record.reports.content import Report
from livekeep.record.reports.sections import sections
from livekeep.record.reports.table import Section
from livekeep.system import terminal
from livekeep.system.terminal import width

WIDTH = 78
WIDEST_CELL = 44


def render(report: Report) -> str:
    summary = [f"{shown(line)}." for line in headlines.headlines(report)]
    wrapped = [textwrap.fill(line, WIDTH, initial_indent="* ", subsequent_indent="  ") for line in summary]
    parts = [head(report), "\n".join(wrapped)]
    lines = []
    for number, entry in enumerate(headlines.advice_of(report), 1):
        text = textwrap.fill(shown(entry.text), WIDTH - 3, subsequent_indent="   ")
        lines.append(f"{number}. {text}" + (f"\n   {entry.command}" if entry.command else ""))
    parts += [titled("What needs attention first", "\n".join(lines))] if lines else []
    parts += [titled(section.title, table(section.for_people())) for section in sections(report)]
    return "\n\n".join([*parts, f"Made by livekeep on {shown(report.box_name)}, {figures.moment(report.made_at)}."]) + "\n"


def head(report: Report) -> str:
    title = f"{report.box_name}: {report.period.label}"
    lines = [shown(title), "=" * width(shown(title))]
    lines += [f"Only {shown(report.restriction)}."] if report.restriction else []
    lines += [f"The record begins at {figures.moment(report.began)}."] if report.began else []
    return "\n".join(lines)


def titled(title: str, text: str) -> str:
    return f"{title}\n{'-' * len(title)}\n{text}"


def table(section: Section) -> str:
    heads = [column.heading for column in section.columns]
    rows = [[terminal.shortened(shown(cell.text), WIDEST_CELL) for cell in row] for row in section.rows]
    numbers = [place for place, column in enumerate(section.columns) if column.is_number]
    text = terminal.table([heads, *rows], numbers=numbers)
    return "\n".join([text, *([textwrap.fill(section.note, WIDTH)] if section.note else [])])
