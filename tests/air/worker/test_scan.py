"""What all packets of an item show, from real files with real ffprobe; what becomes of it, and where it is kept."""

from __future__ import annotations

import dataclasses
import http.server
import json
import subprocess
import threading
from pathlib import Path

import pytest

from livekeep.air.storage.media import MediaFile
from livekeep.air.worker import profile, transcode
from livekeep.air.worker.media_info import ItemError, MediaInfo, scanned
from livekeep.air.worker.packets import HOLE_SECONDS, Hole, Packet, Scanner, overlaps
from livekeep.air.worker.probe import probe
from livekeep.air.worker.scan import Scans, scan
from tests.air.clips import CHANNEL, clip, encode, folder, known, picture, sound
from tests.air.flv_output import output_of
from tests.air.odd_clips import STEADY, odd, piece

SECONDS = 30.0
MEASURED = {"abs": 0.06}
"""A frame of sound and the rounding of Matroska."""
COPY = profile.Plan("copy", "copy")


def media_of(name: str) -> MediaInfo:
    return known(odd(name))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hole-in-picture.mkv", "picture has a hole of 6.0 s at 22.0 s"),
        ("hole-in-both.mkv", "picture has a hole of 6.0 s at 4.0 s"),
        ("late-keyframes.mp4", "keyframes are 12"),
        ("burst.mp4", "picture has up to "),
        ("lossless.mp4", "picture has H.264's profile High 4:4:4 Predictive"),
        ("again.flv", "its timestamps begin again at 2.0 s"),
        ("again-silent.ts", "its timestamps begin again at 2.0 s"),
        ("corrupt.mp4", "is damaged (Invalid NAL unit size"),
        ("damaged.ts", "is damaged (Packet corrupt"),
    ],
)
def test_what_only_its_packets_show_keeps_a_picture_from_being_copied(name: str, reason: str) -> None:
    plan = profile.plan(media_of(name), CHANNEL)
    assert plan.video == "encode"
    assert any(found.startswith(reason) for found in plan.reasons), plan.reasons


def test_a_hole_in_the_sound_is_filled_beside_a_picture_that_is_copied() -> None:
    media = media_of("hole-in-sound.mp4")
    plan = profile.plan(media, CHANNEL)
    assert (plan.video, plan.audio) == ("copy", "encode")
    assert plan.reasons == ("sound has a hole of 2.0 s at 2.0 s",)
    found = output_of(transcode.feeder_command(str(odd("hole-in-sound.mp4")), plan, CHANNEL, media))
    assert found.longest_step() <= 40 and len(found.video) == 150


def test_sound_whose_rate_changes_in_the_middle_is_encoded() -> None:
    path = folder() / "rates.ts"
    later = folder() / "later.ts"
    at_48 = ["-c:a", "aac", "-ar", "48000", "-ac", "2", "-b:a", "64k"]
    encode([*picture(seconds=2), *sound(2), *STEADY, *at_48, "-output_ts_offset", "2"], later)
    path.write_bytes(piece("ts") + later.read_bytes())
    plan = profile.plan(known(path), CHANNEL)
    assert "rate of the sound changes" in plan.reasons and plan.audio == "encode"
    for name in ("matching.mp4", "matching.mkv", "matching.ts"):
        made = media_of(name).scan
        assert made and made.audio and not made.audio.changes_length


def test_what_is_not_read_to_its_end_is_not_copied() -> None:
    media = probe(str(clip("matching.mp4")), SECONDS)
    assert media.scan is None
    assert profile.plan(media, CHANNEL).video == "encode"
    assert "is not yet read to its end" in profile.plan(media, CHANNEL).reasons
    assert profile.plan(media_of("matching.mp4"), CHANNEL) == COPY


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("matching.mp4", 3),
        ("late-start.mkv", 3),
        ("wrong-header.flv", 4),
        ("again.flv", 4),
        ("again.mkv", 4),
        ("again-silent.ts", 4),
        ("changing.ts", 4),
        ("hole-in-both.mkv", 6),
        ("hole-in-picture.mkv", 30),
        ("vp8.webm", 3),
    ],
)
def test_its_length_is_that_of_its_packets_and_all_of_it_goes_out(name: str, seconds: float) -> None:
    media = media_of(name)
    # A TS that is cut in the middle of a picture loses that one.
    assert media.duration_seconds == pytest.approx(seconds, abs=0.13)
    assert not media.lack
    plan = profile.plan(media, CHANNEL)
    found = output_of(transcode.feeder_command(str(odd(name)), plan, CHANNEL, media))
    assert (found.picture_end(40) - found.picture_start) / 1000 == pytest.approx(seconds, abs=0.13)
    assert len(found.video) == pytest.approx(seconds * 25, abs=3)
    assert found.sound_end / 1000 == pytest.approx(seconds, abs=0.13)


@pytest.mark.parametrize(("name", "told"), [("truncated.mp4", 6), ("cut.flv", 4), ("cut.mkv", 3)])
def test_what_is_cut_off_lacks_what_its_header_tells_of(name: str, told: float) -> None:
    if name.startswith("cut"):
        whole = piece("flv", seconds=4) if name.endswith("flv") else clip("matching.mkv").read_bytes()
        (folder() / name).write_bytes(whole[: len(whole) // 2])
        media = known(folder() / name)
    else:
        media = media_of(name)
    assert media.scan
    assert media.duration_seconds == pytest.approx(told, abs=0.06)
    assert media.scan.seconds < told * 0.7
    assert media.lack == f"it is cut off: {media.scan.seconds:.1f} s of {media.duration_seconds:.1f} s are there"


def test_the_real_rate_counts_not_the_one_of_the_header() -> None:
    taker = Scanner("mov,mp4")
    for number in range(100):
        taker.take(Packet("video", number / 30, number / 30, 1 / 30, 1000, number % 25 == 0, False))
    media = media_of("matching.mp4")
    found = scanned(media, taker.result())
    assert found.video.frame_rate == pytest.approx(30) and found.video.has_constant_rate
    assert "frame rate is 30, not 25" in profile.plan(found, CHANNEL).reasons


def test_the_worst_second_is_found_wherever_it_is() -> None:
    taker = Scanner("mpegts")
    for number in range(500):
        size = 40_000 if 333 <= number < 358 else 2_000
        taker.take(Packet("video", number / 25, number / 25, 0.04, size, number % 50 == 0, False))
    assert taker.result().video.worst_second_bits == 25 * 40_000 * 8


def test_reading_is_bounded_in_memory() -> None:
    taker = Scanner("matroska,webm")
    moment = 0.0
    for number in range(20_000):
        moment += 1.0 if number % 2 else 0.04
        taker.take(Packet("video", moment, moment, 0.04, 1000, True, False))
        taker.take(Packet("audio", 9.0 * (number % 2), 9.0 * (number % 2), 0.02, 100, True, False))
    document = json.dumps(taker.result().as_document())
    assert len(document) < 20_000


def test_holes_that_both_have_are_the_common_parts() -> None:
    ones = [Hole(1, 4), Hole(10, 1), Hole(20, 10)]
    others = [Hole(0, 2), Hole(3, 10), Hole(21, 2), Hole(25, 20)]
    assert list(overlaps(ones, others)) == [Hole(1, 1), Hole(3, 2), Hole(10, 1), Hole(21, 2), Hole(25, 5)]
    assert list(overlaps([Hole(0, 1)], [Hole(1 - HOLE_SECONDS, 4)])) == []


class TestKept:
    FILE = MediaFile("a/b c.mp4", 123, 1234.5)

    def test_it_is_read_once_for_a_file_and_anew_for_another(self, tmp_path: Path) -> None:
        made = media_of("hole-in-both.mkv").scan
        assert made
        Scans(tmp_path / "scans").keep(self.FILE, "etag", made)
        again = Scans(tmp_path / "scans")
        assert again.load(self.FILE, "etag") == made
        assert again.load(self.FILE, "another") is None
        for change in ({"size_bytes": 124}, {"modified": 1235.5}, {"name": "a/b.mp4"}):
            assert again.load(dataclasses.replace(self.FILE, **change), "etag") is None

    def test_what_is_broken_is_not_known(self, tmp_path: Path) -> None:
        made = media_of("matching.mp4").scan
        assert made
        Scans(tmp_path).keep(self.FILE, "", made)
        (path,) = tmp_path.iterdir()
        whole = path.read_text()
        for content in ("", whole[: len(whole) // 2], "[]", '{"of": [], "scan": {}}', whole.replace('"bits"', '"bats"')):
            path.write_text(content)
            assert Scans(tmp_path).load(self.FILE, "") is None

    def test_without_a_disk_it_is_remembered(self, tmp_path: Path) -> None:
        made = media_of("matching.mp4").scan
        assert made
        (tmp_path / "file").write_text("")
        for where in (None, tmp_path / "file"):
            scans = Scans(where)
            scans.keep(self.FILE, "", made)
            assert scans.load(self.FILE, "") == made
            scans.tidy()


class Breaking(http.server.BaseHTTPRequestHandler):
    """Hangs up in the middle, once or for good."""

    content = b""
    is_for_good = False
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        if self.requests > 1 and self.is_for_good:
            self.send_error(404)
            return
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(self.content) - first))
        self.end_headers()
        self.wfile.write(self.content[first : len(self.content) // 2 if self.requests == 1 else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("is_for_good", [False, True])
def test_what_a_storage_broke_off_is_not_taken_for_the_whole(is_for_good: bool) -> None:
    Breaking.content, Breaking.is_for_good, Breaking.requests = clip("matching.ts").read_bytes(), is_for_good, 0
    media = media_of("matching.ts")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/clip.ts"
        if is_for_good:
            with pytest.raises(ItemError, match=r"clip.ts: could not be read to its end") as caught:
                scan(url, media, "clip.ts")
            assert caught.value.error_type == "unreachable"
        else:
            assert scan(url, media, "clip.ts") == media.scan
        server.shutdown()
    assert Breaking.requests >= 2


def test_it_rests_while_an_item_on_air_needs_the_storage() -> None:
    may_read = threading.Event()
    media, done = media_of("matching.ts"), threading.Event()

    def read() -> None:
        scan(str(clip("matching.ts")), media, "clip.ts", may_read=may_read)
        done.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert not done.wait(1.0)
    may_read.set()
    assert done.wait(SECONDS)
    thread.join()


def test_it_gives_way_to_what_is_on_air(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that read, the one ahead has the lower priority."""
    seen = tmp_path / "nice"
    program = tmp_path / "ffprobe"
    program.write_text(f"#!/bin/sh\nnice > {seen}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    own = int(subprocess.run(["nice"], capture_output=True, text=True, check=True).stdout)
    media = media_of("matching.mp4")
    for may_read, wanted in ((None, own), (threading.Event(), min(own + 10, 19))):
        if may_read:
            may_read.set()
        with pytest.raises(ItemError):
            scan(str(clip("matching.mp4")), media, "clip.mp4", may_read=may_read)
        assert int(seen.read_text()) == wanted
