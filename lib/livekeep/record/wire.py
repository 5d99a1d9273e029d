"""The form in which a job's records travel: journal entries with LIVEKEEP_* fields, or the same as JSON lines in a file.

Written by record/instrument, read by record/recorder. Standard library only.

Each entry of a job carries LIVEKEEP_PROCESS (a token of the process, new after a fork) and LIVEKEEP_SEQUENCE (1, 2, 3 … within
that process): one that comes twice is dropped, and a gap is a loss. LIVEKEEP_SENT is the number of calls in all earlier entries
of the process, so that a gap says how many calls were lost. An entry may carry LIVEKEEP_RECORDS: lines of compact JSON, each an
array that begins with its kind. An index of a function is valid within its entry only, so that a lost entry harms no other.

| line                                                                                        | meaning                    |
|---------------------------------------------------------------------------------------------|----------------------------|
| ["f", index, name, kind]                                                                    | a function of this entry   |
| ["c", number, index, start, duration, outcome, parent, session, thread, arguments, error,   | a call that has ended      |
|  cpu, memory, read, written]                                                                | (trailing nulls left out)  |
| ["s", session, {…}]                                                                         | a session as it is now     |
| ["t", session, step, {…}]                                                                   | a step as it is now        |

Times are microseconds: `start` since 1970, `duration` and `cpu` lengths. `number` counts the calls of a process by their
beginning; `parent` is such a number, or 0. `session` is the session's token, or null; it is one of the same process. `error` is
[type, message, traceback], or null. `memory` is the growth of the peak of resident memory, `read` and `written` are bytes. The
objects of "s" and "t" have the keys of `Session` and `Step`; the newest line replaces what the earlier ones said.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypedDict

Outcome = Literal["succeeded", "failed", "cancelled"]
"""Of a call. "cancelled": a coroutine was cancelled, or a generator closed before its end."""
SessionOutcome = Literal["running", "succeeded", "failed", "cancelled", "lost"]
"""Of a session or a step. The recorder alone says "lost": its process is gone."""

EVENT = "LIVEKEEP_EVENT"
PROCESS = "LIVEKEEP_PROCESS"
SEQUENCE = "LIVEKEEP_SEQUENCE"
SENT = "LIVEKEEP_SENT"
COUNT = "LIVEKEEP_COUNT"
"""The number of calls in LIVEKEEP_RECORDS."""
RECORDS = "LIVEKEEP_RECORDS"


class Function(NamedTuple):
    entry_index: int
    name: str
    kind: str
    """ "function", "api", "database", or the job's own word."""


class Call(NamedTuple):
    number: int
    function: int
    start: int
    duration: int
    outcome: Outcome
    parent: int = 0
    session: str | None = None
    thread: str | None = None
    arguments: str | None = None
    error: tuple[str, str, str] | None = None
    cpu: int | None = None
    memory: int | None = None
    read: int | None = None
    written: int | None = None


class Session(TypedDict, total=False):
    name: str
    parent: str | None
    """The token of the session around this one."""
    began: int
    ended: int | None
    outcome: SessionOutcome
    total: float | None
    done: float
    percent: float | None
    rate: float | None
    """Items in a second."""
    left: float | None
    """Seconds, estimated."""
    message: str
    error: tuple[str, str, str] | None


class Step(TypedDict, total=False):
    name: str
    parent: int | None
    """The number of the step around this one."""
    weight: float
    began: int
    ended: int | None
    outcome: SessionOutcome
    total: float | None
    done: float
    error: tuple[str, str, str] | None


def encode(lines: Iterable[list[Any]]) -> str:
    """The text of LIVEKEEP_RECORDS."""
    return "\n".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)


def decode(text: str) -> Iterator[list[Any]]:
    """The lines of LIVEKEEP_RECORDS. Raises `ValueError` at the first that is no array."""
    for line in text.split("\n"):
        if line:
            record = json.loads(line)
            if not isinstance(record, list) or not record:
                raise ValueError("a record is not a JSON array")
            yield record
