"""When to poll next: pure functions. All values are seconds; the wall clock only where the API gives a time.

A wrong wall clock must not stop the poller: no wait that depends on it is longer than `LONGEST_WAIT_SECONDS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from livekeep.screen.poller.schedule import LATE_SECONDS
from livekeep.screen.poller.vimeo import Verdict
from livekeep.system.vimeo import Limits

LONGEST_WAIT_SECONDS = 300.0
LONGEST_BACK_OFF_SECONDS = 10.0
LONGEST_REFUSED_SECONDS = 60.0
STARTING_SECONDS = 5.0
RATE_LIMITED_SECONDS = 60.0
RESERVED_REQUESTS = 5
"""Requests reserved for other users of the token's rate limit."""
EARLY_SECONDS = 5 * 60.0
FASTEST_SECONDS = 2.0
UNREPORTED_SECONDS = 10.0
"""The automatic interval while no response reports a rate limit, as for a plain URL."""
SHARE = 3
"""The boxes of one token together use a third of its rate limit."""
MEANINGFUL_REQUESTS = 3
"""Of this box in one window of the limit, before it estimates how many share the limit."""
NEW_WINDOW_SECONDS = 5.0
"""A reset that differs by more belongs to another window."""


Jitter = Callable[[float, float], float]
"""`random.uniform`, or a fixed one."""


@dataclass(frozen=True)
class Intervals:
    """The intervals to use."""

    interval_seconds: float = 10.0
    near_start_interval_seconds: float = 3.0
    sharers: float = 1.0
    """How many boxes like this one share the remaining requests, as far as that is measured (`RateShare`)."""


class RateShare:
    """The interval of `poller.interval_seconds = "auto"`: this box's share of a third of the token's rate limit.

    All clients of a token draw on one limit. If its remainder falls three times as fast as this box's own requests explain, three
    boxes share the third, and each gets a third of it.
    """

    def __init__(self) -> None:
        self.sharers = 1.0
        """The number of clients as busy as this box that draw on the limit, this box included."""
        self._limit: int | None = None
        self._first = (-1, 0.0, 0)
        """Of the first response in the limit's window: the remaining requests, the reset, this box's own count."""

    def note(self, limits: Limits, requests: int) -> None:
        """Take in a response's `limits`; `requests` is this box's own count, which includes that response's request."""
        if limits.limit is None or limits.remaining is None or limits.reset is None:
            return
        self._limit = limits.limit
        remaining, reset, requests_before = self._first
        if limits.remaining > remaining or abs(limits.reset - reset) > NEW_WINDOW_SECONDS:
            self._first = (limits.remaining, limits.reset, requests)
        elif requests - requests_before >= MEANINGFUL_REQUESTS:
            self.sharers = max(1.0, (remaining - limits.remaining) / (requests - requests_before))

    def interval_seconds(self) -> float:
        """The interval that this box can afford: 2 s or more, and at most 10 s if the limit alone permits that."""
        if not self._limit:
            return UNREPORTED_SECONDS
        alone = SHARE * 60.0 / self._limit
        return max(FASTEST_SECONDS, min(alone * self.sharers, max(alone, UNREPORTED_SECONDS)))


def delay(
    verdict: Verdict,
    failures: int,
    intervals: Intervals,
    next_start: float | None,
    limits: Limits,
    wall: float,
    jitter: Jitter,
) -> float:
    """Seconds from the start of a poll (from its end, after a failure) to the next poll.

    `failures`: how often in a row the verdict was this one, if it is a failure. `limits` are the newest known; `wall` is the
    wall clock, Unix seconds.
    """
    doubled = 2.0 ** min(max(failures - 1, 0), 10)
    if is_held(verdict, limits, wall):
        # Until the reset, with a second of jitter; if that is unknown, a minute, doubled each time.
        if limits.reset is not None and limits.reset > wall:
            return min(limits.reset - wall + jitter(0.0, 1.0), LONGEST_WAIT_SECONDS)
        return min(RATE_LIMITED_SECONDS * doubled, LONGEST_WAIT_SECONDS)
    if verdict == "outage":
        # Up to a quarter shorter, so that many screens don't poll in step.
        return min(doubled, LONGEST_BACK_OFF_SECONDS) * jitter(0.75, 1.0)
    if verdict == "refused":
        # A person must fix it, and a reload polls immediately.
        return min(intervals.interval_seconds * doubled, LONGEST_REFUSED_SECONDS)
    wanted = regular(verdict, intervals, next_start, wall)
    if limits.remaining is None or limits.reset is None or not 0 < limits.reset - wall <= LONGEST_WAIT_SECONDS:
        return wanted
    # This box's share of the remaining requests must last until the rate limit resets.
    return max(wanted, intervals.sharers * (limits.reset - wall) / max(limits.remaining - RESERVED_REQUESTS, 1))


def regular(verdict: Verdict, intervals: Intervals, next_start: float | None, wall: float) -> float:
    """The interval without failures: shorter near the start, and never so long that it skips the beginning of that time."""
    wanted, near = intervals.interval_seconds, intervals.near_start_interval_seconds
    if verdict == "live":
        return wanted
    if is_near_start(next_start, wall):
        wanted = min(wanted, near)
    elif next_start is not None and 0 < next_start - EARLY_SECONDS - wall < wanted:
        wanted = max(next_start - EARLY_SECONDS - wall, min(wanted, near))
    return min(wanted, STARTING_SECONDS) if verdict == "starting" else wanted


def is_near_start(next_start: float | None, wall: float) -> bool:
    return next_start is not None and next_start - EARLY_SECONDS <= wall < next_start + LATE_SECONDS


def is_held(verdict: Verdict, limits: Limits, wall: float) -> bool:
    """Whether the next poll must wait for the rate limit, regardless of who requests it."""
    is_short = limits.remaining is not None and limits.remaining <= RESERVED_REQUESTS
    return verdict == "rate-limited" or (is_short and limits.reset is not None and limits.reset > wall)
