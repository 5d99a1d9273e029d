"""Work that may block, in a thread of its own, with a deadline that the main loop keeps.

A thread that hangs (a name lookup has no timeout) is left behind, its connection with it, and its result is ignored; there are
never more than a few of those.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from livekeep.system.http import Client

GRACE_SECONDS = 0.1
"""After its deadline a thread that watches it has ended by itself, with a better word for what was wrong."""
MOST_LEFT_BEHIND = 3

Result = TypeVar("Result")
Work = Callable[[Client, float], Result]
"""Gets a client that nobody else uses meanwhile, and the deadline in monotonic seconds."""


class Job(Generic[Result]):
    """One run of some work."""

    def __init__(self, work: Work[Result], timed_out: Result, client: Client, deadline: float) -> None:
        self.timed_out = timed_out
        self.began = time.monotonic()
        self.deadline = deadline
        self.result: Result | None = None
        self.problem: BaseException | None = None
        self.has_ended = False
        self._work = work
        self._client = client

    def run(self, wake: Callable[[], None]) -> None:
        try:
            self.result = self._work(self._client, self.deadline)
        except BaseException as error:
            # Raised again in the main loop.
            self.problem = error
        self.has_ended = True
        wake()


class Lane(Generic[Result]):
    """Runs one job at a time and keeps one client, hence one connection, for them."""

    def __init__(self, name: str, new_client: Callable[[], Client], wake: Callable[[], None]) -> None:
        """`wake` is called from the thread when a job has ended."""
        self._name, self._new_client, self._wake = name, new_client, wake
        self._client = new_client()
        self._job: Job[Result] | None = None
        self._left_behind: list[threading.Thread] = []
        self._thread: threading.Thread | None = None

    def is_busy(self) -> bool:
        return self._job is not None

    def deadline(self) -> float | None:
        """When `take` must be called at the latest, monotonic seconds."""
        return self._job.deadline + GRACE_SECONDS if self._job else None

    def start(self, work: Work[Result], timed_out: Result, seconds: float) -> None:
        """Begin; after `seconds` the result is `timed_out`. With too many threads left behind, that is so without a try."""
        job = Job(work, timed_out, self._client, time.monotonic() + seconds)
        self._job = job
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        self._thread = None
        if len(self._left_behind) >= MOST_LEFT_BEHIND:
            return
        self._thread = threading.Thread(target=job.run, args=(self._wake,), name=self._name, daemon=True)
        self._thread.start()

    def take(self, now: float) -> tuple[Result, float] | None:
        """The result and the monotonic time at which the job began, once it has ended or its time is over."""
        job = self._job
        if job is None or not (job.has_ended or now >= job.deadline + GRACE_SECONDS):
            return None
        self._job = None
        if not job.has_ended:
            self._leave_behind()
            return job.timed_out, job.began
        if job.problem:
            raise job.problem
        return job.result, job.began  # type: ignore[return-value]

    def drop(self) -> None:
        """Forget the job in hand and its connection: what is asked has changed."""
        if self._job:
            self._leave_behind()
        else:
            self._client.close()
            self._client = self._new_client()
        self._job = None

    def _leave_behind(self) -> None:
        if self._thread and self._thread.is_alive():
            self._left_behind.append(self._thread)
        self._client = self._new_client()
