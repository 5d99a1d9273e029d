"""The web pages as a process: real uvicorn, its socket passed as by systemd, a tree with a record and states."""

import contextlib
import http.client
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from livekeep.core import channels, state
from livekeep.core.channels import ChannelState, Played
from livekeep.core.record_states import AlerterState, OpenAlert
from livekeep.core.state import Playback, PlayerState, PollerState
from livekeep.system import password_hash
from tests.air.running_controller import LAUNCH, listener
from tests.outside import PATIENCE_SECONDS, PROJECT, program

PASSWORD = "made-up-password"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def text(self) -> str:
        return self.raw.decode()

    @property
    def cookie(self) -> str:
        """The cookie that a browser would send back."""
        return self.headers.get("set-cookie", "").partition(";")[0]


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """One request; "_" in a header's name is "-"."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, response.read())


def png(width: int = 1280, height: int = 720) -> bytes:
    """An image like a screenshot."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(
        b"\0" + b"".join(bytes((x * 200 // width + 30, y * 150 // height + 30, 120)) for x in range(width)) for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@dataclass
class Box:
    """A tree in livekeep-web's layout."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in (
            "etc/livekeep/livekeep.d",
            "run/livekeep/web",
            "var/lib/livekeep/record",
            "var/lib/livekeep/channels",
            "credentials",
        ):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self.configure("")
        self.states = self.root / "run/livekeep"
        self.record = self.root / "var/lib/livekeep/record/record.db"

    def configure(self, text: str) -> None:
        (self.root / "etc/livekeep/livekeep.toml").write_text(text)

    def set_password(self, password: str = PASSWORD) -> None:
        (self.root / "credentials/livekeep.web-password").write_text(password_hash.make(password))

    def write(self, written: state.State, folder: str = "") -> None:
        target = self.states / folder
        (target / written.FILE).parent.mkdir(parents=True, exist_ok=True)
        state.write(state.stamped(written), target)

    def write_usual_states(self, **player: Any) -> None:
        """A stream on the screen, a channel on air, an open alert."""
        now = time.time()
        self.write(PollerState(state="live", since=now - 600, selected="main", live_since=now - 600))
        usual = {"picture": "stream", "stream_picture": "moving", "display_up": True, "since": now - 590}
        playback = Playback(position_seconds=12.0, position_changed_at=now, picture_changed_at=now)
        self.write(PlayerState(**{**usual, "playback": playback, **player}))
        monotonic = time.monotonic()
        (self.root / "var/lib/livekeep/channels/main.on-air").touch()
        worker = ChannelState(
            channel="main",
            publishing="on-air",
            picture="item",
            since=now - 3600,
            started_at=now - 3600,
            last_acknowledged_monotonic=monotonic,
            now=Played(name="talks/opening.mp4", started_at=now - 60),
            next=Played(name="talks/closing.mp4"),
        )
        self.write(worker, channels.folder_of("main", Path()).name)
        sentence = "job.fetch is 31 % slower since Monday"
        alert = OpenAlert("regression", "job.fetch", "warning", now - 7200, sentence, "Run: livekeep record functions")
        self.write(AlerterState(started_at=now - 9000, rules=9, channels=1, open=(alert,)))
        folder = self.states / "screen-picture"
        folder.mkdir(exist_ok=True)
        (folder / "screen.png").write_bytes(png())

    @contextlib.contextmanager
    def web(self, listening: socket.socket | None = None, **environment: str) -> Iterator["Running"]:
        with contextlib.ExitStack() as stack:
            result = listening or stack.enter_context(listener())
            command = [sys.executable, "-c", LAUNCH, str(result.fileno()), sys.executable, "-I", PROJECT / "bin/livekeep-web"]
            own = {"LIVEKEEP_ROOT": str(self.root), "CREDENTIALS_DIRECTORY": str(self.root / "credentials"), "LISTEN_FDS": "1"}
            with (self.root / "web.log").open("ab") as log:
                started = program(
                    command, env=os.environ | own | self.environment | environment, pass_fds=[result.fileno()], stderr=log
                )
                process = stack.enter_context(started)
            yield Running(result.getsockname()[1], process)


@dataclass(frozen=True)
class Running:
    port: int
    process: subprocess.Popen[bytes]

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        return ask(self.port, path, method, body, **headers)

    def log_in(self, password: str = PASSWORD, **headers: str) -> Answer:
        form = urlencode({"password": password, "next": "/jobs"}).encode()
        origin = {"Origin": f"http://127.0.0.1:{self.port}"}
        return self.ask("/login", "POST", form, **origin | headers)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)
