"""The recorder's performance on this machine: calls a second, delay, memory, idle commits.

    PYTHONPATH=lib:. python3 tests/record/benchmark_recorder.py [--calls 10000000] [--rest-seconds 120]

The journal is a real one, written by systemd-journal-remote; entries are like those of the library for jobs, a thousand calls
each. The cost of journald and the jobs is not included. "backlog" reads existing entries, such as after an outage; "paced" is a
constant rate of calls, at which the delay from the entry to its commit is measured.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livekeep.record.store.writer import Writer
from tests.record import journals
from tests.record.entries import Job
from tests.record.running_recorder import RunningRecorder

FUNCTIONS = 50
CALLS_OF_AN_ENTRY = 1000
PACED_SECONDS = 20.0


def entries(job: Job, number: int, size: int = CALLS_OF_AN_ENTRY) -> Iterator[dict[str, str]]:
    """Entries with `number` calls in total, of functions that take from 1 µs to minutes; one in a hundred fails."""
    chance = random.Random(1)
    for _ in range(number // size):
        now = time.time_ns() // 1000
        calls = [
            (
                f"job.function_{chance.randrange(FUNCTIONS)}",
                now - size + number_of_call,
                int(chance.lognormvariate(6, 2)),
                "failed" if chance.random() < 0.01 else "succeeded",
            )
            for number_of_call in range(size)
        ]
        yield job.entry(calls=calls, at=now)


def memory_of(recorder: RunningRecorder) -> dict[str, float]:
    """Current PSS, its private part without file pages, and the peak resident memory since the start, in MB."""
    assert recorder.process
    folder = Path(f"/proc/{recorder.process.pid}")
    lines = [*(folder / "smaps_rollup").read_text().splitlines()[1:], *(folder / "status").read_text().splitlines()]
    kilobytes = {line.split()[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return {
        "pss_megabytes": round(kilobytes["Pss:"] / 1024, 1),
        "own_megabytes": round(kilobytes["Anonymous:"] / 1024, 1),
        "most_resident_megabytes": round(kilobytes["VmHWM:"] / 1024, 1),
    }


def processor_seconds(recorder: RunningRecorder) -> float:
    assert recorder.process
    fields = Path(f"/proc/{recorder.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def backlog(folder: Path, calls: int) -> dict[str, Any]:
    """Read the existing entries of the journal at full speed."""
    with RunningRecorder(folder) as recorder:
        recorder.stop()
        journals.write(recorder.journal, entries(Job(), calls))
        began = time.monotonic()
        recorder.start(is_waited_for=False)
        # A query of the calls themselves would read the whole table.
        while (recorder.value("SELECT max(calls_sent) FROM processes") or 0) < calls:
            time.sleep(0.05)
        seconds = time.monotonic() - began
        result = recorder.value("SELECT count(*) FROM calls")
        return {
            "calls": result,
            "lost": calls - result,
            "calls_per_second": round(calls / seconds),
            "processor_seconds": processor_seconds(recorder),
            "journal_megabytes": round(recorder.journal.stat().st_size / 1e6),
            "database_megabytes": round(recorder.file.stat().st_size / 1e6),
            **memory_of(recorder),
        }


def paced(folder: Path, per_second: int) -> dict[str, Any]:
    """A constant rate from four processes; a reader of the database measures the delay, every 5 ms."""
    size, jobs, sent_at = 250, [Job(pid=pid) for pid in range(4)], {}
    with RunningRecorder(folder) as recorder:
        writer, delays, is_over = journals.JournalWriter(recorder.journal), [], threading.Event()

        def count() -> None:
            connection_row, seen = recorder.rows, 0
            while not is_over.is_set():
                count = connection_row("SELECT ifnull(sum(calls_sent), 0) FROM processes")[0][0]
                now = time.monotonic()
                while seen + size <= count:
                    seen += size
                    delays.append(now - sent_at[seen])
                time.sleep(0.005)

        thread = threading.Thread(target=count)
        thread.start()
        total = int(per_second * PACED_SECONDS)
        ready = [list(entries(job, total // 4, size)) for job in jobs]
        began, before, sent = time.monotonic(), processor_seconds(recorder), 0
        for number in range(total // 4 // size * 4):
            entry = {**ready[number % 4][number // 4], "__REALTIME_TIMESTAMP": str(time.time_ns() // 1000)}
            sent += size
            sent_at[sent] = time.monotonic()
            writer.append([entry])
            time.sleep(max(0.0, began + sent / per_second - time.monotonic()))
        took = time.monotonic() - began
        writer.close()
        recorder.wait_for("SELECT sum(calls_sent) FROM processes", sent)
        time.sleep(0.1)
        is_over.set()
        thread.join()
        delays.sort()
        return {
            "calls_per_second": round(sent / took),
            "lost": sent - recorder.value("SELECT count(*) FROM calls"),
            "delay_p50_seconds": round(delays[len(delays) // 2], 3),
            "delay_p95_seconds": round(delays[int(len(delays) * 0.95)], 3),
            "processor_share": round((processor_seconds(recorder) - before) / took, 2),
            **memory_of(recorder),
        }


def at_rest(folder: Path, seconds: float) -> dict[str, Any]:
    """Without new entries in the journal."""
    with RunningRecorder(folder) as recorder:
        time.sleep(5)
        assert recorder.process
        before, used = recorder.value("PRAGMA data_version"), processor_seconds(recorder)
        samples = recorder.value("SELECT count(*) FROM samples")
        log_bytes = recorder.file.with_name("record.db-wal").stat().st_size
        time.sleep(seconds)
        return {
            "seconds": seconds,
            "samples": recorder.value("SELECT count(*) FROM samples") - samples,
            "commits": recorder.state()["commits"],
            "log_bytes_per_minute": round((recorder.file.with_name("record.db-wal").stat().st_size - log_bytes) / seconds * 60),
            "processor_seconds_per_hour": round((processor_seconds(recorder) - used) / seconds * 3600, 1),
            "data_version": before,
            **memory_of(recorder),
        }


def entries_alone(folder: Path, calls: int) -> dict[str, Any]:
    """The writer alone with entries, without a journal."""
    made = list(entries(Job(), calls))
    writer = Writer(folder / "record.db")
    began = time.perf_counter()
    for entry in made:
        writer.add(entry)
        if writer.waiting >= 20_000:
            writer.commit()
    writer.commit()
    seconds = time.perf_counter() - began
    writer.close()
    return {"calls_per_second": round(calls / seconds)}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--per-second", type=int, default=30_000)
    parser.add_argument("--rest-seconds", type=float, default=120)
    parser.add_argument("only", nargs="*", default=["entries", "backlog", "paced", "rest"])
    arguments = parser.parse_args()
    parts = {
        "entries": lambda folder: entries_alone(folder, min(arguments.calls, 500_000)),
        "backlog": lambda folder: backlog(folder, arguments.calls),
        "paced": lambda folder: paced(folder, arguments.per_second),
        "rest": lambda folder: at_rest(folder, arguments.rest_seconds),
    }
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({name: parts[name](Path(folder))}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
