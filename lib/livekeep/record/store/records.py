"""Parses an entry's LIVEKEEP_RECORDS, with checks and limits: anybody may write to the journal.

A malformed line is counted and skipped; the entry's other lines are used.
"""

import contextlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from livekeep.record import wire

LONGEST_RECORDS = 4 * 1024 * 1024
"""Characters in one entry."""
MOST_LINES = 50_000
LONGEST_NAME, LONGEST_TOKEN, LONGEST_THREAD, LONGEST_ARGUMENTS = 300, 64, 100, 4000
LONGEST_MESSAGE, LONGEST_TRACEBACK = 4000, 20_000
LARGEST_INTEGER = 2**53
EARLIEST, LATEST = 0, 4_102_444_800_000_000
"""us since 1970: to the year 2100. Nine more digits fit into an id."""
LONGEST_DURATION = 315_360_000_000_000
"""us: ten years."""
OUTCOMES = {"succeeded": 0, "failed": 1, "cancelled": 2}
SESSION_OUTCOMES = ("running", "succeeded", "failed", "cancelled")
RESERVED_KINDS = ("session", "step")
"""Kinds of the summaries of sessions and steps; not allowed for functions."""
CALL_LENGTH = len(wire.Call._fields) + 1
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
HALF = re.compile("[\ud800-\udfff]")

Error = tuple[str, str, str]


class Call(NamedTuple):
    """Like `wire.Call`, with the function's name and kind instead of its index, and the outcome as in the table."""

    function: tuple[str, str]
    number: int
    start: int
    duration: int
    outcome: int
    parent: int
    session: str | None
    thread: str | None
    arguments: str | None
    error: Error | None
    cpu: int | None
    memory: int | None
    read: int | None
    written: int | None


@dataclass(slots=True)
class Records:
    calls: list[Call] = field(default_factory=list)
    sessions: list[tuple[str, wire.Session]] = field(default_factory=list)
    steps: list[tuple[str, int, wire.Step]] = field(default_factory=list)
    malformed: int = 0
    """Lines."""


def read(text: str) -> Records:
    """All records of an entry. Never raises."""
    records = Records()
    functions: dict[int, tuple[str, str]] = {}
    if len(text) > LONGEST_RECORDS:
        records.malformed = 1
        return records
    for line in lines(text, records):
        try:
            match line[0]:
                case "c":
                    records.calls.append(call(line, functions))
                case "f":
                    _, index, name, kind = line
                    kind = string(kind, LONGEST_TOKEN)
                    is_free = kind and kind not in RESERVED_KINDS
                    functions[integer(index)] = (string(name, LONGEST_NAME), kind if is_free else "function")
                case "s":
                    _, token, content = line
                    records.sessions.append((string(token, LONGEST_TOKEN), cast(wire.Session, checked(content, OF_SESSION))))
                case "t":
                    _, token, number, content = line
                    step = cast(wire.Step, checked(content, OF_STEP))
                    records.steps.append((string(token, LONGEST_TOKEN), integer(number), step))
                case _:
                    records.malformed += 1
        except (ValueError, TypeError, LookupError, AttributeError):
            records.malformed += 1
    return records


def lines(text: str, records: Records) -> list[list[Any]]:
    """The lines that are arrays; others are counted."""
    if "\\u" in text:
        # A database does not accept a half surrogate pair as text.
        text = HALF_CHARACTER.sub(r"\\ufffd", text)
    split = [line for line in text.split("\n") if line]
    if len(split) > MOST_LINES:
        records.malformed += len(split) - MOST_LINES
        del split[MOST_LINES:]
    try:
        # In one go: three times as fast as one by one.
        decoded = json.loads(f"[{','.join(split)}]")
    except (ValueError, RecursionError):
        decoded = []
    if len(decoded) != len(split):
        decoded = []
        for line in split:
            with contextlib.suppress(ValueError, RecursionError):
                decoded.append(json.loads(line))
    good = [line for line in decoded if type(line) is list and line]
    records.malformed += len(split) - len(good)
    return good


def call(line: list[Any], functions: Mapping[int, tuple[str, str]]) -> Call:
    """Raises `ValueError`, `TypeError` or `LookupError`. Runs for each call: plain cases first."""
    if len(line) < CALL_LENGTH:
        line = line + [None] * (CALL_LENGTH - len(line))
    _, number, index, start, duration, outcome, parent, token, thread, arguments, error, cpu, memory, read_, written = line
    if not (
        type(number) is type(start) is type(duration) is int
        and 0 <= number <= LARGEST_INTEGER
        and EARLIEST <= start <= LATEST
        and 0 <= duration <= LONGEST_DURATION
    ):
        raise ValueError
    return Call(
        functions[index],
        number,
        start,
        duration,
        OUTCOMES[outcome],
        0 if parent is None else integer(parent),
        None if token is None else string(token, LONGEST_TOKEN),
        None if thread is None else string(thread, LONGEST_THREAD),
        None if arguments is None else string(arguments, LONGEST_ARGUMENTS),
        None if error is None else error_of(error),
        None if cpu is None else integer(cpu),
        None if memory is None else integer(memory),
        None if read_ is None else integer(read_),
        None if written is None else integer(written),
    )


def checked(content: dict[str, Any], checks: Mapping[str, Callable[[Any], Any]]) -> Any:
    """The known values of a session or a step."""
    return {name: checks[name](value) for name, value in content.items() if name in checks}


def string(value: Any, longest: int) -> str:
    if type(value) is not str:
        raise TypeError
    return value if len(value) <= longest else value[: longest - 1] + "…"


def text(value: object, longest: int) -> str:
    """A field of the journal, or of an imported file, as text that a database accepts."""
    return string(HALF.sub("\ufffd", str(value)), longest)


def integer(value: Any) -> int:
    if type(value) is not int or not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise ValueError
    return value


def moment(value: Any) -> int:
    if type(value) is not int or not EARLIEST <= value <= LATEST:
        raise ValueError
    return value


def number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > LARGEST_INTEGER:
        raise ValueError
    return float(value)


def error_of(value: Any) -> Error:
    kind, message, traceback = value
    half = LONGEST_TRACEBACK // 2
    if type(traceback) is not str:
        raise TypeError
    if len(traceback) > LONGEST_TRACEBACK:
        # The failed call is at the end, its caller at the beginning.
        traceback = f"{traceback[:half]}\n…\n{traceback[-half:]}"
    return string(kind, LONGEST_NAME), string(message, LONGEST_MESSAGE), traceback


def outcome(value: Any) -> str:
    if value not in SESSION_OUTCOMES:
        raise ValueError
    return str(value)


def optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


COMMON: dict[str, Callable[[Any], Any]] = {
    "name": lambda value: string(value, LONGEST_NAME),
    "began": moment,
    "ended": optional(moment),
    "outcome": outcome,
    "total": optional(number),
    "done": number,
    "error": optional(error_of),
}
OF_SESSION = {
    **COMMON,
    "parent": optional(lambda value: string(value, LONGEST_TOKEN)),
    "percent": optional(number),
    "rate": optional(number),
    "left": optional(number),
    "message": lambda value: string(value, LONGEST_MESSAGE),
}
OF_STEP = {**COMMON, "parent": optional(integer), "weight": number}
