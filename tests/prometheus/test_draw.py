"""What the picture of the dashboard is drawn by: figures in their units, colours, gaps, legends, and the shipped panels."""

import json
from typing import Any

import pytest

from tests.machine.draw_dashboard import DASHBOARD, ROWS, series
from tests.prometheus import draw
from tests.prometheus.draw import Series, Span

STEPS: list[dict[str, Any]] = [
    {"color": "red", "value": None},
    {"color": "yellow", "value": 0.98},
    {"color": "green", "value": 0.995},
]
SPAN = Span(begin=1000.0, end=1060.0, step=2.0)


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0, "s", None, "0 s"),
        (0.0315, "s", None, "31.5 ms"),
        (60, "s", None, "1 min"),
        (90, "s", None, "1.5 mins"),
        (2_104_000, "bps", None, "2.1 Mb/s"),
        (1.0, "percentunit", 2, "100.00%"),
        (0.9951, "percentunit", 2, "99.51%"),
        (3 << 20, "bytes", None, "3 MiB"),
        (25, "hertz", None, "25 Hz"),
        (1500, "", None, "1.5 K"),
        (-3, "", None, "-3"),
    ],
)
def test_figures_have_their_unit(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert draw.in_unit(value, unit, decimals) == text


def test_a_unit_that_cannot_be_drawn_is_an_error() -> None:
    with pytest.raises(KeyError, match="furlong"):
        draw.in_unit(1, "furlong")


@pytest.mark.parametrize(("value", "name"), [(-1, "red"), (0.979, "red"), (0.98, "yellow"), (0.996, "green")])
def test_the_highest_threshold_reached_gives_the_colour(value: float, name: str) -> None:
    assert draw.threshold_colour(value, STEPS) == draw.COLOURS[name]


def test_a_mapping_says_more_than_a_threshold() -> None:
    mapping = {"type": "value", "options": {"2": {"text": "holding", "color": "blue", "index": 0}}}
    settings: dict[str, Any] = {"mappings": [mapping], "thresholds": {"steps": STEPS}, "unit": "percentunit"}
    assert draw.shown(2.0, settings) == ("holding", draw.COLOURS["blue"])
    assert draw.shown(0.5, settings) == ("50%", draw.COLOURS["red"])


@pytest.mark.parametrize(
    ("low", "high", "unit", "marks"),
    [(0, 90, "", [0, 50, 100]), (0, 200, "s", [0, 60, 120, 180, 240]), (0, 0, "", [0, 1]), (-3, 4, "", [-4, -2, 0, 2, 4])],
)
def test_the_axis_has_round_figures_and_room_for_all(low: float, high: float, unit: str, marks: list[float]) -> None:
    assert draw.ticks(low, high, unit) == marks


def test_a_gap_stays_a_gap() -> None:
    found = Series("picture", {}, [(1000, 1), (1002, 1), (1010, 1), (1012, 2), (1060, 2)])
    assert draw.runs(found, SPAN) == [(1000, 1004, 1), (1010, 1012, 1), (1012, 1014, 2)]
    assert [len(piece) for piece in draw.parts(found, SPAN)] == [2, 2, 1]


def test_the_legend_names_a_series_by_its_labels_and_leaves_out_what_is_no_number() -> None:
    found = series({"metric": {"stage": "output"}, "values": [[1, "NaN"], [2, "0.5"]]}, "{{stage}} {{other}}frames")
    assert (found.name, found.points) == ("output frames", [(2.0, 0.5)])


def test_a_table_is_organized_as_its_panel_says() -> None:
    options = {"excludeByName": {"job": True}, "renameByName": {"alertname": "alert"}}
    panel = {"transformations": [{"id": "organize", "options": options}]}
    row = Series("", {"alertname": "LivekeepHot", "job": "livekeep", "severity": "warning"}, [(1, 1)])
    assert draw.table(panel, [row]) == (["alert", "severity"], [["LivekeepHot", "warning"]])


def test_the_drawn_part_of_the_shipped_dashboard_can_be_drawn() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [panel for panel in dashboard["panels"] if panel["gridPos"]["y"] + panel["gridPos"]["h"] <= ROWS]
    points = [(at, (at - 1000) / 10) for at in range(1000, 1061, 2)]
    rising = Series("one", {"alertname": "LivekeepHot", "severity": "warning"}, points)
    full = draw.draw(dashboard, {panel["id"]: [rising] for panel in panels}, SPAN, {"Box": "this-box"})
    empty = draw.draw(dashboard, {panel["id"]: [] for panel in panels}, SPAN, {"Box": "this-box"})
    assert full.size == empty.size == (draw.WIDTH, draw.HEADING + ROWS * draw.CELL)
    for panel in panels:
        box = [round(side) for side in draw.place_of(panel)]
        assert (full.crop(box).tobytes() == empty.crop(box).tobytes()) == (panel["type"] == "row"), panel["title"]
