"""Runs one request at a time beside the poller's loop, with a deadline that the loop enforces and a separate client.

A request that hangs is abandoned with its connection.
"""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from livekeep.core.errors import LivekeepError
from livekeep.system.background import Background, OverdueError
from livekeep.system.http import Client

Result = TypeVar("Result")
Work = Callable[[Client, float], Result]
"""Receives the client, and the deadline in monotonic seconds."""


class BackgroundRequest(Generic[Result]):
    """Keeps one client, hence one connection, across requests."""

    def __init__(self, name: str, new_client: Callable[[], Client], wake: Callable[[], None]) -> None:
        """The thread calls `wake` when a request has ended."""
        self._new_client = new_client
        self._client = new_client()
        self._background: Background[Result] = Background(wake, name)
        self._timed_out: Result | None = None

    @property
    def is_busy(self) -> bool:
        return self._background.is_busy

    @property
    def deadline(self) -> float:
        """When `take` must be called at the latest, monotonic seconds; never while nothing is in flight."""
        return self._background.deadline

    def start(self, work: Work[Result], timed_out: Result, seconds: float) -> None:
        """Start a request; after `seconds` the result is `timed_out`."""
        client, deadline = self._client, time.monotonic() + seconds
        self._timed_out = timed_out
        self._background.start(lambda: work(client, deadline), seconds)

    def take(self, now: float) -> tuple[Result, float] | None:
        """The result and the request's start (monotonic), once it has ended or timed out."""
        began, result = self._background.began, self._background.take(now)
        if isinstance(result, OverdueError):
            self._client = self._new_client()
            result = self._timed_out
        if isinstance(result, LivekeepError):
            raise result
        return None if result is None else (result, began)

    def drop(self) -> None:
        """Abandon the request in flight and its connection, because the request has changed."""
        if not self._background.is_busy:
            self._client.close()
        self._background.abandon()
        self._client = self._new_client()
