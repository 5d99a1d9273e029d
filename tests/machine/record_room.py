"""A room for the record part: a box with screen and record, whose mails arrive in a mailbox in its network."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tests.machine import root
from tests.machine.machine import Machine, MachineError
from tests.machine.mailbox import Mailbox
from tests.machine.room import Settings, fetch
from tests.machine.screen import Screen
from tests.machine.standin import PROJECT

RECORDER, ALERTER, WEB, WEB_SOCKET = (
    "livekeep-recorder.service", "livekeep-alerter.service", "livekeep-web.service", "livekeep-web.socket",
)  # fmt: skip
TIMERS = ("livekeep-tidy.timer", "livekeep-report@daily.timer", "livekeep-report@weekly.timer")
ENABLED = (RECORDER, ALERTER, WEB_SOCKET, *TIMERS)
JOB = "/srv/job.py"
PAGES = "http://127.0.0.1:9879"


# Run in the machine by Debian's Python.
QUERY = """
import json, sqlite3, sys
c = sqlite3.connect("file:/var/lib/livekeep/record/record.db?mode=ro", uri=True, timeout=30)
print(json.dumps(c.execute(sys.argv[1], json.loads(sys.argv[2])).fetchall()))
"""


def rows(machine: Machine, sql: str, *arguments: object) -> list[list[Any]]:
    """Rows of the machine's record. Raises MachineError."""
    result: list[list[Any]] = json.loads(machine.run(["python3", "-c", QUERY, sql, json.dumps(arguments)]).stdout)
    return result


class RecordRoom(Screen):
    """A box with screen and record. Its job is tests/record/job.py, run by the unprivileged user `worker`."""

    options: ClassVar[tuple[str, ...]] = ("--token-file", "/root/token", "--with", "record")

    def __init__(self, suite: root.Suite, *, kept: bool = False) -> None:
        super().__init__(suite, kept=kept, more_packages=root.needed_by("record"))
        self.mailbox = Mailbox(self.network)
        self.parts.append(self.mailbox)

    def _make(self) -> None:
        super()._make()
        self.machine.run("useradd --system worker")
        self.machine.copy_in(PROJECT / "tests/record/job.py", JOB)

    def settings(self) -> Settings:
        """A screen's; alerts come sooner than by default, unless the test is about their timing."""
        return {**super().settings(), "alerts.down": {"for_seconds": 5.0}}

    # Jobs and their records

    def run_job(self, *arguments: str, unit: str = "job") -> dict[str, Any]:
        """Run the job to its end in a separate unit; return its output."""
        command = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={unit}", "--uid=worker", "--"]
        done = self.machine.run([*command, "python3", JOB, *arguments], timeout=120, check="--fail" not in arguments)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise MachineError(f"the job said nothing: {done.stdout}{done.stderr}")
        reported: dict[str, Any] = json.loads(lines[-1])
        return reported

    def part_state(self, unit: str) -> dict[str, Any]:
        """The state of recorder, alerter or clips; empty when absent."""
        return self.json_of(f"{unit}/state.json")

    def query(self, sql: str, *arguments: object) -> list[list[Any]]:
        """Rows of the record."""
        return rows(self.machine, sql, *arguments)

    def page(self, path: str = "/") -> tuple[int, str]:
        """A page of livekeep-web, fetched in the machine: status and text."""
        answer = fetch(self.machine, f"{PAGES}{path}")
        return answer.status, answer.text

    def report(self) -> str:
        states = {name: self.part_state(name) for name in ("recorder", "alerter")}
        mails = [str(message["Subject"]) for message in self.mailbox.messages()]
        return f"{super().report()}\nrecord: {states}\nmails: {mails}"
