"""A day through the relay on a simulated clock: unlike items, broken ones, slates, reconnects; no drift, no growth.

The bytes are read and written as on air; what is simulated is the time, and the feeders' pictures.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.air.worker.flv import AUDIO, VIDEO, Reader
from livekeep.air.worker.input_buffer import InputBuffer
from livekeep.air.worker.relay import Relay
from livekeep.air.worker.slate_loop import SlateLoop
from livekeep.air.worker.timeline import BURST_SECONDS, ending
from tests.air.flv_maker import FRAME_MS, item

DAY_SECONDS = 86400.0
STEP_SECONDS = 0.2
"""The worker looks every 20 ms; the timeline is the same, and the day is over sooner."""
CHUNK_BYTES = 64 * 1024
LARGEST_DRIFT_SECONDS = 0.040
LARGEST_HOLE_SECONDS = {VIDEO: 0.040, AUDIO: 0.080}
"""At an item's change or on the way to the slate."""
GROWTH_BYTES = 1024 * 1024


class Day:
    """A relay, what feeds it, and what a receiver sees of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.relay = Relay(SlateLoop(item(10.0, name=b"slate"), FRAME_MS), FRAME_MS)
        self.shapes = [
            item(600.0, delay_frames=2),
            item(421.7, name=b"x", group=100),
            item(333.33, frame_ms=1000 / 29.97, delay_frames=1),
            item(60.02, frame_ms=1000 / 24, name=b"y", delay_frames=3),
            item(7.0, sound_seconds=6.95),
        ]
        self.feeds: dict[InputBuffer, Iterator[bytes]] = {}
        self.now = 5000.0
        self.reader = Reader()
        self.items = 0
        self.worst_drift = 0.0
        self.worst_hole = {VIDEO: 0.0, AUDIO: 0.0}
        self.ends = {VIDEO: 0.0, AUDIO: 0.0}

    def connect(self) -> None:
        self.relay.connect(self.now)
        self.began, self.reader, self.ends = self.now, Reader(), {VIDEO: 0.0, AUDIO: 0.0}

    def add(self) -> None:
        """The next item: whole, cut short, or nothing at all."""
        data, fate = self.random.choice(self.shapes), self.random.random()
        if fate < 0.1:
            data = data[: int(len(data) * self.random.random())]
        elif fate < 0.13:
            data = b""
        buffer = InputBuffer(str(self.items), FRAME_MS)
        self.items += 1
        self.feeds[buffer] = (data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES))
        self.relay.queue.append(buffer)

    def feed(self) -> None:
        for buffer, pieces in list(self.feeds.items()):
            while not buffer.is_full and not buffer.is_over:
                piece = next(pieces, None)
                if piece is None:
                    buffer.end()
                else:
                    buffer.feed(piece)
            if buffer.is_over and buffer is not self.relay.current and buffer not in self.relay.queue:
                del self.feeds[buffer]

    def step(self) -> None:
        self.feed()
        limit = (self.now - self.began + BURST_SECONDS) * 1000
        for tag in self.reader.feed(self.relay.take(self.now)):
            if not tag.is_sequence_header:
                assert tag.timestamp <= limit + 1
                hole_ms = tag.timestamp + (tag.composition_ms if tag.is_picture else 0) - self.ends[tag.kind]
                self.worst_hole[tag.kind] = max(self.worst_hole[tag.kind], hole_ms / 1000)
                self.ends[tag.kind] = max(self.ends[tag.kind], ending(tag, FRAME_MS))
        # There is always something to see or to hear.
        self.worst_drift = max(self.worst_drift, (limit - max(self.ends.values())) / 1000)
        self.now += STEP_SECONDS


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [20261121])
def test_a_day(seed: int) -> None:
    day = Day(seed)
    day.connect()
    until_item = 0.0
    early = 0
    next_cut = 3 * 3600.0
    for number in range(round(DAY_SECONDS / STEP_SECONDS)):
        elapsed = number * STEP_SECONDS
        if not day.relay.queue and elapsed >= until_item:
            day.add()
            # Now and then the next item is not ready in time.
            until_item = elapsed + (day.random.uniform(60, 900) if day.random.random() < 0.05 else 0)
        day.step()
        day.relay.changes.clear()
        if elapsed >= next_cut:
            day.relay.disconnect(day.now)
            day.now += day.random.uniform(0.5, 40.0)
            day.connect()
            next_cut = elapsed + day.random.uniform(600, 5 * 3600)
        if number == round(3600 / STEP_SECONDS):
            early = resident_bytes()
    assert day.items > 200
    assert day.relay.slate_seconds > 600
    assert day.worst_drift <= LARGEST_DRIFT_SECONDS
    assert all(day.worst_hole[kind] <= LARGEST_HOLE_SECONDS[kind] for kind in (VIDEO, AUDIO)), day.worst_hole
    assert len(day.feeds) <= 2
    assert resident_bytes() - early < GROWTH_BYTES
    print(
        f"a day: {day.items} items, worst lag {day.worst_drift:.3f} s, longest hole {day.worst_hole[VIDEO]:.3f} s in the picture"
    )
