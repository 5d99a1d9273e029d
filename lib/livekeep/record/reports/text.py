"""A report as plain text, for mails and terminals."""

import textwrap

from livekeep.core.text import shown
from livekeep.record import figures
from livekeep.record.reports import headlines
from livekeep.record.reports.content import Report
from livekeep.record.reports.headlines import Advice, shortened
from livekeep.record.reports.sections import sections
from livekeep.record.reports.table import Section
from livekeep.system.terminal import width

WIDTH = 78
WIDEST_CELL = 44


def render(report: Report) -> str:
    parts = [head(report), "\n".join(f"* {line}" for line in wrapped(headlines.headlines(report)))]
    if advice := headlines.advice_of(report):
        lines = [numbered(number, entry) for number, entry in enumerate(advice, 1)]
        parts.append(titled("What to look at first", "\n".join(lines)))
    parts += [titled(section.title, table(section.for_people())) for section in sections(report)]
    return "\n\n".join([*parts, f"Made by livekeep on {shown(report.box_name)}, {figures.moment(report.made_at)}."]) + "\n"


def head(report: Report) -> str:
    title = f"{report.box_name}: {report.period.label}"
    lines = [shown(title), "=" * width(shown(title))]
    lines += [f"Only {shown(report.restriction)}."] if report.restriction else []
    lines += [f"The record begins at {figures.moment(report.began)}."] if report.began else []
    return "\n".join(lines)


def wrapped(lines: list[str]) -> list[str]:
    return [textwrap.fill(f"{shown(line)}.", WIDTH - 2, subsequent_indent="  ") for line in lines]


def numbered(number: int, advice: Advice) -> str:
    text = textwrap.fill(shown(advice.text), WIDTH - 3, subsequent_indent="   ")
    return f"{number}. {text}" + (f"\n   {advice.command}" if advice.command else "")


def titled(title: str, text: str) -> str:
    return f"{title}\n{'-' * len(title)}\n{text}"


def table(section: Section) -> str:
    heads = [column.heading for column in section.columns]
    rows = [[shortened(shown(cell.text), WIDEST_CELL) for cell in row] for row in section.rows]
    widths = [max(width(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    is_number = [column.is_number for column in section.columns]
    lines = [line(row, widths, is_number) for row in [heads, *rows]]
    return "\n".join(lines + ([textwrap.fill(section.note, WIDTH)] if section.note else []))


def line(row: list[str], widths: list[int], is_number: list[bool]) -> str:
    padded = []
    for text, wide, right in zip(row, widths, is_number, strict=True):
        blanks = " " * (wide - width(text))
        padded.append(blanks + text if right else text + blanks)
    return "  ".join(padded).rstrip()
