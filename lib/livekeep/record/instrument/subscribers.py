"""What happens in this process, told to functions of the process itself."""

import contextlib
import sys
from collections.abc import Callable
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
callbacks: list[Callback] = []


def subscribe(callback: Callback) -> Callable[[], None]:
    """Call `callback` for each call that ended and each session and step that changed, within a second, in a thread of its own.

    The function that is returned ends it. What `callback` raises is shown once, and goes no further.
    """
    callbacks.append(callback)

    def unsubscribe() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return unsubscribe


def tell(records: list[Any], lines: list[list[Any]]) -> None:
    if not callbacks:
        return
    told = [notification for record in records for notification in notifications(record)]
    told += [of_line(line) for line in lines]
    for notification in told:
        for callback in callbacks:
            try:
                callback(notification)
            except Exception as error:
                complain(error)


def notifications(record: Any) -> list[Notification]:
    if isinstance(record, EntryRecord):
        return [of_line(line) for line in record.lines]
    site, _number, _start, duration, place, _thread, arguments = record[:7]
    outcome, noted = (record[7], record[8]) if len(record) > 7 else ("succeeded", None)
    text = site.text(arguments)
    error = noted.texts() if noted is not None else None
    return [Notification("call", site.name, site.kind, outcome, duration / 1e9, place[1], text and clean(text), error, {})]


def of_line(line: list[Any]) -> Notification:
    what: Literal["session", "step"] = "session" if line[0] == "s" else "step"
    state = dict(line[-1])
    begun, ended = state.get("began", 0), state.get("ended")
    seconds = ((ended or begun) - begun) / 1e6
    return Notification(what, state["name"], what, state["outcome"], seconds, line[1], None, state.get("error"), state)


def complain(error: Exception) -> None:
    if not complained:
        complained.append(True)
        text = f"livekeep: a subscriber failed: {type(error).__name__}: {error}"
        with contextlib.suppress(Exception):  # standard error is closed
            print(text, file=sys.stderr)


complained: list[bool] = []
