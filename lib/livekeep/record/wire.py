"""The format of a job's records in transit: journal entries with LIVEKEEP_* fields, or the same as JSON lines in a file.

Written by record/instrument, read by record/recorder. Standard library only.

Each entry of a job carries LIVEKEEP_PROCESS (a token of the process, new after a fork) and LIVEKEEP_SEQUENCE (1, 2, 3 … within
that process): duplicates are dropped, and a gap is a loss. LIVEKEEP_SENT is the number of calls in all earlier entries of the
process, so that a gap shows how many calls were lost. An entry may carry LIVEKEEP_RECORDS: lines of compact JSON, each an array
that begins with its kind. A function's index is valid only within its entry, so that a lost entry does not affect others.

| line                                                                                        | meaning                    |
|---------------------------------------------------------------------------------------------|----------------------------|
| ["f", index, name, kind]                                                                    | a function of this entry   |
| ["c", number, index, start, duration, outcome, parent, session, thread, arguments, error,   | a call that has ended      |
|  cpu, memory, read, written]                                                                | (trailing nulls left out)  |
| ["s", session, {…}]                                                                         | a session as it is now     |
| ["t", session, step, {…}]                                                                   | a step as it is now        |

Times are microseconds: `start` since 1970, `duration` and `cpu` lengths. `number` counts the calls of a process in order of their
start; `parent` is such a number, or 0. `session` is the session's token, or null; it is one of the same process. `error` is
[type, message, traceback], or null. `memory` is the growth of the peak of resident memory, `read` and `written` are bytes. The
objects of "s" and "t" have the keys of `Session` and `Step`; the newest line replaces earlier ones.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypedDict

Outcome = Literal["succeeded", "failed", "cancelled"]
"""Of a call. "cancelled": a coroutine was cancelled, or a generator closed before its end."""
SessionOutcome = Literal["running", "succeeded", "failed", "cancelled", "lost"]
"""Of a session or a step. Only the recorder sets "lost": its process is gone."""

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
    """The token of the enclosing session."""
    began: int
    ended: int | None
    outcome: SessionOutcome
    total: float | None
    done: float
    percent: float | None
    rate: float | None
    """Items per second."""
    left: float | None
    """Seconds, estimated."""
    message: str
    error: tuple[str, str, str] | None


class Step(TypedDict, total=False):
    name: str
    parent: int | None
    """The number of the enclosing step."""
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
    """The lines of LIVEKEEP_RECORDS. Raises `ValueError` at the first line that is not an array."""
    for line in text.split("\n"):
        if line:
            record = json.loads(line)
            if not isinstance(record, list) or not record:
                raise ValueError("a record is not a JSON array")
            yield record
