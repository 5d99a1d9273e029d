"""Subscribers: functions of the job itself that are called for what happens in this process.

The sender calls them between two batches, so that a slow one holds up neither the job nor what is sent.
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
    """A call that has ended, or a session or step as it is now."""

    what: Literal["call", "session", "step"]
    name: str
    kind: str
    """Of a call, such as "function" or "api"."""
    outcome: str
    seconds: float
    """Of a call that ended: its duration."""
    session: str | None
    """The session's token."""
    arguments: str | None
    error: tuple[str, str, str] | None
    """Type, message, traceback."""
    state: dict[str, Any]
    """Of a session or step: the keys of wire.Session or wire.Step."""


Callback = Callable[[Notification], None]

MOST_WAITING = 50_000
"""Calls, sessions and steps that wait for slow subscribers. What comes beyond is left out, and counted."""


class Subscribers:
    """The functions, and what they were not called with yet. One thread at a time calls them."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []
        self.has_complained = False
        self.begin_process()

    def begin_process(self) -> None:
        """Also in the child of a fork: what waits is the parent's."""
        self.waiting: deque[Any] = deque()
        """Records of the queue, and lines of progress."""
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
        """Call the functions, until `deadline` (monotonic) at the latest; whether nothing waits any longer."""
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
        """Say what can no longer be delivered."""
        undelivered, self.left_out = self.left_out + len(self.waiting), 0
        self.waiting.clear()
        if undelivered and self.callbacks:
            complain(f"subscribers were too slow: {undelivered} calls, sessions and steps were not delivered to them")


subscribers = Subscribers()


def subscribe(callback: Callback) -> Callable[[], None]:
    """Call `callback` for each call that ended and each session and step that changed, within a second.

    That happens in a thread of the library; at `flush()` and at the process's end, for two seconds at most, in the thread that
    ends. The function that is returned ends it. What `callback` raises is shown once, and goes no further.
    """
    subscribers.callbacks.append(callback)

    def unsubscribe() -> None:
        if callback in subscribers.callbacks:
            subscribers.callbacks.remove(callback)

    return unsubscribe


def notifications(item: Any) -> list[Notification]:
    """Of a record of the queue, or a line of progress."""
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
