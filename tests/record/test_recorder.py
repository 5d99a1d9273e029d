"""livekeep-recorder as a process: the content of real journals is recorded once, whatever happens in between."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.record.recorder.journal import Source, readable
from livekeep.record.store import requests, upkeep
from tests.outside import LIBRARY, PROJECT, wait_until
from tests.record import journals
from tests.record.entries import MACHINE, Job, event, trusted
from tests.record.running_recorder import RunningRecorder

CALLS = "SELECT count(*) FROM calls"
NOW = time.time_ns() // 1000 - 86_400_000_000
"""us: yesterday."""


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[RunningRecorder]:
    with RunningRecorder(tmp_path) as running:
        yield running


def calls(job: Job, number: int, size: int = 1) -> list[dict[str, str]]:
    """Entries with this many calls each, which begin one after the other."""
    entries = []
    for at in range(number):
        began = NOW + job.calls
        entries.append(job.entry(calls=[("fetch", began + one, 10, "succeeded") for one in range(size)], at=NOW + at))
    return entries


# Following


def test_what_comes_is_committed_at_once(recorder: RunningRecorder) -> None:
    """The journal's clock gives the time; the benchmark measures the speed."""
    writer, job = journals.JournalWriter(recorder.journal), Job()
    writer.append(calls(job, 3))
    recorder.wait_for(CALLS, 3)
    writer.append([*calls(job, 2), event("picture-changed", "The TV shows the stream", PICTURE="stream")])
    recorder.wait_for("SELECT message FROM events", "The TV shows the stream")
    recorder.wait_for(CALLS, 5)
    writer.close()
    assert recorder.rows("SELECT * FROM losses") == []
    assert recorder.stop() == 0
    assert not (recorder.root / "run/livekeep/recorder/state.json").exists()


def test_a_large_entry_is_taken_whole(recorder: RunningRecorder) -> None:
    """Above the library's default limit of 64 KiB."""
    entry = Job().entry(calls=[("fetch", NOW + at, 10, "succeeded") for at in range(9000)])
    assert len(entry["LIVEKEEP_RECORDS"]) > 300_000
    journals.write(recorder.journal, [entry])
    recorder.wait_for(CALLS, 9000)


def test_a_journal_that_was_emptied_meanwhile_is_a_loss(recorder: RunningRecorder) -> None:
    job = Job()
    journals.write(recorder.journal, calls(job, 3))
    recorder.wait_for(CALLS, 3)
    assert recorder.stop() == 0
    lost = calls(job, 4)
    recorder.journal.unlink()
    journals.write(recorder.journal, calls(job, 2))
    recorder.start()
    recorder.wait_for(CALLS, 5)
    result = recorder.rows("SELECT reason, entries, calls FROM losses ORDER BY reason")
    assert result == [("gap", len(lost), len(lost)), ("vacuumed", None, None)]


def test_a_rotated_journal_goes_on(recorder: RunningRecorder) -> None:
    job = Job()
    journals.write(recorder.journal, calls(job, 3))
    recorder.wait_for(CALLS, 3)
    recorder.journal.rename(recorder.journal.with_name(f"system@{'5' * 32}-0000000000000001-0005f00000000000.journal"))
    journals.write(recorder.journal, calls(job, 2))
    recorder.wait_for(CALLS, 5)
    assert recorder.rows("SELECT * FROM losses") == []


def test_a_damaged_file_of_the_journal_stops_nothing(recorder: RunningRecorder) -> None:
    job = Job()
    journals.write(recorder.journal, calls(job, 50))
    recorder.wait_for(CALLS, 50)
    recorder.stop()
    content = bytearray(recorder.journal.read_bytes())
    content[300 : len(content) // 2] = random.Random(1).randbytes(len(content) // 2 - 300)
    recorder.journal.write_bytes(content)
    journals.write(recorder.journal.with_name("user-1000.journal"), calls(job, 7))
    recorder.start()
    recorder.wait_for("SELECT max(number) FROM calls", 57)


@pytest.mark.parametrize("seed", range(12))
def test_a_journal_that_is_damaged_anyhow_is_read_to_its_end(tmp_path: Path, seed: int) -> None:
    """Everything readable is read; it does not read forever."""
    chance, file, job = random.Random(seed), tmp_path / "remote-box.journal", Job()
    journals.write(file, calls(job, 300))
    content = bytearray(file.read_bytes())
    used = max(at for at in range(0, len(content), 4096) if any(content[at : at + 4096]))
    for _ in range(chance.choice((1, 10, 200))):
        content[chance.randrange(272, used)] = chance.randrange(256)
    file.write_bytes(content)
    good, missing = readable((file,))
    assert bool(good) != bool(missing)
    if not good:
        return
    source = Source("box", good)
    source.seek(None)
    entries = []
    for _ in range(5000):
        entry = source.read()
        if entry is None:
            break
        entries.append(entry)
        source.position()
    assert source.read() is None
    assert sum(1 for entry in entries if entry) <= 300
    source.close()


def test_what_is_appended_is_read_before_the_journal_notifies(tmp_path: Path) -> None:
    """The recorder polls while jobs write. This reader never gets a notification."""
    file, job = tmp_path / "remote-box.journal", Job()
    journals.write(file, calls(job, 3))
    writer, source = journals.JournalWriter(file), Source("box", (file,))
    source.seek(None)
    entries: list[dict[str, str]] = []

    def read() -> int:
        while (entry := source.read()) is not None:
            entries.extend([entry] if entry else [])
        return len(entries)

    assert read() == 3
    writer.append(calls(job, 4))
    wait_until("what was appended", lambda: read() == 7)
    writer.close()
    source.close()


def test_a_clock_that_steps_back_hides_nothing(recorder: RunningRecorder) -> None:
    writer, job = journals.JournalWriter(recorder.journal), Job()
    for hours in (0, -30, -5):
        at = NOW + hours * 3_600_000_000
        writer.append([job.entry(calls=[("fetch", at, 10, "succeeded")], at=at), event("picture-changed", f"{hours}", at=at)])
    writer.close()
    recorder.wait_for(CALLS, 3)
    recorder.wait_for("SELECT count(*) FROM events", 3)
    assert recorder.rows("SELECT * FROM losses") == []


# Many boxes


def test_a_hub_records_each_box_and_what_one_sends_late(tmp_path: Path) -> None:
    """Late entries are older than what was already read from the other box; duplicates are dropped."""
    remote = tmp_path / "remote"
    remote.mkdir()
    near, far = Job(machine="a" * 32, hostname="near"), Job(machine="c" * 32, hostname="far", pid=5)
    with RunningRecorder(tmp_path, f'[record]\njournal = "{remote}"\n') as recorder:
        late = [far.entry(calls=[("fetch", NOW - 10**9, 10, "succeeded")], at=NOW - 10**9 + number) for number in range(4)]
        journals.write(remote / "remote-near.journal", calls(near, 5))
        recorder.wait_for(CALLS, 5)
        journals.write(remote / "remote-far.journal", late[:2])
        recorder.wait_for(CALLS, 7)
        journals.write(remote / "remote-far.journal", late)
        recorder.wait_for(CALLS, 9)
        (remote / "remote-near.journal").rename(remote / "remote-near@1.journal")
        journals.write(remote / "remote-near.journal", calls(near, 2))
        recorder.wait_for(CALLS, 11)
        journals.write(recorder.journal, [event("picture-changed", "the hub's own")])
        recorder.wait_for("SELECT message FROM events", "the hub's own")
        query = "SELECT m.hostname, count(*) FROM calls c JOIN machines m ON m.id = c.machine GROUP BY 1"
        assert recorder.rows(query) == [("far", 4), ("near", 7)]
        assert recorder.rows("SELECT * FROM losses") == []


def test_a_damaged_journal_of_one_box_is_a_loss_and_the_others_are_recorded(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    (remote / "remote-bad.journal").write_bytes(b"no journal" * 4096)
    with RunningRecorder(tmp_path, f'[record]\njournal = "{remote}"\n') as recorder:
        journals.write(remote / "remote-good.journal", calls(Job(), 5))
        recorder.wait_for(CALLS, 5)
        assert recorder.rows("SELECT reason, entries FROM losses") == [("corrupt", None)]


# Sessions


def begun(job: Job, at: int) -> dict[str, str]:
    return job.entry(lines=[["s", "s1", {"name": "clips", "began": at, "outcome": "running"}]], at=at)


def this_machine() -> dict[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    return {"machine": Path("/etc/machine-id").read_text().strip(), "boot": boot}


def test_a_session_of_another_box_is_lost_when_that_starts_again_or_its_unit_fails(recorder: RunningRecorder) -> None:
    rebooted = Job(machine="a" * 32, hostname="rebooted", boot="1" * 32)
    failed = Job(machine="c" * 32, hostname="failed", boot="2" * 32, pid=7)
    alive = Job(machine="d" * 32, hostname="alive", boot="3" * 32, pid=8)
    now = time.time_ns() // 1000
    later = Job(machine="a" * 32, hostname="rebooted", boot="9" * 32)
    word = {
        **trusted(now + 9, 1, 0, "init.scope", failed.boot, failed.machine, "failed"),
        "MESSAGE_ID": "d9b373ed55a64feb8242e02dbe79a49c",
        "UNIT": "job.service",
        "MESSAGE": "job.service: Failed with result 'oom-kill'.",
    }
    journals.write(
        recorder.journal,
        [
            *(begun(job, now) for job in (rebooted, failed, alive)),
            later.entry(calls=[("fetch", now, 1, "succeeded")], at=now + 5),
            word,
        ],
    )
    recorder.wait_for("SELECT count(*) FROM sessions WHERE outcome = 'lost'", 2)
    query = "SELECT m.hostname, s.outcome FROM sessions s JOIN machines m ON m.id = s.machine ORDER BY 1"
    assert recorder.rows(query) == [("alive", "running"), ("failed", "lost"), ("rebooted", "lost")]


# The database


def test_a_damaged_record_is_set_aside_and_a_new_one_begun_from_the_journal(recorder: RunningRecorder) -> None:
    job = Job()
    journals.write(recorder.journal, calls(job, 30))
    recorder.wait_for(CALLS, 30)
    recorder.stop()
    recorder.file.write_bytes(b"no database at all" * 1000)
    recorder.start()
    recorder.wait_for(CALLS, 30)
    aside = list(recorder.folder.glob("record.db.corrupt-*"))
    assert [path.read_bytes()[:18] for path in aside] == [b"no database at all"]


def test_a_record_that_is_damaged_while_it_is_written_is_set_aside(recorder: RunningRecorder) -> None:
    job = Job()
    writer = journals.JournalWriter(recorder.journal)
    writer.append(calls(job, 40, size=50))
    recorder.wait_for(CALLS, 2000)
    connection = sqlite3.connect(recorder.file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with recorder.file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(recorder.file.stat().st_size - 8192))
    writer.append(calls(job, 10))
    writer.close()
    wait_until("it is set aside", lambda: list(recorder.folder.glob("record.db.corrupt-*")))
    recorder.wait_for(CALLS, 2010)


def test_the_copy_takes_the_place_of_a_damaged_record_and_the_rest_comes_from_the_journal(recorder: RunningRecorder) -> None:
    """Including entries that the journal no longer has."""
    job = Job()
    journals.write(recorder.journal, calls(job, 5))
    recorder.wait_for(CALLS, 5)
    assert "sound" in run_tidy(recorder).stderr
    result = json.loads((recorder.folder / "check.json").read_text())
    assert result["faults"] == []
    assert result["copied_bytes"] == (recorder.folder / "record.db.copy").stat().st_size
    journals.write(recorder.journal, calls(job, 3))
    recorder.wait_for(CALLS, 8)
    recorder.kill()
    for suffix in ("-wal", "-shm"):
        recorder.file.with_name(f"record.db{suffix}").unlink(missing_ok=True)
    recorder.file.write_bytes(b"no database at all" * 1000)
    recorder.start()
    recorder.wait_for(CALLS, 8)
    assert recorder.rows("SELECT * FROM losses") == []


def run_tidy(recorder: RunningRecorder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROJECT / "bin/livekeep-tidy")],
        env={**os.environ, "LIVEKEEP_ROOT": str(recorder.root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_tidy_deletes_by_the_recorder_or_says_that_there_is_none(recorder: RunningRecorder) -> None:
    old = Job().entry(calls=[("fetch", NOW - 100 * 86_400_000_000, 1, "succeeded"), ("fetch", NOW, 1, "succeeded")])
    journals.write(recorder.journal, [old])
    recorder.wait_for(CALLS, 2)
    assert run_tidy(recorder).returncode == 0
    assert recorder.rows(CALLS) == [(1,)]
    assert recorder.rows("SELECT sum(count) FROM summaries WHERE period = 'day'") == [(2,)]
    recorder.stop()
    ran = run_tidy(recorder)
    assert ran.returncode == 1
    assert "did not delete" in ran.stderr
    recorder.start()
    wait_until("it is done at the start", lambda: not (recorder.folder / "requests/tidy").exists())


def test_a_record_that_tidy_finds_damaged_is_set_aside(recorder: RunningRecorder) -> None:
    recorder.wait_for("SELECT count(*) > 0 FROM samples", 1)
    inode = recorder.file.stat().st_ino
    upkeep.write_result(recorder.folder, upkeep.CheckResult(time.time(), inode, ("row 3 missing from index",)))
    recorder.configure("[record]\nsample_seconds = 10\n")
    wait_until("it is set aside", lambda: list(recorder.folder.glob("record.db.corrupt-*")))
    wait_until("it goes on", lambda: recorder.file.exists() and recorder.file.stat().st_ino != inode)
    recorder.wait_for("SELECT count(*) > 0 FROM samples", 1)


TMPFS = 'mount -t tmpfs -o size=4m,mode=0755 none "$0" && exec "$@"'


def test_a_full_disk_is_waited_for_and_nothing_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/livekeep/record"
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    wrapper = ["unshare", *user, "--mount", "sh", "-c", TMPFS, str(folder)]
    job = Job()
    with RunningRecorder(tmp_path, wrapper=wrapper) as recorder:
        assert recorder.process
        # From the process's view.
        seen = Path(f"/proc/{recorder.process.pid}/root{folder}")
        recorder.hidden = seen
        journals.write(recorder.journal, calls(job, 5))
        recorder.wait_for(CALLS, 5)
        ballast = seen / "ballast"
        with ballast.open("wb") as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(bytes(65536))
                stream.flush()
        journals.write(recorder.journal, calls(job, 300, size=30))
        wait_until(
            "it says so", lambda: "full" in recorder.state()["problem"] or "cannot be written" in recorder.state()["problem"]
        )
        ballast.unlink()
        recorder.wait_for("SELECT max(number) FROM calls", 9005)
        assert recorder.rows(CALLS) == [(9005,)]
        assert recorder.rows("SELECT * FROM losses") == []
        wait_until("it is over", lambda: recorder.state()["problem"] == "")


READER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from livekeep.record.store import schema
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
record = schema.open_read_only(Path(sys.argv[2]))
for _ in sys.stdin:
    if record.is_outdated:
        record.close()
        record = schema.open_read_only(Path(sys.argv[2]))
    print(record.execute('SELECT count(*) FROM calls').fetchone()[0], record.snapshot_of is not None, flush=True)
"""


class Reader:
    """A program that can read the record, but not write; it behaves like the alerter."""

    def __init__(self, file: Path) -> None:
        command = [sys.executable, "-c", READER, str(LIBRARY), str(file)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seen(self) -> list[str]:
        """The number of calls that it sees, and whether it has a snapshot."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def close(self) -> None:
        self.process.communicate(timeout=15)


def test_who_may_not_write_sees_the_record_whether_the_recorder_runs_was_killed_or_has_ended() -> None:
    with tempfile.TemporaryDirectory() as folder, RunningRecorder(Path(folder)) as recorder:
        Path(folder).chmod(0o755)
        job, readers = Job(), []

        def everybody_sees(number: int) -> None:
            recorder.wait_for(CALLS, number)
            assert [reader.seen()[0] for reader in readers] == [str(number)] * len(readers)

        journals.write(recorder.journal, calls(job, 5))
        recorder.wait_for(CALLS, 5)
        readers.append(Reader(recorder.file))
        everybody_sees(5)
        recorder.kill()
        readers.append(Reader(recorder.file))
        everybody_sees(5)
        recorder.start()
        journals.write(recorder.journal, calls(job, 2))
        everybody_sees(7)
        for reader in readers:
            reader.close()
        recorder.stop()
        readers = [Reader(recorder.file)]
        assert readers[0].seen() == ["7", str(os.geteuid() == 0)]
        recorder.start()
        journals.write(recorder.journal, calls(job, 2))
        everybody_sees(9)
        readers[0].close()


# Requests and settings


def test_a_file_of_a_job_is_imported_once(recorder: RunningRecorder, tmp_path: Path) -> None:
    lines = [*calls(Job(), 20, size=5), event("picture-changed", "imported")]
    source = tmp_path / "events.jsonl"
    source.write_text("".join(json.dumps({**line, "__CURSOR": ""}) + "\n" for line in lines) + "no JSON\n[1]\n")
    for _ in range(2):
        assert requests.wait(requests.request_import(source, recorder.file), 15)
    assert recorder.rows("SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM events)") == [(100, 1)]
    assert recorder.rows("SELECT DISTINCT reason FROM losses") == [("unreadable",)]
    assert source.exists()


def test_a_file_that_is_being_imported_is_gone_on_with_after_a_kill(recorder: RunningRecorder, tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    with source.open("w") as stream:
        for line in calls(Job(), 3000, size=30):
            stream.write(json.dumps(line) + "\n")
    request = requests.request_import(source, recorder.file)
    wait_until("it has begun", lambda: (recorder.value(CALLS) or 0) > 0)
    recorder.kill()
    recorder.start()
    assert requests.wait(request, 30)
    assert recorder.rows(CALLS) == [(90_000,)]
    assert recorder.rows("SELECT sum(count) FROM summaries WHERE period = 'day'") == [(90_000,)]


def test_settings_come_in_force_by_themselves_and_wrong_ones_do_not(recorder: RunningRecorder) -> None:
    recorder.wait_for("SELECT count(*) > 0 FROM samples", 1)
    recorder.configure("[record]\nsample_seconds = 1\n")
    remote = recorder.root / "remote"
    remote.mkdir()
    journals.write(remote / "remote-box.journal", calls(Job(), 4))
    recorder.configure(f'[record]\njournal = "{remote}"\n')
    recorder.wait_for(CALLS, 4)


def test_a_sample_of_the_box_is_taken(recorder: RunningRecorder) -> None:
    recorder.wait_for("SELECT count(*) > 0 FROM samples", 1)
    sample = recorder.rows("SELECT memory_bytes, memory_total_bytes, disk_bytes, disk_total_bytes FROM samples")[0]
    assert 0 < sample[0] < sample[1]
    assert 0 < sample[2] < sample[3]
    assert recorder.value("SELECT machine_id FROM machines") == this_machine()["machine"]


def test_a_unit_that_hangs_is_seen_by_its_watchdog_and_a_reload_is_reported(recorder: RunningRecorder) -> None:
    assert recorder.process
    recorder.process.send_signal(signal.SIGHUP)
    recorder.systemd.wait_for("RELOADING=1")
    recorder.systemd.wait_for("WATCHDOG=1")


def test_the_machine_s_id_is_that_of_the_entry(recorder: RunningRecorder) -> None:
    """And not that of a field that a job invents."""
    entry = Job().entry(calls=[("fetch", NOW, 1, "succeeded")], LIVEKEEP_HOSTNAME="liar")
    journals.write(recorder.journal, [entry])
    recorder.wait_for("SELECT m.machine_id FROM calls c JOIN machines m ON m.id = c.machine", MACHINE)
