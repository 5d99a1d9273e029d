"""What an ingest says in the middle of a stream, which ffmpeg keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.air.worker.retry import LEAST_MESSAGE_BYTES, OPENING_SECONDS, Listener
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


def test_receipts_are_no_message_however_often_they_come() -> None:
    listener = Listener()
    assert [listener.hears(step * 0.4, step * 64) for step in range(100)] == [0] * 100


def test_what_belongs_to_the_beginning_is_no_message() -> None:
    listener = Listener()
    assert listener.hears(0.0, 3500) == 0
    assert listener.hears(OPENING_SECONDS - 0.1, 3900) == 0
    assert listener.hears(OPENING_SECONDS + 0.1, 3900 + LEAST_MESSAGE_BYTES) == LEAST_MESSAGE_BYTES


def test_what_comes_again_and_again_is_usual_on_the_next_connection_too() -> None:
    listener = Listener()
    listener.hears(0.0, 0)
    assert (listener.hears(10.0, 120), listener.is_usual) == (120, False)
    listener.connect()
    listener.hears(20.0, 3000)
    assert (listener.hears(30.0, 3120), listener.is_usual) == (120, True)
    assert (listener.hears(40.0, 3500), listener.is_usual) == (380, False)
