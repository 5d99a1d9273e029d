"""The record part's benchmark: sudo tests/benchmark --only record [--suite trixie|bookworm] [--parts NAME...] [--write FILE]

"machine" boots a box with screen and record: how soon a call is on the page, what the services cost at rest. The others are
programs of their own, with their peers: "library", "sustained", "queries", "recorder", "analysis", "clips", "peers". What each
prints is printed.
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
from tests.machine.costs import Table
from tests.machine.machine import MachineError
from tests.machine.record_room import ALERTER, RECORDER, WEB, RecordRoom
from tests.machine.room import Settings
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
    "peers": ["tests.record.benchmark_peers"],
}
# In the machine: a page of events is open like in a browser, and calls fail at random times. Prints the seconds to each update.
DELAYS = """
import asyncio, contextlib, json, random, re, sys, threading, time, urllib.request
import websockets
from livekeep.record import monitor_execution

HOST, PAGE = "127.0.0.1:9879", "/events?range=1h"
count, is_stream = int(sys.argv[1]), sys.argv[2] == "stream"

@monitor_execution
def mark(word):
    raise ValueError(word)

@monitor_execution
def ordinary(number):
    return number

def call_again_and_again():
    for number in range(10**9):
        ordinary(number)
        time.sleep(0.01)

async def pushed(socket, word):
    while word not in await asyncio.wait_for(socket.recv(), 60):
        pass
    return time.monotonic()

async def main():
    with urllib.request.urlopen(f"http://{HOST}{PAGE}", timeout=30) as page:
        stamps = dict(re.findall('<div id="([^"]+)" data-live="([^"]+)"', page.read().decode()))
    address = f"ws://{HOST}/live?page={urllib.request.quote(PAGE, safe='')}"
    result = []
    async with websockets.connect(address, origin=f"http://{HOST}", max_size=None) as socket:
        await socket.send(json.dumps(stamps))
        for number in range(count):
            # Quiet for longer than the recorder reads on by itself, or at any moment between two batches.
            await asyncio.sleep(random.uniform(0.6, 8) if not is_stream else random.uniform(0, 1.5))
            word, at = f"mark {number} of {count} {sys.argv[2]}!", time.monotonic()
            with contextlib.suppress(ValueError):
                mark(word)
            result.append(await pushed(socket, word) - at)
    print(json.dumps(result))

if is_stream:
    threading.Thread(target=call_again_and_again, daemon=True).start()
asyncio.run(main())
"""


class QuietRoom(RecordRoom):
    """Shipped settings, except the addresses of Vimeo and the TV."""

    def settings(self) -> Settings:
        wanted = super().settings()
        del wanted["alerts.down"]
        wanted["poller"] = {}
        return wanted


def at_rest(room: RecordRoom, table: Table) -> None:
    """No jobs and no readers."""
    room.until("the pages have ended", lambda: room.machine.unit_property(WEB, "ActiveState") == "inactive", 120)
    before = room.part_state("recorder")
    time.sleep(REST_SECONDS)
    after = room.part_state("recorder")
    seconds = after["written_monotonic"] - before["written_monotonic"]
    commits = (after["commits"] - before["commits"]) / seconds * 60
    for unit in (RECORDER, ALERTER):
        table.add(f"{unit.removesuffix('.service')} at rest, PSS", "≤ 30 MB", f"{room.memory_megabytes(unit):.1f} MB")
    table.add("livekeep-web when idle", "0 MB", "0: it does not run")
    table.add("recorder at rest, with a screen and its probes: commits a minute", "≤ 1 with nothing going on", f"{commits:.2f}")


def delays(room: RecordRoom, table: Table) -> None:
    for kind, what in {"quiet": "one call after a quiet while", "stream": "one of a stream of 100 calls a second"}.items():
        done = room.machine.run(["python3", "-c", DELAYS, str(MARKS), kind], timeout=1800)
        seconds = sorted(json.loads(done.stdout))
        most = seconds[int(len(seconds) * 0.95) - 1]
        text = f"median {statistics.median(seconds):.2f} s, 95 of 100 within {most:.2f} s, all within {seconds[-1]:.2f} s"
        table.add(f"a failed call, {what}, is pushed to an open page", "≤ 1 s in 95 of 100", text)
    table.add("livekeep-web while it is read, PSS", "–", f"{room.memory_megabytes(WEB):.1f} MB")


def machine_part(suite: root.Suite, target: Path | None) -> None:
    with QuietRoom(suite, kept=True) as room:
        table = Table()
        room.shows("holding", within=60)
        for measurement in (delays, at_rest):
            measurement(room, table)
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
