"""Subscribers: the job's own functions, called for what happens in this process.

The sender calls them between two batches, so that a slow one delays neither the job nor the sending.
"""

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Literal, NamedTuple

from livekeep.record.instrument.failure import clean
from livekeep.record.instrument.recording import EntryRecord


class Notification(NamedTuple):
    """An ended call, or the current state of a session or step."""

    what: Literal["call", "session", "step"]
    name: str
    kind: str
    """The kind of a call, such as "function" or "api"."""
    outcome: str
    seconds: float
    """The duration of an ended call."""
    session: str | None
    """The session's token."""
    arguments: str | None
    error: tuple[str, str, str] | None
    """Type, message, traceback."""
    state: dict[str, Any]
    """For a session or step: the keys of wire.Session or wire.Step."""


Callback = Callable[[Notification], None]

MOST_WAITING = 50_000
"""Calls, sessions and steps that wait for slow subscribers. Further ones are dropped, and counted."""


class Subscribers:
    """The functions, and the notifications that wait for them. One thread at a time calls them."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []
        self.has_complained = False
        self.begin_process()

    def begin_process(self) -> None:
        """Also in the child of a fork: waiting notifications are the parent's."""
        self.waiting: deque[Any] = deque()
        """Queued records, and progress lines."""
        self.left_out = 0
        self.lock = threading.Lock()
        self.owner = 0

    def add(self, records: Iterable[Any], lines: Iterable[list[Any]]) -> None:
        if not self.callbacks:
            return
        for item in chain(records, lines):
            if len(self.waiting) < MOST_WAITING:
                self.waiting.append(item)
            else:
                self.left_out += 1

    def deliver(self, deadline: float) -> bool:
        """Call the functions, until `deadline` (monotonic) at most; return whether nothing waits any longer."""
        me = threading.get_ident()
        if self.owner == me or not self.lock.acquire(timeout=max(deadline - time.monotonic(), 0)):
            return False
        try:
            self.owner = me
            while self.waiting and time.monotonic() < deadline:
                self.call(self.waiting.popleft())
        finally:
            self.owner = 0
            self.lock.release()
        return not self.waiting

    def call(self, item: Any) -> None:
        for callback in tuple(self.callbacks):
            try:
                for notification in notifications(item):
                    callback(notification)
            except Exception as error:
                if not self.has_complained:
                    self.has_complained = True
                    complain(f"a subscriber failed: {type(error).__name__}: {error}")

    def end_process(self) -> None:
        """Report what can no longer be delivered."""
        undelivered, self.left_out = self.left_out + len(self.waiting), 0
        self.waiting.clear()
        if undelivered and self.callbacks:
            complain(f"subscribers were too slow: {undelivered} calls, sessions and steps were not delivered to them")


subscribers = Subscribers()


def subscribe(callback: Callback) -> Callable[[], None]:
    """Call `callback` for each ended call and each changed session and step, within a second.

    This happens in a thread of the library; at `flush()` and at the end of the process, for two seconds at most, in the calling
    thread. The returned function unsubscribes. An exception of `callback` is shown once, and goes no further.
    """
    subscribers.callbacks.append(callback)

    def unsubscribe() -> None:
        if callback in subscribers.callbacks:
            subscribers.callbacks.remove(callback)

    return unsubscribe


def notifications(item: Any) -> list[Notification]:
    """From a queued record or a progress line."""
    if isinstance(item, list):
        return [of_line(item)]
    if isinstance(item, EntryRecord):
        return [of_line(line) for line in item.lines]
    site, _number, _start, duration, place, _thread, arguments = item[:7]
    outcome, noted = (item[7], item[8]) if len(item) > 7 else ("succeeded", None)
    text = site.text(arguments)
    error = noted.texts() if noted is not None else None
    return [Notification("call", site.name, site.kind, outcome, duration / 1e9, place[1], text and clean(text), error, {})]


def of_line(line: list[Any]) -> Notification:
    what: Literal["session", "step"] = "session" if line[0] == "s" else "step"
    state = dict(line[-1])
    begun, ended = state.get("began", 0), state.get("ended")
    seconds = ((ended or begun) - begun) / 1e6
    return Notification(what, state["name"], what, state["outcome"], seconds, line[1], None, state.get("error"), state)


def complain(text: str) -> None:
    with contextlib.suppress(Exception):  # standard error is closed
        print(f"livekeep: {text}", file=sys.stderr)
