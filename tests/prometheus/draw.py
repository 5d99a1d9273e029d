"""Draws panels of a Grafana dashboard with figures that Prometheus gave, much as Grafana's dark theme shows them.

It takes the panels' places, titles, units, thresholds, mappings and legends from the dashboard's own JSON. It knows the kinds of
panels in KINDS; how Grafana places ticks, rounds figures and shades differs in detail.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEADING, CELL, GAP = 1280, 52, 28, 8
"""The picture's width and its heading's height, the height of one unit of the grid, and what lies between panels; pixels."""
COLUMNS = 24
SCALE = 2
"""Drawn so many times as large, then made smaller: Pillow's lines have no smooth edges."""
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans{}.ttf"

PAGE, SURFACE, EDGE, GRID = "#111217", "#181b1f", "#2a2c33", "#25272d"
TEXT, PALE = "#d5d5e4", "#9596a3"
COLOURS = {
    "green": "#73bf69", "yellow": "#fade2a", "red": "#f2495c", "orange": "#ff9830", "blue": "#5794f2", "purple": "#b877d9",
    "transparent": SURFACE,
}  # fmt: skip
PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2")

SECONDS = ((1e-6, "µs"), (1e-3, "ms"), (1, "s"), (60, "mins"), (3600, "hours"), (86400, "days"))
UNITS = {
    "s": SECONDS,
    "bps": ((1, "b/s"), (1e3, "kb/s"), (1e6, "Mb/s"), (1e9, "Gb/s")),
    "bytes": ((1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB")),
    "hertz": ((1, "Hz"), (1e3, "kHz"), (1e6, "MHz"), (1e9, "GHz")),
    "percentunit": ((0.01, "%"),),
    "celsius": ((1, "°C"),),
    "": ((1, ""), (1e3, "K"), (1e6, "Mil")),
}
"""What the figure is divided by, from which size on, and the sign behind it."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Series:
    """One series of an answer: its name in the legend, its labels, and (Unix time, value) in the order of time."""

    name: str
    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Span:
    """The time that is drawn; Unix times, and the seconds between two points of a series without a gap."""

    begin: float
    end: float
    step: float


def in_unit(value: float, unit: str = "", decimals: int | None = None) -> str:
    """A figure for people: `in_unit(2.1e6, "bps")` is "2.1 Mb/s". Raises `KeyError` for a unit that is not in UNITS."""
    sizes = UNITS[unit]
    size, sign = next(((size, sign) for size, sign in reversed(sizes) if abs(value) >= size), sizes[0])
    if value == 0:
        size, sign = next(((size, sign) for size, sign in sizes if size == 1), sizes[0])
    scaled = value / size
    text = f"{scaled:.{decimals}f}" if decimals is not None else f"{float(f'{scaled:.3g}'):.10g}"
    if size >= 60 and unit == "s" and float(text) == 1:
        sign = sign.removesuffix("s")
    return f"{text}{'' if sign in ('', '%') else ' '}{sign}"


def colour(name: str) -> str:
    """A colour as Pillow takes it."""
    return COLOURS.get(name, name)


def threshold_colour(value: float, steps: Sequence[Mapping[str, Any]]) -> str:
    """The colour of the highest threshold that `value` reaches; the first one has no lower end."""
    return colour([step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1])


def shown(value: float | str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """A value's text and colour by the mappings, the thresholds and the unit of a panel's defaults or of an override."""
    for mapping in settings.get("mappings", []):
        found = mapping["options"].get(value if isinstance(value, str) else f"{value:g}")
        if found:
            return found.get("text", str(value)), colour(found["color"])
    if isinstance(value, str):
        return value, SURFACE
    text = in_unit(value, settings.get("unit", ""), settings.get("decimals"))
    return text, threshold_colour(value, settings["thresholds"]["steps"])


def ticks(low: float, high: float, unit: str, most: int = 4) -> list[float]:
    """Round figures from `low` on to the first one that is not below `high`; about `most` of them."""
    rough = (high - low) / most or 1
    steps = [digit * 10.0**power for power in range(-9, 12) for digit in (1, 2, 5)]
    if unit == "s":
        steps = sorted([step for step in steps if step < 15] + [15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400])
    step = next(step for step in steps if step >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    return [number * step for number in range(first, max(math.ceil(high / step - 1e-9), first + 1) + 1)]


def runs(series: Series, span: Span) -> list[tuple[float, float, float]]:
    """The series as (from, until, value), equal neighbours as one; a gap stays a gap."""
    found: list[tuple[float, float, float]] = []
    for at, value in series.points:
        until = min(at + span.step, span.end)
        if found and found[-1][2] == value and at - found[-1][1] < span.step / 2:
            found[-1] = (found[-1][0], until, value)
        elif until > at:
            found.append((at, until, value))
    return found


def parts(series: Series, span: Span) -> Iterator[list[tuple[float, float]]]:
    """The pieces of the series between its gaps."""
    piece: list[tuple[float, float]] = []
    for point in series.points:
        if piece and point[0] - piece[-1][0] > 1.5 * span.step:
            yield piece
            piece = []
        piece.append(point)
    if piece:
        yield piece


def table(panel: Mapping[str, Any], rows: Iterable[Series]) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of a table's panel after its "organize": labels that are not left out, by their new names."""
    organize: Mapping[str, Any] = next(
        (change["options"] for change in panel.get("transformations", []) if change["id"] == "organize"), {}
    )
    left_out, names = organize.get("excludeByName", {}), organize.get("renameByName", {})
    found = [{names.get(key, key): text for key, text in row.labels.items() if not left_out.get(key)} for row in rows]
    heads = list(dict.fromkeys(head for row in found for head in row))
    return heads, [[row.get(head, "") for head in heads] for row in found]


def overridden(panel: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a panel's overrides say of the field of this name."""
    overrides = panel["fieldConfig"]["overrides"]
    return {item["id"]: item["value"] for one in overrides if one["matcher"]["options"] == name for item in one["properties"]}


@dataclass
class Canvas:
    """Where is drawn, in the pixels of the final picture."""

    image: Image.Image
    fonts: dict[tuple[int, str], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pen = ImageDraw.Draw(self.image, "RGBA")

    def font(self, size: int, face: str) -> Any:
        if (size, face) not in self.fonts:
            self.fonts[size, face] = ImageFont.truetype(FONT.format(face), size * SCALE)
        return self.fonts[size, face]

    def fill(self, box: Box, paint: str, edge: str | None = None, radius: float = 0) -> None:
        self.pen.rounded_rectangle([SCALE * side for side in box], radius * SCALE, fill=paint, outline=edge, width=SCALE)

    def line(self, points: Iterable[tuple[float, float]], paint: str, width: float = 1) -> None:
        scaled = [(SCALE * x, SCALE * y) for x, y in points]
        self.pen.line(scaled, fill=paint, width=round(SCALE * width), joint="curve")

    def area(self, points: Iterable[tuple[float, float]], paint: str) -> None:
        self.pen.polygon([(SCALE * x, SCALE * y) for x, y in points], fill=paint)

    def text(self, x: float, y: float, text: str, paint: str = TEXT, size: int = 13, anchor: str = "lm", face: str = "") -> None:
        """`anchor` as in Pillow: l, m or r, then m for the middle of the height."""
        self.pen.text((SCALE * x, SCALE * y), text, fill=paint, font=self.font(size, face), anchor=anchor)

    def width(self, text: str, size: int = 13, face: str = "") -> float:
        return float(self.font(size, face).getlength(text)) / SCALE


def legend(canvas: Canvas, x: float, y: float, entries: Iterable[tuple[str, str]]) -> None:
    for text, paint in entries:
        canvas.fill((x, y - 2, x + 14, y + 2), paint, radius=2)
        canvas.text(x + 20, y, text, PALE, 12)
        x += 20 + canvas.width(text, 12) + 18


def time_axis(canvas: Canvas, box: Box, span: Span) -> None:
    """Minutes under `box`, 60 pixels from each other or more, and their lines in it."""
    left, top, right, bottom = box
    every = 60 * math.ceil((span.end - span.begin) / (right - left))
    for at in range(math.ceil(span.begin / every) * every, int(span.end) + 1, every):
        x = left + (at - span.begin) / (span.end - span.begin) * (right - left)
        canvas.line([(x, top), (x, bottom)], GRID)
        if left + 14 < x < right - 14:
            canvas.text(x, bottom + 10, time.strftime("%H:%M", time.gmtime(at)), PALE, 12, "mm")


def draw_stat(canvas: Canvas, box: Box, panel: Mapping[str, Any], answer: Sequence[Series], _span: Span) -> None:
    left, top, right, bottom = box
    options = panel["options"]
    text, paint = shown(answer[0].points[-1][1], panel["fieldConfig"]["defaults"])
    if options["textMode"] == "name":
        text = answer[0].name
    ink = TEXT
    if options["colorMode"] == "background":
        canvas.fill(box, paint, radius=2)
        ink = "#ffffff" if paint not in (COLOURS["yellow"], COLOURS["green"], COLOURS["orange"]) else "#101014"
        canvas.text(left + 10, top + 16, panel["title"], ink, 14, face="-Bold")
    size = next((size for size in range(36, 14, -2) if canvas.width(text, size) < right - left - 24), 14)
    canvas.text((left + right) / 2, (top + bottom) / 2 + 11, text, ink, size, "mm")


def draw_timeline(canvas: Canvas, box: Box, panel: Mapping[str, Any], answer: Sequence[Series], span: Span) -> None:
    left, top, right, bottom = box
    settings = panel["fieldConfig"]["defaults"]
    names = 20 + max(canvas.width(one.name) for one in answer)
    plot = (left + names, top + 28, right - 10, bottom - 40)
    time_axis(canvas, plot, span)
    height = (plot[3] - plot[1]) / len(answer)
    seen: dict[str, str] = {}
    for row, one in enumerate(answer):
        y = plot[1] + row * height
        canvas.text(plot[0] - 10, y + height / 2, one.name, PALE, 13, "rm")
        for since, until, value in runs(one, span):
            text, paint = shown(value, settings)
            x, end = (plot[0] + (at - span.begin) / (span.end - span.begin) * (plot[2] - plot[0]) for at in (since, until))
            canvas.fill((x, y + 1, max(end - 1, x + 1), y + height - 1), f"{paint}d9")
            seen[text] = paint
            if end - x > canvas.width(text) + 12:
                canvas.text(x + 7, y + height / 2, text, "#101014")
    legend(canvas, left + 10, bottom - 11, seen.items())


def draw_lines(canvas: Canvas, box: Box, panel: Mapping[str, Any], answer: Sequence[Series], span: Span) -> None:
    left, top, right, bottom = box
    settings = panel["fieldConfig"]["defaults"]
    unit, lowest = settings.get("unit", ""), settings.get("min")
    values = [value for one in answer for _, value in one.points]
    marks = ticks(min(values) if lowest is None else lowest, settings.get("max") or max(values), unit)
    texts = [in_unit(mark, unit) for mark in marks]
    plot = (left + 18 + max(canvas.width(text, 12) for text in texts), top + 36, right - 14, bottom - 44)

    def place(at: float, value: float) -> tuple[float, float]:
        part = (value - marks[0]) / (marks[-1] - marks[0])
        return plot[0] + (at - span.begin) / (span.end - span.begin) * (plot[2] - plot[0]), plot[3] - part * (plot[3] - plot[1])

    time_axis(canvas, plot, span)
    for mark, text in zip(marks, texts, strict=True):
        y = place(span.begin, mark)[1]
        canvas.line([(plot[0], y), (plot[2], y)], GRID)
        canvas.text(plot[0] - 8, y, text, PALE, 12, "rm")
    floor = place(span.begin, max(0, marks[0]))[1]
    for number, one in enumerate(answer):
        paint = PALETTE[number % len(PALETTE)]
        for piece in parts(one, span):
            points = [place(at, value) for at, value in piece]
            if len(points) > 1:
                canvas.area([(points[0][0], floor), *points, (points[-1][0], floor)], f"{paint}1a")
                canvas.line(points, paint, 1.5)
    legend(canvas, left + 10, bottom - 12, [(one.name, PALETTE[number % len(PALETTE)]) for number, one in enumerate(answer)])


def draw_table(canvas: Canvas, box: Box, panel: Mapping[str, Any], answer: Sequence[Series], _span: Span) -> None:
    left, top, right, bottom = box
    heads, rows = table(panel, answer)
    changes = {head: overridden(panel, head) for head in heads}
    fixed = [changes[head].get("custom.width", 0) for head in heads]
    x, shared = left, (right - left - sum(fixed)) / max(fixed.count(0), 1)
    for column, head in enumerate(heads):
        width = fixed[column] or shared
        canvas.text(x + 10, top + 38, head, COLOURS["blue"], 13)
        for row, y in zip(rows, range(round(top) + 50, round(bottom) - 24, 26), strict=False):
            text, paint = shown(row[column], changes[head])
            if "custom.cellOptions" in changes[head]:
                canvas.fill((x, y, x + width - 8, y + 24), paint)
            canvas.text(x + 10, y + 12, text, "#101014" if paint != SURFACE else TEXT)
        x += width


KINDS = {"stat": draw_stat, "state-timeline": draw_timeline, "timeseries": draw_lines, "table": draw_table}


def place_of(panel: Mapping[str, Any]) -> Box:
    """Where the panel lies in the picture."""
    grid, column = panel["gridPos"], (WIDTH - GAP) / COLUMNS
    left, top = GAP + grid["x"] * column, HEADING + grid["y"] * CELL
    return left, top, left + grid["w"] * column - GAP, top + grid["h"] * CELL - GAP


def draw_panel(canvas: Canvas, panel: Mapping[str, Any], answer: Sequence[Series], span: Span) -> None:
    """One panel; one without figures says so, as in Grafana."""
    box = left, top, right, bottom = place_of(panel)
    if panel["type"] == "row":
        canvas.line([(left + 4, top + 8), (left + 9, top + 13), (left + 14, top + 8)], TEXT, 1.5)
        canvas.text(left + 22, top + 10, panel["title"], TEXT, 15, face="-Bold")
        return
    canvas.fill(box, SURFACE, EDGE, 2)
    canvas.text(left + 10, top + 16, panel["title"], TEXT, 14, face="-Bold")
    if any(one.points for one in answer):
        KINDS[panel["type"]](canvas, box, panel, answer, span)
    else:
        text = panel["fieldConfig"]["defaults"].get("noValue", "No data")
        canvas.text((left + right) / 2, (top + bottom) / 2 + 8, text, PALE, 15, "mm")


def draw(
    dashboard: Mapping[str, Any], answers: Mapping[int, Sequence[Series]], span: Span, variables: Mapping[str, str]
) -> Image.Image:
    """The panels that `answers` knows by their number, and the rows above them, under the dashboard's title and `variables`."""
    panels = [panel for panel in dashboard["panels"] if panel["id"] in answers]
    height = max(round(place_of(panel)[3]) for panel in panels) + GAP
    canvas = Canvas(Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAGE))
    canvas.text(GAP + 4, HEADING / 2, dashboard["title"], TEXT, 18, face="-Bold")
    x = GAP + 40 + canvas.width(dashboard["title"], 18, "-Bold")
    for label, value in variables.items():
        middle, end = x + canvas.width(label) + 20, x + canvas.width(label) + canvas.width(value) + 40
        canvas.fill((x, 11, end, HEADING - 11), SURFACE, EDGE, 2)
        canvas.text(x + 10, HEADING / 2, label, COLOURS["blue"])
        canvas.text(middle + 10, HEADING / 2, value)
        x = end + 12
    clock = [time.strftime("%H:%M:%S", time.gmtime(at)) for at in (span.begin, span.end)]
    canvas.text(WIDTH - GAP - 4, HEADING / 2, " to ".join(clock), TEXT, 14, "rm")
    for panel in panels:
        draw_panel(canvas, panel, answers[panel["id"]], span)
    return canvas.image.resize((WIDTH, height), Image.Resampling.LANCZOS)
