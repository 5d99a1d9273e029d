"""The times and periods of reports: each day and week once, whenever the timers elapse; real timers, a real program."""

import contextlib
import datetime
import itertools
import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from entries import Job
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.core.errors import TemporaryError
from livekeep.record.alerts import notify
from livekeep.record.moments import midnight
from livekeep.record.reports import files
from livekeep.record.reports.period import (
    DAYS,
    KINDS,
    MOST_CAUGHT_UP,
    Kind,
    date_of,
    due,
    newest,
    period_of,
)
from livekeep.record.store.summaries import day_of
from livekeep.record.store.writer import Writer
from tests.outside import PROJECT

ZONES = ("UTC", "Europe/Berlin", "America/Santiago", "Pacific/Apia", "Asia/Kathmandu", "Africa/Cairo")
"""In Santiago and Cairo the clock jumps over midnight."""
SECOND = 1_000_000


@contextlib.contextmanager
def zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def local(zone_name: str, *parts: int) -> float:
    with zone(zone_name):
        time.tzset()
        return datetime.datetime(*parts).timestamp()  # type: ignore[arg-type]  # noqa: DTZ001 – local time is meant


# Scheduling

gaps = st.lists(st.one_of(st.integers(1, 200_000), st.integers(1, 30 * 86400)), min_size=1, max_size=25)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.sampled_from(KINDS), st.sampled_from(ZONES), st.integers(1_700_000_000, 1_800_000_000), gaps)
def test_scheduling(kind: Kind, name: str, first_run: int, waits: list[int]) -> None:
    """Whenever a timer elapses: each ended period is reported once, in order, by its own days."""
    with zone(name):
        now, reported, made = float(first_run), None, []
        began = now - 40 * 86400
        for wait in [0, *waits]:
            now += wait
            periods = due(kind, now, reported, began)
            assert all(period.end <= now for period in periods)
            assert len(periods) <= MOST_CAUGHT_UP[kind]
            for period in periods:
                first = date_of(period.begin)
                assert (period.begin, period.end) == (midnight(first), midnight(first + timedelta(DAYS[kind])))
                assert kind == "daily" or first.weekday() == 0
                made.append(first)
                reported = first
            # The newest is always among the reported ones.
            assert reported == newest(kind, now)
            assert due(kind, now, reported, began) == []
        assert made == sorted(set(made))
        missed = {later - earlier for earlier, later in itertools.pairwise(made)}
        if all(wait <= 6 * 86400 for wait in waits):
            assert missed <= {timedelta(DAYS[kind])}


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.sampled_from(ZONES), st.dates(datetime.date(2015, 1, 1), datetime.date(2030, 1, 1)))
def test_a_day_begins_where_its_summary_begins(name: str, day: datetime.date) -> None:
    with zone(name):
        if name == "Pacific/Apia" and day == datetime.date(2011, 12, 30):
            return
        begin = midnight(day)
        assert date_of(begin) == day
        assert date_of(begin - 1) == day - timedelta(1)
        assert day_of(round(begin) * SECOND) == round(begin) * SECOND


def test_days_of_the_change_of_clocks_have_23_and_25_hours() -> None:
    with zone("Europe/Berlin"):
        spring, autumn = (period_of("daily", datetime.date(2026, *day)) for day in ((3, 29), (10, 25)))
        assert (spring.end - spring.begin, autumn.end - autumn.begin) == (23 * 3600, 25 * 3600)
        assert period_of("weekly", datetime.date(2026, 3, 23)).end - midnight(datetime.date(2026, 3, 23)) == (7 * 24 - 1) * 3600
        assert spring.label == "Sunday 29 March 2026"


@pytest.mark.parametrize(
    ("run", "reported", "expected"),
    [
        # On time.
        ((2026, 11, 25, 6, 30), (11, 23), [(11, 24)]),
        # Late, after midnight of the timer's day: that day is over, too.
        ((2026, 11, 26, 2, 0), (11, 23), [(11, 24), (11, 25)]),
        # Off from Friday to Monday.
        ((2026, 11, 30, 8, 0), (11, 26), [(11, 27), (11, 28), (11, 29)]),
        # Twice.
        ((2026, 11, 25, 9, 0), (11, 24), []),
        # The clock steps back over midnight.
        ((2026, 11, 24, 23, 0), (11, 24), []),
        # The clock was wrong for a long time, and is right again.
        ((2026, 11, 25, 9, 0), (12, 24), [(11, 24)]),
    ],
)
def test_what_a_late_run_is_about(run: tuple[int, ...], reported: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    with zone("Europe/Berlin"):
        periods = due("daily", local("Europe/Berlin", *run), datetime.date(2026, *reported), 0.0)
        assert [date_of(period.begin) for period in periods] == [datetime.date(2026, *day) for day in expected]


def test_there_is_no_report_on_the_time_before_the_record() -> None:
    with zone("Europe/Berlin"):
        installed = local("Europe/Berlin", 2026, 11, 25, 14, 0)
        assert due("daily", installed + 60, None, None) == []
        assert due("daily", installed + 60, None, installed) == []
        assert due("weekly", installed + 60, None, installed) == []
        (first,) = due("daily", installed + 86400, None, installed)
        assert date_of(first.begin) == datetime.date(2026, 11, 25)
        (first,) = due("weekly", installed + 5 * 86400, None, installed)
        assert first.label == "Week 48: 23 – 29 November 2026"


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Africa/Cairo"])
@pytest.mark.parametrize("kind", KINDS)
def test_systemd_elapses_once_for_each_period(kind: Kind, name: str) -> None:
    """The shipped timers, as systemd itself reads them, across clock changes."""
    said = (PROJECT / f"units/livekeep-report@{kind}.timer").read_text()
    assert re.search(r"^Persistent=yes$", said, re.MULTILINE)
    (calendar,) = re.findall(r"^OnCalendar=(.*)$", said, re.MULTILINE)
    for base in ("2026-03-20", "2026-10-18"):
        elapses = elapses_of(calendar, base, name)
        assert len(elapses) == 12
        with zone(name):
            reported = newest(kind, elapses[0] - 3600)
            reported -= timedelta(DAYS[kind] * (reported == newest(kind, elapses[0])))
            for moment in elapses:
                (period,) = due(kind, moment, reported, 0.0)
                reported = date_of(period.begin)
                assert 5 * 3600 < moment - period.end < 8 * 3600
                assert reported == date_of(moment) - timedelta(DAYS[kind])


def elapses_of(calendar: str, base: str, name: str) -> list[float]:
    ran = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=12", f"--base-time={base} 00:00:00", calendar],
        env={**os.environ, "TZ": name},
        capture_output=True,
        text=True,
        check=True,
    )
    moments = re.findall(
        r"(?:\(in UTC\): |Next elapse: |Iteration #\d+: |Iter\. #\d+: )\w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", ran.stdout
    )
    return [datetime.datetime.fromisoformat(f"{moment}+00:00").timestamp() for moment in moments]


# The files


def test_only_reports_are_listed_and_read(tmp_path: Path) -> None:
    for name in ("daily-2026-11-28.html", "weekly-2026-W48.pdf", "daily-2026-99-99.txt", "daily.json", ".x.new", "report.pdf"):
        files.write(name, name.encode(), tmp_path)
    assert [row.name for row in files.stored(tmp_path)] == ["weekly-2026-W48.pdf", "daily-2026-11-28.html"]
    assert files.content("weekly-2026-W48.pdf", tmp_path) == b"weekly-2026-W48.pdf"
    for name in ("daily.json", "../daily-2026-11-28.html", "daily-2026-11-28.html/x", ""):
        with pytest.raises(ValueError):
            files.content(name, tmp_path)
    assert files.remove_old(files.stored(tmp_path)[0].period.end, tmp_path) == 1
    assert [row.name for row in files.stored(tmp_path)] == ["weekly-2026-W48.pdf"]
    assert files.stored(tmp_path / "none") == ()
    with pytest.raises(TemporaryError, match="cannot be written"):
        files.write("daily-2026-11-28.txt", b"", tmp_path / "none")


def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    for content in (b"", b"[]", b"{}", b'{"reported": 5}', b'{"reported": "yesterday"}', b"\xff"):
        (tmp_path / "daily.json").write_bytes(content)
        assert files.remembered("daily", tmp_path) is None
    files.remember("daily", datetime.date(2026, 11, 28), tmp_path)
    assert files.remembered("daily", tmp_path) == datetime.date(2026, 11, 28)


# The program


class Box:
    """A root folder with a record of the last days, and the real program."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (
            "etc/livekeep/livekeep.d",
            "var/lib/livekeep/record",
            "var/lib/livekeep/reports",
            "var/lib/livekeep/alerter/spool",
        ):
            (root / folder).mkdir(parents=True)
        self.today = date_of(time.time())
        self.reports, self.spool = root / "var/lib/livekeep/reports", root / "var/lib/livekeep/alerter/spool"
        self.writer = Writer(root / "var/lib/livekeep/record/record.db")

    def add_job(self, days_ago: int, outcome: str = "succeeded") -> None:
        began = round(midnight(self.today - timedelta(days_ago)) * SECOND) + 3600 * SECOND
        session = {"name": "cut", "began": began, "ended": began + SECOND, "outcome": outcome, "done": 3}
        self.writer.ingest([Job().entry([("cut.one", began, 1000, outcome)], [["s", f"s{days_ago}", session]], at=began)])

    def configure(self, text: str) -> None:
        (self.root / "etc/livekeep/livekeep.toml").write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [PROJECT / "bin/livekeep-report", *arguments],
            env={**os.environ, "LIVEKEEP_ROOT": str(self.root)},
            capture_output=True,
            check=False,
        )

    def messages(self) -> list[notify.Message]:
        result = [
            notify.decode(file.read_bytes()) for file in sorted(self.spool.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        ]
        for file in self.spool.iterdir():
            file.unlink()
        return result


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.configure("")
    yield made
    made.writer.close()


def test_a_daily_report_is_a_file_and_a_message_once(box: Box) -> None:
    box.configure('[reports]\nnotify = ["me"]\n[notify.me]\nfile = "/dev/null"\n')
    box.add_job(1, "failed")
    box.add_job(0)
    ran = box.run("--scheduled", "daily")
    assert ran.returncode == 0, ran.stderr
    yesterday = box.today - timedelta(1)
    (message,) = box.messages()
    assert message.title.startswith("box: 1 of 1 job failed (")
    assert message.channels == ("me",)
    assert message.text == (box.reports / f"daily-{yesterday}.txt").read_text()
    assert message.html == (box.reports / f"daily-{yesterday}.html").read_text()
    assert "1 item" not in message.text and "3 items processed" in message.text
    assert box.run("--scheduled", "daily").returncode == 0
    assert box.messages() == []


def test_a_weekly_report_comes_with_its_pdf(box: Box) -> None:
    box.add_job(box.today.weekday() + 2)
    assert box.run("--scheduled", "weekly").returncode == 0
    (message,) = box.messages()
    (attachment,) = message.attachments
    assert (box.reports / attachment.name).read_bytes() == attachment.content
    assert attachment.content.startswith(b"%PDF")
    assert attachment.type == "application/pdf"
    assert "1 job ran and succeeded" in message.title


def test_missed_days_are_caught_up_but_those_on_which_the_box_was_off(box: Box) -> None:
    for days_ago in (6, 4):
        box.add_job(days_ago)
    files.remember("daily", box.today - timedelta(7), box.reports)
    assert box.run("--scheduled", "daily").returncode == 0
    reported = [files.first_day(path.name)[1] for path in sorted(box.reports.glob("*.txt"))]
    assert reported == [box.today - timedelta(days) for days in (6, 4, 1)]
    titles = [message.title for message in box.messages()]
    assert [title.split(": ")[1].split(" (")[0] for title in titles[:2]] == ["1 job ran and succeeded"] * 2
    assert "Nothing happened" in titles[2]


def test_reports_that_are_switched_off_are_not_made_up_for_later(box: Box) -> None:
    box.configure("[reports]\ndaily = false\n")
    box.add_job(1)
    ran = box.run("--scheduled", "daily")
    assert (ran.returncode, box.messages(), list(box.reports.glob("*.txt"))) == (0, [], [])
    box.configure("")
    assert box.run("--scheduled", "daily").returncode == 0
    assert box.messages() == []


def test_what_could_not_be_handed_over_is_still_due(box: Box) -> None:
    box.add_job(1)
    box.spool.rmdir()
    ran = box.run("--scheduled", "daily")
    assert ran.returncode == 1
    assert b"alerter/spool: missing" in ran.stderr
    box.spool.mkdir()
    assert box.run("--scheduled", "daily").returncode == 0
    assert len(box.messages()) == 1


def test_old_reports_go_with_the_summaries(box: Box) -> None:
    box.configure("[record]\nsummary_days = 30\n")
    box.add_job(1)
    for days in (29, 33):
        files.write(f"daily-{box.today - timedelta(days)}.txt", b"", box.reports)
    assert box.run("--scheduled", "daily").returncode == 0
    assert [days for days in (29, 33) if (box.reports / f"daily-{box.today - timedelta(days)}.txt").exists()] == [29]


def test_a_faulty_configuration_is_said_and_nothing_is_made(box: Box) -> None:
    box.configure("[reports]\ndaily = 5\n")
    ran = box.run("--scheduled", "daily")
    assert ran.returncode == 78
    assert b"reports.daily" in ran.stderr


def test_a_person_gets_a_report_in_the_form_of_the_file_s_name(box: Box, tmp_path: Path) -> None:
    box.add_job(2, "failed")
    box.add_job(1)
    for name, begin in (("a.pdf", b"%PDF"), ("a.html", b"<!DOCTYPE"), ("a.csv", b"report,"), ("a.json", b"{"), ("a", b"box: ")):
        ran = box.run("--output", str(tmp_path / name))
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
        assert (tmp_path / name).read_bytes().startswith(begin)
    day = str(box.today - timedelta(2))
    document = json.loads(box.run("--from", day, "--to", day, "--json").stdout)
    assert [(row["job"], row["runs"], row["failed"]) for row in document["jobs"]] == [("cut", 1, 1)]
    assert (
        box.run("--from", day, "--to", day, "--function", "cut.*", "--metric", "p95", "--format", "csv").stdout.count(
            b"p95_seconds"
        )
        == 1
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "last week"], "--from last week: must be"),
        (["--from", "2026-11-28", "--to", "2026-11-27"], "--from 2026-11-28 is not before --to 2026-11-27"),
        (["--output", "/nowhere/at/all"], "/nowhere/at/all: cannot be written"),
    ],
)
def test_a_person_s_mistake_is_named(box: Box, arguments: list[str], sentence: str) -> None:
    ran = box.run(*arguments)
    assert ran.returncode == 1
    assert sentence in ran.stderr.decode()
    assert b"Traceback" not in ran.stderr


def test_a_record_that_others_write_is_read_without_waiting(box: Box) -> None:
    """The writer keeps a transaction open meanwhile."""
    box.add_job(1)
    box.writer.connection.execute("BEGIN IMMEDIATE")
    try:
        assert box.run("--json").returncode == 0
    finally:
        box.writer.connection.execute("ROLLBACK")
    with contextlib.closing(sqlite3.connect(box.root / "var/lib/livekeep/record/record.db")) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone()[0] == 1
