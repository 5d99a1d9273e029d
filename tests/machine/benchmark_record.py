"""Measures the record's cost from the job to the database, with a real journald, in a test machine.

    sudo PYTHONPATH=lib:. python3 tests/machine/benchmark_record.py [--suite trixie] [--per-second 30000] [--seconds 30]

A job calls a recorded function at the given rate; the result is how long the last calls take to reach the database, what each
program used, and whether any call is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from tests.machine import root
from tests.machine.machine import Machine, wait_for
from tests.machine.record_room import RECORDER
from tests.machine.standin import PROJECT
from tests.machine.test_record_recorder import OPTIONS, Box

JOB = """
import resource, sys, time
from livekeep.record import monitor_execution

@monitor_execution
def work(number):
    return number

per_second, seconds = int(sys.argv[1]), float(sys.argv[2])
began, number = time.monotonic(), 0
while time.monotonic() < began + seconds:
    for _ in range(per_second // 100):
        work(number)
        number += 1
    time.sleep(max(0.0, began + number / per_second - time.monotonic()))
used = resource.getrusage(resource.RUSAGE_SELF)
print(number, time.monotonic() - began, used.ru_utime + used.ru_stime)
"""


def measure(machine: Machine, per_second: int, seconds: float) -> dict[str, Any]:
    box = Box(machine)
    machine.write("/srv/bench.py", JOB)
    units = (RECORDER, "systemd-journald.service")
    before = {unit: int(machine.unit_property(unit, "CPUUsageNSec")) for unit in units}
    command = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit=bench", "--uid=nobody"]
    done = machine.run([*command, "python3", "/srv/bench.py", str(per_second), str(seconds)], timeout=seconds + 60)
    ended = time.monotonic()
    number, took, used = done.stdout.split()
    query = "SELECT count(*), max(number) FROM calls WHERE process = (SELECT max(id) FROM processes)"
    wait_for(lambda: (box.rows(query) or [[0, 0]])[0][1] == int(number), 120)
    after = time.monotonic() - ended
    seconds_used = {unit: (int(machine.unit_property(unit, "CPUUsageNSec")) - before[unit]) / 1e9 for unit in units}
    return {
        "calls_per_second": round(int(number) / float(took)),
        "lost": int(number) - box.rows(query)[0][0],
        "seconds_until_the_last_is_recorded": round(after, 2),
        "processor_share_job": round(float(used) / float(took), 2),
        **{f"processor_share_{unit.split('.')[0]}": round(seconds_used[unit] / float(took), 2) for unit in units},
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", default="trixie", choices=root.SUITES)
    parser.add_argument("--per-second", type=int, nargs="*", default=[30_000])
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    packages = root.packages_of(arguments.suite, "screen", "health", "record")
    with Machine(arguments.suite, packages=packages, source=PROJECT) as machine:
        machine.run(["env", "--chdir=/root", "/src/install.sh", *OPTIONS], timeout=600)
        wait_for(lambda: machine.exists("/var/lib/livekeep/record/record.db"), 30)
        for per_second in arguments.per_second:
            print(json.dumps(measure(machine, per_second, arguments.seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
