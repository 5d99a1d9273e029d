"""How long the web pages take with many calls in the record, how soon a change is on an open page, and what the server takes.
Prints a table.

    python3 -m tests.record.benchmark_web [--calls 10000000] [--days 100] [--file FILE] [--runs 20] [--changes 100]

A FILE that exists is used as it is. The pages are asked over HTTP, each time with another range or name, in a random order.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from livekeep.record.store import schema
from tests.record.made_record import make
from tests.record.running_web import Box, Running
from tests.record.test_web_browser import Seen, browser_with, fill, shown_after

LIMIT_SECONDS = 0.2
FUNCTIONS = 50
RANGES = ("1h", "24h", "7d", "30d", "90d")


def addresses(draw: random.Random, sessions: int, calls: Sequence[int]) -> Iterator[tuple[str, str]]:
    """One address per page, by the page's name."""
    number = draw.randrange(FUNCTIONS)
    name = f"job.module{number % 7}.function_{number}"
    span = draw.choice(RANGES)
    yield "Now", "/"
    yield "Jobs", "/jobs?" + urlencode({"range": span, "session": draw.choice(["", "fetch", "c*"])})
    yield "Jobs, failed ones", f"/jobs?range={span}&outcome=failed"
    yield "one session", f"/jobs/{draw.randrange(1, sessions)}"
    yield "one call", f"/calls/{draw.choice(calls)}"
    yield "Functions", "/functions?" + urlencode({"range": span, "metric": draw.choice(["p95", "count", "mean"])})
    yield "one function", "/function?" + urlencode({"range": span, "function": name, "kind": "function"})
    yield "Compare", f"/compare?range={span}"
    yield "Events", "/events?" + urlencode({"range": span, "priority": draw.choice(["3", "4", "7"])})
    yield "Events, a text", "/events?" + urlencode({"range": span, "text": f"item {draw.randrange(10)}"})
    yield "Boxes", f"/boxes?range={span}"
    yield "Alerts", f"/alerts?range={span}"
    yield "Reports", "/reports"


def measure_pages(web: Running, file: Path, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each response and of the server's CPU time, by page. On a busy machine the latter is more meaningful."""
    connection = schema.open_read_only(file)
    sessions = connection.execute("SELECT max(id) FROM sessions").fetchone()[0]
    first, last = connection.execute("SELECT (SELECT min(id) FROM calls), (SELECT max(id) FROM calls)").fetchone()
    draw = random.Random(5)
    places = [draw.randrange(first, last) for _ in range(50)]
    calls = [connection.execute("SELECT id FROM calls WHERE id >= ? LIMIT 1", [place]).fetchone()[0] for place in places]
    connection.close()
    result: dict[str, list[tuple[float, float]]] = {}
    asked = [one for _ in range(runs) for one in addresses(draw, sessions, calls)]
    draw.shuffle(asked)
    for name, address in asked:
        began, used = time.perf_counter(), processor_seconds(web.process.pid)
        status = web.ask(address).status
        result.setdefault(name, []).append((time.perf_counter() - began, processor_seconds(web.process.pid) - used))
        assert status in (200, 404), address
    return result


def processor_seconds(pid: int) -> float:
    """Of all threads. Source: /proc/PID/schedstat in the kernel's Documentation/scheduler/sched-stats.rst."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def pss_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def percentile95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) * 95 // 100, len(values) - 1)]


def report(name: str, values: Sequence[float], used: Sequence[float] = ()) -> None:
    middle, late = statistics.median(values) * 1000, percentile95(values) * 1000
    processor = f"  processor p50 {statistics.median(used) * 1000:6.1f} p95 {percentile95(used) * 1000:6.1f} ms" if used else ""
    print(f"{name:35} p50 {middle:7.1f} p95 {late:7.1f} ms{processor}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--changes", type=int, default=100)
    arguments = parser.parse_args(argv)
    with TemporaryDirectory() as folder:
        box = Box(Path(folder) / "box")
        box.write_usual_states()
        if arguments.file and arguments.file.exists():
            box.record.symlink_to(arguments.file.resolve())
        else:
            make(box.record, arguments.calls, arguments.days)
        began = time.perf_counter()
        with box.web() as web:
            web.ask("/")
            print(f"{'started, to the end of the first page':45}     {(time.perf_counter() - began) * 1000:7.1f} ms")
            result = measure_pages(web, box.record, arguments.runs)
            for name, values in result.items():
                report(name, *zip(*values, strict=True))
            every, used = zip(*(value for values in result.values() for value in values), strict=True)
            report("all pages", every, used)
            print(f"{'memory, PSS, after them':45}     {pss_megabytes(web.process.pid):7.1f} MB")
        if arguments.changes:
            measure_changes(Box(Path(folder) / "browser"), arguments.changes)
    return 1 if percentile95(every) > LIMIT_SECONDS else 0


def measure_changes(box: Box, changes: int) -> None:
    fill(box)
    browser = browser_with()
    try:
        with box.web() as web:
            report("committed → on the page in Chromium", shown_after(Seen(box, web, browser), changes))
            print(f"{'memory, PSS, while somebody watches':45}     {pss_megabytes(web.process.pid):7.1f} MB")
    finally:
        browser.quit()


if __name__ == "__main__":
    sys.exit(main())
