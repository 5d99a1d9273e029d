"""The charts of a report's PDF. They are readable in black and white: shape and brightness differ, not only colour."""

import math
from collections.abc import Callable

from reportlab.graphics.shapes import Drawing, Group, Line, PolyLine, Rect, String
from reportlab.lib import colors

from livekeep.record import figures
from livekeep.record.reports.content import Curve, Gauge, Report
from livekeep.record.reports.period import date_of

PLAIN, BOLD = "DejaVuSans", "DejaVuSans-Bold"
INK, QUIET, GRID, BAND, LIGHT, DARK = (
    colors.HexColor(value) for value in ("#1c2128", "#5b6470", "#dfe3e8", "#e9eef6", "#9db9de", "#7a1712")
)
LINE = colors.HexColor("#2f5fa8")
SMALL = 6.5
GAP = 14
HEIGHT = 96
STEPS = (1, 2, 4, 6, 8, 10)
LEFT, BOTTOM, TOP = 42, 14, 18
"""Margins for the numbers, the dates and the title around a plot."""


def charts(report: Report, width: float, printable: Callable[[str], str]) -> list[Drawing]:
    """Daily jobs first, then functions, two side by side."""
    half = (width - GAP) / 2
    plots = [bars(report, half)] if len(report.days) > 1 else []
    plots += [curve(entry, report, half, printable) for entry in report.curves]
    plots += [gauge(entry, report, half) for entry in report.gauges]
    rows = []
    for place in range(0, len(plots), 2):
        drawing = Drawing(width, HEIGHT + 8)
        for column, plot in enumerate(plots[place : place + 2]):
            plot.translate(column * (half + GAP), 4)
            drawing.add(plot)
        rows.append(drawing)
    return rows


def label(x: float, y: float, text: str, anchor: str = "start", bold: bool = False, size: float = SMALL) -> String:
    colour = INK if bold else QUIET
    return String(x, y, text, fontName=BOLD if bold else PLAIN, fontSize=size, fillColor=colour, textAnchor=anchor)


def frame(title: str, width: float, top: float, value: Callable[[float], str]) -> Group:
    """Title, and three lines across with their numbers, the highest at `top`."""
    group = Group(label(0, HEIGHT - 8, title, bold=True, size=7.5))
    for step in range(3):
        y = BOTTOM + (HEIGHT - TOP - BOTTOM) * step / 2
        group.add(Line(LEFT, y, width, y, strokeColor=QUIET if step == 0 else GRID, strokeWidth=0.5))
        group.add(label(LEFT - 4, y - 2, value(top * step / 2), "end"))
    return group


def bars(report: Report, width: float) -> Group:
    """Runs of jobs: failed ones dark at the bottom, successful ones light above."""
    top = ceiling(max(2, *(day.succeeded + day.failed for day in report.days)))
    group = frame("Runs of jobs (dark: failed)", width, top, figures.count)
    height, place = HEIGHT - TOP - BOTTOM, (width - LEFT) / len(report.days)
    every = math.ceil(len(report.days) / 8)
    for number, day in enumerate(report.days):
        x, bar = LEFT + place * (number + 0.15), place * 0.7
        failed, succeeded = height * day.failed / top, height * day.succeeded / top
        group.add(Rect(x, BOTTOM, bar, failed, fillColor=DARK, strokeColor=None))
        group.add(Rect(x, BOTTOM + failed, bar, succeeded, fillColor=LIGHT, strokeColor=None))
        if number % every == 0:
            group.add(label(x + bar / 2, 4, day_name(day.begin, len(report.days)), "middle"))
        if day.failed and len(report.days) <= 14:
            group.add(label(x + bar / 2, BOTTOM + failed + succeeded + 2, figures.count(day.failed), "middle", bold=True))
    return group


def day_name(moment: float, days: int) -> str:
    date = date_of(moment)
    return f"{date:%a}" if days <= 7 else f"{date.day} {date:%b}"


def curve(entry: Curve, report: Report, width: float, printable: Callable[[str], str]) -> Group:
    """A function's metric day by day; a band marks the days of the report."""
    is_time = report.metric not in ("count", "failures")

    def axis_length(seconds: float) -> str:
        """Without the zeros of a table: "8 min", not "8 min 00 s"."""
        text = figures.duration(seconds)
        number, _, rest = text.partition(" ")
        return text.partition(" 00 ")[0] if " " in rest else f"{figures.digits(float(number))} {rest}"

    unit = axis_length if is_time else figures.count
    top = ceiling(max(0 if is_time else 2, *(value for _moment, value in entry.points)), is_time)
    # The end that fits the width, since names of functions differ there.
    name, most = printable(entry.function), int((width - 40) / (7.5 * 0.62))
    if len(name) > most:
        name = f"…{name[len(name) - most + 1 :]}"
    group = frame(f"{name}, {report.metric or 'p50'}", width, top, unit)
    first, last = entry.points[0][0], max(report.period.end, entry.points[-1][0] + 1)
    height = HEIGHT - TOP - BOTTOM

    def x_of(moment: float) -> float:
        return LEFT + (width - LEFT) * min(max((moment - first) / (last - first), 0), 1)

    left, right = x_of(report.period.begin), x_of(report.period.end)
    group.contents.insert(0, Rect(left, BOTTOM, right - left, height, fillColor=BAND, strokeColor=None))
    places = [(x_of(moment + 43200), BOTTOM + height * value / top) for moment, value in entry.points]
    group.add(PolyLine([number for place in places for number in place], strokeColor=LINE, strokeWidth=1.2))
    for x, y in places:
        group.add(Rect(x - 1.2, y - 1.2, 2.4, 2.4, fillColor=LINE, strokeColor=None))
    group.add(label(LEFT, 4, day_name(first, 99)))
    group.add(label(width, 4, day_name(last - 1, 99), "end"))
    return group


def gauge(entry: Gauge, report: Report, width: float) -> Group:
    """Measured values over the period; a gap where the machine was off."""
    top = ceiling(max(value for _moment, value in entry.points))
    group = frame(entry.title, width, top, lambda value: f"{figures.digits(value)} {entry.unit}")
    begin, end, height = report.period.begin, report.period.end, HEIGHT - TOP - BOTTOM
    usual = (entry.points[-1][0] - entry.points[0][0]) / (len(entry.points) - 1)
    places: list[float] = []
    previous = entry.points[0][0]
    for moment, value in entry.points:
        if moment - previous > 3 * usual:
            places = draw(group, places)
        places += [LEFT + (width - LEFT) * (moment - begin) / (end - begin), BOTTOM + height * max(value, 0) / top]
        previous = moment
    draw(group, places)
    group.add(label(LEFT, 4, day_name(begin, 99)))
    group.add(label(width, 4, day_name(end - 1, 99), "end"))
    return group


def draw(group: Group, places: list[float]) -> list[float]:
    """Draw a line through `places`; return an empty list for the next line."""
    if len(places) > 2:
        group.add(PolyLine(places, strokeColor=LINE, strokeWidth=0.9))
    return []


def ceiling(value: float, is_time: bool = False) -> float:
    """The next round number whose half is also round; for a duration, in its unit."""
    if value <= 0:
        return 1.0
    if is_time and value > 60:
        unit = next(size for size, most in ((60.0, 3600.0), (3600.0, 172800.0), (86400.0, math.inf)) if value <= most)
        return ceiling(value / unit) * unit
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in STEPS if step * size >= value * 0.9999)
