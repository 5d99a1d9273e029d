"""Channels on the disk: what is meant to be on air, channels of the API, workers' states; crashes at any byte, foreign files."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from livekeep.core import channels, state
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from livekeep.core.config import Channel, Config
from livekeep.core.errors import TemporaryError
from livekeep.core.state import StateAbsentError, StateBrokenError
from tests.outside import LIBRARY, UNPRIVILEGED, wait_until

DOCUMENT = {"media": "/srv/media", "ingest_urls": ["rtmp://a.example/live2"], "width": 640, "height": 360, "loop": False}
FULL = ChannelState(
    channel="main",
    publishing="on-air",
    picture="item",
    now=Played("a/b.mp4", "copy", 60.0, 5.0, 3.0),
    last=(Played("c.mp4", "normalise", None, 1.0, 2.0, "short", "it ended too early"),),
    connected_since=1.5,
    speed=0.99,
)
OLD = 100.0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "channels"
    folder.mkdir()
    return folder


# What is meant to be on air


def test_what_is_meant_to_be_on_air(directory: Path) -> None:
    assert channels.intended(directory) == ()
    for name in ("second", "main", "main"):
        channels.intend(name, directory)
    assert channels.intended(directory) == ("main", "second")
    channels.intend_not("main", directory)
    channels.intend_not("never-there", directory)
    assert channels.intended(directory) == ("second",)


def test_without_the_folder_nothing_is_meant(tmp_path: Path) -> None:
    assert channels.intended(tmp_path / "absent") == ()
    assert channels.load(Config(), tmp_path / "absent") == ({}, ())


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match=r"main\.on-air: cannot be written \(No such file or directory\)"):
        channels.intend("main", tmp_path / "absent")


def test_foreign_files_are_passed_over(directory: Path) -> None:
    for name in ("UPPER.on-air", ".main.on-air.17", "a b.on-air", "-x.on-air", "x" * 33 + ".on-air", "main", ".on-air"):
        (directory / name).touch()
    assert channels.intended(directory) == ()


def test_a_folder_that_may_not_be_read_is_told(directory: Path) -> None:
    script = "import sys, pathlib; from livekeep.core import channels; channels.intended(pathlib.Path(sys.argv[1]))"
    directory.chmod(0o700)
    who = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", "--"] if os.geteuid() == 0 else []
    if not who:
        directory.chmod(0)
    for parent in directory.parents[:3]:
        parent.chmod(0o755)
    command = [*who, sys.executable, "-c", script, str(directory)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(LIBRARY), "PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    directory.chmod(0o700)
    assert "channels: cannot be read (Permission denied); run as root or group livekeep" in done.stderr


# The API's channels


def test_a_channel_that_is_saved_is_loaded(directory: Path) -> None:
    channels.save("main", DOCUMENT, directory)
    found, problems = channels.load(Config(), directory)
    assert problems == ()
    assert found == {"main": Channel("/srv/media", loop=False, ingest_urls=("rtmp://a.example/live2",), width=640, height=360)}
    assert (directory / "main.json").stat().st_mode & 0o777 == 0o640
    channels.delete("main", directory)
    assert channels.load(Config(), directory) == ({}, ())


def test_livekeep_toml_wins(directory: Path) -> None:
    channels.save("main", DOCUMENT, directory)
    mine = Channel(media="/srv/mine")
    found, problems = channels.load(Config(channels={"main": mine}), directory)
    assert found == {"main": mine}
    assert len(problems) == 1 and "livekeep.toml has a channel of that name" in problems[0]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"medai": "/srv"}, "medai: unknown key"),
        ({"width": 641}, "width: must be even, is 641"),
        ({"frame_rate": float("nan")}, "frame_rate: must be from 5 to 60"),
        ({"ingest_urls": [""]}, "ingest_urls: must not hold an empty text"),
        ({"ingest_urls": ["rtmp://a", "rtmp://b", "rtmp://c"]}, "ingest_urls: must be a primary and at most one backup"),
        ([], "no object"),
    ],
)
def test_what_is_wrong_with_a_channel_is_named(directory: Path, document: object, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as found:
        channels.decode(document)
    assert says in str(found.value)
    assert "channels.it" not in str(found.value)
    (directory / "bad.json").write_text(json.dumps(document))
    loaded, problems = channels.load(Config(), directory)
    assert loaded == {}
    assert says in problems[0] and "bad.json" in problems[0]


def test_a_stream_key_in_an_address_is_not_told() -> None:
    with pytest.raises(ValueError, match="ingest_urls") as found:
        channels.decode({"ingest_urls": ["http://user:made-up@a.example/live2/made-up-key"]})
    assert "made-up" not in str(found.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"media": "' + b"x" * 70_000 + b'"}'])
def test_a_file_that_is_no_channel_hides_no_other(directory: Path, content: bytes) -> None:
    channels.save("good", DOCUMENT, directory)
    (directory / "bad.json").write_bytes(content)
    found, problems = channels.load(Config(), directory)
    assert list(found) == ["good"]
    assert len(problems) == 1 and "bad.json" in problems[0] and len(problems[0]) < 500


@pytest.mark.parametrize("name", ["", "UPPER", "../x", "a/b", "a b", "x" * 33, "-a", "a.b", "a\n"])
def test_a_name_that_is_no_channel_s_is_refused(directory: Path, name: str) -> None:
    with pytest.raises(ValueError, match="small letters"):
        channels.save(name, DOCUMENT, directory)
    assert list(directory.iterdir()) == []


def test_a_writer_that_is_killed_leaves_the_old_or_the_new_whole(directory: Path) -> None:
    """Again and again, at any moment."""
    script = """
import pathlib, sys
from livekeep.core import channels
folder = pathlib.Path(sys.argv[1])
for number in range(1_000_000):
    channels.save("main", {"media": "/srv/" + "x" * (number % 4000), "width": 320}, folder)
    channels.intend("main", folder) if number % 2 else channels.intend_not("main", folder)
"""
    environment = {"PYTHONPATH": str(LIBRARY), "PATH": os.environ["PATH"]}
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", script, str(directory)], env=environment) as writer:
            seen = written_at(directory / "main.json")
            wait_until("it writes", lambda seen=seen: written_at(directory / "main.json") > seen)
            writer.send_signal(signal.SIGKILL)
        found, problems = channels.load(Config(), directory)
        assert problems == ()
        assert found["main"].media.strip("x") == "/srv/"
        assert channels.intended(directory) in ((), ("main",))


def written_at(file: Path) -> int:
    """The moment in nanoseconds; 0 when it is absent."""
    return file.stat().st_mtime_ns if file.exists() else 0


# The workers


def folder_for(name: str, root: Path) -> Path:
    folder = channels.folder_of(name, root)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_what_a_worker_writes_is_read_again(tmp_path: Path) -> None:
    folder = folder_for("main", tmp_path)
    state.write(FULL, folder)
    assert channels.read_state("main", tmp_path) == FULL
    with pytest.raises(StateAbsentError):
        channels.read_end("main", tmp_path)
    end = ChannelEnd("main", 5, "signal", "killed", "KILL", 7.0)
    state.write(end, folder)
    assert channels.read_end("main", tmp_path) == end
    (folder / "state.json").write_text("{}")
    with pytest.raises(StateBrokenError):
        channels.read_state("main", tmp_path)


def test_a_worker_runs_while_its_state_is_there(tmp_path: Path) -> None:
    assert channels.running(tmp_path / "absent") == ()
    for name in ("b", "a", "ended"):
        state.write(ChannelState(channel=name), folder_for(name, tmp_path))
    (tmp_path / "worker@ended/state.json").unlink()
    assert channels.running(tmp_path) == ("a", "b")


@pytest.mark.parametrize(
    ("publishing", "age", "silent", "expected"),
    [
        ("on-air", 0.0, 0.0, True),
        ("on-air", 2.0, 6.9, True),
        ("on-air", 2.0, 7.1, False),
        ("on-air", 9.9, 10.0, True),
        ("on-air", 10.1, 10.1, False),
        ("on-air", 0.0, None, False),
        ("stalled", 0.0, 0.0, False),
        ("connecting", 0.0, 0.0, False),
    ],
)
def test_on_air_is_what_the_ingest_acknowledged(publishing: str, age: float, silent: float | None, expected: bool) -> None:
    now = time.monotonic() + OLD
    acknowledged = None if silent is None else now - silent
    found = replace(FULL, publishing=publishing, written_monotonic=now - age, last_acknowledged_monotonic=acknowledged)  # type: ignore[arg-type]
    assert channels.is_on_air(found, now) is expected
