"""Slow work beside the loop: a function in a thread of its own, and its result for the next pass."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from livekeep.core.errors import LivekeepError

Result = TypeVar("Result")


class Errand(Generic[Result]):
    """One piece of work at a time. `done` is called, from the thread, when there is a result to take."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._thread: threading.Thread | None = None
        self._result: Result | None = None
        self._error: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """From `start` until its result was taken."""
        return self._thread is not None

    def start(self, work: Callable[[], Result]) -> None:
        def run() -> None:
            try:
                self._result = work()
            except BaseException as error:
                self._error = error
            self._done()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def take(self) -> Result | LivekeepError | None:
        """The result or the error that it ended with; None while there is none. Raises what is no `LivekeepError`."""
        if self._thread is None or self._thread.is_alive():
            return None
        result, error = self._result, self._error
        self._thread = self._result = self._error = None
        if error is not None and not isinstance(error, LivekeepError):
            raise error
        return error or result
