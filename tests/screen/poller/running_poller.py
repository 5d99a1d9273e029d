"""The real livekeep-poller as a process, with a datagram socket in systemd's place and a server of the test's in Vimeo's."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from livekeep.core import state
from livekeep.core.state import OpenStream, Picture, PlayerState, PollerState, StreamUrl, UrlRequest, UrlRequestReason
from tests.outside import PATIENCE_SECONDS, PROJECT, NotifySocket
from tests.web import Reply, Request, Web, error, http

PROGRAM = PROJECT / "bin/livekeep-poller"
TOKEN = "token-0123456789-nobody-may-see-me"
SIGNATURE = "hmac-nobody-may-see-me-either"
STREAM = '[streams.main]\nvimeo_event = "12345"\n'


class Vimeo:
    """Answers as the API does; a test replaces what it wants to be otherwise."""

    def __init__(self) -> None:
        self.web = Web(self._answer)
        self._playback: Reply = error(400, 10008)
        self.is_live = False
        self.details: Reply = http(200, {"title": "Sunday", "next_occurrence_time": None})
        self.verify: Reply = http(200, {"scope": "public private"})
        self.stream_url = "http://127.0.0.1:1/live.m3u8"
        self._signed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.web.close()

    def answers(self, reply: Reply) -> None:
        """To the question whether it is live."""
        self._playback, self.is_live = reply, False

    def go_live(self, url: str = "") -> None:
        self.stream_url = url or self.stream_url
        self.is_live = True

    def signed(self) -> bytes:
        """A new signature with every answer."""
        self._signed += 1
        return http(200, {"m3u8_playback_url": f"{self.stream_url}?{SIGNATURE}={self._signed}&exp=1999999999"})

    def asks(self) -> int:
        return len(self.web.paths("m3u8_playback"))

    def _answer(self, request: Request) -> Reply:
        if "m3u8_playback" in request.path:
            return self.signed() if self.is_live else self._playback
        return self.verify if "oauth" in request.path else self.details


class RunningPoller:
    """The process, its files, and what it told systemd."""

    def __init__(self, folder: Path, settings: str, token: str | None = TOKEN) -> None:
        self.root = folder / "run/livekeep"
        self.config = folder / "etc/livekeep/livekeep.toml"
        self.errors = folder / "stderr"
        for path in (self.root / "player", self.config.parent, folder / "credentials"):
            path.mkdir(parents=True)
        self.configure(settings)
        if token is not None:
            (folder / "credentials/livekeep.vimeo-token").write_text(token, encoding="utf-8")
        self.systemd = NotifySocket(folder / "notify")
        environment = {
            "LIVEKEEP_ROOT": str(folder),
            "CREDENTIALS_DIRECTORY": str(folder / "credentials"),
            "NOTIFY_SOCKET": str(self.systemd.path),
            "WATCHDOG_USEC": "2000000",
            "PATH": os.environ["PATH"],
        }
        self.began_monotonic = time.monotonic()
        self.process = subprocess.Popen([PROGRAM], env=environment, stderr=self.errors.open("wb"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE_SECONDS)
        self.process.kill()
        self.process.wait()
        self.systemd.__exit__()

    @property
    def told(self) -> list[str]:
        """All that systemd was told until now, line by line."""
        return [line for message in self.systemd.messages for line in message.splitlines()]

    def configure(self, settings: str) -> None:
        self.config.write_text(settings, encoding="utf-8")

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(PATIENCE_SECONDS) == 0, self.errors.read_text()
        self.systemd.wait_for("STOPPING=1")

    def state(self) -> PollerState | None:
        try:
            return state.read(PollerState, self.root)
        except state.StateAbsentError:
            return None

    def url(self) -> StreamUrl | None:
        try:
            return state.read(StreamUrl, self.root)
        except state.StateAbsentError:
            return None

    def request_url(self, reason: UrlRequestReason) -> float:
        """Request a URL as the player does; gives the time of the request."""
        now = time.monotonic()
        state.write(state.stamped(PlayerState(url_request=UrlRequest(reason, now))), self.root)
        return now

    def show(self, picture: Picture) -> None:
        """Have `picture` on the screen, of the stream that is live, as the player reports it."""
        found = self.state()
        assert found
        state.write(state.stamped(OpenStream(source=found.source)), self.root)
        state.write(state.stamped(PlayerState(picture=picture)), self.root)

    def until(self, met: Callable[[PollerState], object], seconds: float = PATIENCE_SECONDS) -> PollerState:
        """The first state that meets the condition."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.state()
            if found and met(found):
                return found
            assert self.process.poll() is None, self.errors.read_text()
            time.sleep(0.01)
        raise AssertionError(f"not within {seconds} s; the state is {found}; it said: {self.errors.read_text()}")

    def until_state(self, name: str, cause: str | None = None, seconds: float = PATIENCE_SECONDS) -> PollerState:
        return self.until(lambda found: found.state == name and cause in (None, found.cause), seconds)

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def everything_told(self) -> str:
        """All that others can read: state, log, status lines, command line."""
        texts = [self.errors.read_text(), *self.told, Path(f"/proc/{self.process.pid}/cmdline").read_text()]
        found = self.root / "poller/state.json"
        return "\n".join([*texts, found.read_text() if found.exists() else ""])


def settings_for(vimeo: Vimeo, poller: str = "interval_seconds = 1", stream: str = STREAM) -> str:
    return f'[log]\nlevel = "debug"\n[vimeo]\napi_url = {json.dumps(vimeo.web.url)}\n[poller]\n{poller}\n{stream}'


def unchanged(check: Callable[[], Any], seconds: float) -> None:
    """Holds for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert check()
        time.sleep(0.02)
