"""A feeder's ffmpeg: what it gives, what it complains of, and that none is left behind."""

import logging
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from livekeep.air.storage.folder import list_media
from livekeep.air.worker import profile
from livekeep.air.worker.feeder import MOST_LOGGED_LINES, Feeder, lines_of
from livekeep.air.worker.ffmpeg import MODEST
from livekeep.air.worker.probe import probe
from tests.air.clips import CHANNEL, clip
from tests.air.flv_output import taken_apart
from tests.air.object_stores import UNSEEN
from tests.outside import wait_until

SECONDS = 20.0
COPY = profile.Plan(copies_video=True, copies_audio=True)


def feeder_of(name: str, plan: profile.Plan) -> Feeder:
    source = str(clip(name))
    return Feeder(source, name, plan, probe(source, SECONDS), CHANNEL, "main")


def read_all(feeder: Feeder) -> bytes:
    data, deadline = bytearray(), time.monotonic() + SECONDS
    while (block := feeder.read()) is not None:
        data += block
        assert time.monotonic() < deadline
        if not block:
            time.sleep(0.005)
    return bytes(data)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_an_item_comes_whole_and_nothing_is_left() -> None:
    feeder = feeder_of("matching.mp4", COPY)
    data = read_all(feeder)
    assert len(taken_apart(data).video) == 75
    assert feeder.read() is None
    wait_until("the feeder reaped", lambda: is_gone(feeder.pid))


def test_a_feeder_that_is_not_read_waits_and_is_stopped_without_waiting() -> None:
    feeder = feeder_of("high-bitrate.mp4", COPY)
    feeder.stop()
    feeder.stop()
    assert feeder.read() is None
    wait_until("the feeder reaped", lambda: is_gone(feeder.pid))


def test_complaints_are_logged_with_channel_and_item_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "livekeep.worker")
    feeder = feeder_of("corrupt.mp4", profile.Plan())
    read_all(feeder)
    wait_until("the feeder reaped", lambda: is_gone(feeder.pid))
    assert all(message.startswith("main: corrupt.mp4: ") for message in caplog.messages)
    assert 1 <= len(caplog.messages) <= MOST_LOGGED_LINES + 1
    assert feeder.errors


def test_a_picture_that_no_small_machine_can_hold_is_refused(tmp_path: Path) -> None:
    """Few of them have a memory cgroup: 16,000 by 16,000 took 1.5 GB."""
    Image.new("1", (8000, 5100)).save(tmp_path / "big.png")
    command = ["ffmpeg", "-v", "error", *MODEST, "-f", "image2", "-i", tmp_path / "big.png", "-f", "null", "-"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode
    assert "Picture size 8000x5100 exceeds specified max pixel count 40000000" in ran.stderr


def test_an_item_that_is_gone_ends_with_its_reason() -> None:
    media = probe(str(clip("matching.mp4")), SECONDS)
    feeder = Feeder("/nowhere/gone.mp4", "gone.mp4", COPY, media, CHANNEL, "main")
    assert read_all(feeder) == b""
    wait_until("its complaint", lambda: any("No such file" in line for line in feeder.errors))


def test_a_name_with_letters_that_cannot_be_seen_is_played(tmp_path: Path) -> None:
    shutil.copy(clip("matching.mp4"), tmp_path / f"Screen Recording{UNSEEN}PM.mp4")
    (file,) = list_media(tmp_path, (".mp4",))
    source = str(tmp_path / file.name)
    media = probe(source, SECONDS)
    feeder = Feeder(source, file.name, COPY, media, CHANNEL, "main")
    assert len(taken_apart(read_all(feeder)).video) == 75


def test_a_line_without_end_is_cut() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one\n\n" + b"x" * 9000 + b"\nlast")
    os.close(writing)
    lines = list(lines_of(reading))
    os.close(reading)
    assert lines[0] == b"one" and lines[-1] == b"last"
    assert max(map(len, lines)) <= 4096
