"""`livekeep air measure` against a real server and a stream whose faults are known; and what it makes of packets."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.air.worker import flv
from livekeep.air.worker.publisher import Publisher
from livekeep.command.channel.measure import SETTLE_SECONDS, Packet, Player, measured, reason_of, script
from tests.air import sender
from tests.air.ingest import Ingest, Port, ingest
from tests.outside import PROJECT, wait_until

KEY = "k3y-that-nobody-may-see"
METER = PROJECT / "tests/air/meter"


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [METER, *arguments], input=given, capture_output=True, text=True, env=environment, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    with ingest(tmp_path_factory.mktemp("ingest")) as running:
        yield running


@contextlib.contextmanager
def published(server: Ingest, key: str, tags: Iterator[tuple[int, bytes]] | None = None) -> Iterator[sender.Sender]:
    """A stream at the server for as long as this lasts."""
    made = sender.Sender(Publisher(server.url, key, "main"))
    if tags:
        made._tags = tags
        made._due_ms, made._tag = next(tags)
    is_over = threading.Event()

    def send() -> None:
        while not is_over.is_set():
            made.step()
            time.sleep(0.02)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        wait_until("it is published", lambda: server.received_bytes(key))
        yield made
    finally:
        is_over.set()
        thread.join()
        made.close()


def with_a_hole(wanted: threading.Event, length_ms: int) -> Iterator[tuple[int, bytes]]:
    """The sender's stream, and once it is wanted neither its pictures nor its sound for a while."""
    begin_ms: int | None = None
    for due, tag in sender.endless():
        if begin_ms is None and wanted.is_set():
            begin_ms = due
        if begin_ms is None or due >= begin_ms + length_ms:
            yield due, tag


def test_an_even_stream_is_measured_as_it_is(server: Ingest) -> None:
    with published(server, KEY):
        done = run("-", "--seconds", "5", "--json", given=f"{server.url}/{KEY}\n")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["video"]["decoding"] == pytest.approx(0.040, abs=0.002)
    assert found["video"]["showing"] == pytest.approx(0.040, abs=0.002)
    assert found["video"]["back"] == found["audio"]["back"] == found["header_changes"] == 0
    assert found["audio"]["decoding"] == pytest.approx(0.023, abs=0.03)
    for distance in ("shortest_keyframe_distance", "longest_keyframe_distance"):
        assert found[distance] == pytest.approx(2.0, abs=0.002)
    assert found["bitrate"] == pytest.approx(3e6, rel=0.15)
    assert found["pictures"] == pytest.approx(found["seconds"] * 25, abs=2)
    assert found["apart"] < 0.2
    assert KEY not in done.stdout + done.stderr


def test_a_hole_is_found_by_the_stream_s_time_and_by_the_clock(server: Ingest) -> None:
    wanted = threading.Event()
    with published(server, KEY, with_a_hole(wanted, 1500)):
        player = Player(f"{server.url}/{KEY}")
        wait_until("it plays", lambda: player.packets)
        for name in ("cmdline", "environ"):
            assert KEY.encode() not in Path(f"/proc/{player._process.pid}/{name}").read_bytes()
        time.sleep(SETTLE_SECONDS + 0.5)
        wanted.set()
        wait_until("the hole is over", lambda: has_hole(player))
        found = measured(player.close())
    for gaps in (found.video, found.audio):
        assert gaps
        assert gaps.decoding == pytest.approx(1.54, abs=0.04)
        assert gaps.wall >= 1.0


def has_hole(player: Player) -> bool:
    found = measured(list(player.packets))
    return bool(found.video and found.audio and min(found.video.decoding, found.audio.decoding) > 1)


def test_a_stream_that_ends_while_it_is_watched_is_reported(tmp_path: Path) -> None:
    with ingest(tmp_path / "ingest") as server, published(server, KEY):
        command = subprocess.Popen(
            [METER, f"{server.url}/{KEY}", "--seconds", "600"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # Five seconds of it: more than ffprobe analyses before it prints a packet.
        wait_until("it is watched", lambda: sum(int(it.text or "0") for it in server.statistics().iter("bytes_out")) > 4_000_000)
        server.kill()
        shown, errors = command.communicate(timeout=60)
    assert command.returncode == 1
    assert f"rtmp://127.0.0.1:{server.port} ended after " in errors
    assert f"s of rtmp://127.0.0.1:{server.port}: " in shown
    assert KEY not in shown + errors


@pytest.mark.parametrize("scheme", ["rtmp", "rtmps", "http"])
def test_where_nobody_answers_the_reason_is_told_and_not_the_url(scheme: str) -> None:
    port = Port("127.0.0.1")
    done = run(f"{scheme}://127.0.0.1:{port.number}/live/{KEY}", "--seconds", "5")
    port.close()
    assert done.returncode == 1
    assert f"{scheme}://127.0.0.1:{port.number} cannot be played: Connection refused" in done.stderr
    assert KEY not in done.stderr


@pytest.mark.parametrize("url", ["", f"file:///etc/{KEY}", f"rtmp://{KEY} /live", f"rtmp:///{KEY}"])
def test_what_no_player_opens_is_refused_without_a_word_of_it(url: str) -> None:
    done = run("-", given=f"{url}\n")
    assert done.returncode == 1
    assert "must be one that a player opens" in done.stderr
    assert KEY not in done.stderr


@pytest.mark.parametrize("seconds", ["0", "nan", "86401", "many"])
def test_a_time_that_cannot_be_waited_for_is_refused(seconds: str) -> None:
    assert run("rtmp://host/live", "--seconds", seconds).returncode == 2


def packets(kind: str, *times: tuple[float, float]) -> list[Packet]:
    """Decoded and shown at those times; they come when they are decoded."""
    return [Packet(kind, decoding, showing, decoding, 1000, index % 2 == 0) for index, (decoding, showing) in enumerate(times)]


def test_what_is_out_of_order_is_counted() -> None:
    found = measured(packets("video", (0.0, 0.0), (0.04, 0.04), (0.04, 0.08), (0.02, 0.12), (0.2, 0.2)))
    assert found.video
    assert found.video.back == 2
    assert found.video.decoding == pytest.approx(0.18)


def test_the_order_of_showing_is_another_one() -> None:
    """As B-frames bring it; what is shown between the last ones may still come."""
    found = measured(
        packets("video", (0.0, 0.08), (0.04, 0.2), (0.08, 0.12), (0.12, 0.16), (0.16, 0.32), (0.2, 0.24), (0.24, 0.28))
    )
    assert found.video
    assert found.video.showing == pytest.approx(0.04)
    assert found.video.decoding == pytest.approx(0.04)


def test_picture_and_sound_that_come_apart_are_found() -> None:
    mixed = [*packets("video", (0.0, 0.0), (0.5, 0.5)), *packets("audio", (0.0, 0.0), (0.1, 0.1))]
    assert measured(mixed).apart == pytest.approx(0.5)
    assert measured(packets("video", (0.0, 0.0))).apart is None
    assert measured([]).seconds == 0.0


def test_the_clock_counts_when_the_server_s_store_is_through() -> None:
    burst = [Packet("video", index * 0.04, index * 0.04, 100.0, 1000, is_keyframe=False) for index in range(50)]
    live = [
        Packet("video", 2.0 + index * 0.04, 2.0 + index * 0.04, 101.0 + index * 0.04, 1000, is_keyframe=False)
        for index in range(50)
    ]
    found = measured(burst + live)
    assert found.video
    assert found.video.wall == pytest.approx(0.04)
    # A gap that begins before counts as far as it goes on.
    paused = measured([*burst, *(packet._replace(arrival=packet.arrival + 1) for packet in live)])
    assert paused.video
    assert paused.video.wall == pytest.approx(1.0)
    assert found.worst_second_bitrate == 25 * 8000


def test_a_new_header_of_the_picture_is_counted(server: Ingest) -> None:
    def changing() -> Iterator[tuple[int, bytes]]:
        start = 0
        while True:
            for tag in sender.clip("320x180" if start % 4000 else "640x360"):
                yield start + tag.timestamp, flv.encode(tag, start + tag.timestamp)
            start += sender.CLIP_MS

    with published(server, "changing", changing()):
        player = Player(f"{server.url}/changing")
        wait_until("some changes", lambda: measured(list(player.packets)).header_changes >= 2)
        player.close()


def test_what_ffprobe_says_is_told_without_the_place() -> None:
    url, nothing = "rtmp://host/live/k-e-y", "nothing was received; is it published now?"
    failed = "[tcp @ 0x1] Connection to tcp://host:1935 failed: Connection refused"
    assert reason_of([failed], url) == "Connection refused"
    assert reason_of([failed, "pipe:0: Input/output error"], url) == "Input/output error"
    assert reason_of(["[rtmp @ 0x1] Server error: there is no k-e-y"], url) == nothing
    assert reason_of([f"Error opening input: {url}"], url) == reason_of([url], url) == reason_of([], url) == nothing


def test_a_quote_in_a_url_stays_in_it() -> None:
    assert r"file 'http://host/a'\''b'" in script("http://host/a'b")
