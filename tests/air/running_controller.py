"""A controller that runs: real uvicorn and FastAPI as a process, its socket handed over as by systemd, a stand-in for PID 1."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekeep.core import channels, state
from livekeep.core.channels import ChannelState, Played
from tests.outside import PATIENCE_SECONDS, PROJECT, program
from tests.system.systembus import PYTHON, SystemBus, system_bus

TOKEN = "made-up-token-of-the-tests"
HOOK = PROJECT / "bin/livekeep-worker-ended"
CONFIG = """
[channels.main]
media = "/srv/media"
ingest_urls = ["rtmp://ingest.example/live2", "rtmps://backup.example:443/app/a-key-that-should-not-be-here?more=secret"]
"""
# As systemd does it: the socket is descriptor 3, and LISTEN_PID is who gets it.
LAUNCH = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes
    document: Any = field(default=None, compare=False)

    @property
    def error(self) -> dict[str, Any]:
        error = self.document["error"]
        assert isinstance(error, dict)
        return error


def listener() -> socket.socket:
    """A listening socket on a port that the kernel chose."""
    found = socket.create_server(("127.0.0.1", 0), backlog=1024)
    found.setblocking(False)
    return found


def ask(port: int, method: str, path: str, body: Any = None, token: str | None = TOKEN, **headers: str) -> Answer:
    """One request. A body that is no bytes is sent as JSON; "_" in a header's name is "-"."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if body is not None and not isinstance(body, bytes):
        body, sent = json.dumps(body).encode(), {"Content-Type": "application/json"} | sent
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS * 2)
    with contextlib.closing(connection):
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        raw = response.read()
    is_json = raw and response.headers.get("content-type", "").startswith("application/json")
    told = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, told, raw, json.loads(raw) if is_json else None)


class Machine:
    """A tree with a configuration, a bus, a stand-in for systemd on it, and controllers that are started as a test likes."""

    def __init__(self, root: Path, bus: SystemBus) -> None:
        self.root, self.bus = root, bus
        self.directory = root / "var/lib/livekeep/channels"
        self.credentials = root / "credentials"
        self.log = root / "controller.log"
        self._script, self._calls = root / "script.json", root / "calls"
        self._stack = contextlib.ExitStack()
        for folder in ("etc/livekeep", "run/livekeep", "var/lib/livekeep/channels", "credentials"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.configure(CONFIG)
        (self.credentials / "livekeep.api-token").write_text(TOKEN + "\n")
        self.tell()

    def configure(self, text: str) -> None:
        (self.root / "etc/livekeep/livekeep.toml").write_text(text)

    @contextlib.contextmanager
    def configured(self, text: str) -> Iterator[None]:
        """With that configuration, for a while."""
        self.configure(text)
        try:
            yield
        finally:
            self.configure(CONFIG)

    @contextlib.contextmanager
    def token(self, text: str) -> Iterator[None]:
        """With that token stored, for a while."""
        file = self.credentials / "livekeep.api-token"
        file.write_text(text)
        try:
            yield
        finally:
            file.write_text(TOKEN + "\n")

    def tell(self, **script: Any) -> None:
        """What the stand-in does from now on; see fake_manager.py."""
        new = self._script.with_suffix(".new")
        new.write_text(json.dumps(script))
        new.rename(self._script)

    def calls(self) -> list[str]:
        """The changes that were asked for since this was called last."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return lines

    def start_systemd(self) -> None:
        environment = self.environment() | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.bus.socket}"}
        reading, writing = os.pipe()
        with open(reading) as ready:  # noqa: PTH123 – a descriptor
            command = [PYTHON, Path(__file__).with_name("fake_manager.py"), self._script, self._calls, HOOK]
            self._stack.enter_context(program(command, env=environment, stdout=writing, stderr=sys.stderr))
            os.close(writing)
            assert ready.readline().startswith("org.freedesktop.systemd1"), "the stand-in for systemd did not start"

    def stop_systemd(self) -> None:
        self._stack.close()

    def environment(self) -> dict[str, str]:
        return os.environ | {"LIVEKEEP_ROOT": str(self.root), "CREDENTIALS_DIRECTORY": str(self.credentials)}

    def write_state(self, channel: str = "main", **values: Any) -> None:
        """As the worker of a channel would, on air with an item unless told otherwise."""
        folder = self.root / f"run/livekeep/worker@{channel}"
        folder.mkdir(exist_ok=True)
        stamp = state.stamped(ChannelState())
        usual = {"publishing": "on-air", "picture": "item", "now": Played(name="one.mp4"), "next": Played(name="two.mp4")}
        told = usual | {"channel": channel, "last_acknowledged_monotonic": stamp.written_monotonic} | values
        state.write(state.stamped(ChannelState(**told)), folder)

    def intended(self) -> tuple[str, ...]:
        return channels.intended(self.directory)

    @contextlib.contextmanager
    def controller(self, **environment: str) -> Iterator["Running"]:
        with contextlib.ExitStack() as stack:
            found = stack.enter_context(listener())
            command = [
                sys.executable,
                "-c",
                LAUNCH,
                str(found.fileno()),
                sys.executable,
                "-I",
                PROJECT / "bin/livekeep-controller",
            ]
            with self.log.open("ab") as log:
                started = program(
                    command,
                    env=self.environment() | {"LISTEN_FDS": "1"} | environment,
                    pass_fds=[found.fileno()],
                    stderr=log,
                )
                process = stack.enter_context(started)
            yield Running(found.getsockname()[1], process)


@dataclass(frozen=True)
class Running:
    port: int
    process: subprocess.Popen[bytes]

    def ask(self, method: str, path: str, body: Any = None, token: str | None = TOKEN, **headers: str) -> Answer:
        return ask(self.port, method, path, body, token, **headers)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def machine(root: Path) -> Iterator[Machine]:
    with system_bus(root) as bus:
        made = Machine(root, bus)
        try:
            made.start_systemd()
            yield made
        finally:
            made.stop_systemd()
