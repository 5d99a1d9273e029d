"""livekeep.record.store.summaries and histogram: a summary equals its rows."""

import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record.store import histogram
from livekeep.record.store.summaries import HOUR, day_of, next_day
from livekeep.record.store.writer import Writer
from tests.record.entries import Job

DAY = 24 * HOUR
TWO_ROUNDINGS = 0.02
"""Relative: the documented error of a percentile."""
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Africa/Cairo", "Pacific/Chatham")


@pytest.fixture(autouse=True)
def zone_as_before() -> Iterator[None]:
    before = os.environ.get("TZ")
    yield
    set_zone(before)


def set_zone(zone: str | None) -> None:
    os.environ.pop("TZ", None)
    if zone is not None:
        os.environ["TZ"] = zone
    time.tzset()


def moment(text: str) -> int:
    """us, from a local time such as "2024-03-31 04:30"."""
    return int(time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))) * 1_000_000


# Histograms


@pytest.mark.parametrize("value", [0, 1, 2, 3, 10, 25, 26, 1000, 10**6, 10**9, 3 * 10**14])
def test_a_value_s_bucket_is_within_two_percent_of_it(value: int) -> None:
    assert abs(histogram.value_of(histogram.bucket(value)) - value) <= value * TWO_ROUNDINGS


@settings(deadline=None, max_examples=200, derandomize=True)
@given(values=st.lists(st.integers(0, 10**14), min_size=1, max_size=200), share=st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_two_percent_of_the_value_at_its_rank(values: list[int], share: float) -> None:
    exact = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    estimate = histogram.percentile(histogram.count(values), share)
    assert estimate is not None
    assert abs(estimate - exact) <= exact * TWO_ROUNDINGS


def test_there_is_no_percentile_of_nothing() -> None:
    assert histogram.percentile({}, 0.5) is None
    assert histogram.decode(histogram.encode({})) == {}


@settings(deadline=None, max_examples=200, derandomize=True)
@given(histograms=st.lists(st.dictionaries(st.integers(0, 2000), st.integers(1, 2**40), max_size=20), max_size=4))
def test_histograms_are_read_as_they_were_written_and_merged_as_if_counted_together(histograms: list[dict[int, int]]) -> None:
    merged: dict[int, int] = {}
    for one in histograms:
        assert histogram.decode(histogram.encode(one)) == one
        histogram.merge(merged, one)
    assert merged == {bucket: sum(one.get(bucket, 0) for one in histograms) for one in histograms for bucket in one}


def test_an_hour_of_calls_is_a_few_hundred_bytes() -> None:
    values = [int(random.Random(1).lognormvariate(8, 2)) for _ in range(10_000)]
    assert len(histogram.encode(histogram.count(values))) < 400


@pytest.mark.parametrize("blob", [b"", b"\x03\x01\x01", b"\x02\x01\x01", b"\x09"])
def test_what_is_no_histogram_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="not a histogram"):
        histogram.decode(blob)


# Days


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2024-03-31", 23),
        ("Europe/Berlin", "2024-10-27", 25),
        ("Europe/Berlin", "2024-06-01", 24),
        # The clock jumps from midnight to one o'clock.
        ("Africa/Cairo", "2024-04-26", 23),
        ("Asia/Kathmandu", "2024-06-01", 24),
        ("Pacific/Chatham", "2024-09-29", 23),
    ],
)
def test_a_day_is_the_local_one(zone: str, day: str, hours: int) -> None:
    set_zone(zone)
    noon = moment(f"{day} 12:00")
    began = day_of(noon)
    assert day_of(began) == began
    assert day_of(began - 1) < began
    assert next_day(began) - began == hours * HOUR
    assert day_of(next_day(began) - 1) == began
    assert time.strftime("%Y-%m-%d", time.localtime(began / 1e6)) == day


# The property

names = st.sampled_from(["fetch", "cut"])
offsets = st.integers(-2 * DAY, 2 * DAY)
durations = st.one_of(st.integers(0, 30), st.integers(0, 10**10))
calls = st.tuples(names, offsets, durations, st.sampled_from(["succeeded", "failed", "cancelled"]))
batches = st.lists(st.tuples(st.lists(calls, max_size=8), st.sampled_from(["", "commit", "kill", "again"])), max_size=12)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(plan=batches, zone=st.sampled_from(ZONES), spring=st.booleans())
def test_aggregation_accuracy(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[list[tuple[str, int, int, str]], str]], zone: str, spring: bool
) -> None:
    """Across a daylight-saving change, with late rows, repeated rows, and kills: a summary is the arithmetic of its rows."""
    set_zone(zone)
    middle = moment("2024-03-31 03:30" if spring else "2024-10-27 02:30")
    file = tmp_path_factory.mktemp("summaries") / "record.db"
    writer, job = Writer(file), Job()
    uncommitted: list[dict[str, str]] = []
    expected: list[tuple[str, int, int, bool]] = []
    for batch, then in plan:
        entry = job.entry(calls=[(name, middle + offset, duration, outcome) for name, offset, duration, outcome in batch])
        expected += [(name, middle + offset, duration, outcome == "failed") for name, offset, duration, outcome in batch]
        writer.add(entry)
        uncommitted.append(entry)
        if then == "commit":
            writer.commit()
            uncommitted.clear()
        elif then == "kill":
            writer.connection.close()
            writer = Writer(file)
            for again in uncommitted:
                writer.add(again)
        elif then == "again":
            writer.add(entry)
    writer.commit()
    assert summaries_of(writer) == arithmetic(expected)
    check_percentiles(writer, expected)
    writer.close()


Figures = tuple[int, int, int, int, int]


def summaries_of(writer: Writer) -> dict[tuple[str, int, str], Figures]:
    query = "SELECT period, began_at, name, count, failures, sum, min, max FROM summaries s JOIN functions f ON f.id = s.function"
    return {tuple(row)[:3]: tuple(row)[3:] for row in writer.connection.execute(query)}


def arithmetic(expected: list[tuple[str, int, int, bool]]) -> dict[tuple[str, int, str], Figures]:
    """Without the tested code: a day by the C library's calendar."""
    groups: dict[tuple[str, int, str], list[tuple[int, bool]]] = {}
    for name, began, duration, failed in expected:
        date = time.localtime(began // 1_000_000)
        midnight = time.mktime((date.tm_year, date.tm_mon, date.tm_mday, 0, 0, 0, 0, 0, -1))
        groups.setdefault(("day", int(midnight) * 1_000_000, name), []).append((duration, failed))
        groups.setdefault(("hour", began - began % HOUR, name), []).append((duration, failed))
    figures = {}
    for key, result in groups.items():
        values = [duration for duration, _ in result]
        figures[key] = (len(values), sum(failed for _, failed in result), sum(values), min(values), max(values))
    return figures


def check_percentiles(writer: Writer, expected: list[tuple[str, int, int, bool]]) -> None:
    """Of all days together, from their histograms."""
    for name in {name for name, *_ in expected}:
        values = sorted(duration for result, _, duration, _ in expected if result == name)
        merged: dict[int, int] = {}
        query = "SELECT histogram FROM summaries s JOIN functions f ON f.id = s.function WHERE name = ? AND period = 'day'"
        for (blob,) in writer.connection.execute(query, (name,)):
            histogram.merge(merged, histogram.decode(blob))
        for share in (0.5, 0.95, 0.99):
            exact = values[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
            estimate = histogram.percentile(merged, share)
            assert estimate is not None
            assert abs(estimate - exact) <= exact * TWO_ROUNDINGS


# Sessions and steps


def test_a_session_that_turns_out_otherwise_is_counted_again(tmp_path: Path) -> None:
    """First lost: its last entries arrive late."""
    writer, job = Writer(tmp_path / "record.db"), Job()
    began = 1_700_000_000_000_000
    running = [
        ["s", "s1", {"name": "clips", "began": began, "outcome": "running"}],
        ["t", "s1", 1, {"name": "cut", "began": began, "outcome": "running"}],
    ]
    writer.ingest([job.entry(lines=running, at=began + 40)])
    writer.lose_session(1)
    writer.commit()
    assert figures_by_name(writer) == {"clips": (1, 1, 40, 40, 40), "clips / cut": (1, 1, 40, 40, 40)}
    ended = [
        ["t", "s1", 1, {"ended": began + 60, "outcome": "succeeded"}],
        ["s", "s1", {"ended": began + 70, "outcome": "succeeded"}],
    ]
    writer.ingest([job.entry(lines=ended, at=began + 90)])
    assert figures_by_name(writer) == {"clips": (1, 0, 70, 70, 70), "clips / cut": (1, 0, 60, 60, 60)}
    writer.close()


def test_a_session_whose_beginning_comes_late_is_counted_under_its_name(tmp_path: Path) -> None:
    writer, job = Writer(tmp_path / "record.db"), Job()
    began = 1_700_000_000_000_000
    step = ["t", "s1", 1, {"name": "cut", "began": began, "ended": began + 5, "outcome": "succeeded"}]
    writer.ingest([job.entry(lines=[step], at=began)])
    session = ["s", "s1", {"name": "clips", "began": began, "ended": began + 9, "outcome": "succeeded"}]
    writer.ingest([job.entry(lines=[session], at=began)])
    assert figures_by_name(writer) == {"clips": (1, 0, 9, 9, 9), "clips / cut": (1, 0, 5, 5, 5)}
    writer.close()


def figures_by_name(writer: Writer) -> dict[str, Figures]:
    return {name: figures for (period, _, name), figures in summaries_of(writer).items() if period == "day"}


def test_a_summary_can_be_counted_again_from_its_rows(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "record.db")
    began = 1_700_000_000_000_000
    writer.ingest([Job().entry(calls=[("fetch", began + number, number, "failed") for number in range(50)])])
    before = [tuple(row) for row in writer.connection.execute("SELECT * FROM summaries ORDER BY period")]
    writer.connection.execute("UPDATE summaries SET count = 1, sum = 1, histogram = x'0101'")
    writer.summaries.rebuild_later(1, 1, began)
    writer.summaries.write(writer.connection)
    assert [tuple(row) for row in writer.connection.execute("SELECT * FROM summaries ORDER BY period")] == before
    writer.close()
