"""The driver against a real mpv on its real socket; only its outputs are null."""

import contextlib
import itertools
import json
import os
import select
import signal
import socket as sockets
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.screen.player.mpv import Mpv, overlay_text
from tests.outside import PATIENCE_SECONDS, PROJECT, LiveStream, picture, program, wait_until, x_screen, x_server
from tests.screen.player.changing_stream import changing_stream
from tests.screen.player.displays import connect, show, until

pytest_plugins = ["tests.screen.player.streams"]


def mpv_command(socket: Path) -> list[str]:
    """mpv with the shipped settings, without a screen and a sound card."""
    shipped = f"--config-dir={PROJECT / 'etc/mpv'}"
    return ["mpv", "--no-terminal", shipped, "--vo=null", "--ao=null", f"--input-ipc-server={socket}"]


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    """The socket of a running mpv."""
    path = tmp_path / "mpv.sock"
    with program(mpv_command(path)) as process:
        wait_until("mpv's socket", path.exists)
        (tmp_path / "pid").write_text(str(process.pid))
        yield path


@pytest.fixture
def mpv(socket: Path) -> Iterator[Mpv]:
    found = connect(Mpv, socket)
    yield found
    found.close()


@contextlib.contextmanager
def slow_way(socket: Path, way: Path, seconds: float) -> Iterator[tuple[Path, list[bytes]]]:
    """A socket `way` that hands each command on to `socket` after so many seconds; and all that comes back, line by line."""
    listener, onward = (sockets.socket(sockets.AF_UNIX) for _ in range(2))
    listener.bind(str(way))
    listener.listen(1)
    onward.connect(str(socket))
    answers: list[bytes] = []

    def carry() -> None:
        near, _address = listener.accept()
        back = threading.Thread(target=carry_back, args=(near,))
        back.start()
        with near, near.makefile("rb") as commands:
            for line in commands:
                time.sleep(seconds)
                onward.sendall(line)
            onward.shutdown(sockets.SHUT_RDWR)
            back.join()

    def carry_back(near: sockets.socket) -> None:
        with onward.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                answers.append(line)
                near.sendall(line)

    thread = threading.Thread(target=carry)
    thread.start()
    with listener, onward:
        yield way, answers
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def holding(tmp_path: Path) -> str:
    return str(picture(tmp_path / "a: holding, 100%.png"))


def test_pictures_are_shown_one_after_the_other(mpv: Mpv, tmp_path: Path) -> None:
    assert mpv.current == mpv.wanted == ""
    for name in ("holding.png", "what's {on}? 100% ü.png", "error.png"):
        path = str(picture(tmp_path / name))
        mpv.show_picture(path)
        assert mpv.wanted == path
        until(mpv, name, lambda path=path: mpv.current == path)  # type: ignore[misc]
    until(mpv, "an output", lambda: mpv.has_output)
    assert mpv.failed_picture == ""
    assert mpv.stream.phase == "none"
    mpv.show_nothing()
    assert mpv.current == ""


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + b"\0" * 100])
def test_a_picture_that_is_none_is_told(mpv: Mpv, tmp_path: Path, content: bytes) -> None:
    good, bad = str(picture(tmp_path / "good.png")), tmp_path / "bad.png"
    bad.write_bytes(content)
    mpv.show_picture(str(bad))
    until(mpv, "the failure", lambda: mpv.failed_picture == str(bad))
    mpv.failed_picture = ""
    show(mpv, good)
    assert mpv.failed_picture == ""


def test_the_screen_is_released_and_taken_again_by_the_same_process(tmp_path: Path) -> None:
    path, blue, grey = tmp_path / "mpv.sock", picture(tmp_path / "blue.png"), picture(tmp_path / "grey.png", "grey")
    with x_server("64x36x24") as display:
        command = [{"--vo=null": "--vo=x11"}.get(part, part) for part in mpv_command(path)]
        with program(command, env={"DISPLAY": display, "PATH": os.environ["PATH"]}) as process:
            with contextlib.closing(connect(Mpv, path)) as mpv:
                show(mpv, str(blue))
                wait_until("the blue picture", lambda: colour(display) == (0, 0, 128))
                assert not mpv.is_released
                mpv.release(True)
                until(mpv, "the release", lambda: mpv.is_released)
                assert colour(display) == (0, 0, 0), "the answer comes when it is done"
                show(mpv, str(grey))
            second = connect(Mpv, path)
            assert second.is_released, "as a player that starts again finds it"
            second.release(False)
            until(second, "the screen", lambda: not second.is_released)
            wait_until("the grey picture", lambda: colour(display) == (128, 128, 128))
            assert property_of(second, "pid") == process.pid
            second.close()


def colour(display: str) -> object:
    """The middle of the screen."""
    screen = x_screen(display)
    return screen.getpixel((screen.width // 2, screen.height // 2))


def test_a_stream_plays_stalls_and_gives_way_to_the_picture_at_its_end(mpv: Mpv, live: LiveStream, holding: str) -> None:
    show(mpv, holding)
    mpv.show_stream(live.url, holding)
    assert (mpv.stream.phase, mpv.current) == ("loading", holding), "what is shown stays until the first frame"
    # The position can arrive before the list of tracks, and only that shows whether the first frame is of the stream.
    until(mpv, "the stream", lambda: mpv.current == "stream" and mpv.stream.position_seconds)
    assert mpv.stream.phase == "playing"
    first = mpv.stream
    until(mpv, "a move", lambda: mpv.stream.position_seconds != first.position_seconds)
    assert mpv.stream.changed_monotonic > first.changed_monotonic

    # Each comes in a reply of its own.
    until(mpv, "its size and codec", lambda: mpv.playback().height_pixels and "264" in mpv.playback().video_codec)
    until(mpv, "its cache", lambda: mpv.playback().cache_bytes and mpv.playback().input_bytes_per_second)
    metrics = mpv.playback()
    assert (metrics.width_pixels, metrics.height_pixels) == (160, 90)
    assert metrics.position_seconds == mpv.stream.position_seconds

    live.stall()
    until(mpv, "a stall", lambda: time.monotonic() - mpv.stream.changed_monotonic > 1.5 and mpv.playback().buffering)
    assert mpv.stream.phase == "playing"
    live.go_on()
    stood = mpv.stream.position_seconds
    until(mpv, "the stream goes on", lambda: mpv.stream.position_seconds != stood)

    live.end()
    until(mpv, "the end", lambda: mpv.stream.phase == "ended")
    until(mpv, "the holding picture by itself", lambda: mpv.current == holding)
    assert mpv.wanted == holding
    assert mpv.playback().position_seconds is None


def test_a_stream_that_is_absent_leaves_the_picture(mpv: Mpv, endless: LiveStream, holding: str) -> None:
    show(mpv, holding)
    mpv.show_stream(endless.url.replace("live.m3u8", "absent.m3u8"), holding)
    until(mpv, "the holding picture", lambda: mpv.stream.phase == "ended" and mpv.current == holding, 40)
    # From the picture to the stream and back, without the stream that was left counting as one that ended.
    mpv.show_stream(endless.url, holding)
    until(mpv, "the stream", lambda: mpv.current == "stream")
    show(mpv, holding)
    assert mpv.stream.phase == "none"


def test_a_stream_that_fails_at_once_never_leaves_the_screen_empty(socket: Path, tmp_path: Path) -> None:
    """On a busy machine a command may come long after the one before it, when what that one opened has failed already."""
    holding, error = (str(picture(tmp_path / name)) for name in ("holding.png", "error.png"))
    with slow_way(socket, tmp_path / "slow.sock", 0.02) as (way, answers), contextlib.closing(connect(Mpv, way)) as mpv:
        show(mpv, error)
        begun = len(answers)
        for url, attempt in itertools.product((f"file://{tmp_path}/absent.m3u8", "http://127.0.0.1:9/live.m3u8"), range(2)):
            mpv.show_stream(url, holding)
            until(mpv, f"the holding picture, {attempt}", lambda: mpv.stream.phase == "ended" and mpv.current == holding)
            show(mpv, error)
        emptied = [line for line in answers[begun:] if json.loads(line).get("name") == "idle-active" and b"true" in line]
        assert emptied == []


def test_sound_alone_plays_beside_the_picture_that_follows(mpv: Mpv, socket: Path, holding: str) -> None:
    show(mpv, holding)
    with changing_stream("sound") as stream:
        mpv.show_stream(stream.url, holding)
        # The list of tracks can arrive before the cover is among them.
        until(mpv, "the sound", lambda: mpv.has_picture is False and mpv.current == holding)
        first = mpv.stream.position_seconds
        until(mpv, "the sound goes on", lambda: (mpv.stream.position_seconds or 0) > (first or 0) + 1)
        assert (mpv.current, mpv.new_picture_at) == (holding, None)
        until(mpv, "its metrics", lambda: mpv.playback().input_bytes_per_second)
        assert (mpv.playback().width_pixels, mpv.playback().video_codec) == (None, ""), "not those of the picture beside it"
        second = connect(Mpv, socket)
        until(second, "what it plays", lambda: second.has_picture is False and second.current == holding)
        assert second.stream.phase == "playing"
        second.close()
        stream.content = "moving"
        until(mpv, "the picture that came", lambda: mpv.new_picture_at and time.monotonic() > mpv.new_picture_at)
        mpv.show_stream(stream.url, holding)
        until(mpv, "the picture", lambda: mpv.has_picture and mpv.current == "stream")
        assert mpv.new_picture_at is None


def test_a_small_copy_of_the_stream_s_picture_tells_what_moves(mpv: Mpv, socket: Path, holding: str) -> None:
    """The stream's alone: what is no stream is not looked at."""
    show(mpv, holding)
    with changing_stream("black") as stream:
        # The answer comes before the stream, however quick the stream is.
        look_and_wait(mpv, socket)
        mpv.show_stream(stream.url, holding)
        until(mpv, "the stream", lambda: mpv.current == "stream")
        assert mpv.motion.changed is None
        for content, seen in (("black", "blank"), ("still", "frozen"), ("moving", "moving")):
            stream.content = content
            until(mpv, content, lambda seen=seen: looked(mpv, seen))  # type: ignore[misc]
        assert 0 < mpv.motion.cost_seconds < 5


def look_and_wait(mpv: Mpv, socket: Path) -> None:
    """Have mpv take a small copy, and take in its answer, which comes to every connection."""
    with sockets.socket(sockets.AF_UNIX) as other:
        other.settimeout(PATIENCE_SECONDS)
        other.connect(str(socket))
        with other.makefile("rb") as lines:
            # Else mpv might answer before it knows of this connection.
            other.sendall(b'{"command": ["get_property", "pid"], "request_id": 1}\n')
            assert any(b'"request_id":1' in line for line in lines)
            mpv.sample_picture()
            assert any(b"livekeep-seen" in line for line in lines)
    mpv.receive()


def looked(mpv: Mpv, seen: str) -> bool:
    mpv.sample_picture()
    return mpv.motion.judge(time.monotonic(), 1.5, 2.5) == seen


def test_a_second_player_takes_over_what_plays(mpv: Mpv, socket: Path, live: LiveStream, holding: str) -> None:
    show(mpv, holding)
    second = connect(Mpv, socket)
    assert (second.current, second.wanted, second.stream.phase) == (holding, holding, "none")
    second.close()

    mpv.show_stream(live.url, holding)
    until(mpv, "the stream", lambda: mpv.current == "stream")
    mpv.close()
    third = connect(Mpv, socket)
    assert (third.current, third.wanted, third.stream.phase) == ("stream", holding, "playing")
    until(third, "the stream moves", lambda: third.stream.position_seconds)
    live.end()
    until(third, "the end is noticed", lambda: third.stream.phase == "ended" and third.current == holding)
    third.close()


def test_a_second_player_takes_only_what_is_shown_or_comes(mpv: Mpv, socket: Path, endless: LiveStream, tmp_path: Path) -> None:
    """Neither a picture that has gone, nor one that could not be shown."""
    bad, first, then = tmp_path / "bad.png", str(picture(tmp_path / "a.png")), str(picture(tmp_path / "b.png"))
    bad.write_bytes(b"")
    mpv.show_picture(str(bad))
    until(mpv, "the failure", lambda: mpv.failed_picture)
    until(mpv, "the empty screen", lambda: mpv.empty_since)
    second = connect(Mpv, socket)
    assert (second.current, second.wanted) == ("", "")
    second.close()

    show(mpv, first)
    mpv.show_stream(endless.url, then)
    until(mpv, "the stream", lambda: mpv.current == "stream")
    third = connect(Mpv, socket)
    assert (third.current, third.wanted) == ("stream", then)
    third.close()


def test_overlay_text_is_text() -> None:
    assert overlay_text(()) == ""
    text = overlay_text(("{\\an7}a\nb", "c"))
    assert r"\{" in text
    assert "\n" not in text
    assert text.count(r"\N") == 1
    assert r"{\an7" not in text


def test_silence_is_seen_and_nothing_blocks(mpv: Mpv, tmp_path: Path) -> None:
    pid = int((tmp_path / "pid").read_text())
    until(mpv, "an answer", lambda: mpv.waiting_since is None)
    os.kill(pid, signal.SIGSTOP)
    while select.select([mpv], [], [], 0.3)[0]:
        mpv.receive()
    began = time.monotonic()
    mpv.ask(False)
    first_asked = time.monotonic()
    for _ in range(3000):
        mpv.write((f"line {time.monotonic_ns()}",))
        mpv.ask(True)
    mpv.receive()
    assert mpv.waiting_since is not None
    assert began <= mpv.waiting_since <= first_asked, "since the first question without an answer"


def property_of(mpv: Mpv, name: str) -> object:
    """What the running mpv says of one of its properties."""
    mpv._get(name)
    mpv._metrics.pop(name, None)
    until(mpv, name, lambda: name in mpv._metrics)
    return mpv._metrics[name]


def test_the_shipped_settings_are_in_force(mpv: Mpv) -> None:
    """A setting that this mpv does not know would be passed over in silence."""
    expected = {"audio-samplerate": 48000, "rebase-start-time": False, "sid": False, "video-sync": "audio"}
    assert {name: property_of(mpv, name) for name in expected} == expected
    assert property_of(mpv, "gapless-audio") in (True, "yes")
    # 0.35 has no "auto" and stays without.
    assert property_of(mpv, "deinterlace") in ("auto", False)


def lavfi(*sources: str) -> list[str]:
    """ffmpeg's inputs."""
    return [word for source in sources for word in ("-f", "lavfi", "-i", source)]


def test_sound_of_six_channels_comes_in_two(mpv: Mpv, tmp_path: Path, holding: str) -> None:
    clip = tmp_path / "six.mkv"
    source = lavfi("testsrc=size=64x36:rate=10:duration=20", "anullsrc=channel_layout=5.1:duration=20")
    subprocess.run(["ffmpeg", "-loglevel", "error", *source, "-c:v", "mpeg4", "-c:a", "ac3", clip], check=True)
    mpv.show_stream(f"file://{clip}", holding)
    until(mpv, "it plays", lambda: mpv.stream.position_seconds is not None)
    until(mpv, "six channels", lambda: property_of(mpv, "audio-params/channel-count") == 6)
    until(mpv, "two of them", lambda: property_of(mpv, "audio-out-params/channels") == "stereo")
