"""What an ingest says in the middle of a stream, which ffmpeg keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.air.worker.retry import OPENING_SECONDS, Listener
from tests.air.rtmp_server import RtmpServer, status
from tests.air.running_uplink import RunningUplink

KEY = "k3y-that-nobody-may-see"
RECEIPT, PING = 3, 4


@pytest.fixture
def server() -> Iterator[RtmpServer]:
    with RtmpServer() as running:
        yield running


@pytest.fixture
def channel(server: RtmpServer, tmp_path: Path) -> Iterator[RunningUplink]:
    """On air, and past the opening."""
    made = RunningUplink(server.url, KEY, tmp_path)
    try:
        made.run_until("it is on air", lambda: made.uplink.publishing == "on-air")
        made.run(OPENING_SECONDS + 1)
        yield made
    finally:
        made.stop()


def test_an_ingest_that_ends_the_stream_and_reads_on_is_left(server: RtmpServer, channel: RunningUplink) -> None:
    # What each ingest says is none of it.
    for _ in range(2):
        server.say(bytes(4), RECEIPT)
        server.say(b"\0\6" + bytes(4), PING)
        channel.run(1)
    assert len(server.connections) == 1
    server.say(status("NetStream.Unpublish.Success"))
    channel.run_until("it is noticed", lambda: channel.uplink.publishing != "on-air", 15)
    assert channel.uplink.error_type == "dropped"
    assert " bytes in the middle of the stream, as when it ends it" in channel.uplink.reason
    channel.run_until("it is on air again", lambda: channel.uplink.publishing == "on-air")
    assert len(server.connections) == channel.uplink.connections == 2
    # Whether a talkative ingest is another matter: a second time the connection stays, and the operator is told.
    channel.run(OPENING_SECONDS + 1)
    server.say(status("NetStream.Unpublish.Success"))
    channel.run_until("it is told", lambda: channel.uplink.reason, 15)
    assert "a new connection did not help" in channel.uplink.reason
    assert channel.uplink.publishing == "on-air"
    assert len(server.connections) == 2


def test_an_ingest_that_says_no_in_the_middle_of_the_stream_is_left(server: RtmpServer, channel: RunningUplink) -> None:
    server.say(status("NetStream.Publish.Failed", "error"))
    channel.run_until("it is noticed", lambda: channel.uplink.publishing != "on-air", 15)
    assert channel.uplink.reason.endswith(' ended the stream: "so it is"')
    assert KEY not in channel.uplink.reason


@pytest.mark.parametrize(
    ("received", "messages"),
    [
        # Receipts, however often they come.
        ([(step * 0.4, step * 64) for step in range(100)], [(0, False)] * 100),
        # What belongs to the beginning.
        ([(0.0, 3500), (OPENING_SECONDS - 0.1, 3900)], [(0, False)] * 2),
        # A message, and the usual one on the next connection.
        ([(0.0, 0), (10.0, 120)], [(0, False), (120, False)]),
        ([(0.0, 0), (10.0, 120), None, (20.0, 3000), (30.0, 3120)], [(0, False), (120, False), (0, False), (120, True)]),
        ([(0.0, 0), (10.0, 120), (20.0, 500)], [(0, False), (120, False), (380, False)]),
    ],
)
def test_a_message_is_more_than_an_ingest_usually_says(
    received: list[tuple[float, int] | None], messages: list[tuple[int, bool]]
) -> None:
    """When how many bytes had come, None for a new connection; the size of each message, and whether it is usual."""
    listener = Listener()
    heard = []
    for at in received:
        if at is None:
            listener.connect()
        else:
            heard.append((listener.hears(*at), listener.is_usual))
    assert heard == messages
