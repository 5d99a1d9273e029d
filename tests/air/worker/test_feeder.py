"""A feeder's ffmpeg: what it gives, what it complains of, and that none is left behind."""

import logging
import os
import shutil
import subprocess
import sys
import threading
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
from tests.outside import LIBRARY, wait_until

SECONDS = 20.0


def feeder_of(name: str, plan: profile.Plan | None = None) -> Feeder:
    source = str(clip(name))
    media = probe(source, SECONDS)
    plan = plan or profile.plan(media, CHANNEL)
    return Feeder(source, name, plan, media, CHANNEL, channel_name="main", secrets=["clips-"])


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
    feeder = feeder_of("matching.mp4")
    data = read_all(feeder)
    assert len(taken_apart(data).video) == 75
    assert feeder.read() is None
    wait_until("the feeder reaped", lambda: is_gone(feeder.pid))
    assert feeder.exit_code == 0


def test_a_feeder_that_is_not_read_waits_and_is_stopped_without_waiting() -> None:
    feeder = feeder_of("high-bitrate.mp4", profile.Plan("copy", "copy"))
    began = time.monotonic()
    feeder.stop()
    feeder.stop()
    assert time.monotonic() - began < 10
    assert feeder.read() is None
    wait_until("the feeder reaped", lambda: is_gone(feeder.pid))
    assert feeder.exit_code in (-9, 0)


def test_complaints_are_logged_with_channel_and_item_up_to_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "livekeep.worker")
    feeder = feeder_of("corrupt.mp4", profile.Plan("encode", "encode"))
    read_all(feeder)
    wait_until("the feeder reaped", lambda: is_gone(feeder.pid))
    wait_until("the log", lambda: caplog.messages)
    assert all(message.startswith("main: corrupt.mp4: ") for message in caplog.messages)
    assert 1 <= len(caplog.messages) <= MOST_LOGGED_LINES + 1
    assert feeder.errors and all("clips-" not in line for line in feeder.errors)


@pytest.mark.parametrize("size", ["8000x5100", "16000x16000"])
def test_a_picture_that_no_small_machine_can_hold_is_refused(tmp_path: Path, size: str) -> None:
    """Few of them have a memory cgroup: 16,000 by 16,000 took 1.5 GB."""
    width, _x, height = size.partition("x")
    Image.new("1", (int(width), int(height))).save(tmp_path / "big.png")
    command = ["ffmpeg", "-v", "error", *MODEST, "-f", "image2", "-i", tmp_path / "big.png", "-f", "null", "-"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode
    assert f"Picture size {size} exceeds specified max pixel count 40000000" in ran.stderr


def test_an_item_that_is_gone_ends_with_its_reason() -> None:
    media = probe(str(clip("matching.mp4")), SECONDS)
    feeder = Feeder("/nowhere/gone.mp4", "gone.mp4", profile.Plan("copy", "copy"), media, CHANNEL)
    assert read_all(feeder) == b""
    wait_until("its complaint", lambda: any("No such file" in line for line in feeder.errors))
    wait_until("its exit code", lambda: feeder.exit_code)


def test_a_name_with_letters_that_cannot_be_seen_is_played(tmp_path: Path) -> None:
    shutil.copy(clip("matching.mp4"), tmp_path / f"Screen Recording{UNSEEN}PM.mp4")
    (file,) = list_media(tmp_path, (".mp4",))
    source = str(tmp_path / file.name)
    media = probe(source, SECONDS)
    feeder = Feeder(source, file.name, profile.plan(media, CHANNEL), media, CHANNEL)
    assert len(taken_apart(read_all(feeder)).video) == 75


PARENT = """
import sys, threading, time
sys.path.insert(0, {library!r})
from livekeep.air.worker import profile
from livekeep.air.worker.feeder import Feeder
from livekeep.air.worker.probe import probe
from livekeep.core.config import Channel
media = probe({source!r}, 20)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
channel = Channel(width=1280, height=720, frame_rate=60, video_bitrate=50000000)
feeder = Feeder({source!r}, "it", profile.Plan("encode", "encode"), media, channel)
print(feeder.pid, flush=True)
time.sleep(60)
"""


def test_the_kernel_ends_a_feeder_whose_worker_was_killed() -> None:
    source = str(clip("long-gop.mp4"))
    script = PARENT.format(library=str(LIBRARY), source=source)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
    # Whoever inherits it may not reap it here: what counts is that it runs no more.
    wait_until("the feeder ended", lambda: is_gone(pid) or " Z " in Path(f"/proc/{pid}/stat").read_text().split(")")[1] + " ")


def test_a_feeder_ends_with_the_thread_that_made_it() -> None:
    made: list[Feeder] = []
    probe(str(clip("long-gop.mp4")), SECONDS)
    thread = threading.Thread(target=lambda: made.append(feeder_of("long-gop.mp4", profile.Plan("encode", "encode"))))
    thread.start()
    thread.join()
    wait_until("the feeder ended", lambda: is_gone(made[0].pid))
    made[0].stop()


def test_a_line_without_end_is_cut() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one\n\n" + b"x" * 9000 + b"\nlast")
    os.close(writing)
    lines = list(lines_of(reading))
    os.close(reading)
    assert lines[0] == b"one" and lines[-1] == b"last"
    assert max(map(len, lines)) <= 4096
