"""A room for channels: a booted machine with livekeep's air part and no screen, a folder of clips, and the ingest at the far end.

The machine has a separate network; the ingest listens on its loopback. All packages are already installed for `install.sh`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.machine import root
from tests.machine.channel_clips import COLOURS, clips
from tests.machine.channel_ingest import ChannelIngest
from tests.machine.room import SOON_SECONDS, Answer, Room, Settings, fetch

STORAGE_SOCKET, CONTROLLER_SOCKET = "livekeep-storage.socket", "livekeep-controller.socket"
STORAGE, CONTROLLER, BOOT = "livekeep-storage.service", "livekeep-controller.service", "livekeep-air.service"
AIR_UNITS = (STORAGE_SOCKET, CONTROLLER_SOCKET, BOOT)
MEDIA, INTENTIONS, CREDENTIALS = "/srv/media", "/var/lib/livekeep/channels", "/etc/credstore"
STREAM_KEY = "abcd-1234-efgh-5678-made-up"
API = "http://127.0.0.1:9878"


def worker(channel: str = "main") -> str:
    """The unit of the channel's worker."""
    return f"livekeep-worker@{channel}.service"


class ChannelRoom(Room):
    """One room. Its channel "main" plays the clips of /srv/media to the ingest, where its stream is called STREAM_KEY."""

    options: ClassVar[tuple[str, ...]] = ("--with", "air", "--without", "screen")

    def __init__(self, suite: root.Suite, *, bare: bool = False, **how: bool) -> None:
        super().__init__(suite, root.packages_of(suite, "health", "air"), bare=bare, **how)
        self.ingest = ChannelIngest(self.network)
        if not bare:
            self.parts.append(self.ingest)

    def _prepare(self) -> None:
        if not self._bare:
            self.machine.copy_in(clips(), MEDIA)
            self.write_config()
            self.store("livekeep.stream-key.main", STREAM_KEY)

    # Installing and configuring

    def install(self, *options: str, check: bool = True) -> str:
        """For a machine without a screen, unless `options` say something else."""
        return super().install(*(options or self.options), check=check)

    def settings(self) -> Settings:
        ours = {"media": MEDIA, "ingest_urls": [self.ingest.url], "rescan_seconds": 2.0, "preset": "ultrafast"}
        return {**super().settings(), "channels.main": ours}

    def store(self, name: str, text: str) -> None:
        """Store a credential as root's file."""
        self.machine.write(f"{CREDENTIALS}/{name}", f"{text}\n", 0o600)

    # The channel

    def goes_on_air(self, channel: str = "main") -> None:
        """Put it on air like an operator, and wait until the ingest accepts it."""
        self.livekeep("air", "start", channel, check=True)
        self.is_on_air(channel)

    def goes_off(self, channel: str = "main") -> None:
        """Take it off the air like an operator."""
        self.livekeep("air", "stop", channel, check=True)

    def is_on_air(self, channel: str = "main", within: float = SOON_SECONDS) -> dict[str, Any]:
        """Wait until the worker reports that the ingest accepts the stream; return the state."""

        def found() -> dict[str, Any]:
            state = self.state(channel)
            return state if state.get("publishing") == "on-air" else {}

        return self.until(f"{channel} is on air", found, within)

    def state(self, channel: str = "main") -> dict[str, Any]:
        """The worker's state; empty when it does not run."""
        return self.json_of(f"worker@{channel}/state.json")

    def end(self, channel: str = "main") -> dict[str, Any]:
        """How it last ended; empty when it never ended."""
        return self.json_of(f"worker@{channel}/end.json")

    def is_intended(self, channel: str = "main") -> bool:
        """Whether it is marked as intended to be on air."""
        return self.machine.exists(f"{INTENTIONS}/{channel}.on-air")

    def colour(self, name: str = STREAM_KEY) -> str:
        """The name of the clip whose colour a viewer of the stream sees now; "other" for a slate or a change."""
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", f"{self.ingest.url}/{name}", "-frames:v", "1"]
        command += ["-vf", "scale=1:1:flags=area,format=rgb24", "-f", "rawvideo", "pipe:1"]
        done = subprocess.run(self.network.in_servers(command), check=True, capture_output=True, timeout=SOON_SECONDS)
        return nearest(done.stdout)

    # The API

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The controller's response. `token` None is the right one, "" none at all."""
        fields = dict(headers or {})
        if token is None:
            token = self.machine.read(f"{CREDENTIALS}/livekeep.api-token").strip()
        if token:
            fields["Authorization"] = f"Bearer {token}"
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
        return fetch(self.machine, f"{API}{path}", method, fields, None if body is None else json.dumps(body))

    def report(self) -> str:
        return f"state: {self.state()}\nend: {self.end()}\n{super().report()}"


def nearest(pixel: bytes, limit: int = 60) -> str:
    """The clip with the colour nearest to this one (red, green, blue)."""

    def distance(name: str) -> int:
        wanted = bytes.fromhex(COLOURS[name].removeprefix("0x"))
        return max(abs(one - other) for one, other in zip(pixel, wanted, strict=True))

    name = min(COLOURS, key=distance)
    return name if distance(name) < limit else "other"
