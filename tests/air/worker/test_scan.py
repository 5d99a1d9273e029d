"""What all packets of an item show, from real files with real ffprobe; what becomes of it, and where it is kept."""

from __future__ import annotations

import dataclasses
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
from tests.air.object_stores import Reply, StandIn
from tests.air.odd_clips import STEADY, odd, piece

SECONDS = 30.0


def media_of(name: str) -> MediaInfo:
    return known(odd(name))


def test_sound_whose_rate_changes_in_the_middle_is_encoded() -> None:
    path = folder() / "rates.ts"
    later = folder() / "later.ts"
    at_48 = ["-c:a", "aac", "-ar", "48000", "-ac", "2", "-b:a", "64k"]
    encode([*picture(seconds=2), *sound(2), *STEADY, *at_48, "-output_ts_offset", "2"], later)
    path.write_bytes(piece("ts") + later.read_bytes())
    plan = profile.plan(known(path), CHANNEL)
    assert "rate of the sound changes" in plan.reasons and not plan.copies_audio
    for name in ("matching.mp4", "matching.mkv", "matching.ts"):
        made = media_of(name).scan
        assert made and made.audio and not made.audio.changes_length


def test_what_is_not_read_to_its_end_is_not_copied() -> None:
    plan = profile.plan(probe(str(clip("matching.mp4")), SECONDS), CHANNEL)
    assert not plan.copies_video
    assert "was not read to its end yet" in plan.reasons


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


@pytest.mark.parametrize("is_for_good", [False, True])
def test_what_a_storage_broke_off_is_not_taken_for_the_whole(is_for_good: bool) -> None:
    """It hangs up in the middle, once or for good."""
    content, media = clip("matching.ts").read_bytes(), media_of("matching.ts")

    def decide(_target: str, headers: dict[str, str]) -> Reply:
        is_first = len(server.requests) == 1
        if is_for_good and not is_first:
            return Reply(404)
        first = int(headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        place = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        return Reply(206, content[first:], place, cut_after_bytes=len(content) // 2 if is_first else None)

    with StandIn(decide) as server:
        url = f"{server.store.endpoint_url}/clip.ts"
        if is_for_good:
            with pytest.raises(ItemError, match=r"clip.ts: could not be read to its end") as caught:
                scan(url, media, "clip.ts")
            assert caught.value.error_type == "unreachable"
        else:
            assert scan(url, media, "clip.ts") == media.scan
    assert len(server.requests) >= 2


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
