"""The recorder on a machine with a real journald: killed, restarted, disconnected, and systemd's messages about units.

The tests build on each other in order.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.machine import root
from tests.machine.machine import Machine, MachineError, wait_for
from tests.machine.record_room import RECORDER, rows
from tests.machine.standin import PROJECT

OPTIONS = ("--yes", "--with", "record", "--without", "screen", "--without", "health")
LOAD = """
import sys, time
from livekeep.record import monitor_execution, session

@monitor_execution
def work(number):
    return number

until, number = time.monotonic() + float(sys.argv[1]), 0
with session("load"):
    while time.monotonic() < until:
        for _ in range(200):
            work(number)
            number += 1
        time.sleep(0.01)
print(number)
"""
CALLS = (
    "SELECT p.unit, count(*), count(DISTINCT c.number), max(c.number) FROM calls c JOIN processes p "
    "ON p.id = c.process GROUP BY 1"
)
LOSSES = "SELECT p.unit FROM losses l JOIN processes p ON p.id = l.process"


class Box:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def rows(self, query: str) -> list[list[Any]]:
        """Rows of the record; none while it cannot be read."""
        with contextlib.suppress(MachineError):
            return rows(self.machine, query)
        return []

    def load(self, unit: str, seconds: float) -> None:
        """A job that runs for that long, without waiting for it."""
        command = ["systemd-run", "--quiet", f"--unit={unit}", "--property=StandardOutput=truncate:/tmp/" + unit, "--uid=nobody"]
        self.machine.run([*command, "python3", "/srv/load.py", str(seconds)])

    def sent(self, unit: str) -> int:
        """The calls of an ended job."""
        wait_for(lambda: self.machine.unit_property(f"{unit}.service", "ActiveState") in ("inactive", "failed"), 60)
        return int(self.machine.read(f"/tmp/{unit}"))

    def is_recorded_once(self, unit: str, calls: int) -> None:
        service = f"{unit}.service"
        wait_for(lambda: [service, calls, calls, calls] in self.rows(CALLS), 60)
        assert [service] not in self.rows(LOSSES)

    def kill_under_load(self, unit: str, kills: int) -> None:
        chance = random.Random(kills)
        self.load(unit, 10 + kills * 0.6)
        for _ in range(kills):
            self.machine.run(["systemctl", "kill", "--signal=SIGKILL", RECORDER], check=False)
            time.sleep(chance.uniform(0.0, 0.3))
            self.machine.run(["systemctl", "reset-failed", RECORDER], check=False)
            self.machine.run(["systemctl", "start", RECORDER], check=False)
            time.sleep(chance.uniform(0.0, 0.4))
        self.is_recorded_once(unit, self.sent(unit))


@pytest.fixture(scope="module", params=root.SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """With the packages of the room with screen and record, whose root already exists."""
    suite: root.Suite = request.param
    packages = root.packages_of(suite, "screen", "health", "record")
    with Machine(suite, packages=packages, source=PROJECT) as machine:
        machine.run(["env", "--chdir=/root", "/src/install.sh", *OPTIONS], timeout=600)
        machine.write("/srv/load.py", LOAD)
        wait_for(lambda: machine.exists("/var/lib/livekeep/record/record.db"), 30)
        yield Box(machine)


def test_a_job_s_calls_are_recorded_once(box: Box) -> None:
    """And nothing of them in a separate entry: its session began and ended."""
    box.load("quiet", 2)
    box.is_recorded_once("quiet", box.sent("quiet"))
    names = "SELECT name FROM events WHERE unit = 'quiet.service' ORDER BY arrival"
    wait_for(lambda: box.rows(names) == [["session-began"], ["session-ended"]], 15)
    assert box.rows("SELECT name, outcome FROM sessions") == [["load", "succeeded"]]
    assert box.rows("SELECT count(*) FROM machines") == [[1]]


def test_a_recorder_that_is_killed_loses_and_doubles_nothing(box: Box) -> None:
    box.kill_under_load("killed", 12)


@pytest.mark.nightly
def test_a_recorder_that_is_killed_two_hundred_times_loses_and_doubles_nothing(box: Box) -> None:
    box.kill_under_load("killed-often", 200)


def test_a_session_whose_process_is_killed_is_lost_and_said_so_once(box: Box) -> None:
    """The recorder sees other users' processes in its sandbox. Its event comes back through the journal."""
    box.load("victim", 120)
    wait_for(lambda: box.rows("SELECT outcome FROM sessions ORDER BY id DESC LIMIT 1") == [["running"]], 15)
    box.machine.run(["systemctl", "kill", "--signal=SIGKILL", "victim.service"])
    wait_for(lambda: box.rows("SELECT outcome FROM sessions ORDER BY id DESC LIMIT 1") == [["lost"]], 30)
    reported = "SELECT s.name, e.unit FROM events e JOIN sessions s ON s.id = e.session WHERE e.name = 'session-lost'"
    wait_for(lambda: box.rows(reported) == [["load", RECORDER]], 15)
    of_systemd = "SELECT DISTINCT name FROM events WHERE unit = 'victim.service' AND name LIKE 'unit-%' ORDER BY name"
    wait_for(lambda: box.rows(of_systemd) == [["unit-exited"], ["unit-failed"]], 15)


@pytest.mark.nightly
def test_a_flood_that_journald_cuts_off_is_a_loss(box: Box) -> None:
    flood = "import sys; [print('line', number, flush=False) for number in range(150000)]"
    # journald allows up to six times its limit while the disk has space.
    begin = "import time\nfrom livekeep.record import session\nwith session('flood'): pass\ntime.sleep(1)"
    script = f"{begin}\n{flood}\ntime.sleep(31)\nprint('on')"
    box.machine.run(["systemd-run", "--quiet", "--unit=flood", "--uid=nobody", "python3", "-c", script])
    wait_for(
        lambda: box.rows("SELECT unit FROM losses WHERE reason = 'suppressed' AND entries > 5000") == [["flood.service"]], 60
    )


def test_tidy_checks_and_copies(box: Box) -> None:
    box.machine.run(["systemctl", "start", "livekeep-tidy.service"], timeout=60)
    result = json.loads(box.machine.read("/var/lib/livekeep/record/check.json"))
    assert result["faults"] == []
    assert result["reason"] == ""
    assert box.machine.exists("/var/lib/livekeep/record/record.db.copy")


def test_a_machine_that_loses_its_power_has_the_rest_in_its_journal(box: Box) -> None:
    """As far as it was synced; rows are recorded once, and the running session is lost."""
    box.load("cut-off", 60)
    query = "SELECT count(*) > 1000 FROM calls c JOIN processes p ON p.id = c.process WHERE p.unit = 'cut-off.service'"
    wait_for(lambda: box.rows(query) == [[1]], 30)
    box.machine.run("journalctl --sync; sync")
    box.machine.power_cut()
    box.machine.boot()
    wait_for(lambda: box.machine.unit_property(RECORDER, "ActiveState") == "active", 60)
    outcome = "SELECT s.outcome FROM sessions s JOIN processes p ON p.id = s.process WHERE p.unit = 'cut-off.service'"
    wait_for(lambda: box.rows(outcome) == [["lost"]], 60)
    count, numbers = next(row[1:3] for row in box.rows(CALLS) if row[0] == "cut-off.service")
    assert count == numbers > 1000
    assert box.rows("SELECT reason FROM losses WHERE reason IN ('vacuumed', 'corrupt')") == []
    box.load("after", 2)
    box.is_recorded_once("after", box.sent("after"))


def test_at_rest_it_takes_little(box: Box) -> None:
    """Memory: the value in the table in docs, with a margin for a busy machine."""
    assert box.machine.unit_property(RECORDER, "NRestarts") == "0"
    pid = box.machine.unit_property(RECORDER, "MainPID")
    lines = box.machine.read(f"/proc/{pid}/smaps_rollup").splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    assert kilobytes < 30 * 1024
    assert box.rows("SELECT count(*) > 0 FROM unit_samples WHERE unit = 'livekeep-recorder.service'") == [[1]]
