"""Requests of the library requests as calls of kind "api", statements of sqlite3 as calls of kind "database".

Names keep only what many calls share: no query string, no number in a path, no value of a statement.
"""

import functools
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from livekeep.record.instrument.arguments import shortened
from livekeep.record.instrument.failure import Failure, Link
from livekeep.record.instrument.recording import CallRecord, CallScope, Site, put, thread
from livekeep.record.instrument.wrapping import Guarded, Scope

S = TypeVar("S")
R = TypeVar("R")

PLAIN_SEGMENT = re.compile(r"v[0-9]+|[a-z][a-z_.-]{0,30}")
"""A path segment that is a word of the API. Anything else is a number, a name or a key."""
LITERAL = re.compile(r"'(?:[^']|'')*'|\b0x[0-9a-fA-F]+\b|\b[0-9]+(?:\.[0-9]+)?\b")
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
MANY_VALUES = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")
MOST_CHARACTERS = 200


@functools.lru_cache(maxsize=512)
def site(name: str, kind: str) -> Site:
    return Site(name, kind)


# requests


class RequestScope(CallScope):
    """A request; a response with status 400 or more is a failure."""

    __slots__ = ("status",)

    def __init__(self, where: Site) -> None:
        super().__init__(where)
        self.status: int | None = None

    def end(self, error: BaseException | None) -> None:
        if self.status is not None:
            self.arguments = f"status={self.status}"
        if error is None and self.status is not None and self.status >= 400:
            duration = time.perf_counter_ns() - self.start
            record = (self.site, self.number, self.start, duration, self.around, thread.name, self.arguments)
            refusal = Failure((Link(f"HTTP {self.status}", "", (), ""),))
            put(CallRecord(*record, "failed", refusal, None, True))
        else:
            super().end(error)


def instrument_requests(session: S) -> S:
    """Record each request of a `requests.Session`, up to the response's headers (and its body, unless it streams).

    Returns the same session. A redirect is a separate request within the first one.
    """
    send = session.send  # type: ignore[attr-defined]
    if getattr(send, "is_recorded", False):
        return session

    @functools.wraps(send)
    def recorded(request: Any, **options: Any) -> Any:
        scope = Guarded(lambda _args, _kwargs: RequestScope(site(request_name(request.method, request.url), "api")), (), {})
        token = scope.resume()
        try:
            response = send(request, **options)
        except BaseException as error:
            scope.pause(token)
            scope.end(error)
            raise
        scope.pause(token)
        if isinstance(scope.scope, RequestScope):
            scope.scope.status = getattr(response, "status_code", None)
        scope.end(None)
        return response

    recorded.is_recorded = True  # type: ignore[attr-defined]
    session.send = recorded  # type: ignore[attr-defined]
    return session


def request_name(method: str | None, url: str | None) -> str:
    """Such as "GET api.vimeo.com/videos/…"."""
    address = urlsplit(url or "")
    path = "/".join(part if PLAIN_SEGMENT.fullmatch(part) else "…" for part in address.path.split("/") if part)
    return shortened(f"{method or '?'} {address.hostname or ''}/{path}", MOST_CHARACTERS)


# sqlite3


def instrument_sqlite(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Record each statement of a connection: its time includes that of its rows, which SQLite finds as they are fetched.

    Returns a proxy that does everything the connection does; use it instead.
    """
    if isinstance(connection, RecordedConnection):
        return connection
    return cast(sqlite3.Connection, RecordedConnection(connection))


@functools.lru_cache(maxsize=512)
def statement_name(sql: str) -> str:
    """The statement with ? in place of its values."""
    text = LITERAL.sub("?", COMMENT.sub(" ", sql[:10_000]))
    return shortened(MANY_VALUES.sub("(?, …)", " ".join(text.split())), MOST_CHARACTERS) or "empty"


class StatementScope(CallScope):
    """A statement: its time is the time of the calls into SQLite, without the time between them."""

    __slots__ = ("spent",)

    def __init__(self, where: Site) -> None:
        super().__init__(where)
        self.spent = 0

    def end(self, error: BaseException | None) -> None:
        self.finish(self.spent, error, None)


class Stand:
    """A proxy for an object of sqlite3."""

    _real: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        else:
            setattr(self._real, name, value)


class RecordedCursor(Stand):
    def __init__(self, real: sqlite3.Cursor, connection: "RecordedConnection") -> None:
        self._real = real
        self._connection = connection
        self._statement: Guarded | None = None

    @property
    def connection(self) -> "RecordedConnection":
        return self._connection

    def execute(self, sql: str, *parameters: Any) -> "RecordedCursor":
        return self._begin(sql, self._real.execute, sql, *parameters)

    def executemany(self, sql: str, parameters: Any) -> "RecordedCursor":
        return self._begin(sql, self._real.executemany, sql, parameters)

    def executescript(self, script: str) -> "RecordedCursor":
        return self._begin(script, self._real.executescript, script)

    def fetchone(self) -> Any:
        row = self._timed(self._real.fetchone)
        if row is None:
            self._ended()
        return row

    def fetchmany(self, *size: Any, **named: Any) -> list[Any]:
        rows = self._timed(self._real.fetchmany, *size, **named)
        if not rows:
            self._ended()
        return cast(list[Any], rows)

    def fetchall(self) -> list[Any]:
        rows = self._timed(self._real.fetchall)
        self._ended()
        return cast(list[Any], rows)

    def __iter__(self) -> "Iterator[Any]":
        return self

    def __next__(self) -> Any:
        row = self._timed(next, self._real, self)
        if row is self:
            self._ended()
            raise StopIteration
        return row

    def close(self) -> None:
        self._ended()
        self._real.close()

    def __del__(self) -> None:
        if self.__dict__.get("_statement") is not None:
            self._ended()

    def _begin(self, sql: Any, run: Callable[..., Any], *args: Any) -> "RecordedCursor":
        self._ended()
        self._statement = Guarded(lambda _args, _kwargs: StatementScope(site(statement_name(sql), "database")), (), {})
        self._timed(run, *args)
        if self._real.description is None:
            self._ended()
        return self

    def _timed(self, run: Callable[..., R], *args: Any, **named: Any) -> R:
        begun = time.perf_counter_ns()
        try:
            result = run(*args, **named)
        except BaseException as error:
            self._add(begun)
            self._ended(error)
            raise
        self._add(begun)
        return result

    def _add(self, begun: int) -> None:
        scope: Scope | None = self._statement.scope if self._statement is not None else None
        if isinstance(scope, StatementScope):
            scope.spent += time.perf_counter_ns() - begun

    def _ended(self, error: BaseException | None = None) -> None:
        statement, self._statement = self._statement, None
        if statement is not None:
            statement.end(error)


class RecordedConnection(Stand):
    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real

    def cursor(self, *factory: Any, **named: Any) -> RecordedCursor:
        return RecordedCursor(self._real.cursor(*factory, **named), self)

    def execute(self, sql: str, *parameters: Any) -> RecordedCursor:
        return self.cursor().execute(sql, *parameters)

    def executemany(self, sql: str, parameters: Any) -> RecordedCursor:
        return self.cursor().executemany(sql, parameters)

    def executescript(self, script: str) -> RecordedCursor:
        return self.cursor().executescript(script)

    def commit(self) -> None:
        self._whole("COMMIT", self._real.commit)

    def rollback(self) -> None:
        self._whole("ROLLBACK", self._real.rollback)

    def __enter__(self) -> "RecordedConnection":
        self._real.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        if not self._real.in_transaction:
            return self._real.__exit__(*error)
        return self._whole("COMMIT" if error[0] is None else "ROLLBACK", lambda: self._real.__exit__(*error))

    def _whole(self, name: str, run: Callable[[], R]) -> R:
        scope = Guarded(lambda _args, _kwargs: CallScope(site(name, "database")), (), {})
        try:
            result = run()
        except BaseException as error:
            scope.end(error)
            raise
        scope.end(None)
        return result
