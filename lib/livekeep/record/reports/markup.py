"""A report as HTML: for mail or a browser, self-contained, without scripts, light or dark.

Some mail programs only support styles on elements: these have the necessary ones, and the style sheet adds to them.
"""

from html import escape

from livekeep.core.text import shown
from livekeep.record import figures
from livekeep.record.reports import headlines
from livekeep.record.reports.content import Report
from livekeep.record.reports.sections import sections
from livekeep.record.reports.table import Section

SHEET = """
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:5px 10px 5px 0;border-bottom:1px solid #e3e6ea;vertical-align:top;overflow-wrap:anywhere}
th{color:#5b6470;font-weight:600;white-space:nowrap}
td[align=right]{white-space:nowrap;font-variant-numeric:tabular-nums}
:root{color-scheme:light dark}
@media (prefers-color-scheme:dark){
body,.card{background:#14171c !important;color:#e6e8eb !important}
.card,th,td{border-color:#343a43 !important}
th,.quiet{color:#a3abb7 !important}
td.bad{color:#ff8f85 !important}
.box{background:#1d222a !important;border-color:#5f8dd3 !important}
code{background:#242a33 !important}
}
@media (max-width:600px){.card{padding:14px !important}.wide{overflow-x:auto}}
"""
FONT = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"
BODY = f"margin:0;padding:0;background:#f3f4f6;color:#1c2128;{FONT};font-size:15px;line-height:1.5"
CARD = "max-width:900px;margin:0 auto;padding:28px;background:#ffffff"
HEADING = "font-size:18px;line-height:1.3;margin:32px 0 8px"
BOX = "background:#eef3fb;border-left:4px solid #2f5fa8;padding:12px 18px;margin:16px 0"
QUIET = "color:#5b6470;font-size:13px;margin:6px 0 0"
CODE = "background:#eceef1;padding:1px 5px;border-radius:3px;font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:13px"
BAD = "color:#a8201a;font-weight:600"


def render(report: Report) -> str:
    title = f"{report.box_name}: {report.period.label}"
    body = [head(report), summary(report), *(block(section.for_people()) for section in sections(report))]
    body.append(f'<p class="quiet" style="{QUIET};margin-top:28px">Made by livekeep, {figures.moment(report.made_at)}.</p>')
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{safe(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<style>{SHEET}</style></head>\n<body style="{BODY}"><main class="card" style="{CARD}">\n'
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def safe(text: str) -> str:
    return escape(shown(text))


def head(report: Report) -> str:
    lines = [f'<h1 style="font-size:24px;line-height:1.25;margin:0">{safe(report.box_name)}</h1>']
    lines.append(f'<p class="quiet" style="{QUIET};font-size:15px">{safe(report.title)} · {safe(report.period.label)}</p>')
    if words := report.restriction:
        lines.append(f'<p class="quiet" style="{QUIET}">Only {safe(words)}.</p>')
    if report.began:
        lines.append(f'<p class="quiet" style="{QUIET}">The record begins at {figures.moment(report.began)}.</p>')
    return "\n".join(lines)


def summary(report: Report) -> str:
    first, *others = headlines.headlines(report)
    lines = [f'<p style="margin:0;font-size:18px;font-weight:600">{safe(first)}.</p>']
    lines += [f'<p style="margin:2px 0 0">{safe(line)}.</p>' for line in others]
    text = f'<div class="box" style="{BOX}">{"".join(lines)}</div>'
    advice = headlines.advice_of(report)
    if not advice:
        return text
    entries = [
        f'<li style="margin:0 0 6px">{safe(entry.text)}'
        + (f'<br><code style="{CODE}">{safe(entry.command)}</code>' if entry.command else "")
        + "</li>"
        for entry in advice
    ]
    title = f'<h2 style="{HEADING}">What needs attention first</h2>'
    return f'{text}\n{title}\n<ol style="margin:0;padding-left:22px">{"".join(entries)}</ol>'


def block(section: Section) -> str:
    sides = ["right" if column.is_number else "left" for column in section.columns]
    heads = rows = ""
    for column, side in zip(section.columns, sides, strict=True):
        # On a phone a table scrolls rather than shrinks.
        width = "" if column.is_number else f' style="min-width:{column.width * 4.2:.0f}em"'
        heads += f'<th scope="col" align="{side}"{width}>{safe(column.heading)}</th>'
    for row in section.rows:
        cells = ""
        for cell, side in zip(row, sides, strict=True):
            mark = f' class="bad" style="{BAD}"' if cell.is_bad else ""
            cells += f'<td align="{side}"{mark}>{safe(cell.text)}</td>'
        rows += f"<tr>{cells}</tr>\n"
    note = f'<p class="quiet" style="{QUIET}">{safe(section.note)}</p>' if section.note else ""
    return (
        f'<section><h2 style="{HEADING}">{safe(section.title)}</h2>\n'
        f'<div class="wide" style="overflow-x:auto"><table cellpadding="4" width="100%">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>{note}</section>"
    )
