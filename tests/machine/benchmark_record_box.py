"""The record part's benchmark: sudo tests/benchmark --only record [--suite trixie|bookworm] [--parts NAME...] [--write FILE]

"machine" boots a box with screen and record: how soon a call is on the page, what the services cost at rest. The others are
programs of their own, with their peers: "library", "sustained", "queries", "recorder", "analysis", "clips". What each prints is
printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.machine import root
from tests.machine.machine import MachineError
from tests.machine.record_room import ALERTER, RECORDER, WEB, RecordRoom
from tests.machine.screen import Settings
from tests.machine.standin import PROJECT

MARKS = 100
REST_SECONDS = 190.0
PROGRAMS = {
    "library": ["tests.record.benchmark_instrument"],
    "sustained": ["tests.machine.benchmark_record"],
    "queries": ["tests.record.benchmark_queries"],
    "recorder": ["tests.record.benchmark_recorder"],
    "analysis": ["tests.record.benchmark_analysis"],
    "clips": ["tests.record.benchmark_clips"],
}
# In the machine: calls that fail, and the seconds until each is on the page of events.
DELAYS = """
import contextlib, json, sys, time, urllib.request
from livekeep.record import monitor_execution

@monitor_execution
def mark(word):
    raise ValueError(word)

def count(token):
    with urllib.request.urlopen(f"http://127.0.0.1:9879/events?range=1h&text={token}", timeout=30) as page:
        return page.read().decode().count(token)

found = []
for number in range(int(sys.argv[1])):
    token = f"mark-{number}-of-the-benchmark"
    before, at = count(token), time.monotonic()
    with contextlib.suppress(ValueError):
        mark(token)
    while count(token) <= before and time.monotonic() - at < 30:
        time.sleep(0.02)
    found.append(time.monotonic() - at)
print(json.dumps(found))
"""


class QuietRoom(RecordRoom):
    """Shipped settings, but for where Vimeo and the TV are."""

    def settings(self) -> Settings:
        wanted = super().settings()
        del wanted["alerts.down"]
        wanted["poller"] = {}
        return wanted


class Table:
    """The rows, printed as they come."""

    def __init__(self, room: RecordRoom) -> None:
        self.room = room
        self.rows: list[tuple[str, str, str]] = []

    def add(self, what: str, wanted: str, measured: str) -> None:
        self.rows.append((what, wanted, measured))
        print(f"  {what}: {measured} (wanted {wanted})", flush=True)

    def markdown(self) -> str:
        lines = ["| what | wanted | measured |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in self.rows)]
        return "\n".join(lines) + "\n"


def at_rest(table: Table) -> None:
    """Nothing runs and nobody reads."""
    room = table.room
    room.until("the pages have ended", lambda: room.machine.unit_property(WEB, "ActiveState") == "inactive", 120)
    before = room.part_state("recorder")
    time.sleep(REST_SECONDS)
    after = room.part_state("recorder")
    seconds = after["written_monotonic"] - before["written_monotonic"]
    commits = (after["commits"] - before["commits"]) / seconds * 60
    for unit in (RECORDER, ALERTER):
        table.add(f"{unit.removesuffix('.service')} at rest, PSS", "≤ 30 MB", f"{room.memory_bytes(unit) / 1e6:.1f} MB")
    table.add("livekeep-web when idle", "0 MB", "0: it does not run")
    table.add("recorder at rest, with a screen and its probes: commits a minute", "≤ 1 with nothing going on", f"{commits:.2f}")


def delays(table: Table) -> None:
    done = table.room.machine.run(["python3", "-c", DELAYS, str(MARKS)], timeout=600)
    found = sorted(json.loads(done.stdout))
    most = found[int(len(found) * 0.95) - 1]
    text = f"median {statistics.median(found):.2f} s, 95 of 100 within {most:.2f} s, all within {found[-1]:.2f} s"
    table.add("a failed call is on the page", "≤ 1 s in 95 of 100", text)
    table.add("livekeep-web while it is read, PSS", "–", f"{table.room.memory_bytes(WEB) / 1e6:.1f} MB")


def machine_part(suite: root.Suite, target: Path | None) -> None:
    with QuietRoom(suite, kept=True) as room:
        table = Table(room)
        room.shows("holding", within=60)
        for measurement in (delays, at_rest):
            measurement(table)
        print(f"\n{table.markdown()}")
        if target:
            target.write_text(table.markdown(), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests/benchmark --only record", description=__doc__)
    parser.add_argument("--suite", choices=root.SUITES, default="trixie")
    parser.add_argument("--parts", nargs="+", choices=("machine", *PROGRAMS), default=["machine", *PROGRAMS])
    parser.add_argument("--write", type=Path, help="the machine's rows as Markdown")
    options = parser.parse_args(argv)
    failed = 0
    for part in options.parts:
        print(f"\n== {part}", flush=True)
        if part == "machine":
            try:
                machine_part(options.suite, options.write)
            except MachineError as error:
                print(f"tests/benchmark: {error}", file=sys.stderr)
                failed = 1
            continue
        environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'lib'}"}
        done = subprocess.run([sys.executable, "-m", *PROGRAMS[part]], cwd=PROJECT, env=environment, check=False)
        failed |= done.returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
