"""What ffprobe finds in unlike clips, and why it finds nothing."""

import socket
from fractions import Fraction
from pathlib import Path

import pytest

from livekeep.air.worker import profile
from livekeep.air.worker.media_info import ItemError, media_of
from livekeep.air.worker.probe import probe
from livekeep.system.redaction import redacted
from tests.air.clips import CHANNEL, clip, encode, known
from tests.air.object_stores import Reply, StandIn

SECONDS = 20.0


def problem(source: str, seconds: float = SECONDS) -> ItemError:
    with pytest.raises(ItemError) as caught:
        probe(source, seconds)
    return caught.value


def test_a_plain_clip_is_known_in_full() -> None:
    media = known(clip("matching.mp4"))
    video, audio = media.video, media.audio
    assert (video.codec, video.width, video.height, video.pixel_format) == ("h264", 320, 180, "yuv420p")
    assert (video.frame_rate, video.has_constant_rate, video.is_interlaced, video.sample_aspect) == (25.0, True, False, 1)
    assert media.scan and (media.scan.video.starts_with_keyframe, media.scan.video.keyframe_seconds) == (True, 2.0)
    assert video.bitrate and 200_000 < video.bitrate < 400_000
    assert audio and (audio.codec, audio.profile, audio.sample_rate, audio.channels) == ("aac", "LC", 44100, 2)
    assert media.duration_seconds == pytest.approx(3, abs=0.05)


def test_what_sets_a_clip_apart_is_seen() -> None:
    assert probe(str(clip("portrait.mp4")), SECONDS).video.rotation_degrees in (90, 270)
    assert probe(str(clip("anamorphic.mp4")), SECONDS).video.sample_aspect == Fraction(16, 11)
    assert probe(str(clip("interlaced.mp4")), SECONDS).video.is_interlaced
    assert not known(clip("varying-rate.mp4")).video.has_constant_rate
    long_gop = known(clip("long-gop.mp4")).scan
    assert long_gop and long_gop.video.keyframe_seconds > 5
    assert probe(str(clip("no-audio.mp4")), SECONDS).audio is None
    # In a tag.
    assert probe(str(clip("matching.mkv")), SECONDS).video.duration_seconds == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize(
    ("name", "error_type"),
    [
        ("/nowhere/gone.mp4", "missing"),
        ("empty.mp4", "empty"),
        ("text.mp4", "not-media"),
        ("no-index.mp4", "truncated"),
        ("audio-only.mp4", "no-video"),
        ("playlist.mp4", "not-media"),
    ],
)
def test_what_cannot_be_played_is_named_in_one_sentence(name: str, error_type: str) -> None:
    error = problem(name if name.startswith("/") else str(clip(name)))
    assert error.error_type == error_type
    assert str(error).startswith(f"{Path(name).name}: ")
    assert "\n" not in str(error)


@pytest.mark.parametrize(("status", "error_type"), [(403, "forbidden"), (404, "missing")])
def test_what_a_server_answers_is_told_without_its_url(status: int, error_type: str) -> None:
    with StandIn(lambda _target, _headers: Reply(status)) as server:
        error = problem(f"{server.store.endpoint_url}/clip.mp4?X-Amz-Signature=secret")
    assert error.error_type == error_type
    assert str(error).startswith("clip.mp4: ")
    assert "secret" not in str(error) and "127.0.0.1" not in str(error)


def test_a_server_that_says_nothing_costs_no_more_than_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert problem(f"http://127.0.0.1:{silent.getsockname()[1]}/clip.mp4", 1.0).error_type == "timeout"


def test_what_a_slow_storage_gives_of_an_item_in_time_is_enough_to_play_it(tmp_path: Path) -> None:
    """It gives the beginning at once, and the rest too late."""
    clipped, beginning_bytes = tmp_path / "clip.mp4", 256 * 1024
    encode(["-i", str(clip("high-bitrate.mp4")), "-c", "copy", "-movflags", "+faststart"], clipped)
    content = clipped.read_bytes()
    assert len(content) > 2 * beginning_bytes
    slow = Reply(200, content, stall_seconds=60, cut_after_bytes=beginning_bytes)
    with StandIn(lambda _target, _headers: slow) as server:
        media = probe(f"{server.store.endpoint_url}/clip.mp4", SECONDS)
    whole = probe(str(clipped), SECONDS)
    assert (media.video.codec, media.duration_seconds, media.audio) == ("h264", whole.duration_seconds, whole.audio)
    assert not profile.plan(media, CHANNEL).copies_video


def test_output_that_says_nothing_is_nothing() -> None:
    assert media_of({}) is None
    assert media_of({"streams": [{"codec_type": "video", "width": 600, "disposition": {"attached_pic": 1}}]}) is None


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("https://user:pass@host.example/b/k?X-Amz-Signature=abc: 403", "https://host.example/… 403"),
        ("rtmp://a.example/live2/abcd-key", "rtmp://a.example/…"),
        ("to /b/k?sig=abc&x=1 now", "to /b/k?… now"),
        ("the key is my-own-secret.", "the key is …."),
        ("http://[::1]:80/abc 'https://h/abc'", "http://[::1]:80/… 'https://h/…'"),
        ("plain: no secret", "plain: no secret"),
    ],
)
def test_nothing_secret_is_left_in_a_line(line: str, kept: str) -> None:
    assert redacted(line, ["my-own-secret"]) == kept


def test_a_line_is_one_line_and_short() -> None:
    found = redacted("a\x1b[31m\nb" + "x" * 1000)
    assert found.isprintable() and len(found) == 300
