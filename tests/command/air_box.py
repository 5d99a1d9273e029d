"""A box with the air part installed: its channels' states and ends, and a systemctl that does to them what a worker would."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from livekeep.core import channels, state
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from tests.command.box import HERE, Box

CHANNELS = """\
[channels.main]
media = "/srv/media"
ingest_urls = ["rtmp://ingest.example/live2"]
"""
TWO = CHANNELS + CHANNELS.replace("main", "hall")
WORKER = "livekeep-worker@main.service"
LATER_SECONDS = 60.0
NOW_PLAYING = Played("a.mp4", "copy", 60.0, 1.0)


def on_air(**changes: Any) -> ChannelState:
    """A state as a worker that is on air writes it."""
    now, now_monotonic = time.time(), time.monotonic()
    values: dict[str, Any] = {
        "channel": "main", "pid": 2, "publishing": "on-air", "since": now - 60, "ingest": "ingest.example:1935",
        "connected_since": now - 61, "acknowledged_bytes": 23_000_000,
        "last_acknowledged_monotonic": now_monotonic + LATER_SECONDS,
        "picture": "item", "now": NOW_PLAYING, "next": Played("b.mp4"), "connections": 1, "items_known": 3,
    }  # fmt: skip
    return ChannelState(**{**values, **changes})


class AirBox:
    """A `Box` whose channels may be set, and whose systemctl may carry an action out."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.folder = box.root / "run/livekeep/worker@main"
        self.directory = box.root / "var/lib/livekeep/channels"
        self.directory.mkdir(parents=True)
        box.configure(CHANNELS)
        box.unit(WORKER, "inactive", "dead")

    def put(self, *found: ChannelState | ChannelEnd, folder: Path | None = None) -> None:
        target = folder or self.folder
        target.mkdir(parents=True, exist_ok=True)
        for entry in found:
            # With a time to come, so that it is not old on a busy machine.
            times = {"written_at": time.time() + LATER_SECONDS, "written_monotonic": time.monotonic() + LATER_SECONDS}
            state.write(dataclasses.replace(entry, **times), target)

    def has_intention(self, name: str = "main") -> bool:
        return name in channels.intended(self.directory)

    def on(self, verb: str, *found: ChannelState | ChannelEnd, unit: str = "active", after_seconds: float = 0.0) -> None:
        """The next `systemctl VERB` puts these states into force, and leaves the worker's unit in the state `unit`."""
        ready = self.box.root / f"ready-{verb}"
        self.put(*found, folder=ready)
        for name, active in (("later", unit), ("now", unit if verb == "kill" else "activating")):
            self.box.unit(WORKER, active, "running")
            (self.box.systemd / WORKER).rename(ready / name)
        self.box.unit(WORKER, "inactive" if verb == "start" else "active", "dead")
        self.box.install("fake-systemctl", (HERE / "fake-systemctl").read_text())
        self.box.install(
            "systemctl",
            f'#!/bin/sh\n"{self.box.programs}/fake-systemctl" "$@" || exit\n[ "$1" = {verb} ] || exit 0\n'
            f"mv '{ready}/now' '{self.box.systemd}/{WORKER}'\n"
            f"( sleep {after_seconds}; mkdir -p '{self.folder}'; mv '{ready}'/*.json '{self.folder}/' 2>/dev/null\n"
            f"mv '{ready}/later' '{self.box.systemd}/{WORKER}' ) >/dev/null 2>&1 {'&' if after_seconds else ''}\n",
        )

    def document(self, *arguments: str) -> Any:
        done = self.box.run("air", *arguments, "--json")
        assert done.stderr == ""
        return json.loads(done.stdout)
