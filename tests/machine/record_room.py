"""A room for the record part: a box with screen and record, whose mails arrive in a mailbox in its network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from tests.machine import root
from tests.machine.machine import MachineError, wait_for
from tests.machine.mailbox import Mailbox
from tests.machine.screen import DROP_IN, SOON_SECONDS, Screen, Settings, Tables, merged, toml
from tests.machine.standin import PROJECT

T = TypeVar("T")

RECORDER, ALERTER, WEB, WEB_SOCKET = (
    "livekeep-recorder.service", "livekeep-alerter.service", "livekeep-web.service", "livekeep-web.socket",
)  # fmt: skip
TIMERS = ("livekeep-tidy.timer", "livekeep-report@daily.timer", "livekeep-report@weekly.timer")
ENABLED = (RECORDER, ALERTER, WEB_SOCKET, *TIMERS)
JOB = "/srv/job.py"
PAGES = "http://127.0.0.1:9879"


class RecordRoom(Screen):
    """A box with screen and record. Its job is tests/record/job.py, run by the unprivileged user `worker`."""

    options: ClassVar[tuple[str, ...]] = ("--token-file", "/root/token", "--with", "record")

    def __init__(self, suite: root.Suite, *, kept: bool = False, more_packages: Sequence[str] = ()) -> None:
        super().__init__(suite, kept=kept, more_packages=(*root.needed_by("record"), *more_packages))
        self.mailbox = Mailbox(self.network)
        *before, machine = self._parts
        self._parts = (*before, self.mailbox, machine)

    def _make(self) -> None:
        super()._make()
        self.machine.run("useradd --system worker")
        self.machine.copy_in(PROJECT / "tests/record/job.py", JOB)

    def settings(self) -> Settings:
        """A screen's; alerts come sooner than by default, unless the test is about their timing."""
        return {**super().settings(), "alerts.down": {"for_seconds": 5.0}}

    def write_config(self, changes: Tables | None = None) -> None:
        """Atomically: the part's services notice each write."""
        self.machine.write(f"{DROP_IN}.new", toml(merged(self.settings(), changes or {})))
        self.machine.run(["mv", f"{DROP_IN}.new", DROP_IN])

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

    def record(self, *arguments: str) -> Any:
        """The output of `livekeep record … --json`."""
        done = self.machine.run(["livekeep", "record", *arguments, "--json"], timeout=60)
        return json.loads(done.stdout)

    def part_state(self, unit: str) -> dict[str, Any]:
        """The state of recorder, alerter or clips; empty when absent."""
        done = self.machine.run(["cat", f"/run/livekeep/{unit}/state.json"], check=False)
        result: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 and done.stdout else {}
        return result

    def query(self, sql: str, *arguments: object) -> list[list[Any]]:
        """Rows of the record, by Debian's Python in the machine."""
        script = (
            "import json, sqlite3, sys\n"
            "c = sqlite3.connect('file:/var/lib/livekeep/record/record.db?mode=ro', uri=True, timeout=30)\n"
            "print(json.dumps(c.execute(sys.argv[1], json.loads(sys.argv[2])).fetchall()))"
        )
        done = self.machine.run(["python3", "-c", script, sql, json.dumps(arguments)])
        rows: list[list[Any]] = json.loads(done.stdout)
        return rows

    def until(self, what: str, holds: Callable[[], T], within: float = SOON_SECONDS) -> T:
        """Wait until `holds()` is true, and return that; a failure shows diagnostics."""
        with self._explained(f"not so: {what}"):
            return wait_for(holds, within, 0.2)

    def page(self, path: str = "/", *options: str) -> tuple[int, str]:
        """A page of livekeep-web, fetched in the machine: status and text."""
        script = (
            "import sys, urllib.request, urllib.error\n"
            "try: a = urllib.request.urlopen(sys.argv[1], timeout=30)\n"
            "except urllib.error.HTTPError as error: a = error\n"
            "print(a.status); print(a.read().decode())"
        )
        status, _, text = self.machine.run(["python3", "-c", script, f"{PAGES}{path}", *options]).stdout.partition("\n")
        return int(status), text

    def report(self) -> str:
        """The diagnostics after a failure."""
        states = {name: self.part_state(name) for name in ("recorder", "alerter")}
        mails = [str(message["Subject"]) for message in self.mailbox.messages()]
        units = [f"--unit=livekeep-{name}" for name in ("recorder", "alerter", "web")]
        journal = self.machine.journal(None, "--lines=40", *units)
        return f"{super().report()}\nrecord: {states}\nmails: {mails}\n{journal}"
