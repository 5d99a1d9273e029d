"""A report as PDF on A4, by reportlab: a summary first, charts that are readable in black and white, tables over many pages.

Fonts: DejaVu (fonts-dejavu-core), which has Latin, Greek, Cyrillic, Hebrew, Arabic and most signs. Missing characters are printed
as □, and right-to-left words in visual order; no name can break the page.
"""

import io
import re
import unicodedata
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from livekeep.core.errors import ConfigError
from livekeep.core.text import shown
from livekeep.record import figures
from livekeep.record.reports import charts, headlines
from livekeep.record.reports.content import Report
from livekeep.record.reports.sections import sections
from livekeep.record.reports.table import Section
from livekeep.system import terminal

FOLDER = "/usr/share/fonts/truetype/dejavu"
PLAIN, BOLD, MONO = "DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono"
MARGIN = 18 * mm
PADDING = 8
WIDTH = A4[0] - 2 * MARGIN
INK, QUIET, RULE, TINT, ACCENT, BAD = (
    colors.HexColor(value) for value in ("#1c2128", "#5b6470", "#c9ced6", "#eef3fb", "#2f5fa8", "#a8201a")
)
SUBSTITUTE = "□"
LEFTWARD = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
RIGHT_TO_LEFT = re.compile(f"[{LEFTWARD}](?:[ {LEFTWARD}]*[{LEFTWARD}])?")


def style(name: str, size: float, **more: object) -> ParagraphStyle:
    return ParagraphStyle(name, **{"fontName": PLAIN, "fontSize": size, "leading": size * 1.35, "textColor": INK, **more})


TITLE = style("title", 20, fontName=BOLD, leading=24)
SUBTITLE = style("subtitle", 11, textColor=QUIET)
FIRST = style("first", 12, fontName=BOLD)
BODY = style("body", 9.5)
ADVICE = style("advice", 9.5, leftIndent=14, firstLineIndent=-14, spaceAfter=3)
COMMAND = style("command", 8.5, fontName=MONO, leftIndent=14, textColor=QUIET, spaceAfter=4)
HEADING = style("heading", 13, fontName=BOLD, spaceBefore=14, spaceAfter=5)
NOTE = style("note", 7.5, textColor=QUIET, spaceBefore=3)
CELL = style("cell", 7.5, leading=9.5, splitLongWords=True)
BAD_CELL = style("bad", 7.5, leading=9.5, fontName=BOLD, textColor=BAD)
NUMBER = style("number", 7.5, leading=9.5, alignment=TA_RIGHT)
BAD_NUMBER = style("bad-number", 7.5, leading=9.5, alignment=TA_RIGHT, fontName=BOLD, textColor=BAD)
HEAD = style("head", 7, leading=8.5, textColor=QUIET)
HEAD_NUMBER = style("head-number", 7, leading=8.5, textColor=QUIET, alignment=TA_RIGHT)


def render(report: Report) -> bytes:
    """Raises `ConfigError` when the fonts are missing."""
    known = pdfmetrics.getRegisteredFontNames()
    for name in (PLAIN, BOLD, MONO):
        try:
            if name not in known:
                pdfmetrics.registerFont(TTFont(name, f"{FOLDER}/{name}.ttf"))
        except TTFError as error:
            raise ConfigError([f"{FOLDER}/{name}.ttf: cannot be read; run: sudo apt install fonts-dejavu-core"]) from error
    pdfmetrics.registerFontFamily(PLAIN, normal=PLAIN, bold=BOLD, italic=PLAIN, boldItalic=BOLD)
    stream = io.BytesIO()
    title = f"{report.box_name}: {report.period.label}"
    document = BaseDocTemplate(
        stream, pagesize=A4, title=printable(title), author="livekeep", creator="livekeep", lang="en", pageCompression=1
    )
    frame = Frame(MARGIN, MARGIN, WIDTH, A4[1] - 2 * MARGIN - 6 * mm, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate("page", [frame]))
    document.build(story(report), canvasmaker=lambda *given, **named: NumberedCanvas(title, report.made_at, *given, **named))
    return stream.getvalue()


def printable(text: str) -> str:
    """`text` on one line, in visual order, without characters that the font lacks."""
    glyphs = pdfmetrics.getFont(PLAIN).face.charToGlyph
    one_line = unicodedata.normalize("NFC", shown(text))
    known = "".join(
        letter if ord(letter) in glyphs else "" if unicodedata.category(letter) in ("Mn", "Cf") else SUBSTITUTE
        for letter in one_line
    )
    return RIGHT_TO_LEFT.sub(lambda match: match[0][::-1], known)


def safe(text: str) -> str:
    """Escaped for a Paragraph, which parses XML."""
    return escape(printable(text))


class NumberedCanvas(Canvas):  # type: ignore[misc]  # reportlab has no types
    """Writes headers and footers when all pages exist, so that the footer has their number."""

    def __init__(self, title: str, made_at: float, *given: object, **named: object) -> None:
        super().__init__(*given, **named)
        self._title, self._made_at = printable(terminal.shortened(title, 90)), made_at
        self._pages: list[dict[str, object]] = []

    def showPage(self) -> None:  # noqa: N802 – reportlab's name
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for number, page in enumerate(self._pages, 1):
            self.__dict__.update(page)
            self.draw_edges(number)
            super().showPage()
        super().save()

    def draw_edges(self, number: int) -> None:
        self.setFont(PLAIN, 7.5)
        self.setFillColor(QUIET)
        if number > 1:
            self.drawString(MARGIN, A4[1] - 13 * mm, self._title)
            self.setStrokeColor(RULE)
            self.line(MARGIN, A4[1] - 15 * mm, A4[0] - MARGIN, A4[1] - 15 * mm)
        self.drawString(MARGIN, 10 * mm, f"Made by livekeep, {figures.moment(self._made_at)}")
        self.drawRightString(A4[0] - MARGIN, 10 * mm, f"{number} / {len(self._pages)}")


def story(report: Report) -> list[Flowable]:
    def heading(text: str) -> Paragraph:
        return Paragraph(safe(text), HEADING)

    parts: list[Flowable] = [
        Paragraph(safe(report.box_name), TITLE),
        Paragraph(safe(f"{report.title} · {report.period.label}"), SUBTITLE),
    ]
    parts += [Paragraph(f"Only {safe(report.restriction)}.", SUBTITLE)] if report.restriction else []
    parts += [Paragraph(f"The record begins at {figures.moment(report.began)}.", SUBTITLE)] if report.began else []
    parts += [Spacer(0, 4 * mm), summary(report)]
    advice: list[Flowable] = []
    for number, entry in enumerate(headlines.advice_of(report), 1):
        advice.append(Paragraph(f"{number}. {safe(entry.text)}", ADVICE))
        advice += [Paragraph(safe(entry.command), COMMAND)] if entry.command else []
    parts += [KeepTogether([heading("What needs attention first"), *advice])] if advice else []
    if drawings := charts.charts(report, WIDTH, printable):
        parts += [heading("At a glance"), *drawings]
    for section in sections(report):
        shorter = section.for_people()
        parts += [CondPageBreak(35 * mm), heading(shorter.title), table(shorter)]
        parts += [Paragraph(safe(shorter.note), NOTE)] if shorter.note else []
    return parts


def summary(report: Report) -> Table:
    first, *others = headlines.headlines(report)
    lines = [Paragraph(f"{safe(first)}.", FIRST), *(Paragraph(f"{safe(line)}.", BODY) for line in others)]
    box = Table([[lines]], colWidths=[WIDTH])
    box.setStyle(
        [
            ("BACKGROUND", (0, 0), (-1, -1), TINT),
            ("LINEBEFORE", (0, 0), (0, -1), 3, ACCENT),
            ("LEFTPADDING", (0, 0), (-1, -1), 12),
            ("TOPPADDING", (0, 0), (-1, -1), 8),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 9),
        ]
    )
    return box


def table(section: Section) -> Table:
    heads = [Paragraph(safe(column.heading), HEAD_NUMBER if column.is_number else HEAD) for column in section.columns]
    rows: list[list[Paragraph]] = []
    for row in section.rows:
        rows.append([])
        for column, cell in zip(section.columns, row, strict=True):
            text, styles = safe(cell.text), (CELL, BAD_CELL)
            if column.is_number:
                text, styles = text.replace(" ", "\u00a0"), (NUMBER, BAD_NUMBER)
            rows[-1].append(Paragraph(text, styles[cell.is_bad]))
    drawn = Table([heads, *rows], colWidths=widths(section), repeatRows=1)
    drawn.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), PADDING),
            ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 2.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, QUIET),
            ("LINEBELOW", (0, 1), (-1, -1), 0.3, RULE),
        ]
    )
    return drawn


def widths(section: Section) -> list[float]:
    """Numbers get the width that they need, texts share the rest."""
    needed = {}
    for place, column in enumerate(section.columns):
        if column.is_number:
            texts = [(column.heading, PLAIN, HEAD.fontSize)]
            cells = [row[place] for row in section.rows]
            texts += [(printable(cell.text), BOLD if cell.is_bad else PLAIN, NUMBER.fontSize) for cell in cells]
            needed[place] = PADDING + 1 + max(float(pdfmetrics.stringWidth(*text)) for text in texts)
    left = max(WIDTH - sum(needed.values()), WIDTH / 7)
    whole = sum(column.width for column in section.columns if not column.is_number) or 1
    wanted = [needed.get(place, left * column.width / whole) for place, column in enumerate(section.columns)]
    # A table of numbers only is spread over the page.
    return [width * WIDTH / sum(wanted) for width in wanted]
