"""The slate: encoded as the items are, small, kept, and there whatever the operator's file is."""

import dataclasses
from pathlib import Path

import pytest
from clips import CHANNEL, clip
from flv_output import output_of, taken_apart

from livekeep.air import profile
from livekeep.air.probe import probe
from livekeep.air.slate import make_slate
from tests.outside import PROJECT, picture

SECONDS = 20.0
SHIPPED = dataclasses.replace(CHANNEL, slate=str(PROJECT / "etc/pictures/slate.png"))


def test_the_shipped_slate_is_small_whole_and_has_the_headers_of_an_item(tmp_path: Path) -> None:
    path = make_slate(SHIPPED, tmp_path)
    assert path.stat().st_size < 1024 * 1024
    slate = taken_apart(path.read_bytes())
    assert len(slate.video) == 250 and slate.keyframes == [0, 50, 100, 150, 200]
    assert abs(slate.sound_end - slate.picture_end(40)) <= 75
    assert sum(len(tag.body) for tag in slate.audio) * 8 / 10 > CHANNEL.audio_bitrate / 2
    source = str(clip("larger.mp4"))
    command = profile.feeder_command(source, profile.Plan("encode", "encode"), CHANNEL, probe(source, SECONDS))
    assert slate.headers == output_of(command).headers


def test_a_slate_is_made_once_for_the_same_profile_and_content(tmp_path: Path) -> None:
    source = picture(tmp_path / "own.png")
    channel = dataclasses.replace(CHANNEL, slate=str(source))
    first = make_slate(channel, tmp_path / "cache")
    made = first.stat().st_mtime_ns
    assert make_slate(channel, tmp_path / "cache").stat().st_mtime_ns == made
    picture(source, "olive")
    assert make_slate(channel, tmp_path / "cache") != first
    assert make_slate(dataclasses.replace(channel, width=322), tmp_path / "cache") != first
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".flv"] * 3


def test_a_video_is_a_slate_of_whole_groups(tmp_path: Path) -> None:
    slate = taken_apart(make_slate(dataclasses.replace(CHANNEL, slate=str(clip("larger.mp4"))), tmp_path).read_bytes())
    assert len(slate.video) == 50
    assert abs(slate.sound_end - slate.picture_end(40)) <= 75


@pytest.mark.parametrize("name", ["text.mp4", "gone.png"])
def test_a_slate_that_cannot_be_used_gives_way_to_a_plain_one(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = str(clip("text.mp4")) if name == "text.mp4" else str(tmp_path / name)
    slate = taken_apart(make_slate(dataclasses.replace(CHANNEL, slate=broken), tmp_path / "cache").read_bytes())
    assert len(slate.video) == 250
    assert len(caplog.messages) == 1 and name in caplog.messages[0]
