"""Waiting for state files and sockets, on a real file system."""

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.core import state
from livekeep.core.errors import TemporaryError
from livekeep.core.inotify import FolderWatch
from livekeep.core.state import PollerState


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[FolderWatch]:
    (tmp_path / "poller").mkdir()
    found = FolderWatch(tmp_path, ("poller",), ("display",))
    yield found
    found.close()


def wakes(watch: FolderWatch) -> bool:
    """Whether something came; takes it. The kernel queues an event before the call that causes it returns."""
    came = bool(select.select([watch], [], [], 0)[0])
    watch.drain()
    return came


def test_a_new_state_wakes_once(tmp_path: Path, watch: FolderWatch) -> None:
    assert not wakes(watch)
    for _ in range(3):
        state.write(PollerState(), tmp_path)
        assert wakes(watch)
        assert not wakes(watch)


def test_a_temporary_file_does_not_wake(tmp_path: Path, watch: FolderWatch) -> None:
    (tmp_path / "poller/.state.json.new").write_text("half")
    state.remove(PollerState, tmp_path)
    assert not wakes(watch)


def test_a_folder_that_comes_later_is_watched(tmp_path: Path, watch: FolderWatch) -> None:
    (tmp_path / "display").mkdir(mode=0o700)
    assert wakes(watch)
    (tmp_path / "display").chmod(0o750)
    assert wakes(watch)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "display/mpv.sock"))
        assert not wakes(watch), "a socket is not yet usable when it appears"
        (tmp_path / "display/mpv.sock").chmod(0o660)
        assert wakes(watch)


def test_a_folder_made_anew_is_watched_again(tmp_path: Path, watch: FolderWatch) -> None:
    state.write(PollerState(), tmp_path)
    state.remove(PollerState, tmp_path)
    wakes(watch)
    (tmp_path / "poller").rmdir()
    assert wakes(watch)
    (tmp_path / "poller").mkdir()
    assert wakes(watch)
    state.write(PollerState(), tmp_path)
    assert wakes(watch)


def test_many_events_are_taken_at_once(tmp_path: Path, watch: FolderWatch) -> None:
    for _ in range(1000):
        state.write(PollerState(), tmp_path)
    assert wakes(watch)
    assert not wakes(watch)


def test_a_missing_root_is_told(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 – the very entries count
    with pytest.raises(TemporaryError, match=r"nowhere: cannot be watched \(No such file or directory\)"):
        FolderWatch(tmp_path / "nowhere", ("poller",))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
