"""livekeep record: the real command on a record filled by the recorder's writer."""

import argparse
import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from livekeep.record import moments
from livekeep.record.alerts import command as alert_command
from livekeep.record.clips import analyzer as clips_command
from livekeep.record.command import main as record_command
from livekeep.record.reports import FORMATS, program
from livekeep.record.reports.content import METRICS
from livekeep.record.store import schema
from livekeep.record.store.requests import folder_of
from livekeep.record.store.writer import Writer
from livekeep.system import terminal
from tests.outside import PROJECT
from tests.record.entries import Job, event

SECOND = 1_000_000
DAY = 86400 * SECOND
NOBODY = 65534
ERROR = ["ValueError", "the clip has no picture", 'Traceback:\n  File "job.py"\nValueError: the clip has no picture']
NOW = int(time.time() * SECOND)


class Room:
    """A root with a record in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "var/lib/livekeep/record/record.db"
        self.file.parent.mkdir(parents=True)
        self.environment = {"PATH": "/usr/bin:/bin", "LIVEKEEP_ROOT": str(root), "TZ": "Europe/Berlin", "LC_ALL": "C.UTF-8"}

    def fill(self) -> None:
        writer = Writer(self.file)
        job = Job(unit="clips.service")
        began = NOW - 3600 * SECOND
        lines: list[list[Any]] = [
            session("old", "clip analysis", began - DAY, "succeeded"),
            session("bad", "clip analysis", began, "failed", total=100, done=30, error=ERROR),
            session("now", "upload", NOW - 60 * SECOND, "running", total=10, done=4, left=90.0),
            ["t", "bad", 1, {"name": "fetch", "began": began, "ended": began + 5 * SECOND, "outcome": "succeeded"}],
            ["t", "bad", 2, {"name": "analyse", "began": began + 5 * SECOND, "ended": began + 10 * SECOND, "outcome": "failed"}],
            ["f", 0, "job.fetch", "function"],
            ["f", 1, "GET /videos", "api"],
            ["c", 1, 0, began, 2_500_000, "succeeded", 0, "bad", None, "clip=1"],
            ["c", 2, 1, began + 1, 120_000, "failed", 1, "bad", None, None, ERROR],
            ["c", 3, 0, began - 10 * DAY, 1_000_000, "succeeded"],
        ]
        picture = event("picture-changed", "\x1b[2Jthe holding picture is shown", at=NOW - 5 * SECOND)
        writer.ingest([job.entry(lines=lines, at=NOW), {**picture, "PRIORITY": "3"}])
        writer.close()

    def run(self, *arguments: str, code: int = 0, **more: Any) -> str:
        """The command's output; on standard error for an exit code other than 0."""
        command = [sys.executable, "-I", str(PROJECT / "bin/livekeep"), "record", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=60, check=False, **more)
        assert done.returncode == code, done.stderr
        assert not (code == 0 and done.stderr)
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


def session(token: str, name: str, began: int, outcome: str, **more: Any) -> list[Any]:
    ended = None if outcome == "running" else began + 10 * SECOND
    return ["s", token, {"name": name, "began": began, "ended": ended, "outcome": outcome, **more}]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    room = Room(tmp_path_factory.mktemp("room"))
    room.fill()
    return room


def test_sessions_stand_with_the_failed_one_first(room: Room) -> None:
    head, failed, why, running, left, succeeded = lines = room.run("sessions").splitlines()
    assert head.split() == ["NO.", "SESSION", "OUTCOME", "BEGAN", "TOOK", "DONE"]
    assert " clip analysis  failed " in failed and failed.endswith(" 10.0 s  30 of 100")
    assert why == "  ValueError: the clip has no picture"
    assert " upload " in running and running.endswith("  4 of 10")
    assert left == "  1 min 30 s left"
    assert " succeeded " in succeeded
    assert all(terminal.width(line) <= 80 for line in lines)
    assert [row["outcome"] for row in room.json("sessions")] == ["failed", "running", "succeeded"]
    assert "clip analysis" not in room.run("sessions", "--session", "up*")
    assert room.run("sessions", "--from", "2001-01-01", "--to", "2001-01-02") == "No session in this time\n"


def test_a_session_is_shown_by_its_number_and_by_its_name(room: Room) -> None:
    (number,) = [row["id"] for row in room.json("sessions") if row["outcome"] == "failed"]
    shown = room.run("show", str(number))
    assert room.run("show", "clip analysis") == shown
    assert shown.startswith(f"clip analysis (session {number}): failed at ")
    assert "after 10.0 s" in shown
    assert "Why      ValueError: the clip has no picture" in shown
    assert "Earlier  1 run took 10.0 s in the median" in shown
    assert "fetch    5.00 s  ███████████████···············  succeeded" in shown
    assert "analyse  5.00 s  ···············███████████████  failed" in shown
    assert '  File "job.py"' in shown
    assert "GET /videos  ValueError: the clip has no picture" in shown
    document = room.json("show", str(number))
    assert [step["name"] for step in document["steps"]] == ["fetch", "analyse"]
    assert document["duration_seconds"] == 10
    assert document["error"]["type"] == "ValueError"


def test_a_call_is_shown_with_what_it_called(room: Room) -> None:
    slowest = room.json("show", "clip analysis")["slowest_calls"]
    shown = room.run("show", str(slowest[0]["id"]))
    assert shown.startswith("job.fetch: succeeded, 2.50 s, at ")
    assert "Arguments  clip=1" in shown
    assert "  GET /videos  120 ms  failed" in shown
    assert [row["depth"] for row in room.json("show", str(slowest[0]["id"]))["tree"]] == [0, 1]


def test_functions_tell_calls_failures_and_times(room: Room) -> None:
    lines = room.run("functions", "--kind", "api").splitlines()
    assert lines[1].split() == ["GET", "/videos", "api", "1", "1", "120", "ms", "120", "ms", "120", "ms"]
    failed = room.run("functions", "--failed")
    assert "job.fetch" not in failed
    assert "ValueError: the clip has no picture" in failed
    assert {row["name"]: row["figures"]["count"] for row in room.json("functions", "--function", "job*")} == {"job.fetch": 1}
    assert room.json("functions", "--function", "job*", "--from", "30d")[0]["figures"]["count"] == 2


def test_a_function_that_became_slower_is_named(tmp_path: Path) -> None:
    room = Room(tmp_path)
    writer, job = Writer(room.file), Job()
    calls = [("cut", NOW - day * DAY, 1_000_000 if day > 5 else 1_500_000, "succeeded") for day in range(36)]
    writer.ingest([job.entry(calls)])
    writer.close()
    (line,) = [line for line in room.run("functions").splitlines() if line.startswith("slower")]
    assert line.startswith("slower: cut: 1.0") and "→ 1.5" in line and "(+50 %) since " in line
    assert room.json("functions")[0]["regression"]["ratio"] == pytest.approx(1.5, rel=0.05)


def test_events_are_listed_and_harm_no_terminal(room: Room) -> None:
    shown = room.run("events", "--priority", "err")
    assert "picture-changed  livekeep-player" in shown
    assert r"\x1b[2Jthe holding picture is shown" in shown
    assert "\x1b" not in shown
    assert room.run("events", "--text", "not there") == "No event in this time\n"
    assert room.json("events", "--event", "picture*")[0]["priority"] == 3


def test_two_periods_are_compared(room: Room) -> None:
    shown = room.run("compare", "--function", "job.*", "--before-from", "20d", "--before-to", "5d")
    assert [line.split() for line in shown.splitlines()[-1:]] == [
        ["job.fetch", "1", "0", "%", "2.50", "s", "+150", "%", "2.50", "s", "+150", "%"]
    ]
    document = room.json("compare", "--function", "GET*")
    assert [row["status"] for row in document["functions"]] == ["new"]
    assert room.run("compare", "--before-to", "5d", code=1) == "--before-to needs --before-from\n"


def test_a_table_is_exported_to_a_file_and_to_standard_output(room: Room, tmp_path: Path) -> None:
    assert room.run("export", "calls", "--output", str(tmp_path / "calls.csv")) == ""
    with (tmp_path / "calls.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["duration_seconds"] for row in rows] == ["1.000000", "2.500000", "0.120000"]
    lines = room.run("export", "calls", "--json", "--outcome", "failed").splitlines()
    assert [json.loads(line)["error_type"] for line in lines] == ["ValueError"]
    assert room.run("export", "calls", "--output", "/no/such/folder/x", code=1) == (
        "/no/such/folder/x: cannot be written (No such file or directory)\n"
    )


def test_a_damaged_record_is_reported(room: Room, tmp_path: Path) -> None:
    assert "sound, " in room.run("check")
    assert room.json("check")["is_sound"] is True
    broken = Room(tmp_path)
    shutil.copy(room.file, broken.file)
    connection = sqlite3.connect(broken.file)
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'calls'").fetchone()[0]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with broken.file.open("r+b") as stream:
        stream.seek((page - 1) * 4096)
        stream.write(b"\xff" * 4096)
    assert "is damaged" in broken.run("check", code=1)
    broken.file.write_bytes(b"no database at all" * 1000)
    assert "is damaged" in broken.run("check", code=1)
    assert len(broken.run("sessions", code=1).splitlines()) == 1


def test_a_file_is_imported_by_a_recorder_alone(tmp_path: Path) -> None:
    room = Room(tmp_path / "root")
    source = tmp_path / "events.jsonl"
    source.write_text(json.dumps(Job().entry([("fetch", NOW, 5, "succeeded")])) + "\n")
    assert "start the recorder first" in room.run("import", str(source), code=1)
    folder = folder_of(room.file)
    folder.mkdir()
    assert room.run("import", str(tmp_path / "none"), code=1) == f"{tmp_path}/none: No such file or directory\n"


def test_what_is_wrong_is_one_line_that_says_what_to_do(tmp_path: Path, room: Room) -> None:
    nothing = Room(tmp_path)
    assert nothing.run("sessions", code=1) == (
        f"{nothing.file}: there is no record; the recorder makes it: sudo systemctl start livekeep-recorder\n"
    )
    example = '"yesterday", "7d" (ago), a day such as 2026-11-28, or a moment such as "2026-11-28 14:00"'
    assert room.run("events", "--from", "never", code=1) == f"--from never: must be {example}\n"
    assert room.run("events", "--from", "1d", "--to", "2d", code=1) == "--from 1d is not before --to 2d\n"
    assert (
        room.run("show", "nothing", code=1) == 'there is no session "nothing"; livekeep record sessions --from 90d lists them\n'
    )
    assert "must be 1 or more" in room.run("events", "--limit", "0", code=2)
    newer = sqlite3.connect(nothing.file)
    newer.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    newer.close()
    assert "is of version" in nothing.run("sessions", code=1)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach; pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="livekeep-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_who_is_not_in_the_group_is_reported_to_use_sudo(open_folder: Path) -> None:
    for name in ("lib", "bin"):
        shutil.copytree(PROJECT / name, open_folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    room = Room(open_folder / "root")
    room.fill()
    room.file.chmod(0o640 if os.geteuid() == 0 else 0)
    drop: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [str(open_folder / "bin/livekeep"), "record", "sessions"],
        capture_output=True, text=True, check=False, timeout=30, env=room.environment, cwd="/", **drop,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{room.file}: may be read by root and group livekeep only; run with sudo, "
        "or once: sudo adduser $USER livekeep, and log in again\n"
    )


# Names of moments


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


NOON = "2026-11-28 12:00:00"


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("now", NOON, NOON),
        ("today", "2026-11-28 00:00:00", "2026-11-29 00:00:00"),
        ("yesterday", "2026-11-27 00:00:00", "2026-11-28 00:00:00"),
        ("90min", "2026-11-28 10:30:00", "2026-11-28 10:30:00"),
        ("2h", "2026-11-28 10:00:00", "2026-11-28 10:00:00"),
        ("7d", "2026-11-21 12:00:00", "2026-11-21 12:00:00"),
        ("2026-11-01", "2026-11-01 00:00:00", "2026-11-02 00:00:00"),
        ("2026-11-01T10:30", "2026-11-01 10:30:00", "2026-11-01 10:30:00"),
        ("2026-11-01 10:30:15", "2026-11-01 10:30:15", "2026-11-01 10:30:15"),
    ],
)
def test_words_for_moments(text: str, begin: str, end: str) -> None:
    assert moments.span("--from", text, at(NOON)) == (at(begin), at(end))


@pytest.mark.parametrize(
    "text", ["7", "7 days", "tomorrow", "2026-13-01", "2026-11-31", "1e9", "9999999d", "0000-01-01 00:00", "٣d"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"--to .*: must be"):
        moments.span("--to", text, at(NOON))


# Completion


PARSERS = {
    "record": record_command.build_parser,
    "alert": alert_command.parser,
    "report": program.build_parser,
    "clips": clips_command.build_parser,
}


def completed(words: Sequence[str]) -> list[str]:
    script = (
        f". {PROJECT}/etc/bash-completion/livekeep; COMP_WORDS=(livekeep {' '.join(map(repr, words))}); "
        f"COMP_CWORD={len(words)}; _livekeep; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT)
    return done.stdout.split()


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {
        option for action in parser._actions if action.help != argparse.SUPPRESS
        for option in action.option_strings if option.startswith("--")
    }  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_the_completion_knows_each_action_and_option(name: str) -> None:
    parser = PARSERS[name]()
    actions = next((action.choices for action in parser._actions if isinstance(action.choices, dict)), {})
    assert isinstance(actions, dict)
    assert set(completed([name, ""])) >= {*actions, *options(parser)}
    for action, below in actions.items():
        assert set(completed([name, action, "--"])) == options(below), action


def test_the_completion_knows_tables_words_and_files() -> None:
    assert tuple(completed(["record", "export", ""])) == record_command.TABLES
    assert completed(["record", "sessions", "--outcome", "f"]) == ["failed"]
    assert completed(["record", "events", "--from", "y"]) == ["yesterday"]
    assert completed(["record", "import", "READ"]) == ["README.md"]
    assert completed(["record", "export", "calls", "--output", "READ"]) == ["README.md"]
    assert completed(["rec"]) == ["record"]
    assert set(completed(["report", "--metric", ""])) == set(METRICS)
    assert set(completed(["report", "--format", ""])) == set(FORMATS)
    assert completed(["report", "--format", "c"]) == ["csv"]
