"""A job's records arrive, each call once, however the job ends, and recording never disturbs the job."""

import contextlib
import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from livekeep.core import events
from livekeep.record import wire
from livekeep.record.instrument.sinks import Journal
from livekeep.record.recorder.imports import Import
from livekeep.record.store.schema import open_read_only
from livekeep.record.store.writer import Writer
from tests.outside import PATIENCE_SECONDS, PROJECT, wait_until
from tests.record.journal_socket import JournalSocket, assert_complete, calls_of, last_json, lines_of, names_of, ran

JOB = (PROJECT / "tests/record/job.py").read_text()

MANY_WAYS = """
    import json, multiprocessing, os, signal, sys, threading
    from livekeep.record import flush, monitor_execution, session

    calls, threads, children, method, ending = json.loads(sys.argv[1])

    @monitor_execution
    def work(number): return number

    def many(): [work(number) for number in range(calls)]

    def start(target):
        others = [threading.Thread(target=target) for _ in range(threads)]
        [one.start() for one in others]
        target()
        [one.join() for one in others]

    def child(): start(many)

    if __name__ == "__main__":
        start(many)
        if method == "os.fork":
            for _ in range(children):
                if (pid := os.fork()) == 0:
                    many()
                    sys.exit(0)
                os.waitpid(pid, 0)
        elif method:
            context = multiprocessing.get_context(method)
            processes = [context.Process(target=child) for _ in range(children)]
            [one.start() for one in processes]
            [one.join() for one in processes]
        many()
        if ending == "exception":
            raise RuntimeError("uncaught")
        if ending == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait()
        if ending == "flush":
            flush()
            os._exit(7)
        sys.exit(3 if ending == "exit" else 0)
"""
STATUS = {"return": 0, "exit": 3, "exception": 1, "SIGTERM": -signal.SIGTERM, "flush": 7}


@settings(deadline=None, max_examples=10, derandomize=True)
@example(calls=700, threads=1, children=2, method="fork", ending="return")
@example(calls=700, threads=1, children=1, method="spawn", ending="exception")
@example(calls=700, threads=0, children=2, method="forkserver", ending="SIGTERM")
@example(calls=700, threads=2, children=2, method="os.fork", ending="flush")
@given(
    calls=st.integers(0, 3000),
    threads=st.integers(0, 3),
    children=st.integers(0, 2),
    method=st.sampled_from(["", "os.fork", "fork", "spawn", "forkserver"]),
    ending=st.sampled_from(list(STATUS)),
)
def test_property_event_delivery_completeness(calls: int, threads: int, children: int, method: str, ending: str) -> None:
    done, entries = ran(MANY_WAYS, json.dumps([calls, threads, children, method, ending]))
    assert done.returncode == STATUS[ending], done.stderr
    assert_complete(entries)
    by_children = {"": 0, "os.fork": 1}.get(method, threads + 1) * children
    assert names_of(entries) == Counter({"job.work": calls * (threads + 2 + by_children)} if calls else {})


def test_the_job_of_the_tests_records_all_that_it_did() -> None:
    done, entries = ran(JOB)
    assert done.returncode == 0, done.stderr
    said = last_json(done.stdout)
    assert_complete(entries)
    assert names_of(entries) == said["calls"]
    assert [entry[wire.EVENT] for entry in entries][:1] == ["session-began"]
    assert entries[-1][wire.EVENT] == "session-ended"
    assert entries[-1]["LIVEKEEP_OUTCOME"] == "succeeded"
    assert "geheim" not in str(entries)
    assert "secret" not in str(entries)


def test_the_first_job_of_the_documentation_is_recorded() -> None:
    text = (PROJECT / "docs/tutorial/job.md").read_text(encoding="utf-8")
    program = text[text.index("        import time\n") : text.index("3. Run it")]
    done, entries = ran(program)
    assert done.returncode == 1
    assert "clip 5 has no sound" in done.stderr
    assert (entries[-1]["LIVEKEEP_NAME"], entries[-1]["LIVEKEEP_OUTCOME"]) == ("clip analysis", "failed")
    assert names_of(entries) == {"job.download": 5}
    assert "anna" not in str(entries)


def test_an_entry_for_people_carries_its_event_s_fields_and_no_others() -> None:
    done, entries = ran(JOB, "--fail")
    assert done.returncode == 1
    common = {wire.EVENT, wire.PROCESS, wire.SEQUENCE, wire.SENT, wire.COUNT, wire.RECORDS}
    known = {event.name: event for event in events.ALL}
    seen = set()
    for entry in entries:
        event = known[entry[wire.EVENT]]
        seen.add(event.name)
        own = {name for name in entry if name.startswith("LIVEKEEP_")} - common
        assert own == {f"LIVEKEEP_{name}" for name in event.fields} - common
        assert (entry["MESSAGE_ID"], entry["PRIORITY"]) == (event.message_id, str(event.priority))
        assert entry["SYSLOG_IDENTIFIER"] == "job.py"
        assert "\n" not in entry["MESSAGE"]
    assert seen == {event.name for event in events.ALL if event.writer == "jobs"}
    # The last one says why the session failed.
    ended = entries[-1]
    assert (ended["LIVEKEEP_OUTCOME"], ended["LIVEKEEP_ERROR"]) == ("failed", "ValueError: clip 4 cannot be read")
    (*_, last) = lines_of([ended], "s")
    assert "in broken" in last[2]["error"][2]
    assert "wrapper" not in last[2]["error"][2]


def test_sigkill_loses_the_last_batch_at_most() -> None:
    with JournalSocket() as journal:
        job = journal.start(
            """
            import time
            from livekeep.record import monitor_execution
            @monitor_execution
            def work(number): pass
            for number in range(2_000_000):
                work(number)
                if number % 1000 == 999:
                    print(number, flush=True)
                    time.sleep(0.02)
            """
        )
        assert job.stdout
        printed = [int(job.stdout.readline()) for _ in range(60)]
        job.kill()
        printed += map(int, job.stdout.read().split())
        job.wait()
    received = sorted(call.number for _name, _kind, call in calls_of(journal.entries))
    assert received == list(range(1, len(received) + 1))
    # Records from half a second plus one encoding before the end have arrived.
    assert len(received) > printed[-1] / 4


def test_sigterm_leaves_the_job_s_own_handler_alone() -> None:
    script = """
        import os, signal, sys
        from livekeep.record import monitor_execution
        @monitor_execution
        def work(): pass
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
        work()
        os.kill(os.getpid(), signal.SIGTERM)
    """
    before = script.replace("import os", "import os\n        import os", 1).replace(
        "from livekeep", "signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))\n        from livekeep"
    )
    for text in (script, before):
        with JournalSocket() as journal:
            assert journal.run(text).returncode == 4
        assert names_of(journal.entries) == {"job.work": 1}


def test_sigterm_cancels_the_session() -> None:
    with JournalSocket() as journal:
        job = journal.start(JOB, "--crash")
        assert job.stdout
        assert job.stdout.readline() == "waiting\n"
        job.terminate()
        assert job.wait() == -signal.SIGTERM
        job.stdout.close()
    assert (journal.entries[-1][wire.EVENT], journal.entries[-1]["LIVEKEEP_OUTCOME"]) == ("session-ended", "cancelled")


def test_a_fork_in_the_middle_of_everything_ends() -> None:
    """Threads record, progress changes and batches are sent while children are forked, which do the same."""
    done, entries = ran(
        """
        import os, sys, threading
        from livekeep.record import flush, monitor_execution, session
        @monitor_execution
        def work(number): pass
        over = threading.Event()
        def busy(run):
            while not over.is_set():
                work(1); run.advance(); flush()
        with session("forking") as run:
            others = [threading.Thread(target=busy, args=(run,)) for _ in range(3)]
            [one.start() for one in others]
            for _ in range(40):
                if (pid := os.fork()) == 0:
                    work(2); run.advance(); flush()
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            over.set()
            [one.join() for one in others]
        """
    )
    assert done.returncode == 0, done.stderr
    assert_complete(entries)
    assert len({entry[wire.PROCESS] for entry in entries}) == 41
    assert len([entry for entry in entries if entry[wire.EVENT] == "session-began"]) == 1
    assert {line[2]["outcome"] for line in lines_of(entries, "s")} == {"running", "succeeded"}
    sessions = {entry[wire.PROCESS] for entry in entries if lines_of([entry], "s")}
    assert len(sessions) == 1


def test_what_waits_in_the_parent_is_not_sent_by_the_child() -> None:
    done, entries = ran(
        """
        import os
        from livekeep.record import flush, monitor_execution
        from livekeep.record.instrument.delivery import sender
        @monitor_execution
        def work(who): pass
        with sender.lock:  # nobody can send before the fork
            work("parent")
            if (pid := os.fork()) == 0:
                work("child"); flush()
                os._exit(0)
        os.waitpid(pid, 0)
        """
    )
    assert done.returncode == 0, done.stderr
    assert_complete(entries)
    assert sorted(str(call.arguments) for _name, _kind, call in calls_of(entries)) == ["who='child'", "who='parent'"]


def test_a_fork_finds_no_thread_of_the_library() -> None:
    """Python 3.12 and newer warn about a fork with threads."""
    done, entries = ran(
        """
        import os
        seen = []
        os.register_at_fork(before=lambda: seen.append(len(os.listdir("/proc/self/task"))))
        from livekeep.record import monitor_execution
        @monitor_execution
        def work(): pass
        # Python looks when these have run.
        os.register_at_fork(after_in_parent=lambda: seen.append(len(os.listdir("/proc/self/task"))))
        for _ in range(50):
            work()
            if (pid := os.fork()) == 0: os._exit(0)
            os.waitpid(pid, 0)
        work()
        print(max(seen))
        """
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert names_of(entries) == {"job.work": 51}


def test_terminated_children_send_what_they_have() -> None:
    done, entries = ran(
        """
        import multiprocessing, sys, time
        from livekeep.record import monitor_execution
        @monitor_execution
        def work(ready):
            ready.set()
        def child(ready):
            work(ready)
            time.sleep(60)
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                context = multiprocessing.get_context(method)
                ready = context.Event()
                process = context.Process(target=child, args=(ready,))
                process.start()
                ready.wait()
                time.sleep(0.01)
                process.terminate()
                process.join()
                print(process.exitcode)
        """
    )
    assert done.stdout == "-15\n-15\n", done.stderr
    assert names_of(entries) == {"job.work": 2}


def test_a_child_speaks_of_its_own_calls_and_sessions_only() -> None:
    _done, entries = ran(
        """
        import os
        from livekeep.record import flush, monitor_execution, progress_step, session
        @monitor_execution
        def inner(): pass
        @progress_step
        def step(): pass
        @monitor_execution
        def outer():
            if (pid := os.fork()) == 0:
                inner(); step()
                with session("child"): inner()
                flush(); os._exit(0)
            os.waitpid(pid, 0)
        with session("parent") as run: outer()
        """
    )
    sessions = {line[2]["name"]: (line[1], line[2]["parent"]) for line in lines_of(entries, "s")}
    assert sessions["child"][1] == sessions["parent"][0]
    assert [(name, call.parent, call.session) for name, _kind, call in calls_of(entries)] == [
        ("job.inner", 0, None),
        ("job.step", 0, None),
        ("job.inner", 0, sessions["child"][0]),
        ("job.outer", 0, sessions["parent"][0]),
    ]


TWO_CALLS = """
    import sys, time
    from livekeep.record import flush, monitor_execution
    @monitor_execution
    def work(): pass
    work(); flush(); work()
    print("goes on")
"""


def test_without_a_journal_there_is_one_warning() -> None:
    done, _entries = ran(TWO_CALLS, LIVEKEEP_JOURNAL_SOCKET="/nowhere/socket")
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert done.stderr.count("\n") == 1
    assert "LIVEKEEP_EVENTS=FILE" in done.stderr


@pytest.mark.parametrize("first", ["", "os.close(2); sys.stderr = None"], ids=["full disk", "full disk, closed standard error"])
def test_a_full_disk_costs_the_record_only(first: str) -> None:
    done, _entries = ran(f"\n    import sys, os\n    {first}{TWO_CALLS}", LIVEKEEP_EVENTS="/dev/full")
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def test_the_same_goes_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with JournalSocket() as journal:
        journal.run(JOB, LIVEKEEP_EVENTS=str(file))
        journal.run(JOB, LIVEKEEP_EVENTS=str(file))
    assert not journal.entries
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert_complete(entries)
    assert len({entry[wire.PROCESS] for entry in entries}) == 2
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    assert {entry["_BOOT_ID"] for entry in entries} == {boot}
    assert all(entry["_HOSTNAME"] and entry["_MACHINE_ID"] and entry["_UID"] == str(os.getuid()) for entry in entries)
    assert all(int(entry["__REALTIME_TIMESTAMP"]) > 1_600_000_000_000_000 for entry in entries)


def test_a_file_of_a_job_s_entries_becomes_the_same_rows(tmp_path: Path) -> None:
    """From the job to the database."""
    file = tmp_path / "events.jsonl"
    with JournalSocket() as journal:
        said = last_json(journal.run(JOB, LIVEKEEP_EVENTS=str(file)).stdout)
    writer, imported = Writer(tmp_path / "record.db"), Import(file, 0)
    writer.ingest(imported.entries())
    writer.close()
    imported.close()
    with contextlib.closing(open_read_only(tmp_path / "record.db")) as database:
        rows = database.execute("SELECT name, count(*) FROM calls JOIN functions ON functions.id = function GROUP BY name")
        assert dict(map(tuple, rows)) == said["calls"]
        (row,) = database.execute("SELECT token, outcome, done, percent FROM sessions")
        assert tuple(row) == (said["session"], "succeeded", 5, 100)
        assert database.execute("SELECT count(*) FROM steps WHERE outcome = 'succeeded'").fetchone()[0] == 10
        failed = database.execute("SELECT message, traceback FROM calls JOIN errors ON errors.id = error").fetchall()
        assert [row["message"] for row in failed] == ["clip 3 cannot be read"]
        assert "in broken" in failed[0]["traceback"]
        parents = database.execute(
            "SELECT count(*) FROM calls AS a JOIN calls AS b ON b.process = a.process AND b.number = a.parent"
        ).fetchone()[0]
        assert parents == 2
        assert database.execute("SELECT count(*) FROM losses").fetchone()[0] == 0


def test_a_journal_that_is_away_for_a_while_misses_nothing() -> None:
    # The socket's file stays while systemd restarts the journal, but nobody reads it.
    with JournalSocket() as journal:
        done = journal.run(
            """
            import os, socket, threading
            from livekeep.record import flush, monitor_execution
            @monitor_execution
            def work(): pass
            work(); assert flush()
            path = os.environ["LIVEKEEP_JOURNAL_SOCKET"]
            os.rename(path, path + ".away")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead: dead.bind(path)
            work(); assert not flush(0.2)
            work(); assert not flush(0.2)
            os.rename(path + ".away", path)
            work(); assert flush()
            """
        )
    assert done.returncode == 0, done.stderr
    assert_complete(journal.entries)
    assert names_of(journal.entries) == {"job.work": 4}


def test_a_journal_that_stays_away_is_a_gap_that_is_counted() -> None:
    """Nothing is sent meanwhile; then the number of calls before the first entry shows how many are missing."""
    done, entries = ran(
        """
        import os
        from livekeep.record import flush, monitor_execution
        @monitor_execution
        def work(): pass
        path = os.environ["LIVEKEEP_JOURNAL_SOCKET"]
        os.rename(path, path + ".away")
        for _ in range(5): work(); flush()
        os.rename(path + ".away", path)
        work(); work()
        """
    )
    assert done.returncode == 0, done.stderr
    (entry,) = entries
    assert (entry[wire.SENT], entry[wire.COUNT]) == ("5", "2")
    assert int(entry[wire.SEQUENCE]) == 6


def test_what_the_queue_cannot_hold_is_counted() -> None:
    done, entries = ran(
        """
        from livekeep.record import flush, monitor_execution
        from livekeep.record.instrument.delivery import sender
        @monitor_execution
        def work(): pass
        with sender.lock:  # nobody can send
            for _ in range(60_000): work()
        flush(10)
        work()
        """
    )
    assert done.returncode == 0, done.stderr
    last = entries[-1]
    received = len(calls_of(entries))
    assert 50_000 <= received < 60_001
    assert int(last[wire.SENT]) + int(last[wire.COUNT]) == 60_001


def test_an_entry_that_is_too_large_for_a_datagram_travels_as_a_file() -> None:
    with JournalSocket() as journal:
        sink = Journal(str(journal.path), buffer_bytes=8192)
        sink.send({"MESSAGE": "short", wire.RECORDS: "a\nb"})
        sink.send({"MESSAGE": "\U0001f3a5" * 500_000, wire.RECORDS: "c\nd"})
        sink.close()
    assert [entry[wire.RECORDS] for entry in journal.entries] == ["a\nb", "c\nd"]
    assert (len(journal.entries[1]["MESSAGE"]), journal.by_file) == (500_000, 1)


def test_the_first_call_leaves_at_once_and_the_next_ones_together() -> None:
    with JournalSocket() as journal:
        job = journal.start(
            """
            import sys
            from livekeep.record import monitor_execution
            from livekeep.record.instrument import delivery
            delivery.BATCH_SECONDS = 3600.0
            @monitor_execution
            def work(): pass
            work()
            for _ in sys.stdin: work()
            """,
            stdin=subprocess.PIPE,
        )
        assert job.stdin
        assert job.stdout
        wait_until("the first call arrives", lambda: journal.entries)
        job.stdin.write("another\n" * 3)
        job.stdin.close()
        assert job.wait(PATIENCE_SECONDS) == 0
        job.stdout.close()
    assert [entry[wire.COUNT] for entry in journal.entries] == ["1", "3"]


def test_failures_by_the_hundred_have_few_entries_of_their_own() -> None:
    _done, entries = ran(
        """
        from livekeep.record import monitor_execution
        @monitor_execution
        def inner(number): raise KeyError(number)
        @monitor_execution
        def outer(number):
            try: inner(number)
            except LookupError: raise
        for number in range(500):
            try: outer(number)
            except KeyError: pass
        """
    )
    failed = [entry for entry in entries if entry[wire.EVENT] == "call-failed"]
    assert 50 <= len(failed) <= 70
    assert {entry["LIVEKEEP_FUNCTION"] for entry in failed} == {"job.inner"}
    assert names_of(entries) == {"job.inner": 500, "job.outer": 500}
    assert {call.outcome for _name, _kind, call in calls_of(entries)} == {"failed"}


@pytest.mark.parametrize("moment", ["atexit", "__del__", "thread"])
def test_calls_at_the_interpreter_s_end_disturb_nobody(moment: str) -> None:
    done, entries = ran(
        """
        import atexit, sys, threading, time
        from livekeep.record import monitor_execution
        @monitor_execution
        def work(clip): return clip
        class Last:
            def __del__(self): work(1)
        moment = sys.argv[1]
        if moment == "atexit": atexit.register(work, 1)
        if moment == "__del__": last = Last(); sys.modules["kept"] = last
        if moment == "thread": threading.Thread(target=lambda: [work(n) for n in range(10**9)], daemon=True).start()
        work(2)
        """,
        moment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert names_of(entries)["job.work"] >= (2 if moment == "atexit" else 1)


def test_what_is_sent_at_the_end_ends_at_its_deadline() -> None:
    """Otherwise a thread that calls faster than the sender sends would keep its job from ending."""
    done, _entries = ran(
        """
        import time
        from livekeep.record import monitor_execution
        from livekeep.record.instrument.delivery import MOST_TAKEN, sender
        from livekeep.record.instrument.recording import queue
        @monitor_execution
        def work(clip): return clip
        sender.is_halted = True
        for clip in range(3 * MOST_TAKEN): work(clip)
        sender.send(time.monotonic())
        print(len(queue) == 2 * MOST_TAKEN)
        sender.send(time.monotonic() + 3600)
        print(len(queue))
        """
    )
    assert (done.stdout, done.stderr) == ("True\n0\n", "")
