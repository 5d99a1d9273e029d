"""Slow work beside a loop, in a separate thread: the loop's next pass takes the result, or the work times out.

A thread cannot be ended from outside. A thread that hangs, such as in a name lookup, which has no timeout, is left behind and
its result ignored; with a few of them left behind, no new one starts.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from livekeep.core.errors import LivekeepError, TemporaryError

SECONDS_BETWEEN_CHECKS = 1.0
GRACE_SECONDS = 0.1
"""Work that observes its own deadline ends within this time, with a more precise error."""
MOST_LEFT_BEHIND = 3

Result = TypeVar("Result")


class OverdueError(TemporaryError, TimeoutError):
    """The work did not end in time."""


class CalledOffError(TemporaryError):
    """The work was cancelled on request; the text is the reason."""


class Run(Generic[Result]):
    """One run of the work. The thread sets `ended`, then calls `wake`."""

    def __init__(self, work: Callable[[], Result], wake: Callable[[], None], name: str) -> None:
        self.ended = threading.Event()
        self._work, self._wake = work, wake
        self._result: Result | None = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            # `result` raises it again.
            self._error = error
        self.ended.set()
        self._wake()

    def result(self) -> Result:
        if self._error:
            raise self._error
        return self._result  # type: ignore[return-value]


def within(
    seconds: float,
    work: Callable[[], Result],
    reason_to_stop: Callable[[], str] = str,
    leave: Callable[[threading.Thread], None] = lambda thread: None,
) -> Result:
    """What `work` returns or raises in a separate thread, which is left behind (and passed to `leave`) after `seconds`.

    `reason_to_stop` is called once a second, and any result but "" ends the wait. Raises `OverdueError`, `CalledOffError`.
    """
    run = Run(work, lambda: None, "within")
    deadline = time.monotonic() + seconds
    while not run.ended.wait(min(SECONDS_BETWEEN_CHECKS, max(deadline - time.monotonic(), 0))):
        if time.monotonic() >= deadline:
            leave(run.thread)
            raise OverdueError(f"no answer within {seconds:g} s")
        if reason := reason_to_stop():
            raise CalledOffError(reason)
    return run.result()


class Background(Generic[Result]):
    """One piece of work at a time. The thread calls `wake` when there is a result to take."""

    def __init__(self, wake: Callable[[], None], name: str = "background") -> None:
        self._wake, self._name = wake, name
        self._run: Run[Result] | None = None
        self._left_behind: list[threading.Thread] = []
        self.is_busy = False
        """From `start` until the result was taken."""
        self.began = 0.0
        self.deadline = math.inf
        """When `take` must be called at the latest; both in monotonic seconds."""

    def start(self, work: Callable[[], Result], seconds: float = math.inf) -> None:
        """Start the work. With too many threads left behind, it is not started and becomes overdue."""
        self.is_busy, self.began = True, time.monotonic()
        self.deadline = self.began + seconds + GRACE_SECONDS
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        is_possible = len(self._left_behind) < MOST_LEFT_BEHIND
        self._run = Run(work, self._wake, self._name) if is_possible else None

    def take(self, now: float) -> Result | LivekeepError | None:
        """The result, or the error that the work raised, or `OverdueError`; None until then.

        Raises any error that is no `LivekeepError`.
        """
        has_ended = self._run is not None and self._run.ended.is_set()
        if not self.is_busy or not (has_ended or now >= self.deadline):
            return None
        run = self._run
        self.abandon()
        if not has_ended or run is None:
            return OverdueError("no result in time")
        try:
            return run.result()
        except LivekeepError as error:
            return error

    def abandon(self) -> None:
        """Abandon the current work."""
        if self._run and not self._run.ended.is_set():
            self._left_behind.append(self._run.thread)
        self._run, self.is_busy, self.deadline = None, False, math.inf
