"""State transitions after a response. Pure; `now` is the wall clock, Unix seconds.

An outage changes nothing until it has lasted for several responses, and a rate limit never does: the last good state stays.
"""

import hashlib
import time
from dataclasses import replace

from livekeep.core.config import Stream
from livekeep.core.state import DURATION_BUCKETS_SECONDS, Cause, PollerState, Requests, StreamState
from livekeep.core.text import local_time
from livekeep.screen.poller.backoff import FailureStreak
from livekeep.screen.poller.stream_check import Progress
from livekeep.screen.poller.vimeo import SET_TOKEN, Answer, Exchange, expiry_of
from livekeep.system.vimeo import Limits

CHOOSE_STREAM = "set vimeo_event in /etc/livekeep/livekeep.toml, then run: sudo systemctl reload livekeep-poller"
WAITING: dict[Progress, str] = {
    "standing-still": "The stream stands still; waiting for it to go on",
    "ended": "The stream has ended, says its playlist; waiting for Vimeo to say so or for it to go on",
    "not-open": "The stream cannot be opened; waiting for it to come back",
}


def judged(known: PollerState, answer: Answer, failures_before_error: int, now: float) -> PollerState:
    """The state after a response."""
    counted = with_limits(known, answer.limits)
    if answer.verdict == "rate-limited":
        if known.state != "unknown":
            return counted
        return changed(counted, "unknown", "rate-limited", answer.reason, answer.advice, now)
    if answer.verdict == "outage":
        return after_outage(counted, answer, failures_before_error, now)
    counted = replace(counted, consecutive_failures=0)
    if answer.verdict == "refused":
        return changed(counted, "error", answer.cause, answer.reason, answer.advice, now)
    counted = replace(counted, last_success=now)
    return changed(counted, answer.verdict, answer.cause, answer.reason, answer.advice, now)


def after_outage(known: PollerState, answer: Answer, failures_before_error: int, now: float) -> PollerState:
    """Count one more failure: an error from the configured number on; in the unknown state it at least sets the cause."""
    failed = replace(known, consecutive_failures=known.consecutive_failures + 1)
    if failed.consecutive_failures >= failures_before_error:
        return changed(failed, "error", "outage", answer.reason, answer.advice, now)
    if known.state == "unknown":
        return changed(failed, "unknown", "outage", answer.reason, answer.advice, now)
    return failed


def waiting(known: PollerState, progress: Progress, now: float) -> PollerState:
    """The stream was reported as standing still and has not continued yet. An error stays, because it is more specific."""
    if known.state == "error" or progress == "grown" or progress == "unknown":  # noqa: PLR1714 - mypy narrows by ==
        return known
    return changed(known, "starting", progress, WAITING[progress], "", now)


def changed(known: PollerState, state: StreamState, cause: Cause, reason: str, advice: str, now: float) -> PollerState:
    """`known` with another state, and since when."""
    is_same = (known.state, known.cause) == (state, cause)
    return replace(
        known,
        state=state,
        cause=cause,
        reason=reason,
        advice=advice,
        since=known.since if is_same and known.since else now,
        live_since=live_since(known, state, cause, now),
    )


def live_since(known: PollerState, state: StreamState, cause: Cause, now: float) -> float | None:
    """Since when the stream is on air; a stall or an outage of the API doesn't reset it."""
    if state == "live":
        return known.live_since or now
    passes = (state == "error" and cause == "outage") or (state == "starting" and cause != "")
    return known.live_since if passes else None


def with_url(known: PollerState, url: str, obtained_monotonic: float) -> PollerState:
    return replace(known, url_obtained_monotonic=obtained_monotonic, url_expires=expiry_of(url))


def without_url(known: PollerState) -> PollerState:
    return replace(known, url_obtained_monotonic=None, url_expires=None)


def with_limits(known: PollerState, limits: Limits) -> PollerState:
    if limits == Limits():
        return known
    return replace(known, ratelimit_limit=limits.limit, ratelimit_remaining=limits.remaining, ratelimit_reset=limits.reset)


def counted(requests: Requests, exchange: Exchange) -> Requests:
    """Count one more request; the buckets are cumulative."""
    by_outcome = {**requests.by_outcome, exchange.outcome: requests.by_outcome.get(exchange.outcome, 0) + 1}
    bounds = zip(requests.duration_buckets, DURATION_BUCKETS_SECONDS, strict=True)
    buckets = tuple(count + (exchange.seconds <= bound) for count, bound in bounds)
    total = requests.duration_sum_seconds + exchange.seconds
    return Requests(by_outcome, buckets, requests.duration_count + 1, total)


def streak_after(streak: FailureStreak, answer: Answer) -> FailureStreak:
    """How often in a row each kind of failure occurred."""
    if answer.verdict == "outage":
        return FailureStreak(failures=streak.failures + 1)
    if answer.verdict == "refused":
        return FailureStreak(refusals=streak.refusals + 1)
    if answer.verdict == "rate-limited":
        return FailureStreak(rate_limited=streak.rate_limited + 1)
    return FailureStreak()


def not_askable(stream: Stream, token: str, problem: str) -> tuple[Cause, str, str] | None:
    """Why no request is possible: cause, reason, advice. None if one is. `problem` is about the token's file."""
    if not stream.is_set_up():
        return "no-stream", "No stream is set up yet", CHOOSE_STREAM
    if stream.url or token:
        return None
    return "no-token", problem or "The Vimeo token is missing", SET_TOKEN


def kind_of(stream: Stream) -> str:
    """The kind of a stream for its state: "vimeo-event", "vimeo-video", "url", or "" for none."""
    if stream.vimeo_event:
        return "vimeo-event"
    if stream.vimeo_video:
        return "vimeo-video"
    return "url" if stream.url else ""


def source_of(stream: Stream, key: bytes) -> str:
    """As in `PollerState`: differs where kind, number or URL differ. Without the key, it can't confirm a guessed URL."""
    kind = kind_of(stream)
    if not kind:
        return ""
    address = stream.vimeo_event or stream.vimeo_video or stream.url
    return hashlib.blake2b(f"{kind} {address}".encode(), key=key, digest_size=16).hexdigest()


def status_line(known: PollerState) -> str:
    """The status line of `systemctl status`, in local time."""
    if known.state == "live" and known.live_since:
        return f"live since {clock(known.live_since, '%H:%M')}"
    if known.state == "offline" and known.next_start:
        return f"offline; next start {clock(known.next_start, '%a %H:%M')}"
    if known.state in ("error", "unknown", "starting") and known.reason:
        return f"{known.state}: {known.reason}"
    return str(known.state)


def clock(at: float, form: str) -> str:
    try:
        return time.strftime(form, local_time(at))
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
