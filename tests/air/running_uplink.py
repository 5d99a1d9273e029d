"""Relay and uplink in the loop that the worker has, without a scheduler: a test gives the items."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from livekeep.air.worker.relay import Relay
from livekeep.air.worker.slate import make_slate
from livekeep.air.worker.slate_loop import SlateLoop
from livekeep.air.worker.uplink import Uplink
from livekeep.core.service import Service
from tests.air.clips import CHANNEL

FRAME_MS = 40.0
PAUSE_SECONDS = 0.02


class RunningUplink:
    """A channel with a plain slate, made in `folder`, that publishes to `url`; `ahead_seconds` sets its clock forward."""

    def __init__(self, url: str, key: str, folder: Path) -> None:
        channel = dataclasses.replace(CHANNEL, ingest_urls=(url,), slate="/none")
        self.relay = Relay(SlateLoop(make_slate(channel, folder).content, FRAME_MS), FRAME_MS)
        self.uplink = Uplink(Service(), self.relay, "main", channel, key)
        self.ahead_seconds = 0.0

    def run_until(self, what: str, holds: Callable[[], object], seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s; {self.uplink.reason}"
            self.uplink.one_pass(time.monotonic() + self.ahead_seconds)
            time.sleep(PAUSE_SECONDS)

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.run_until("the time is over", lambda: time.monotonic() >= until)

    def stop(self) -> None:
        self.uplink.stop(time.sleep)

    def kinds(self) -> list[str]:
        return [f"{change.kind} {change.item.name}" for change in self.relay.changes if change.item]
