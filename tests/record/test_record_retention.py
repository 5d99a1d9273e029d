"""livekeep.record.store.retention and upkeep: old rows are deleted, others stay; the file's check, copy and size."""

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.core.config.record import Record
from livekeep.record.recorder.keeping import Keeping
from livekeep.record.store import retention, upkeep
from livekeep.record.store.schema import open_read_only
from livekeep.record.store.writer import Writer
from tests.record.entries import Job, event

DAY = retention.DAY
NOW = 1_700_000_000
"""Unix seconds."""


def ages(writer: Writer, query: str) -> list[int]:
    """Ages in days, from moments in us."""
    return sorted(round((NOW * 1_000_000 - row[0]) / DAY) for row in writer.connection.execute(query))


def filled(writer: Writer, days: list[int]) -> None:
    """A call, an event, a sample, a session with a step, and a loss for each of these days."""
    for number, age in enumerate(days):
        at = NOW * 1_000_000 - age * DAY
        job = Job(pid=number + 1)
        error = ["ValueError", f"of {number}", ""]
        lines = [
            ["s", "s", {"name": "clips", "began": at, "ended": at + 5, "outcome": "succeeded"}],
            ["t", "s", 1, {"name": "cut", "began": at, "ended": at + 5, "outcome": "succeeded"}],
            ["f", 9, "broken", "api"],
            ["c", 0, 9, at, 7, "failed", 0, None, None, None, error],
        ]
        job.sequence = 1
        writer.add(job.entry(calls=[("fetch", at, 7, "succeeded")], lines=lines, at=at))
        writer.add(event("picture-changed", f"of {number}", at=at))
        writer.add_sample("m", "box", at, {"cpu_percent": 1.0})
        writer.add_sample("m", "box", at, {"cpu_percent": 1.0}, "livekeep-player.service")
    writer.commit()


MOMENTS = {
    "calls": "SELECT id / 1000 FROM calls WHERE outcome = 0",
    "failed": "SELECT id / 1000 FROM calls WHERE outcome = 1",
    "events": "SELECT id / 1000 FROM events WHERE arrival < (SELECT max(arrival) FROM events)",
    "samples": "SELECT at FROM samples",
    "unit_samples": "SELECT at FROM unit_samples",
    "sessions": "SELECT began_at FROM sessions",
    "steps": "SELECT began_at FROM steps",
    "losses": "SELECT at FROM losses",
    "processes": "SELECT last_at FROM processes",
}
SHORT = ("calls", "failed", "events", "samples", "unit_samples")


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    days=st.lists(st.integers(0, 800), min_size=1, max_size=25, unique=True),
    call_days=st.integers(1, 400),
    summary_days=st.integers(1, 800),
    chunk=st.integers(1, 10),
)
def test_retention_compliance(
    tmp_path_factory: pytest.TempPathFactory, days: list[int], call_days: int, summary_days: int, chunk: int
) -> None:
    """After tidying nothing exceeds its retention, everything else is there, and the summaries are unchanged."""
    writer = Writer(tmp_path_factory.mktemp("retention") / "record.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "CHUNK_ROWS", chunk)
        # Also on both sides of each limit.
        limits = {limit + side for limit in (call_days, max(call_days, summary_days)) for side in (-1, 0, 1)}
        filled(writer, sorted({*days, *limits}))
        newest = [row[0] for row in writer.connection.execute("SELECT max(arrival) FROM events")]
        sums = dict(
            writer.connection.execute("SELECT began_at, sum(count) FROM summaries WHERE period = 'day' GROUP BY 1").fetchall()
        )
        before = {name: ages(writer, query) for name, query in MOMENTS.items()}
        horizon = retention.horizon(NOW, call_days, summary_days)
        assert all(deleted <= max(chunk * 3, 600) for deleted in retention.delete(writer.connection, horizon))
    for name, query in MOMENTS.items():
        limit = call_days if name in SHORT else max(call_days, summary_days)
        assert ages(writer, query) == [age for age in before[name] if age <= limit], name
    assert [row[0] for row in writer.connection.execute("SELECT max(arrival) FROM events")] == newest
    kept = dict(
        writer.connection.execute("SELECT began_at, sum(count) FROM summaries WHERE period = 'day' GROUP BY 1").fetchall()
    )
    assert kept == {began: count for began, count in sums.items() if began >= horizon.summaries}
    texts = [row[0] for row in writer.connection.execute("SELECT message FROM errors")]
    assert len(texts) == len(
        [age for age in before["failed"] if age <= call_days or NOW // 86400 - (NOW - age * 86400) // 86400 <= call_days]
    )
    writer.close()


def test_a_running_session_stays_however_old(writer: Writer) -> None:
    at = NOW * 1_000_000 - 900 * DAY
    writer.ingest([Job().entry(lines=[["s", "s", {"name": "clips", "began": at, "outcome": "running"}]], at=at)])
    list(retention.delete(writer.connection, retention.horizon(NOW, 1, 1)))
    assert ages(writer, MOMENTS["sessions"]) == [900]
    assert ages(writer, MOMENTS["processes"]) == [900]


def test_free_pages_are_given_back(writer: Writer, tmp_path: Path) -> None:
    calls = [("fetch", NOW * 1_000_000 + number, 5, "succeeded") for number in range(40_000)]
    writer.ingest([Job().entry(calls=calls)])
    writer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (tmp_path / "record.db").stat().st_size
    list(retention.delete(writer.connection, retention.Horizon(NOW * 1_000_000 + 30_000, 0)))
    assert [min(steps, retention.VACUUM_PAGES) for steps in retention.vacuum(writer.connection, 0.0)]
    writer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "record.db").stat().st_size < before / 3
    assert writer.connection.execute("SELECT count(*) FROM calls").fetchone()[0] == 10_000
    assert writer.connection.execute("PRAGMA secure_delete").fetchone()[0] == 0


def test_the_writer_writes_between_two_chunks(writer: Writer) -> None:
    filled(writer, list(range(100, 130)))
    for _ in retention.delete(writer.connection, retention.horizon(NOW, 90, 90)):
        writer.ingest([event("picture-changed", "meanwhile", at=NOW * 1_000_000)])
    assert writer.connection.execute("SELECT count(*) > 3 FROM events WHERE message = 'meanwhile'").fetchone()[0]


# A full disk


def test_a_disk_that_fills_up_makes_it_keep_less_but_one_day(tmp_path: Path) -> None:
    """Each time a tenth of the calls' time range; a small record is not what fills a disk."""
    writer = Writer(tmp_path / "record.db")
    filled(writer, list(range(50)))
    full = Record(least_free_percent=90.0, call_days=90)
    now = float(NOW)
    small = Keeping(tmp_path / "record.db")
    small.check(writer.connection, full, now)
    assert not small.is_busy
    keeping = Keeping(tmp_path / "record.db", least_bytes=0)
    free = 100 * os.statvfs(tmp_path).f_bavail / os.statvfs(tmp_path).f_blocks
    assert free < 90, "this test needs a disk that is not empty"
    oldest = []
    for _ in range(60):
        keeping.check(writer.connection, full, now)
        while keeping.is_busy:
            keeping.step(writer.connection, full, now)
        oldest.append(ages(writer, MOMENTS["calls"])[-1])
    assert oldest[0] == 44
    assert sorted(oldest, reverse=True) == oldest
    assert oldest[-1] == 1
    assert "one day only" in keeping.problem
    assert ages(writer, MOMENTS["sessions"])[-1] == 49
    keeping.check(writer.connection, Record(least_free_percent=1.0), now)
    assert keeping.problem == ""
    writer.close()


# The file


def test_readers_that_never_pause_do_not_make_the_log_grow(writer: Writer, tmp_path: Path) -> None:
    """Each begins before the previous one ends, so that the log is always in use."""
    largest, file, over = 1024 * 1024, tmp_path / "record.db", threading.Event()
    keeping = Keeping(file, largest_log_bytes=largest)
    writer.connection.execute("PRAGMA wal_autocheckpoint = 100")

    def read() -> None:
        connection = open_read_only(file)
        while not over.is_set():
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM calls LIMIT 1").fetchone()
            time.sleep(0.03)
            connection.execute("COMMIT")
        connection.close()

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    job, written = Job(), 0
    try:
        while written < 20 * largest:
            at, text = NOW * 1_000_000 + written, "x" * 200
            calls = [["c", n, 0, at + n, 7, "succeeded", 0, None, None, text] for n in range(2000)]
            writer.ingest([job.entry(lines=[["f", 0, "fetch", "api"], *calls], at=at)])
            written += 2000 * len(text)
            # Each time long enough after the last attempt.
            keeping.bound_log(writer.connection, float(written))
            assert (tmp_path / "record.db-wal").stat().st_size < 8 * largest
    finally:
        over.set()
        for reader in readers:
            reader.join()


def test_the_copy_is_the_record_at_one_moment(writer: Writer, tmp_path: Path) -> None:
    filled(writer, [1, 2, 3])
    size, reason = upkeep.copy(tmp_path / "record.db", 1.0)
    assert reason == ""
    assert size == (tmp_path / "record.db.copy").stat().st_size
    writer.ingest([event("picture-changed", "later")])
    copied = Writer(tmp_path / "record.db.copy")
    assert ages(copied, MOMENTS["calls"]) == [1, 2, 3]
    assert upkeep.check(copied.connection) == ()
    copied.close()


def test_there_is_no_copy_without_room_for_it(writer: Writer, tmp_path: Path) -> None:
    filled(writer, [1])
    assert upkeep.copy(tmp_path / "record.db", 99.9) == (None, "the disk has too little room for a copy")
    assert not (tmp_path / "record.db.copy").exists()


def test_faults_of_a_file_are_detected(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "record.db")
    filled(writer, list(range(60)))
    writer.close()
    file = tmp_path / "record.db"
    content = bytearray(file.read_bytes())
    content[40 * 4096 : 44 * 4096] = b"\x5a" * 4 * 4096
    file.write_bytes(content)
    connection = sqlite3.connect(file)
    assert upkeep.check(connection)
    connection.close()


def test_two_damaged_records_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    for number in range(4):
        file.write_text(f"damaged {number}")
        (tmp_path / "record.db-wal").write_text("its log")
        aside, has_copy = upkeep.set_aside(file, NOW + number * 60)
        assert not has_copy
        assert aside.read_text() == f"damaged {number}"
    kept = sorted(path.read_text() for path in tmp_path.glob("record.db.corrupt-*"))
    assert kept == ["damaged 2", "damaged 3", "its log", "its log"]
    assert not file.exists()


def test_what_tidy_reported_is_read_again(tmp_path: Path) -> None:
    assert upkeep.read_result(tmp_path) is None
    result = upkeep.CheckResult(time.time(), 5, ("row 3 missing",), None, "")
    upkeep.write_result(tmp_path, result)
    assert upkeep.read_result(tmp_path) == result
    (tmp_path / "check.json").write_text("[]")
    assert upkeep.read_result(tmp_path) is None
