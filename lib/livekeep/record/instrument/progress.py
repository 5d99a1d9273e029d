"""Counts items: the progress of a session or a step, and the changes to send.

An object belongs to the process that began it: in the child of a fork its methods do nothing.
"""

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from livekeep.record import wire
from livekeep.record.instrument import failure
from livekeep.record.instrument.arguments import shortened
from livekeep.record.instrument.delivery import sender
from livekeep.record.instrument.encoding import spoken
from livekeep.record.instrument.failure import clean
from livekeep.record.instrument.wrapping import finished

if TYPE_CHECKING:
    from livekeep.record.instrument.sessions import Session
    from livekeep.record.instrument.steps import ProgressMonitor

P = ParamSpec("P")
T = TypeVar("T")

Position = tuple["Session | None", "ProgressMonitor | None"]
position: ContextVar[Position] = ContextVar("livekeep_position", default=(None, None))

MOST_OF_A_NAME = 200
MOST_OF_A_MESSAGE = 500

changed: "deque[Progress]" = deque()
"""The changes to send, each once."""
running: "dict[str, Session]" = {}
"""The open sessions of this process."""
registered_steps: dict[str, dict[str, float]] = {}
"""The decorated steps of each module with their weights."""


def harmless(method: Callable[P, None]) -> Callable[P, None]:
    """An error in the recording never reaches the job."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:
            sender.warn(f"livekeep: recording failed: {type(error).__name__}: {error}")

    return guarded


class Progress:
    """Base of sessions and steps: counts items."""

    def __init__(self, name: str, total: float | None, message: str = "") -> None:
        self.name = shortened(clean(str(name)), MOST_OF_A_NAME)
        self.total = None if total is None else max(0.0, float(total))
        self.has_own_total = total is not None
        self.done = 0.0
        self.message = shortened(clean(str(message)), MOST_OF_A_MESSAGE)
        self.outcome: wire.SessionOutcome = "running"
        self.error: tuple[str, str, str] | None = None
        self.began_at = 0
        """Microseconds since 1970; 0 before it begins."""
        self.ended_at: int | None = None
        self.started = 0.0
        self.process = ""
        self.is_changed = False
        self.lock = threading.RLock()

    @property
    def is_mine(self) -> bool:
        """Whether it runs, and belongs to this process."""
        return self.ended_at is None and self.process == sender.token

    def advance(self, count: float = 1, message: str | None = None) -> None:
        """Count `count` more items as done."""
        self.report(count=count, message=message)

    def update(self, done: float | None = None, total: float | None = None, message: str | None = None) -> None:
        """Set the number of done items, the total, and a word on the current work."""
        self.report(done=done, total=total, message=message)

    @harmless
    def report(self, count: float = 0, done: float | None = None, total: float | None = None, message: str | None = None) -> None:
        if not self.is_mine:
            return
        with self.lock:
            if total is not None:
                self.total, self.has_own_total = max(0.0, float(total)), True
            self.done = max(0.0, self.done + count if done is None else float(done))
            if message is not None:
                self.message = shortened(clean(str(message)), MOST_OF_A_MESSAGE)
            self.moved(count)
        self.note()

    def moved(self, count: float) -> None:
        """Called when the number of done items changes."""

    def note(self) -> None:
        if not self.is_changed:
            self.is_changed = True
            changed.append(self)
            sender.note()

    def track(self, items: Iterable[T], total: float | None = None) -> Iterator[T]:
        """Iterate over `items`, and count each when it is done."""
        self.expect(items, total)
        for item in items:
            yield item
            self.advance()

    @harmless
    def expect(self, items: object, total: float | None) -> None:
        if total is None and isinstance(items, Sized):
            total = len(items)
        if total is not None and not self.has_own_total and self.is_mine:
            self.total = (self.total or 0.0) + total
            self.note()

    def fraction(self) -> float | None:
        return min(1.0, self.done / self.total) if self.total else None

    def line(self) -> list[Any]:
        """Its current record (record/wire.py)."""
        raise NotImplementedError

    def finish(self, error: BaseException | None) -> None:
        outcome = finished(error)
        texts = failure.capture(error).texts() if error is not None and outcome != "succeeded" else None
        with self.lock:
            self.outcome, self.error = outcome, texts
            self.ended_at = max(self.began_at, time.time_ns() // 1000)

    def seconds(self) -> float:
        return time.perf_counter() - self.started


watchers: "list[Callable[[Session], None]]" = []
"""Called when a session begins, moves or ends: the terminal (terminal.py)."""


def lines() -> list[list[Any]]:
    """What changed since it was last sent; ended ones are sent separately."""
    changed_lines: list[list[Any]] = []
    for _ in range(len(changed)):
        one = changed.popleft()
        one.is_changed = False
        # Read atomically: a half-read end would show an outcome too early.
        with one.lock:
            if one.is_mine:
                changed_lines.append(one.line())
    return changed_lines


def renew() -> None:
    """In the child of a fork."""
    changed.clear()
    running.clear()


def number_text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def error_text(error: tuple[str, str, str] | None) -> str:
    return "" if error is None else f"{error[0]}: {error[1]}" if error[1] else error[0]


def ending(one: Progress, seconds: float) -> str:
    of = f", {one.done:g} of {one.total:g}" if one.total is not None else f", {one.done:g}" if one.done else ""
    why = f": {error_text(one.error)}" if one.error else ""
    return f"{one.name} {one.outcome} after {spoken(seconds)}{of}{why}"
