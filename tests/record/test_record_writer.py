"""livekeep.record.store.writer: journal entries become rows, each once, whatever their content and however often they arrive."""

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.core.errors import ConfigError
from livekeep.record.store import schema
from livekeep.record.store.writer import Writer
from tests.record.entries import BOOT, NOW, Job, event, trusted

FORGED = "token-of-another"
FAILED = "d9b373ed55a64feb8242e02dbe79a49c"


def rows(writer: Writer, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in writer.connection.execute(query)]


def one_call(job: Job, name: str = "fetch", duration: int = 10) -> dict[str, str]:
    return job.entry(calls=[(name, NOW, duration, "succeeded")])


# Rows


def test_a_call_has_all_that_its_line_says(writer: Writer) -> None:
    error = ["ValueError", "no such clip", "Traceback …"]
    line = ["c", 7, 0, NOW, 1500, "failed", 3, "s1", "worker-1", "clip=5", error, 900, 4096, 100, 200]
    writer.ingest([Job().raw("\n".join(map(json.dumps, (["f", 0, "jobs.fetch", "api"], line))), 1)])
    result = rows(
        writer,
        "SELECT f.name, f.kind, c.id / 1000, c.number, c.parent, c.duration, c.outcome, t.name, c.arguments, e.type, e.message, "
        "e.traceback, c.cpu, c.memory, c.read, c.written, s.token, m.hostname, p.pid "
        "FROM calls c JOIN functions f ON f.id = c.function JOIN threads t ON t.id = c.thread "
        "JOIN errors e ON e.id = c.error JOIN sessions s ON s.id = c.session "
        "JOIN machines m ON m.id = c.machine JOIN processes p ON p.id = c.process",
    )
    who = ("s1", "box", 1000)
    assert result == [("jobs.fetch", "api", NOW, 7, 3, 1500, 1, "worker-1", "clip=5", *error, 900, 4096, 100, 200, *who)]


def test_a_session_is_as_its_newest_line_says(writer: Writer) -> None:
    job = Job()
    began = ["s", "s1", {"name": "clips", "began": NOW, "outcome": "running", "total": 10, "done": 0}]
    step = ["t", "s1", 1, {"name": "cut", "began": NOW, "outcome": "running", "weight": 2.5}]
    writer.ingest([job.entry(lines=[began, step])])
    ended = ["s", "s1", {"ended": NOW + 500, "outcome": "failed", "done": 4, "error": ["OSError", "disk", "…"]}]
    writer.ingest([job.entry(lines=[["t", "s1", 1, {"ended": NOW + 400, "outcome": "succeeded"}], ended])])
    sessions = rows(
        writer,
        "SELECT name, began_at, ended_at, outcome, total, done, (SELECT message FROM errors WHERE id = error) FROM sessions",
    )
    assert sessions == [("clips", NOW, NOW + 500, "failed", 10.0, 4.0, "disk")]
    assert rows(writer, "SELECT name, ended_at, outcome, weight FROM steps") == [("cut", NOW + 400, "succeeded", 2.5)]
    kinds = rows(
        writer,
        "SELECT f.kind, f.name, s.count, s.failures, s.sum FROM summaries s JOIN functions f ON f.id = s.function "
        "WHERE period = 'day' ORDER BY 1",
    )
    assert kinds == [("session", "clips", 1, 1, 500), ("step", "clips / cut", 1, 0, 400)]


def test_events_of_units_and_jobs_are_rows_and_carriers_of_calls_are_none(writer: Writer) -> None:
    job = Job()
    session = ["s", "s1", {"name": "clips", "began": NOW, "outcome": "running"}]
    writer.ingest(
        [
            event("picture-changed", "The TV shows the stream", PICTURE="stream"),
            job.entry(lines=[session], LIVEKEEP_EVENT="session-began", LIVEKEEP_SESSION="s1", MESSAGE="clips begins"),
            job.entry(calls=[("fetch", NOW, 1, "succeeded")], LIVEKEEP_EVENT="calls-recorded"),
        ]
    )
    result = rows(
        writer,
        "SELECT e.name, e.unit, e.message, e.fields, s.name "
        "FROM events e LEFT JOIN sessions s ON s.id = e.session ORDER BY arrival",
    )
    assert result == [
        ("picture-changed", "livekeep-player.service", "The TV shows the stream", '{"PICTURE":"stream"}', None),
        ("session-began", "job.service", "clips begins", '{"SESSION":"s1"}', "clips"),
    ]


def test_a_failure_of_a_unit_counts_when_systemd_says_so_of_a_known_unit(writer: Writer) -> None:
    failed = {
        **trusted(NOW, 1, 0, "init.scope", BOOT, "1" * 32, "box"),
        "MESSAGE_ID": "d9b373ed55a64feb8242e02dbe79a49c",
        "PRIORITY": "4",
    }
    forged = {**failed, "_PID": "4242", "_UID": "1000", "_SYSTEMD_UNIT": "job.service", "__CURSOR": ""}
    writer.ingest([one_call(Job(unit="job.service"))])
    entries = [
        {**failed, "UNIT": "job.service", "UNIT_RESULT": "oom-kill", "MESSAGE": "job.service: Failed"},
        {**failed, "UNIT": "livekeep-player.service", "__CURSOR": ""},
        {**failed, "UNIT": "nginx.service", "__CURSOR": ""},
        {**forged, "UNIT": "job.service"},
    ]
    writer.ingest(entries)
    assert rows(writer, "SELECT name, unit FROM events ORDER BY id") == [
        ("unit-failed", "job.service"),
        ("unit-failed", "livekeep-player.service"),
    ]


def test_an_entry_of_nobody_is_none_of_its_business(writer: Writer) -> None:
    plain = {**trusted(NOW, 5, 0, "nginx.service", BOOT, "1" * 32, "box"), "MESSAGE": "hello", "PRIORITY": "3"}
    assert not writer.add(plain)
    assert not writer.add({**plain, "_SYSTEMD_UNIT": "livekeep-recorder.service"}), "its own lines would come back for ever"
    assert not writer.has_rows
    assert writer.add({**plain, "_SYSTEMD_UNIT": "livekeep-display.service"})


# Duplicates


def test_what_comes_twice_is_dropped(writer: Writer) -> None:
    entries = [one_call(Job()), event("picture-changed", PICTURE="stream")]
    writer.ingest(entries)
    writer.ingest(entries)
    assert rows(writer, "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM events)") == [(1, 1)]
    assert writer.counters.duplicates == 2


def test_a_gap_is_a_loss_until_it_is_filled(writer: Writer) -> None:
    job = Job()
    entries = [one_call(job) for _ in range(6)]
    writer.ingest([entries[0], entries[4]])
    assert rows(writer, "SELECT reason, entries, calls FROM losses") == [("gap", 3, 3)]
    writer.ingest([entries[2], entries[2]])
    assert rows(writer, "SELECT reason, entries, calls FROM losses") == [("gap", 2, 2)]
    writer.ingest([entries[1], entries[3], entries[5]])
    assert rows(writer, "SELECT * FROM losses") == []
    assert rows(writer, "SELECT count(*) FROM calls") == [(6,)]
    assert (writer.counters.lost_entries, writer.counters.lost_calls) == (0, 0)


def test_who_uses_another_s_token_takes_nothing_from_it(writer: Writer) -> None:
    real, forger = Job(FORGED, pid=1000, uid=1000), Job(FORGED, pid=6666, uid=33)
    forger.sequence = 50
    writer.ingest([one_call(real, "real")])
    lie = ["s", "s1", {"name": "clips", "began": NOW, "outcome": "succeeded", "ended": NOW}]
    writer.ingest([forger.entry(calls=[("forged", NOW, 1, "failed")], lines=[lie])])
    truth = ["s", "s1", {"name": "clips", "began": NOW, "outcome": "running"}]
    writer.ingest([real.entry(calls=[("real", NOW, 1, "succeeded")], lines=[truth])])
    calls = rows(
        writer,
        "SELECT f.name, p.uid FROM calls c JOIN functions f ON f.id = c.function JOIN processes p ON p.id = c.process ORDER BY 1",
    )
    assert calls == [("forged", 33), ("real", 1000), ("real", 1000)]
    assert rows(writer, "SELECT p.uid, s.outcome FROM sessions s JOIN processes p ON p.id = s.process ORDER BY 1") == [
        (33, "succeeded"),
        (1000, "running"),
    ]
    assert rows(writer, "SELECT * FROM losses") == []


def test_calls_of_the_same_microsecond_are_all_there(writer: Writer) -> None:
    jobs = [Job() for _ in range(3)]
    for _ in range(3):
        writer.ingest([job.entry(calls=[("f", NOW, 5, "succeeded")] * 1500) for job in jobs])
    assert rows(writer, "SELECT count(*), count(DISTINCT id) FROM calls") == [(13500, 13500)]


def test_suppressed_messages_are_a_loss_when_journald_says_so(writer: Writer) -> None:
    word = {
        **trusted(NOW, 300, 0, "systemd-journald.service", BOOT, "1" * 32, "box"),
        "MESSAGE_ID": "a596d6fe7bfa4994828e72309e95d61e",
        "MESSAGE": "Suppressed 1234 messages from job.service",
    }
    writer.ingest([one_call(Job()), {**word, "_TRANSPORT": "journal"}])
    assert rows(writer, "SELECT * FROM losses") == []
    writer.ingest([{**word, "_TRANSPORT": "driver"}] * 2)
    assert rows(writer, "SELECT reason, unit, entries FROM losses") == [("suppressed", "job.service", 1234)]


# Any content

MALFORMED = {
    "no JSON": "hello",
    "no array": '{"c": 1}',
    "an empty array": "[]",
    "an unknown kind": '["x", 1]',
    "a call without its function": '["c", 1, 5, 1, 1, "succeeded"]',
    "a number that is none": '["c", "one", 0, 1, 1, "succeeded"]',
    "a truth value": f'["c", true, 0, {NOW}, 1, "succeeded"]',
    "a number without end": '["c", 1, 0, 1' + "0" * 6000 + ', 1, "succeeded"]',
    "a time before all": '["c", 1, 0, -5, 1, "succeeded"]',
    "a time after all": '["c", 1, 0, 9999999999999999999, 1, "succeeded"]',
    "an outcome that is none": f'["c", 1, 0, {NOW}, 1, ["succeeded"]]',
    "an error of one part": f'["c", 1, 0, {NOW}, 1, "failed", 0, null, null, null, ["E"]]',
    "too many values": f'["c", 1, 0, {NOW}, 1, "failed", 0, null, null, null, null, 1, 1, 1, 1, 1]',
    "a session that is a list": '["s", "s1", []]',
    "a session without end": '["s", "s1", {"done": Infinity}]',
    "not a number": '["s", "s1", {"percent": NaN}]',
    "a session that is lost": '["s", "s1", {"outcome": "lost"}]',
    "a step without number": '["t", "s1", null, {}]',
    "what is deeper than a parser": "[" * 100_000 + "]" * 100_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_line_is_a_loss_and_the_others_are_good(writer: Writer, name: str) -> None:
    good = f'["f", 0, "fetch", "api"]\n["c", 1, 0, {NOW}, 5, "succeeded"]'
    writer.ingest([Job().raw(f"{good}\n{MALFORMED[name]}\n" + good.replace('"c", 1', '"c", 2'), 2)])
    assert rows(writer, "SELECT count(*) FROM calls") == [(2,)]
    assert rows(writer, "SELECT reason FROM losses") == [("unreadable",)]


def test_texts_are_bounded_and_fit_for_a_database(writer: Writer) -> None:
    half = '["f", 0, "\\ud800fetch", "api"]'
    call = json.dumps(
        ["c", 1, 0, NOW, 5, "failed", 0, None, "t" * 500, "a" * 50_000, ["E" * 900, "m" * 90_000, "b" + "t" * 90_000 + "e"]]
    )
    job = Job()
    writer.ingest(
        [job.raw(f"{half}\n{call}", 1, LIVEKEEP_EVENT="x\ud800" * 400, LIVEKEEP_FIELD="v" * 90_000, MESSAGE="m" * 90_000)]
    )
    arguments, message, traceback = rows(
        writer, "SELECT length(arguments), length(message), traceback FROM calls JOIN errors ON errors.id = error"
    )[0]
    assert (arguments, message) == (4000, 4000)
    assert isinstance(traceback, str)
    assert len(traceback) < 21_000
    assert (traceback[0], traceback[-1]) == ("b", "e")
    assert rows(writer, "SELECT name FROM functions WHERE kind = 'api'") == [("\ufffdfetch",)]
    assert rows(writer, "SELECT length(message) <= 8000, length(fields) < 5000, length(name) <= 300 FROM events") == [(1, 1, 1)]


@pytest.mark.parametrize("sequence", ["", "-1", "one", "9" * 30, "9" * 6000])
def test_an_entry_without_a_number_is_a_loss(writer: Writer, sequence: str) -> None:
    entry = one_call(Job())
    writer.ingest([{**entry, "LIVEKEEP_SEQUENCE": sequence}])
    assert rows(writer, "SELECT reason, entries FROM losses") == [("unreadable", 1)]


def test_calls_that_an_entry_counts_but_lacks_are_lost(writer: Writer) -> None:
    writer.ingest([{**one_call(Job()), "LIVEKEEP_COUNT": "5"}])
    assert rows(writer, "SELECT reason, calls FROM losses") == [("unreadable", 4)]


def test_names_that_a_job_makes_up_are_bounded(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livekeep.record.store.names.MOST_FUNCTIONS", 5)
    writer.ingest([Job().entry(calls=[(f"fetch-{number}", NOW + number, 1, "succeeded") for number in range(40)])])
    assert rows(writer, "SELECT count(*) FROM functions") == [(6,)]
    assert rows(writer, "SELECT count(*) FROM calls c JOIN functions f ON f.id = c.function WHERE f.name = '(others)'") == [(35,)]


# The property

entry_numbers = st.integers(0, 2)
plans = st.lists(st.tuples(entry_numbers, st.integers(0, 11), st.sampled_from(["", "commit", "kill"])), max_size=60)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(plan=plans, sizes=st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_structured_log_storage(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[int, int, str]], sizes: list[int]
) -> None:
    """Entries of three processes arrive in any order, twice, or not at all, with kills in between: each is stored once, and the
    losses are the missing ones below the newest of each."""
    file = tmp_path_factory.mktemp("storage") / "record.db"
    jobs = [Job(pid=number) for number in (10, 20, 30)]
    entries = [
        [job.entry(calls=[("f", NOW + number, 1, "succeeded")] * size) for number, size in enumerate(sizes)] for job in jobs
    ]
    writer = Writer(file)
    uncommitted: list[tuple[int, int]] = []
    stored: set[tuple[int, int]] = set()
    for job, number, then in plan:
        writer.add(entries[job][number])
        uncommitted.append((job, number))
        if then == "commit":
            writer.commit()
            stored |= set(uncommitted)
            uncommitted.clear()
        elif then == "kill":
            # Without a notification: uncommitted rows are gone, and their entries come again.
            writer.connection.close()
            writer = Writer(file)
            for again in uncommitted:
                writer.add(entries[again[0]][again[1]])
    writer.commit()
    stored |= set(uncommitted)
    query = "SELECT p.pid, count(*) FROM calls c JOIN processes p ON p.id = c.process GROUP BY 1"
    per_process = Counter(dict(rows(writer, query)))
    expected = Counter({jobs[job].pid: 0 for job in range(3)})
    for job, number in stored:
        expected[jobs[job].pid] += sizes[number]
    assert +per_process == +expected
    newest: dict[int, int] = {}
    for job, number in stored:
        newest[job] = max(newest.get(job, 0), number)
    missing = sum((job, number) not in stored for job in newest for number in range(newest[job]))
    missing_calls = sum(sizes[number] for job in newest for number in range(newest[job]) if (job, number) not in stored)
    assert rows(writer, "SELECT ifnull(sum(entries), 0), ifnull(sum(calls), 0) FROM losses WHERE reason = 'gap'") == [
        (missing, missing_calls)
    ]
    writer.close()


# The database


def test_a_reader_needs_no_right_to_write(tmp_path: Path, writer: Writer) -> None:
    writer.ingest([one_call(Job())])
    file = tmp_path / "record.db"
    reader = schema.open_read_only(file)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM calls")
    assert not reader.is_outdated
    writer.ingest([one_call(Job())])
    assert reader.execute("SELECT count(*) FROM calls").fetchone()[0] == 2
    reader.close()


def test_there_is_no_record_to_read(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        schema.open_read_only(tmp_path / "record.db")


def test_a_record_of_a_newer_livekeep_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    connection = sqlite3.connect(file)
    connection.executescript("CREATE TABLE wonders (id); PRAGMA user_version = 99;")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="newer livekeep"):
        Writer(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("version", range(schema.VERSION + 1))
def test_a_record_of_each_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    """It then accepts rows, and has the tables of a new one."""
    schema.open_for_writing(tmp_path / "old.db", schema.MIGRATIONS[:version]).close()
    old, new = Writer(tmp_path / "old.db"), Writer(tmp_path / "new.db")
    old.ingest([one_call(Job()), event("picture-changed")])
    query = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    assert rows(old, query) == rows(new, query)
    assert rows(old, "PRAGMA user_version") == [(schema.VERSION,)]
    old.close()
    new.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    Writer(file).close()
    with pytest.raises(sqlite3.OperationalError):
        schema.open_for_writing(file, (*schema.MIGRATIONS, "CREATE TABLE fresh (id); CREATE TABLE machines (id);"))
    writer = Writer(file)
    assert rows(writer, "SELECT count(*) FROM sqlite_schema WHERE name = 'fresh'") == [(0,)]
    writer.close()
