"""How long each page's question takes with many calls in the record, and the export's time and memory. Prints a table.

    python3 -m tests.record.benchmark_queries [--calls 10000000] [--days 100] [--file FILE] [--runs 20] [--exported 1000000]

A FILE that exists is used as it is.
"""

import argparse
import contextlib
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from livekeep.record.store import queries, schema
from livekeep.record.store.queries import Filter
from livekeep.record.store.summaries import HOUR
from tests.outside import PROJECT
from tests.record.made_record import Made, make

DAY = 24 * HOUR
LIMIT_SECONDS = 0.2

Question = Callable[[sqlite3.Connection], object]


def questions(made: Made) -> Iterator[tuple[str, Question]]:
    """The pages' queries, by name. Ranges begin at odd moments, so that raw rows are read at their beginning."""
    draw = random.Random(7)
    odd = made.ended_at - 3 * DAY + 1234567890
    day, week, month, ever = (Filter(begin=made.ended_at - n * DAY + 1_234_567_890) for n in (1, 7, 30, 100))

    def function() -> str:
        return f"job.module{(n := draw.randrange(50)) % 7}.function_{n}"

    def session(connection: sqlite3.Connection) -> queries.Session:
        result = queries.session(connection, draw.randrange(1, made.ended_at // 1 % 28000 + 2))
        return result or queries.sessions(connection, Filter(), 1).rows[0]

    yield "functions, a day", lambda c: queries.functions(c, day)
    yield "functions, a week", lambda c: queries.functions(c, week)
    yield "functions, a month", lambda c: queries.functions(c, month)
    yield "functions, 100 days", lambda c: queries.functions(c, ever)
    yield "functions of kind api, 100 days", lambda c: queries.functions(c, replace(ever, kind="api"))
    yield "compare two weeks", lambda c: (
        queries.functions(c, Filter(odd - 14 * DAY, odd - 7 * DAY)), queries.functions(c, Filter(odd - 7 * DAY, odd)),
    )  # fmt: skip
    yield "a function's days, 100 days", lambda c: queries.function_series(c, replace(ever, function=function()))
    yield "a function's hours, a week", lambda c: queries.function_series(c, replace(week, function=function()), "hour")
    yield "all calls' days, 100 days", lambda c: queries.function_series(c, ever)
    yield "totals, a day", lambda c: (queries.totals(c, day), queries.session_totals(c, day))
    yield "sessions, failed first, a day", lambda c: queries.sessions(c, day)
    yield "sessions, failed first, 100 days", lambda c: queries.sessions(c, ever)
    yield "sessions of a unit, 100 days", lambda c: queries.sessions(c, replace(ever, unit="job-2.service"))
    yield "session: steps, calls, errors, earlier", lambda c: (
        (result := session(c)), queries.steps(c, result.id), queries.calls(c, Filter(session_id=result.id)),
        queries.error_groups(c, Filter(session_id=result.id)), queries.earlier_sessions(c, result),
    )  # fmt: skip
    yield "calls, newest", lambda c: queries.calls(c, Filter())
    yield "calls of a function, 100 days", lambda c: queries.calls(c, replace(ever, function=function()))
    yield "failed calls, 100 days", lambda c: queries.calls(c, replace(ever, outcome="failed"))
    yield "failed calls of a function, 100 days", lambda c: queries.calls(c, replace(ever, outcome="failed", function=function()))
    yield "cancelled calls (none), 100 days", lambda c: queries.calls(c, replace(ever, outcome="cancelled"))
    yield "calls of a unit, 100 days", lambda c: queries.calls(c, replace(ever, unit="job-1.service"))
    yield "calls of sessions of a name, 100 days", lambda c: queries.calls(c, replace(ever, session="cut"))
    yield "slowest calls, a day", lambda c: queries.slowest_calls(c, day)
    yield "slowest calls, 100 days", lambda c: queries.slowest_calls(c, ever)
    yield "slowest calls of a function, 100 days", lambda c: queries.slowest_calls(c, replace(ever, function=function()))
    yield "call tree", lambda c: queries.call_tree(c, queries.calls(c, Filter(session_id=session(c).id), 400).rows[-1])
    yield "errors, a day", lambda c: queries.error_groups(c, day)
    yield "errors, 100 days", lambda c: queries.error_groups(c, ever)
    yield "events, newest", lambda c: queries.events(c, Filter())
    yield "events by name, 100 days", lambda c: queries.events(c, replace(ever, event="item-played"))
    yield "events of priority err, 100 days", lambda c: queries.events(c, replace(ever, priority=3))
    yield "events by a text that is rare, 100 days", lambda c: queries.events(c, replace(ever, text="session 77 does"))
    yield "events of a unit, 100 days", lambda c: queries.events(c, replace(ever, unit="job-3.service"))
    yield "samples, a day", lambda c: queries.samples(c, day)
    yield "samples, a month", lambda c: queries.samples(c, month)
    yield "samples, 100 days", lambda c: queries.samples(c, ever)
    yield "unit samples, a day", lambda c: queries.unit_samples(c, day)
    yield "losses", lambda c: queries.losses(c, ever)
    yield "running sessions", queries.running_sessions
    yield "names for the filters", lambda c: (
        queries.function_names(c), queries.session_names(c), queries.units(c), queries.event_names(c), queries.machines(c),
    )  # fmt: skip
    yield "period", queries.period


def measure(made: Made, runs: int) -> Iterator[tuple[str, list[float], list[float]]]:
    """Seconds of each run and of CPU time, by query; each run has a new connection, like each page."""
    for name, ask in questions(made):
        taken, used = [], []
        for _ in range(runs):
            connection = schema.open_read_only(made.file)
            began, used_before = time.perf_counter(), time.process_time()
            ask(connection)
            taken.append(time.perf_counter() - began)
            used.append(time.process_time() - used_before)
            connection.close()
        yield name, taken, used


def export(made: Made, calls: int) -> Iterator[tuple[str, float, int]]:
    """Seconds and peak memory (PSS, bytes) of `livekeep record export calls` for the newest `calls` calls, by format."""
    connection = schema.open_read_only(made.file)
    sql = "SELECT id / 1000000000 FROM calls ORDER BY id DESC LIMIT 1 OFFSET ?"
    (first,) = connection.execute(sql, [min(calls, made.calls) - 1]).fetchone()
    connection.close()
    begin = datetime.fromtimestamp(first).astimezone().isoformat()
    with TemporaryDirectory() as root:
        place = Path(root) / "var/lib/livekeep/record/record.db"
        place.parent.mkdir(parents=True)
        place.symlink_to(made.file.resolve())
        for form in ("csv", "json"):
            command = [
                sys.executable,
                "-I",
                str(PROJECT / "bin/livekeep-record"),
                "export",
                "calls",
                "--from",
                begin,
                "--format",
                form,
            ]
            began, peak = time.perf_counter(), 0
            with subprocess.Popen([*command, "--output", f"{root}/out"], env={**os.environ, "LIVEKEEP_ROOT": root}) as process:
                while process.poll() is None:
                    with contextlib.suppress(OSError, IndexError):
                        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
                        peak = max(peak, int(rollup.split("\nPss:")[1].split()[0]) * 1024)
                    time.sleep(0.05)
            yield f"export of {count_lines(Path(root) / 'out')} lines, {form}", time.perf_counter() - began, peak


def count_lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(1 for _ in stream)


def percentile95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--exported", type=int, default=1_000_000)
    arguments = parser.parse_args(argv)
    with TemporaryDirectory() as folder:
        file = arguments.file or Path(folder) / "record.db"
        if file.exists():
            connection = schema.open_read_only(file)
            first, last = queries.period(connection) or (0, 0)
            made = Made(file, first, last // HOUR * HOUR + HOUR, connection.execute("SELECT count(*) FROM calls").fetchone()[0])
        else:
            began = time.perf_counter()
            made = make(file, arguments.calls, arguments.days)
            print(
                f"made {made.calls} calls in {time.perf_counter() - began:.0f} s, {file.stat().st_size / 1e6:.0f} MB", flush=True
            )
        slow = 0
        for name, taken, used in measure(made, arguments.runs):
            slow += percentile95(taken) > LIMIT_SECONDS
            figures = f"p50 {statistics.median(taken) * 1000:6.1f}  p95 {percentile95(taken) * 1000:6.1f} ms"
            print(f"{name:43} {figures}  processor p95 {percentile95(used) * 1000:6.1f} ms", flush=True)
        for name, seconds, peak in export(made, arguments.exported):
            print(f"{name:45} {seconds:.1f} s, {peak / 1e6:.0f} MB at most (PSS)", flush=True)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
