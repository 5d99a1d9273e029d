"""A box to run the command on: a root of its own, a stand-in for systemctl, and a local server that stands for Vimeo's API."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from livekeep.command.doctor import doctor
from livekeep.command.doctor.doctor_base import Check, Surroundings
from livekeep.core import channels, config, state
from livekeep.core.channels import ChannelEnd, ChannelState
from tests.command.forking import CommandForks
from tests.system.unit_bus import UnitBus

HERE = Path(__file__).parent
NOBODY = 65534
REPOSITORY = HERE.parent.parent
TREES = HERE / "trees"
SERVICES = ("livekeep-poller", "livekeep-display", "livekeep-player", "livekeep-error-screen")
CONFIG = """\
# The church's screen.
[stream]
selected = "main" # the usual one

[streams.main]
vimeo_event = "123"

[streams."Youth, 2nd hall"]
url = "https://user:made-up@media.example/live.m3u8?signature=made-up-signature"
"""


class Box:
    """A machine below `root`. `run` runs the real command on it as a process: one of `forks`, where that is of this root."""

    def __init__(self, root: Path, forks: CommandForks | None = None) -> None:
        self.root, self._forks = root, forks
        self.systemd = root / "fake-systemd"
        self.programs = root / "fake-bin"
        for folder in (self.systemd, self.programs, root / "etc/livekeep/livekeep.d", root / "run/livekeep"):
            folder.mkdir(parents=True, exist_ok=True)
        self.unit_bus = UnitBus(root / "run/dbus/system_bus_socket", self.systemd)
        self.install("systemctl", (HERE / "fake-systemctl").read_text())
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NO_COLOR", "PYTEST_CURRENT_TEST")
            },
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "LIVEKEEP_ROOT": str(root),
            "FAKE_SYSTEMD": str(self.systemd),
            "TZ": "UTC",
            "TERM": "xterm",
        }

    def install(self, name: str, text: str) -> None:
        program = self.programs / name
        program.write_text(text)
        program.chmod(0o755)

    def run(self, *arguments: str, stdin: bytes = b"", **changes: Any) -> subprocess.CompletedProcess[str]:
        if self._forks and not changes:
            done = self._forks.run(arguments, self.environment, stdin)
        else:
            done = self.start(*arguments, input=stdin, **changes)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[bytes]:
        """Run the program itself, from the start of Python on."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, timeout=120, check=False, env=self.environment, **changes
        )

    def dialog(self, arguments: tuple[str, ...], *steps: tuple[bytes, bytes]) -> tuple[int, bytes]:
        """On a terminal of its own: type the answer at each prompt; the exit code, and what the terminal showed."""
        ours, theirs = pty.openpty()
        # setsid -c makes the terminal the controlling one, which getpass opens as /dev/tty.
        command = ["setsid", "-c", "-w", *self.command(*arguments)]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=self.environment)
        os.close(theirs)
        shown = b""
        for prompt, answer in steps:
            shown += read_until(ours, prompt)
            os.write(ours, answer)
        shown += read_until(ours, None)
        os.close(ours)
        return process.wait(timeout=60), shown

    def around(self) -> Surroundings:
        etc = self.root / "etc/livekeep"
        return Surroundings(self.root, *config.load_leniently(etc / "livekeep.toml", etc / "livekeep.d"))

    def check(self, name: str) -> Check:
        """One of the doctor's checks, in this process: starting one for each would take long."""
        with patch.dict(os.environ, self.environment):
            return Check(name, *doctor.result_of(name, self.around()))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-I", str(REPOSITORY / "bin/livekeep"), *arguments]

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def configure(self, text: str = CONFIG) -> Path:
        return self.file("etc/livekeep/livekeep.toml", text)

    def write(self, *states: state.State, age_seconds: float = 0.0) -> None:
        """Write the states as their units do."""
        for entry in states:
            stamped = state.stamped(entry)
            content = {**stamped.__dict__, "written_monotonic": stamped.written_monotonic - age_seconds}
            root = self.root / "run/livekeep"
            if isinstance(entry, ChannelState | ChannelEnd):
                root = channels.folder_of(entry.channel, root)
            (root / entry.FILE).parent.mkdir(parents=True, exist_ok=True)
            state.write(type(entry)(**content), root)

    def intend(self, channel: str) -> None:
        """The channel has been meant to be on air for an hour."""
        path = self.file(f"var/lib/livekeep/channels/{channel}.on-air", b"")
        os.utime(path, (time.time() - 3600, time.time() - 3600))

    def unit(self, name: str, active: str = "active", sub: str = "running", **more: str) -> None:
        values = {
            "Result": "success",
            "NRestarts": "0",
            "Id": name,
            "LoadState": "loaded",
            "ActiveState": active,
            "SubState": sub,
            "UnitFileState": "static",
            "StateChangeTimestampMonotonic": str(int((time.monotonic() - 125) * 1e6)),
            **more,
        }
        (self.systemd / name).write_text("".join(f"{key}={value}\n" for key, value in values.items()))

    def start_units(self) -> None:
        for name in SERVICES[:3]:
            self.unit(f"{name}.service")
        self.unit("livekeep-error-screen.service", "inactive", "dead")
        self.unit("livekeep.target", "active", "active", UnitFileState="enabled")

    def told(self) -> list[str]:
        """What systemctl was told to do."""
        calls = self.systemd / "calls"
        return [line for line in calls.read_text().splitlines() if not line.startswith("D-Bus ")] if calls.exists() else []


def as_nobody(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command of an `open_box` as a user without rights."""
    leave = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    command = [*leave, str(box.root.parent / "code/bin/livekeep"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=box.environment, cwd="/")


def read_until(descriptor: int, end: bytes | None) -> bytes:
    """What a terminal shows until `end` is in it, or until its programs have ended."""
    found, deadline = b"", time.monotonic() + 60
    while end is None or end not in found:
        assert time.monotonic() < deadline, found
        if select.select([descriptor], [], [], 0.2)[0]:
            try:
                found += os.read(descriptor, 4096)
            except OSError:
                assert end is None, found
                break
    return found
