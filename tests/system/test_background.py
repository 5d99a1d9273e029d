"""Work beside a loop: its result, its deadline, its errors, and the threads that hang."""

import threading
import time

import pytest

from livekeep.core.errors import LivekeepError, TemporaryError
from livekeep.system.background import MOST_LEFT_BEHIND, Background, CalledOffError, OverdueError, within
from tests.outside import PATIENCE_SECONDS, wait_until


def finished(background: Background[str]) -> str | LivekeepError:
    taken: list[str | LivekeepError] = []
    wait_until("the work's end", lambda: taken.append(found) if (found := background.take(time.monotonic())) else taken)
    return taken[0]


def test_a_result_is_there_when_it_wakes() -> None:
    woken = threading.Event()
    background: Background[str] = Background(woken.set)
    assert background.take(time.monotonic()) is None
    background.start(lambda: "done")
    assert background.is_busy
    assert woken.wait(PATIENCE_SECONDS)
    assert background.take(time.monotonic()) == "done"
    assert (background.is_busy, background.take(time.monotonic())) == (False, None)


def test_an_error_for_people_is_a_result_and_a_bug_is_raised() -> None:
    background: Background[str] = Background(lambda: None)

    def fail() -> str:
        raise TemporaryError("not now")

    background.start(fail)
    assert str(finished(background)) == "not now"
    background.start(lambda: str(1 / 0))
    with pytest.raises(ZeroDivisionError):
        finished(background)
    background.start(lambda: "done")
    assert finished(background) == "done"


def test_threads_that_hang_are_left_behind_but_never_many() -> None:
    release = threading.Event()
    background: Background[str] = Background(lambda: None, "hanging")

    def hang() -> str:
        release.wait(PATIENCE_SECONDS)
        return "late"

    for _ in range(MOST_LEFT_BEHIND + 3):
        background.start(hang, 0.05)
        assert isinstance(finished(background), OverdueError)
    assert sum(thread.name == "hanging" for thread in threading.enumerate()) == MOST_LEFT_BEHIND
    release.set()
    wait_until("their end", lambda: all(thread.name != "hanging" for thread in threading.enumerate()))
    background.start(lambda: "well again", PATIENCE_SECONDS)
    assert finished(background) == "well again"


def test_abandoned_work_has_no_result() -> None:
    release = threading.Event()
    background: Background[str] = Background(lambda: None)

    def hang() -> str:
        release.wait(PATIENCE_SECONDS)
        return "late"

    background.start(hang)
    background.abandon()
    release.set()
    background.start(lambda: "new")
    assert finished(background) == "new"


def test_within_a_time_or_not_at_all() -> None:
    assert within(PATIENCE_SECONDS, lambda: "done") == "done"
    with pytest.raises(ZeroDivisionError):
        within(PATIENCE_SECONDS, lambda: 1 / 0)
    release, left = threading.Event(), list[threading.Thread]()
    with pytest.raises(OverdueError, match=r"no answer within 0\.1 s"):
        within(0.1, lambda: release.wait(PATIENCE_SECONDS), leave=left.append)
    assert len(left) == 1
    release.set()


def test_work_is_called_off() -> None:
    release = threading.Event()
    with pytest.raises(CalledOffError, match="the stream is live"):
        within(PATIENCE_SECONDS, lambda: release.wait(PATIENCE_SECONDS), lambda: "the stream is live")
    release.set()
