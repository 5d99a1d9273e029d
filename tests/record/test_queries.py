"""livekeep.record.store.queries: the results equal plain arithmetic over the rows."""

import dataclasses
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record import wire
from livekeep.record.store import histogram, queries, schema
from livekeep.record.store.queries import Call, Filter, figures
from livekeep.record.store.queries import filter as filter_module
from livekeep.record.store.summaries import HOUR
from livekeep.record.store.writer import Writer
from tests.record import benchmark_queries
from tests.record.entries import NOW, Job, event
from tests.record.made_record import make

MINUTE = 60_000_000
DAY = 24 * HOUR
BASE = NOW // DAY * DAY
OUTCOMES = ("succeeded", "failed", "cancelled")
ERROR = ["ValueError", "bad", "Traceback …"]


@dataclasses.dataclass(frozen=True)
class Row:
    """A call as created, for counting in plain Python."""

    name: str
    kind: str
    hostname: str
    unit: str
    session: str
    began_at: int
    duration: int
    outcome: str

    def is_wanted(self, wanted: Filter) -> bool:
        patterns = (wanted.function, wanted.kind, wanted.machine, wanted.unit, wanted.session, wanted.outcome)
        values = (self.name, self.kind, self.hostname, self.unit, self.session, self.outcome)
        return wanted.begin <= self.began_at < wanted.end and all(map(fnmatchcase, values, patterns))


# Few moments, so that calls coincide with each other and with the ends of ranges: around full hours and midnights of some days.
moments = st.builds(
    lambda hour, minutes, rest: hour * HOUR + minutes * MINUTE + rest,
    st.sampled_from([0, 1, 2, 3, 23, 24, 25, 47, 48, 72]),
    st.sampled_from([0, 0, 10, 30, 59]),
    st.sampled_from([-1, 0, 0, 1, 5]),
)
rows_of_calls = st.lists(
    st.builds(
        Row,
        name=st.sampled_from(["fetch", "cut", "fetch.page"]),
        kind=st.sampled_from(["function", "api"]),
        hostname=st.sampled_from(["box", "hall"]),
        unit=st.sampled_from(["job.service", "night.service"]),
        session=st.sampled_from(["analysis", "upload"]),
        began_at=moments,
        duration=st.one_of(st.integers(0, 10), st.integers(1000, 100_000_000)),
        outcome=st.sampled_from(OUTCOMES),
    ),
    min_size=10,
    max_size=40,
)


def mostly_any(*patterns: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["*", "*", "*", "*", *patterns])


filters = st.builds(
    Filter,
    begin=st.one_of(st.just(0), moments.map(lambda at: BASE + at)),
    end=st.one_of(st.just(queries.EVER), moments.map(lambda at: BASE + at)),
    function=mostly_any("fetch", "fetch*", "nothing"),
    kind=mostly_any("api"),
    machine=mostly_any("hall"),
    unit=mostly_any("night*"),
    session=mostly_any("upload"),
    outcome=mostly_any("failed", "succeeded", "[cf]*"),
)


@contextmanager
def record(rows: list[Row]) -> Iterator[Connection]:
    """Write the rows like the recorder."""
    jobs: dict[tuple[str, str, str], Job] = {}
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder) / "record.db")
        entries = []
        for row in rows:
            machine = {"box": "1" * 32, "hall": "2" * 32}[row.hostname]
            job = jobs.setdefault(
                (row.hostname, row.unit, row.session), Job(unit=row.unit, machine=machine, hostname=row.hostname)
            )
            line = ["s", "token", {"name": row.session, "began": NOW, "outcome": "running"}]
            call = ["c", job.calls + 1, 0, row.began_at, row.duration, row.outcome, 0, "token", None, None]
            job.calls += 1
            entries.append(
                job.raw(
                    wire.encode([line, ["f", 0, row.name, row.kind], [*call, ERROR] if row.outcome == "failed" else call]), 1, NOW
                )
            )
        writer.ingest(entries)
        connection = schema.open_read_only(writer.connection.execute("PRAGMA database_list").fetchone()[2])
        yield connection
        connection.close()
        writer.close()


def shifted(rows: list[Row]) -> list[Row]:
    return [dataclasses.replace(row, began_at=BASE + row.began_at) for row in rows]


def all_pages(connection: Connection, wanted: Filter, limit: int) -> list[Call]:
    result: list[Call] = []
    after = ""
    while True:
        page = queries.calls(connection, wanted, limit, after)
        assert len(page.rows) <= limit
        result += page.rows
        assert len(result) < 1000
        after = page.after
        if not after:
            return result


def as_row(connection: Connection, call: Call) -> Row:
    session = queries.session(connection, call.session or 0)
    assert session
    return Row(call.name, call.kind, call.hostname, call.unit, session.name, call.began_at, call.duration, call.outcome)


@given(rows_of_calls, filters, st.integers(1, 20))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_historical_retrieval_accuracy(rows: list[Row], wanted: Filter, limit: int) -> None:
    rows = shifted(rows)
    expected = [row for row in rows if row.is_wanted(wanted)]
    with record(rows) as connection:
        result = all_pages(connection, wanted, limit)
        assert [call.began_at for call in result] == sorted((row.began_at for row in expected), reverse=True)
        assert sorted(map(repr, (as_row(connection, call) for call in result))) == sorted(map(repr, expected))
        slowest = queries.slowest_calls(connection, wanted, limit)
        assert [call.duration for call in slowest] == sorted((row.duration for row in expected), reverse=True)[:limit]
        failed = [row for row in expected if row.outcome == "failed"]
        groups = queries.error_groups(connection, wanted)
        assert sum(group.count for group in groups) == len(failed)
        assert all(group.error and group.error.traceback == ERROR[2] for group in groups)


@given(rows_of_calls, filters, st.sampled_from(["hour", "day", "week", "month"]))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_figures_of_any_range_are_those_of_its_rows(rows: list[Row], wanted: Filter, size: figures.Size) -> None:
    # Summaries are per function and machine.
    wanted = dataclasses.replace(wanted, unit="*", session="*", outcome="*")
    rows = shifted(rows)
    expected: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.is_wanted(wanted):
            expected.setdefault((row.name, row.kind), []).append(row)
    with record(rows) as connection:
        result = {(row.name, row.kind): row.figures for row in queries.functions(connection, wanted)}
        assert result.keys() == expected.keys()
        for key, calls in expected.items():
            check(result[key], calls)
        check(queries.totals(connection, wanted), [row for calls in expected.values() for row in calls])
        together = queries.overview(connection, wanted, size)
        assert together.functions == queries.functions(connection, wanted)
        assert together.totals == queries.totals(connection, wanted)
        assert together.series == queries.function_series(connection, wanted, size)
        buckets = queries.function_series(connection, wanted, size)
        assert sum(bucket.figures.count for bucket in buckets) == sum(map(len, expected.values()))
        for bucket in buckets:
            check(
                bucket.figures,
                [row for calls in expected.values() for row in calls if bucket.began_at <= row.began_at < bucket.ends_at],
            )


def check(result: queries.Figures, calls: list[Row]) -> None:
    durations = sorted(row.duration for row in calls)
    assert result.count == len(calls)
    if calls:
        assert (result.min, result.max, result.sum) == (durations[0], durations[-1], sum(durations))
        assert result.failures == sum(row.outcome == "failed" for row in calls)
        for value, share in ((result.p50, 0.5), (result.p95, 0.95), (result.p99, 0.99)):
            exact = durations[math.ceil(share * len(durations) - 1e-9) - 1]
            assert abs(value - exact) <= exact * histogram.ERROR + 1


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
def test_a_range_is_cut_without_a_gap(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    for begin, length in ((NOW + 1, 40 * DAY), (NOW, 3 * HOUR), (NOW + 5, 10), (NOW // DAY * DAY, 2 * DAY), (NOW, 0)):
        cut = figures.parts(Filter(begin, begin + length))
        assert [part.begin for part in cut[1:]] == [part.end for part in cut[:-1]]
        assert sum(part.end - part.begin for part in cut) == length
        assert all(part.end - part.begin < HOUR for part in cut if not part.period)
    monkeypatch.undo()
    time.tzset()


def test_buckets_follow_the_local_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    at = local(2026, 10, 25, 13)  # the day has 25 hours
    assert figures.bucket_start(at, "day") == local(2026, 10, 25)
    assert figures.bucket_end(local(2026, 10, 25), "day") == local(2026, 10, 26) == local(2026, 10, 25) + 25 * HOUR
    assert figures.bucket_start(at, "week") == local(2026, 10, 19)
    assert figures.bucket_end(local(2026, 10, 19), "week") == local(2026, 10, 26)
    assert figures.bucket_start(local(2026, 3, 31, 23), "month") == local(2026, 3, 1)
    assert figures.bucket_end(local(2026, 2, 1), "month") == local(2026, 3, 1)
    assert figures.bucket_end(local(2026, 12, 1), "month") == local(2027, 1, 1)
    monkeypatch.undo()
    time.tzset()


def local(year: int, month: int, day: int, hour: int = 0) -> int:
    time.tzset()
    return int(time.mktime((year, month, day, hour, 0, 0, 0, 0, -1))) * 1_000_000


@pytest.fixture
def reader(writer: Writer, tmp_path: Path) -> Iterator[Connection]:
    connection = schema.open_read_only(tmp_path / "record.db")
    yield connection
    connection.close()


def session(token: str, began: int, outcome: str = "succeeded", name: str = "analysis", **more: Any) -> list[Any]:
    ended = None if outcome == "running" else began + MINUTE
    return ["s", token, {"name": name, "began": began, "ended": ended, "outcome": outcome, **more}]


def test_failed_sessions_come_first_page_by_page(writer: Writer, reader: Connection) -> None:
    outcomes = ["succeeded", "failed", "running", "cancelled", "running", "succeeded", "failed", "running"]
    lines = [session(f"t{number}", NOW + number, outcome) for number, outcome in enumerate(outcomes)]
    writer.ingest([Job().entry(lines=lines)])
    writer.lose_session(next(row.id for row in queries.running_sessions(reader) if row.began_at == NOW + 4))
    writer.commit()
    seen: list[str] = []
    after = "first"
    while after:
        page = queries.sessions(reader, Filter(), 3, "" if after == "first" else after)
        seen += [row.outcome for row in page.rows]
        after = page.after
    assert seen == ["failed", "lost", "failed", "running", "running", "succeeded", "cancelled", "succeeded"]
    by_time = queries.sessions(reader, Filter(), failed_first=False).rows
    assert [row.began_at for row in by_time] == [NOW + number for number in reversed(range(8))]
    assert queries.session_totals(reader, Filter()) == queries.SessionTotals(2, 2, 1, 1, 2)
    assert [row.began_at for row in queries.running_sessions(reader)] == [NOW + 7, NOW + 2]
    assert [row.outcome for row in queries.sessions(reader, Filter(outcome="lost")).rows] == ["lost"]
    assert len(queries.sessions(reader, Filter(begin=NOW + 2, end=NOW + 4)).rows) == 2


def test_a_session_knows_its_steps_errors_and_earlier_durations(writer: Writer, reader: Connection) -> None:
    job = Job()
    lines = [
        session("old", NOW - DAY),
        session("other", NOW - DAY, name="upload"),
        session("new", NOW, "failed", error=ERROR, message="at clip 3", percent=30.0),
        ["t", "new", 1, {"name": "fetch", "began": NOW, "ended": NOW + 5, "outcome": "succeeded", "weight": 2.0}],
        ["t", "new", 2, {"name": "page", "parent": 1, "began": NOW + 1, "ended": NOW + 2, "outcome": "failed", "error": ERROR}],
    ]
    writer.ingest([job.entry(lines=lines)])
    result = queries.sessions(reader, Filter()).rows[0]
    assert (result.name, result.outcome, result.duration, result.message, result.percent) == (
        "analysis",
        "failed",
        MINUTE,
        "at clip 3",
        30,
    )
    assert result.error == queries.Error(result.error.id if result.error else 0, *ERROR)
    assert queries.session(reader, result.id) == result
    assert [row.began_at for row in queries.earlier_sessions(reader, result)] == [NOW - DAY]
    first, second = queries.steps(reader, result.id)
    assert (first.name, first.parent, first.weight, first.outcome, first.error) == ("fetch", None, 2.0, "succeeded", None)
    assert (second.name, second.parent, second.error) == ("page", 1, result.error)
    assert queries.session(reader, 99) is None


def test_a_call_tree_holds_what_was_called_below(writer: Writer, reader: Connection) -> None:
    job, other = Job(), Job()
    lines = [
        ["f", 0, "work", "function"],
        ["c", 1, 0, NOW, 100, "succeeded"],
        ["c", 2, 0, NOW + 1, 50, "succeeded", 1],
        ["c", 3, 0, NOW + 2, 5, "failed", 2],
        ["c", 4, 0, NOW + 60, 5, "succeeded", 1],
        ["c", 5, 0, NOW + 90, 5, "succeeded"],
    ]
    writer.ingest([job.raw(wire.encode(lines), 5), other.entry([("foreign", NOW + 3, 1, "succeeded")])])
    root = queries.calls(reader, Filter(end=NOW + 1)).rows[0]
    assert [(row.depth, row.call.number) for row in queries.call_tree(reader, root)] == [(0, 1), (1, 2), (2, 3), (1, 4)]


def test_events_are_detected_by_name_priority_text_unit_and_session(writer: Writer, reader: Connection) -> None:
    job = Job()
    entries = [
        event("picture-changed", "The holding picture is shown", at=NOW + 1, PICTURE="holding"),
        {**event("stream-stalled", "The stream stands STILL: 100 %", at=NOW + 2), "PRIORITY": "3"},
        job.entry(lines=[session("t", NOW)], at=NOW + 3, MESSAGE="ended", LIVEKEEP_EVENT="session-ended", LIVEKEEP_SESSION="t"),
    ]
    writer.ingest(entries)

    def names(**wanted: Any) -> list[str]:
        return [row.name for row in queries.events(reader, Filter(**wanted)).rows]

    assert names() == ["session-ended", "stream-stalled", "picture-changed"]
    assert names(event="picture-*") == ["picture-changed"]
    assert names(priority=4) == ["stream-stalled"]
    assert names(text="still: 100 %") == ["stream-stalled"]
    assert names(unit="job*") == ["session-ended"]
    assert names(session="analysis") == ["session-ended"]
    assert names(begin=NOW + 2, end=NOW + 3) == ["stream-stalled"]
    first = queries.events(reader, Filter(), limit=1)
    assert queries.events(reader, Filter(), 2, first.after).rows[1].fields == {"PICTURE": "holding"}


def test_samples_are_put_together_to_as_many_as_are_wanted(writer: Writer, reader: Connection) -> None:
    for minute in range(600):
        at, box = NOW + minute * MINUTE, ("1" * 32, "box")
        writer.add_sample(*box, at, {"cpu_percent": float(minute % 2 * 100), "memory_bytes": minute})
        writer.add_sample(*box, at, {"memory_bytes": minute, "cpu_percent": 1.0}, "job.service")
    writer.commit()
    few, full = queries.samples(reader, Filter(), most=10), queries.samples(reader, Filter(), most=600)
    assert len(full) == 600
    assert 9 <= len(few) <= 12
    assert all(sample.cpu_percent == pytest.approx(50, abs=2) for sample in few)
    assert [sample.memory_bytes for sample in full[:3]] == [0, 1, 2]
    assert len(queries.unit_samples(reader, Filter(unit="job*", begin=NOW + 590 * MINUTE))) == 10
    assert queries.unit_samples(reader, Filter(unit="other")) == ()


def test_long_pieces_are_read_at_moments_spread_evenly(writer: Writer, reader: Connection) -> None:
    days = 30
    for minute in range(0, days * 1440, 5):
        # A box that is warm in the afternoon.
        figures = {"cpu_percent": 80.0 if minute % 1440 >= 720 else 20.0, "memory_bytes": minute}
        writer.add_sample("1" * 32, "box", NOW + minute * MINUTE, figures)
    # A box that ran only for a few minutes, between two of the moments.
    writer.add_sample("2" * 32, "other", NOW, {"cpu_percent": 0.0})
    writer.add_sample("2" * 32, "other", NOW + 1451 * MINUTE, {"cpu_percent": 50.0})
    writer.add_sample("2" * 32, "other", NOW + days * 1440 * MINUTE - 1, {"cpu_percent": 100.0})
    writer.commit()
    each = queries.samples(reader, Filter(machine="box"), most=days)
    assert len(each) == days
    assert all(sample.cpu_percent == pytest.approx(50, abs=6) for sample in each)
    assert all(sample.memory_bytes == pytest.approx((day + 0.5) * 1440, abs=130) for day, sample in enumerate(each))
    assert [sample.cpu_percent for sample in queries.samples(reader, Filter(machine="other"), most=days)] == [0, 50, 100]


def test_a_watch_notices_what_the_writer_commits(writer: Writer, reader: Connection) -> None:
    watch = queries.Watch(reader)
    assert not watch.has_changed()
    writer.ingest([Job().entry([("f", NOW, 1, "succeeded")])])
    assert watch.has_changed()
    assert not watch.has_changed()


def test_a_search_for_what_is_rare_stops_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page takes a bounded time; together they miss nothing."""
    made = make(tmp_path / "record.db", 5_000, 4, NOW)
    connection = schema.open_read_only(made.file)
    wanted = Filter(text="session 700 does")
    (whole,) = [queries.events(connection, wanted)]
    assert whole.after == ""
    monkeypatch.setattr(filter_module, "SEARCH_SECONDS", 0.0)
    result, pages, after = [], 0, ""
    while pages == 0 or after:
        page = queries.events(connection, wanted, after=after)
        result += page.rows
        after, pages = page.after, pages + 1
        assert bool(after) == (page.searched_to is not None)
    assert result == list(whole.rows)
    assert len(result) == 10
    assert pages > 10
    connection.close()


def test_the_benchmark_asks_what_the_pages_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a small record; their duration is measured with a large one."""
    benchmark_queries.main(["--calls", "5000", "--days", "2", "--runs", "2", "--file", str(tmp_path / "record.db")])
    assert "slowest calls, 100 days" in capsys.readouterr().out
