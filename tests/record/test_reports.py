"""Reports: all formats agree with the record, whatever its content."""

import csv
import io
import json
import re
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import made_week
import pytest
from entries import Job, event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_week import HOSTILE, MONDAY, SECOND, us

from livekeep.core.text import shown
from livekeep.record import figures, reports
from livekeep.record.alerts import notify
from livekeep.record.alerts.notify import Attachment, Message
from livekeep.record.reports import boxes, content, headlines, making, program
from livekeep.record.reports.content import METRICS, Report
from livekeep.record.reports.period import Period, chosen, date_of, period_of
from livekeep.record.reports.sections import sections
from livekeep.record.reports.source import Source
from livekeep.record.reports.table import MOST_ROWS
from livekeep.record.store import schema
from livekeep.record.store.queries import Error, ErrorGroup, Figures, Filter, Session
from livekeep.record.store.writer import Writer

WEEK = period_of("weekly", MONDAY)
NAMES = ("cut", "<b>fetch</b>", "AT&T \"up'load", "größe é")


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    file = tmp_path_factory.mktemp("week") / "record.db"
    made_week.fill(file)
    connection = schema.open_read_only(file)
    yield connection
    connection.close()


def text_of(pdf: bytes) -> str:
    return subprocess.run(["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True).stdout.decode()


def table_of(report: Report, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(making.rendered(report, "json")).get(name, [])
    return rows


# Report completeness

moments = st.integers(us(MONDAY - timedelta(7)) // SECOND, us(MONDAY + timedelta(7)) // SECOND - 1)
runs = st.tuples(
    st.sampled_from(NAMES),
    moments,
    st.integers(1, 90_000),
    st.sampled_from(("succeeded", "failed", "cancelled", "running")),
    st.integers(0, 4000),
    st.lists(st.tuples(st.integers(1, 40_000_000_000), st.sampled_from(("succeeded", "failed", "cancelled"))), max_size=12),
)


@settings(deadline=None, max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(runs, max_size=14))
def test_report_completeness(made: list[Any]) -> None:
    """The numbers in the PDF's text, and in all other formats, equal the database's."""
    with tempfile.TemporaryDirectory() as folder:
        connection = filled(Path(folder) / "record.db", made)
        report = making.compose(connection, WEEK)
        begin, end = us(MONDAY), us(MONDAY + timedelta(7))
        jobs = connection.execute(
            "SELECT name, count(*), sum(outcome = 'succeeded'), sum(outcome = 'failed'), sum(done) FROM sessions "
            "WHERE began_at >= ? AND began_at < ? GROUP BY name",
            (begin, end),
        ).fetchall()
        functions = connection.execute(
            "SELECT f.name, count(*), sum(c.outcome = 1), sum(duration), max(duration) FROM calls c "
            "JOIN functions f ON f.id = c.function WHERE c.id >= ? AND c.id < ? GROUP BY f.id",
            (begin * 1000, end * 1000),
        ).fetchall()
        connection.close()
    printed = text_of(making.rendered(report, "pdf"))
    plain = making.rendered(report, "text").decode()
    assert {(row["job"], row["runs"], row["succeeded"], row["failed"], row["items"]) for row in table_of(report, "jobs")} == {
        tuple(row) for row in jobs
    }
    assert {
        (row["function"], row["count"], row["failures"], round(row["longest_seconds"] * SECOND))
        for row in table_of(report, "performance")
    } == {(name, count, failures, longest) for name, count, failures, _sum, longest in functions}
    for name, count, succeeded, failed, _items in jobs:
        line = [name, *map(figures.count, (count, succeeded, failed))]
        assert stands_in(line, printed), line
        assert stands_in(line, plain), line
    for name, count, failures, total, longest in functions:
        mean = figures.duration(total / count / SECOND)
        assert stands_in([name, figures.count(count), figures.count(failures), mean], printed), name
        assert stands_in([name, figures.count(count), figures.count(failures), mean], plain), name
        assert re.search(rf"{re.escape(name)}.*{re.escape(figures.duration(longest / SECOND))}", plain)
    bad, all_ = sum(row[3] for row in jobs), sum(row[1] for row in jobs)
    assert not bad or f"{figures.count(bad)} of {figures.plural(all_, 'job')} failed" in printed
    assert jobs or "No job ran" in printed or "Nothing happened" in printed


def stands_in(cells: list[str], text: str) -> bool:
    return bool(re.search(r"\s+".join(re.escape(cell).replace(r"\ ", r"\s") for cell in cells) + r"(\s|$)", text))


def filled(file: Path, made: list[Any]) -> sqlite3.Connection:
    """A record with these runs, read-only."""
    writer = Writer(file)
    for number, (name, moment, seconds, outcome, items, calls) in enumerate(made):
        began, token, job = moment * SECOND, f"run{number}", Job(unit="job.service")
        session = {"name": name, "began": began, "outcome": outcome, "done": items}
        if outcome != "running":
            session["ended"] = began + seconds * SECOND
        entries = [(f"of {name}", began, duration, how) for duration, how in calls]
        writer.ingest([job.entry(entries, [["s", token, session]], at=began, session=token)])
    writer.close()
    return schema.open_read_only(file)


def test_all_forms_have_each_number_of_a_week(week: sqlite3.Connection) -> None:
    report = making.compose(week, WEEK)
    printed, plain = text_of(making.rendered(report, "pdf")), making.rendered(report, "text").decode()
    page = Cells()
    page.feed(making.rendered(report, "html").decode())
    for section in sections(report):
        for row in section.for_people().rows:
            texts = [cell.text for cell in row]
            assert [shown(text) for text in texts] in page.rows, section.name
            for text in texts:
                assert not text.isascii() or all(word in printed for word in text.split()), text
                assert not text.isascii() or len(text) > 40 or text in plain, text


class Cells(HTMLParser):
    """The rows of a page's tables."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.tags and self.tags.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "td":
            self.rows[-1][-1] += data


# Content


def test_the_week_is_reported_in_sentences(week: sqlite3.Connection) -> None:
    report = making.compose(week, WEEK)
    said = headlines.headlines(report)
    assert said[:2] == ["4 of 44 jobs failed", "clip analysis took 31 % longer than in the week before"]
    assert "The screen was good for 99.7 % of the time, with one interruption of 30 min 00 s" in said
    assert "The channel main was on air for 99.9 % of the time, with one interruption of 15 min 00 s" in said
    advice = [(entry.text, entry.command) for entry in headlines.advice_of(report)]
    assert advice[0] == ("Alert disk is still open: box: the disk is 96.2 % full", "livekeep alert list")
    assert advice[1][0] == "clip analysis failed 3 times: TimeoutError: the server did not answer within 30 s"
    newest = week.execute("SELECT id FROM sessions WHERE outcome = 'failed' AND name = 'clip analysis' ORDER BY began_at DESC")
    assert advice[1][1] == f"livekeep record show {newest.fetchone()[0]}"
    assert {row.function for row in report.slowdowns} >= {"clip analysis", "jobs.clip_analysis.one"}
    assert "The record misses 3 entries and 210 calls: the figures are too low" in [text for text, _command in advice]


def test_a_day_is_compared_with_the_seven_before(week: sqlite3.Connection) -> None:
    report = making.compose(week, period_of("daily", MONDAY))
    assert headlines.headlines(report)[0] == "All 6 jobs succeeded"
    compared = {row["figure"]: (row["now"], row["before"]) for row in table_of(report, "comparison")}
    assert compared["runs of jobs"] == (6, 6)
    assert (job := next(job for job in report.jobs if job.name == "clip analysis")).change is not None
    assert job.change == pytest.approx(0.31, abs=0.04)


def test_a_day_with_nothing_in_it_says_so_plainly(week: sqlite3.Connection) -> None:
    report = making.compose(week, period_of("daily", MONDAY + timedelta(40)))
    assert report.is_empty()
    assert headlines.advice_of(report)[0].text.startswith("Alert disk is still open")
    for format_ in ("text", "html"):
        assert "Nothing happened: no job ran" in making.rendered(report, format_).decode()
    assert "Nothing happened: no job ran" in text_of(making.rendered(report, "pdf"))


def test_a_record_without_a_row_makes_all_forms(tmp_path: Path) -> None:
    schema.open_for_writing(tmp_path / "record.db").close()
    connection = schema.open_read_only(tmp_path / "record.db")
    for format_ in reports.FORMATS:
        assert making.rendered(making.compose(connection, WEEK), format_)
    connection.close()


def test_a_table_over_many_pages_repeats_its_head_and_tells_what_it_leaves_out(tmp_path: Path) -> None:
    writer, job = Writer(tmp_path / "record.db"), Job()
    writer.ingest([job.entry([(f"function.number.{number}", us(MONDAY) + number, 10**6, "failed") for number in range(130)])])
    writer.close()
    connection = schema.open_read_only(tmp_path / "record.db")
    report = making.compose(connection, WEEK)
    connection.close()
    printed = text_of(making.rendered(report, "pdf"))
    assert f"… and {130 - MOST_ROWS} more." in printed
    pages = [page for page in printed.split("\f") if "function.number." in page]
    assert len(pages) >= 2
    assert all(re.search(r"function\s+(calls|error)", page) for page in pages)
    assert len(table_of(report, "performance")) == 130


# Any content


def test_a_hostile_name_breaks_no_form(week: sqlite3.Connection) -> None:
    report = making.compose(week, WEEK)
    page = making.rendered(report, "html").decode()
    assert "<b>&" not in page
    parser = Cells()
    parser.feed(page)
    assert "script" not in page and parser.tags == []
    plain = making.rendered(report, "text").decode()
    assert "\x1b" not in plain and "\u202e" not in plain
    printed = text_of(making.rendered(report, "pdf"))
    assert "<b>&amp;\"'</b>" in printed and "□" in printed
    rows = list(csv.reader(io.StringIO(making.rendered(report, "csv").decode(), newline="")))
    assert any(row[0] == HOSTILE for row in rows if row)
    assert any(row[0] == "'=1+1" for row in rows if row)
    assert {row["job"] for row in table_of(report, "jobs")} >= {HOSTILE}


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.text(st.characters(), max_size=60))
def test_no_text_breaks_a_page(name: str) -> None:
    job = content.Job(name, 1, 0, 1, 0, 0, 0, 0, None, None)
    report = Report(WEEK, 0.0, (name or "box",), jobs=(job,))
    assert making.rendered(report, "pdf").startswith(b"%PDF")
    assert "1 of 1 job failed" in making.rendered(report, "text").decode()


def test_the_largest_report_fits_a_message(tmp_path: Path) -> None:
    name = "&<\u00a0\U0001f3ac" * 100
    many, error = range(300), Error(1, name, name, name)
    large = Figures(9**9, 9**9, 9**24, 9**16, 9**16, 9**16, 9**16, 9**16)
    report = Report(
        WEEK,
        0.0,
        (name, "other"),
        jobs=tuple(content.Job(f"{name}{number}", 9**9, 9**9, 9, 9, 9, 9, 9e9, 9e9, 9e9, 1.0) for number in many),
        failures=tuple(
            Session(number, name, name, "", "", 1, None, 0, 9**9, 0, "failed", None, 0, None, None, None, "", error)
            for number in many
        ),
        errors=tuple(ErrorGroup(name, name, number, 0, 0, 0, error) for number in many),
        performance=tuple(
            content.Performance(f"{name}{number}", kind, large, Figures(p50=1_000_000))
            for number in many
            for kind in ("step", name)
        ),
        slowdowns=tuple(content.Slowdown(name, f"{number}", 1.0, 9e9, 0.0) for number in many),
        air=tuple(content.Air(name, f"{number}", 9e9, 9e8, ((name, 9e9),), 9**9, 9e9, 9) for number in many),
        alerts=tuple(content.AlertCount(name, name, number, 0.0, name, True) for number in many),
        clips=tuple(content.HotClip(0.0, f"{number}", name, name) for number in many),
        units=tuple(content.UnitMemory(f"{number}", name, 9e9, 9**9, 9.0) for number in many),
        days=tuple(content.Day(WEEK.begin, 9**9, 9**9, 9e9) for _number in many),
    )
    texts = (making.rendered(report, "text").decode(), making.rendered(report, "html").decode())
    pdf = making.rendered(report, "pdf")
    attached = Attachment("a.pdf", "application/pdf", pdf)
    notify.submit(Message(program.subject(report), *texts, attachments=(attached,)), tmp_path)
    assert len(texts[0]) < notify.LONGEST_TEXT / 1.5
    assert len(texts[1]) < 4 * notify.LONGEST_TEXT / 1.5


# Filters


def test_a_filter_restricts_functions_and_leaves_the_rest_out(week: sqlite3.Connection) -> None:
    wanted = Filter(us(MONDAY), us(MONDAY, 7 * 24), function="jobs.fetch.*")
    for metric in ("", *METRICS):
        document = json.loads(reports.make(wanted, "json", metric, week))
        assert {row["function"] for row in document["performance"]} == {"jobs.fetch.one", "jobs.fetch.fetch"}
        assert "jobs" not in document and "box" not in document
        assert metric in document["filter"]
        column = {"": "p99_seconds", "count": "count", "failures": "failures", "max": "longest_seconds"}.get(
            metric, f"{metric}_seconds"
        )
        assert all(column in row for row in document["performance"])
    assert b"function jobs.fetch.*" in reports.make(wanted, "text", "", week)
    assert json.loads(reports.make(wanted, "json", "", week))["headlines"] == ["1,680 calls recorded, 42 failed (2.5 %)"]
    assert b"Nothing matches the filter" in reports.make(Filter(wanted.begin, wanted.end, function="none"), "text", "", week)
    assert "jobs" not in json.loads(reports.make(Filter(wanted.begin, wanted.end, machine="other"), "json", "", week))
    with pytest.raises(ValueError, match="metric"):
        reports.make(wanted, "text", "median", week)
    with pytest.raises(ValueError, match="end after it begins"):
        reports.make(Filter(5, 5), "text", "", week)


def test_a_range_is_compared_with_as_long_a_time_before() -> None:
    day = period_of("daily", MONDAY)
    assert chosen(day.begin, day.begin + 86400) == Period(day.begin, day.begin + 86400, day.begin - 86400)
    assert chosen(10.5, 20.5).before == 0.5


# Machines


def test_samples_show_when_a_box_was_off(week: sqlite3.Connection) -> None:
    (machine,) = Source(week, WEEK, Filter()).machines()
    spans = boxes.spans(Source(week, WEEK, Filter()), "samples", machine)
    off = us(MONDAY + timedelta(2)) / SECOND
    assert spans == ((WEEK.begin, off + 115 * 60), (off + 180 * 60, WEEK.end))


def test_the_figures_of_a_box_are_those_of_its_samples(week: sqlite3.Connection) -> None:
    (row,) = table_of(making.compose(week, WEEK), "box")
    expected = week.execute(
        "SELECT avg(cpu_percent) / 100, max(cpu_percent) / 100, avg(temperature_celsius), max(temperature_celsius) FROM samples "
        "WHERE at >= ? AND at < ?",
        (us(MONDAY), us(MONDAY, 7 * 24)),
    ).fetchone()
    keys = ("cpu_mean_share", "cpu_peak_share", "temperature_mean_celsius", "temperature_peak_celsius")
    assert [row[key] for key in keys] == pytest.approx(list(expected))
    assert row["disk_share"] == pytest.approx(0.298, abs=0.002)


def test_an_alert_that_began_before_the_period_and_is_open_is_reported(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "record.db")
    fields = {"RULE": "down", "SUBJECT": "box", "SEVERITY": "critical"}
    alerter = "livekeep-alerter.service"
    writer.ingest([event("alert-began", "box is down", alerter, us(MONDAY - timedelta(3)), **fields)])
    writer.ingest([event("alert-began", "hot", alerter, us(MONDAY - timedelta(3)) + 1, **{**fields, "RULE": "hot"})])
    writer.ingest([event("alert-over", "cool", alerter, us(MONDAY - timedelta(2)), **{**fields, "RULE": "hot"}, SECONDS="9")])
    writer.close()
    connection = schema.open_read_only(tmp_path / "record.db")
    result = making.compose(connection, WEEK).alerts
    connection.close()
    assert [(row.rule, row.count, row.is_open) for row in result] == [("down", 0, True)]
    assert date_of(result[0].newest_at) == MONDAY - timedelta(3)


def test_a_tv_that_a_plan_switches_is_good_all_week(tmp_path: Path) -> None:
    """Off each night from 22:00 to 08:00, also at the beginning of the period."""
    nights = [MONDAY + timedelta(day) for day in range(-1, 7)]
    entries = []
    for night in nights:
        off, on = us(night, 22), us(night, 32)
        entries += [
            event("picture-changed", at=off, PICTURE="none", PREVIOUS="holding", REASON="The TV is off: the plan"),
            event("tv-switched", "off", "livekeep-tv.service", off + SECOND, STATE="off", METHOD="black", REASON="the plan"),
            event("picture-changed", at=on, PICTURE="holding", PREVIOUS="none", REASON="The event is not live"),
            event("tv-switched", "on", "livekeep-tv.service", on + SECOND, STATE="on", METHOD="black", REASON="the plan"),
        ]
    writer = Writer(tmp_path / "record.db")
    writer.ingest(entries)
    writer.close()
    connection = schema.open_read_only(tmp_path / "record.db")
    (screen,) = making.compose(connection, WEEK).air
    connection.close()
    assert (screen.share, screen.interruptions, screen.known_seconds) == (1.0, 0, 7 * 14 * 3600)
