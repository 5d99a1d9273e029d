"""What ffprobe finds in unlike clips, and why it finds nothing."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from livekeep.air.worker import profile
from livekeep.air.worker.media_info import ItemError, media_of
from livekeep.air.worker.probe import probe
from livekeep.system.redaction import redacted
from tests.air.clips import CHANNEL, clip, encode, known

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
    assert (video.starts_with_keyframe, video.has_b_frames, video.keyframe_seconds) == (True, False, 2.0)
    assert video.bitrate and 200_000 < video.bitrate < 400_000
    assert audio and (audio.codec, audio.profile, audio.sample_rate, audio.channels) == ("aac", "LC", 44100, 2)
    assert media.duration_seconds == pytest.approx(3, abs=0.05)


def test_what_sets_a_clip_apart_is_seen() -> None:
    assert known(clip("matching-b-frames.mp4")).video.has_b_frames
    assert probe(str(clip("portrait.mp4")), SECONDS).video.rotation_degrees in (90, 270)
    assert probe(str(clip("anamorphic.mp4")), SECONDS).video.sample_aspect == Fraction(16, 11)
    assert probe(str(clip("interlaced.mp4")), SECONDS).video.is_interlaced
    assert not known(clip("varying-rate.mp4")).video.has_constant_rate
    assert (known(clip("long-gop.mp4")).video.keyframe_seconds or 0) > 5
    assert probe(str(clip("no-audio.mp4")), SECONDS).audio is None


def test_matroska_tells_the_length_of_its_streams_in_a_tag() -> None:
    video = probe(str(clip("matching.mkv")), SECONDS).video
    assert video.duration_seconds == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize(
    ("name", "error_type"),
    [
        ("empty.mp4", "empty"),
        ("text.mp4", "not-media"),
        ("no-index.mp4", "truncated"),
        ("audio-only.mp4", "no-video"),
        ("playlist.mp4", "not-media"),
    ],
)
def test_what_cannot_be_played_is_named_in_one_sentence(name: str, error_type: str) -> None:
    error = problem(str(clip(name)))
    assert error.error_type == error_type
    assert str(error).startswith(f"{name}: ")
    assert "\n" not in str(error)


def test_a_file_that_is_gone_is_missing(tmp_path: Path) -> None:
    assert problem(str(tmp_path / "gone.mp4")).error_type == "missing"


class Refusing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(int(self.path.split("/")[1]))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("status", "error_type"), [(403, "forbidden"), (404, "missing")])
def test_what_a_server_answers_is_told_without_its_url(refusing: str, status: int, error_type: str) -> None:
    error = problem(f"{refusing}/{status}/clip.mp4?X-Amz-Signature=secret")
    assert error.error_type == error_type
    assert str(error).startswith("clip.mp4: ")
    assert "secret" not in str(error) and "127.0.0.1" not in str(error)


def test_a_server_that_says_nothing_costs_no_more_than_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert problem(f"http://127.0.0.1:{silent.getsockname()[1]}/clip.mp4", 1.0).error_type == "timeout"


HEADER_BYTES = 256 * 1024


class Slow(http.server.BaseHTTPRequestHandler):
    """Gives the beginning of `content` at once, and the rest so slowly that it never comes."""

    protocol_version = "HTTP/1.1"
    content = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        try:
            self.wfile.write(self.content[:HEADER_BYTES])
            for byte in self.content[HEADER_BYTES:]:
                time.sleep(0.2)
                self.wfile.write(bytes([byte]))
        except ConnectionError:
            pass

    def log_message(self, *_: object) -> None:
        pass


def test_what_a_slow_storage_gives_of_an_item_in_time_is_enough_to_play_it(tmp_path: Path) -> None:
    clipped = tmp_path / "clip.mp4"
    encode(["-i", str(clip("high-bitrate.mp4")), "-c", "copy", "-movflags", "+faststart"], clipped)
    Slow.content = clipped.read_bytes()
    assert len(Slow.content) > 2 * HEADER_BYTES
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        media = probe(f"http://127.0.0.1:{server.server_port}/clip.mp4", 5.0)
        server.shutdown()
    whole = probe(str(clipped), SECONDS)
    assert (media.video.codec, media.duration_seconds, media.audio) == ("h264", whole.duration_seconds, whole.audio)
    assert known(clipped).video.keyframe_seconds and media.video.keyframe_seconds is None
    assert profile.plan(media, CHANNEL).video == "encode"


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
