"""The slate: encoded as the items are, small, kept, and there whatever the operator's file is."""

import dataclasses
import os
import re
import shutil
from pathlib import Path

import pytest

from livekeep.air.worker import profile, slate, transcode
from livekeep.air.worker.flv import AUDIO, FILE_HEADER, Reader, Tag, encode
from livekeep.air.worker.probe import probe
from livekeep.air.worker.slate import MadeSlate, flaw_of, make_slate
from tests.air.clips import CHANNEL, clip
from tests.air.flv_output import output_of, taken_apart
from tests.outside import PROJECT, picture

SECONDS = 20.0
SHIPPED = dataclasses.replace(CHANNEL, slate=str(PROJECT / "etc/pictures/slate.png"))


def test_the_shipped_slate_is_small_whole_and_has_the_headers_of_an_item(tmp_path: Path) -> None:
    path = make_slate(SHIPPED, tmp_path).file
    assert path.stat().st_size < 1024 * 1024
    found = taken_apart(path.read_bytes())
    assert len(found.video) == 250 and found.keyframes == [0, 50, 100, 150, 200]
    assert abs(found.sound_end - found.picture_end(40)) <= 75
    assert found.longest_step() == 40
    assert sum(len(tag.body) for tag in found.audio) * 8 / 10 > CHANNEL.audio_bitrate / 2
    source = str(clip("larger.mp4"))
    command = transcode.feeder_command(source, profile.Plan(), CHANNEL, probe(source, SECONDS))
    assert found.headers == output_of(command).headers


def test_a_slate_is_made_once_for_the_same_profile_and_content(tmp_path: Path) -> None:
    source = picture(tmp_path / "own.png")
    channel = dataclasses.replace(CHANNEL, slate=str(source))
    first = make_slate(channel, tmp_path / "cache").file
    made = first.stat().st_mtime_ns
    assert make_slate(channel, tmp_path / "cache").file.stat().st_mtime_ns == made
    picture(source, "olive")
    assert make_slate(channel, tmp_path / "cache").file != first
    assert make_slate(dataclasses.replace(channel, width=322), tmp_path / "cache").file != first
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".flv"] * 3


def test_a_video_is_a_slate_of_whole_groups(tmp_path: Path) -> None:
    found = taken_apart(make_slate(dataclasses.replace(CHANNEL, slate=str(clip("larger.mp4"))), tmp_path).content)
    assert len(found.video) == 50
    assert abs(found.sound_end - found.picture_end(40)) <= 75


def is_plain(made: MadeSlate) -> bool:
    assert not flaw_of(made.content, CHANNEL)
    found = taken_apart(made.content)
    return len(found.video) == 50 and found.longest_step() == 40


@pytest.mark.parametrize("bad", ["text.mp4", "gone.png", "half.png", "folder.png", "fifo.mp4"])
def test_a_slate_that_cannot_be_used_gives_way_to_a_plain_one(tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / bad
    if bad == "text.mp4":
        source = clip(bad)
    elif bad == "half.png":
        # ffmpeg 5.1 makes ten seconds of sound of it, and is content.
        whole = Path(SHIPPED.slate).read_bytes()
        source.write_bytes(whole[: len(whole) // 2])
    elif bad == "folder.png":
        source.mkdir()
    elif bad == "fifo.mp4":
        os.mkfifo(source)
    for _ in range(2):
        caplog.clear()
        assert is_plain(make_slate(dataclasses.replace(CHANNEL, slate=str(source)), tmp_path / "cache"))
        assert len(caplog.messages) == 1 and source.name in caplog.messages[0]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_slate_that_takes_too_long_gives_way_to_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An ffmpeg that never ends with the one picture, as with a large one on a small machine."""
    program = tmp_path / "bin/ffmpeg"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$*" in *slate.png*) exec sleep 1000;; esac\nexec {shutil.which("ffmpeg")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert is_plain(make_slate(SHIPPED, tmp_path / "cache", encode_seconds=6))
    (message,) = caplog.messages
    assert "slate.png: cannot be used as slate (ffmpeg did not make it within 6 s)" in message


def test_all_that_it_may_take_ends_before_systemd_ends_the_start() -> None:
    (limit,) = re.findall(r"^TimeoutStartSec=(\d+)s$", (PROJECT / "units/livekeep-worker@.service").read_text(), re.MULTILINE)
    needed = slate.VERSION_SECONDS + slate.PROBE_SECONDS + 2 * slate.ENCODE_SECONDS
    assert needed + 20 <= int(limit)


def test_a_damaged_slate_of_the_cache_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_slate(SHIPPED, tmp_path).file
    silent = [tag for tag in Reader().feed(path.read_bytes()) if tag.kind != AUDIO]
    for content in (
        b"",
        b"no FLV",
        FILE_HEADER,
        FILE_HEADER + encode(Tag(AUDIO, 0, b"\xaf\1sound"), 0),
        FILE_HEADER + b"".join(encode(tag, tag.timestamp) for tag in silent),
        path.read_bytes()[:2000],
    ):
        caplog.clear()
        path.write_bytes(content)
        assert make_slate(SHIPPED, tmp_path).file == path
        assert not flaw_of(path.read_bytes(), SHIPPED)
        assert ["it is made again" in message for message in caplog.messages] == [True]


def test_a_cache_that_cannot_be_written_keeps_nothing_off_air(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not a folder, a place where nothing can be made, and a disk without room."""
    plain = make_slate(SHIPPED, None)
    (tmp_path / "file").write_text("")
    full = tmp_path / "full"
    full.mkdir()
    # What is written to this device fails as on a full disk.
    (full / f".{make_slate(SHIPPED, tmp_path / 'good').file.name}.new").symlink_to("/dev/full")
    for cache, reason in ((tmp_path / "file", "File exists"), (Path("/proc/none"), "No such file"), (full, "No space left")):
        caplog.clear()
        made = make_slate(SHIPPED, cache)
        assert made.content == plain.content
        assert made.problem.startswith(f"{cache}: the slate cannot be kept ({reason}")
        assert caplog.messages == [made.problem]
        assert not made.file.exists()


def test_a_large_slate_is_not_read_whole_at_each_start(tmp_path: Path) -> None:
    file = tmp_path / "large.mp4"
    with file.open("wb") as stream:
        stream.truncate(slate.LARGEST_READ_BYTES + 1)
    first = slate.fingerprint(file)
    with file.open("r+b") as stream:
        stream.write(b"changed")
    os.utime(file, (1, 1))
    second = slate.fingerprint(file)
    with file.open("r+b") as stream:
        stream.write(b"another")
    os.utime(file, (1, 1))
    assert slate.fingerprint(file) == second != first
