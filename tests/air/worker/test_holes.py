"""Items with holes, copied, over the real publisher to a real ingest: the connection holds, and the stream has no hole."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.air.worker import transcode
from livekeep.air.worker.input_buffer import InputBuffer
from livekeep.air.worker.probe import probe
from livekeep.air.worker.profile import Plan
from livekeep.command.channel.measure import measured
from tests.air.clips import AAC, CHANNEL, encode, h264, picture, sound
from tests.air.ingest import Ingest, ingest
from tests.air.running_uplink import FRAME_MS, RunningUplink
from tests.air.viewer import Viewer

KEY = "holes"
COPY = Plan(copies_video=True, copies_audio=True)


def without(stream: str, begin: float, end: float) -> list[str]:
    """The filter that leaves out what lies between two moments of the picture ("v") or the sound ("a"); seconds."""
    select = "select" if stream == "v" else "aselect"
    return [f"-filter:{stream}", f"{select}='not(gte(t,{begin})*lt(t,{end}))'"]


def holed(seconds: float, *holes: list[str]) -> list[str]:
    filters = [option for hole in holes for option in hole]
    return [*picture(seconds=seconds), *sound(seconds), *filters, "-fps_mode", "passthrough", *h264(25), *AAC]


ITEMS = {
    "no-pictures": holed(13, without("v", 3, 11)),
    "no-sound": holed(9, without("a", 2, 7)),
    "nothing": holed(34, without("v", 2, 32), without("a", 2, 32)),
}
"""Each with one hole: of 8 s in the pictures, 5 s in the sound, 30 s in both."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("holes")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Ingest]:
    with ingest(tmp_path / "ingest") as running:
        yield running


def copied(name: str, folder: Path) -> InputBuffer:
    """The item as its feeder gives it when it is copied, whole."""
    file = folder / f"{name}.mkv"
    if not file.exists():
        encode(ITEMS[name], file)
    command = transcode.feeder_command(str(file), COPY, CHANNEL, probe(str(file), 20.0))
    buffer = InputBuffer(name, FRAME_MS)
    buffer.feed(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    buffer.end()
    return buffer


def test_holes_of_all_kinds_over_one_connection(server: Ingest, folder: Path) -> None:
    channel = RunningUplink(server.url, KEY, folder)
    buffers = {name: copied(name, folder) for name in ITEMS}
    try:
        channel.run_until("the slate is on air", lambda: channel.uplink.publishing == "on-air")
        with Viewer(f"{server.url}/{KEY}") as viewer:
            channel.run_until("the player has pictures", lambda: len(viewer.pictures()) > 25)
            channel.relay.queue.extend(buffers.values())
            channel.run_until("all items ended", lambda: "ended nothing" in channel.kinds())
            channel.run(2)
            packets = list(viewer.packets)
    finally:
        channel.stop()
    assert server.publishes(KEY) == channel.uplink.connections == 1
    assert channel.uplink.retry_count == 0
    found = measured(packets)
    assert found.video
    assert found.audio
    assert max(found.video.decoding, found.video.showing, found.audio.decoding) <= 0.080
    assert (found.video.back, found.audio.back) == (0, 0)
    assert found.apart is not None
    assert found.apart <= 0.5
    # What was left out was not played, and why is told.
    pictures, sounds, both = buffers.values()
    assert pictures.played_seconds == pytest.approx(5.0, abs=0.1)
    assert pictures.problem == "it has no pictures from 3.0 to 11.0 s"
    assert sounds.played_seconds == pytest.approx(9.0, abs=0.1)
    assert sounds.quiet_ms == pytest.approx(5000, abs=100)
    assert both.played_seconds == pytest.approx(4.0, abs=0.1)
    assert both.problem == "it has no pictures from 2.0 to 32.0 s"
