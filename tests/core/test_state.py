"""State files: whole or refused, one for each writer."""

import itertools
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from livekeep.core import state
from livekeep.core.errors import TemporaryError
from livekeep.core.state import (
    Playback,
    PlayerState,
    PollerState,
    Requests,
    StateAbsentError,
    StateBrokenError,
    StreamUrl,
    UrlRequest,
)
from tests.outside import PATIENCE_SECONDS, run_python

POLLER = PollerState("error", "outage", "Vimeo is silent", "livekeep doctor", next_start=1e9, requests=Requests({"2xx": 3}))
PLAYBACK = Playback(position_seconds=1.0, hwdec="no", cache_bytes=7)
PLAYER = PlayerState("stream", url_request=UrlRequest("stall", 3.5), playback=PLAYBACK)
SECRET = StreamUrl("https://video.example/x.m3u8?signature=made-up", 12.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for kind in (PollerState, PlayerState, StreamUrl):
        state.path_of(kind, tmp_path).parent.mkdir()
    return tmp_path


@pytest.mark.parametrize("written", [POLLER, PLAYER, SECRET, PollerState(), PlayerState(), StreamUrl()], ids=type)
def test_what_is_written_is_read_again(root: Path, written: Any) -> None:
    state.write(written, root)
    assert state.read(type(written), root) == written


def test_the_stamp_reads_both_clocks() -> None:
    first, second = state.stamped(POLLER), state.stamped(POLLER)
    assert replace(first, written_at=0.0, written_monotonic=0.0) == POLLER
    assert 0 < first.written_monotonic < second.written_monotonic
    assert first.written_at > 1.6e9


def test_the_secret_is_not_in_its_text() -> None:
    assert "made-up" not in f"{SECRET} {SECRET!r}"


def test_a_file_is_for_owner_and_group_and_nothing_is_left_beside_it(root: Path) -> None:
    before = os.umask(0)
    try:
        state.write(SECRET, root)
    finally:
        os.umask(before)
    file = state.path_of(StreamUrl, root)
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.iterdir()) == [file]


def test_a_reader_sees_the_old_or_the_new_one_whole(root: Path) -> None:
    reasons = ("short", "long " * 5000)
    state.write(PlayerState(reason=reasons[0]), root)
    ended, seen, broken = threading.Event(), set(), []

    def read_on() -> None:
        while not ended.is_set():
            try:
                seen.add(state.read(PlayerState, root).reason)
            except TemporaryError as error:
                broken.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    for number in itertools.count():
        state.write(PlayerState(reason=reasons[number % 2]), root)
        if number > 400 and (seen == set(reasons) or time.monotonic() > deadline):
            break
    ended.set()
    reader.join()
    assert not broken
    assert seen == set(reasons)


def test_a_removed_state_is_absent(root: Path) -> None:
    state.write(PLAYER, root)
    state.remove(PlayerState, root)
    state.remove(PlayerState, root)
    with pytest.raises(StateAbsentError, match=r"player/state\.json: absent; its unit is not running"):
        state.read(PlayerState, root)


def test_a_missing_folder_is_a_passing_fault(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match=r"player/state\.json: cannot be written \(No such file"):
        state.write(PLAYER, tmp_path)
    with pytest.raises(StateAbsentError):
        state.read(PlayerState, tmp_path)


def test_a_full_run_keeps_the_old_state(root: Path) -> None:
    state.write(PLAYER, root)
    script = (
        "import pathlib\nfrom livekeep.core import state\nfrom livekeep.core.errors import TemporaryError\n"
        "try: state.write(state.PlayerState(reason='x' * 9000), pathlib.Path('.'))\nexcept TemporaryError as error: print(error)"
    )
    ran = run_python(script, cwd=root, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
    assert "cannot be written (File too large); is /run full? See df /run" in ran.stdout
    assert state.read(PlayerState, root) == PLAYER
    assert len(list((root / "player").iterdir())) == 1


def changed(**fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: {**document, **fields}


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: {key: value for key, value in document.items() if key != name}


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "an array": lambda document: [document],
    "another writer's": changed(file="player/state.json"),
    "another version": changed(version=2),
    "no version": without("version"),
    "an unknown field": changed(surprise=1),
    "a missing field": without("since"),
    "an unknown state": changed(state="on"),
    "a text for a time": changed(since="now"),
    "true for a time": changed(since=True),
    "a fraction for a count": changed(consecutive_failures=1.5),
    "a number for a text": changed(reason=3),
    "a list for an object": changed(requests=[]),
    "half of the requests": changed(requests={}),
    "texts for counts": lambda document: {**document, "requests": {**document["requests"], "by_outcome": {"2xx": "many"}}},
    "an object for a list": lambda document: {**document, "requests": {**document["requests"], "duration_buckets": {}}},
    "a time beyond all floats": changed(since=10**400),
    "no time at all": changed(next_start=float("nan")),
    "a time before all times": changed(written_at=-1.0),
    "a time in the year 10000": changed(since=253_402_300_800),
    "less than no count": changed(consecutive_failures=-1),
    "a count beyond 64 bits": changed(consecutive_failures=2**63),
    "a name with a line break": lambda document: {**document, "\nDo  sudo halt": 1},
    "too large": changed(reason="x" * state.LARGEST_BYTES),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_foreign_document_is_refused(root: Path, damage: str) -> None:
    document = {"file": "poller/state.json", "version": state.VERSION, **asdict(POLLER)}
    file = state.path_of(PollerState, root)
    file.write_text(json.dumps(document))
    assert state.read(PollerState, root) == POLLER
    file.write_text(json.dumps(DAMAGE[damage](document)))
    with pytest.raises(StateBrokenError, match=r"poller/state\.json: is not a state of this version \(.+\); restart its unit"):
        state.read(PollerState, root)


@pytest.mark.parametrize(
    "content",
    [b"", b'{"file": "poller/sta', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 10_000, b"1" * 5000, b"\0" * 4096],
    ids=["empty", "half", "not UTF-8", "nested lists", "nested objects", "a long number", "zeros"],
)
def test_a_file_that_is_no_document_is_refused(root: Path, content: bytes) -> None:
    state.path_of(PollerState, root).write_bytes(content)
    with pytest.raises(StateBrokenError, match=r"poller/state\.json: is not a state"):
        state.read(PollerState, root)


def test_a_figure_that_may_be_negative_is_read(root: Path) -> None:
    player = replace(PLAYER, playback=Playback(position_seconds=-0.02, av_offset_seconds=-3.5))
    state.write(player, root)
    assert state.read(PlayerState, root) == player


def link_to_a_state(file: Path) -> None:
    state.write(POLLER, file.parent.parent)
    file.symlink_to(file.rename(file.with_name("other.json")))


UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a FIFO": (os.mkfifo, "not a plain file"),
    "a socket": (lambda file: socket.socket(socket.AF_UNIX).bind(str(file)), "not a plain file|No such device or address"),
    "a link to a state": (link_to_a_state, "a symbolic link"),
    "one byte too many": (lambda file: file.write_bytes(bytes(state.LARGEST_BYTES + 1)), "larger than 262144 bytes"),
}
"""What can be in the place of a state, and how readers report it. tests/core/test_files.py has more of them."""


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_is_no_plain_file_of_a_sane_size_is_refused_at_once(root: Path, unfit: str) -> None:
    """A FIFO would hang whoever opens it, root's command too; a large file would fill the memory."""
    file = state.path_of(PollerState, root)
    make, said = UNFIT[unfit]
    make(file)
    with pytest.raises(StateBrokenError, match=rf"poller/state\.json: .*\(({said})\)"):
        state.read(PollerState, root)
