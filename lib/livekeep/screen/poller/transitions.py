"""State transitions after a response. Pure; `now` is the wall clock, Unix seconds.

An outage changes nothing until it has lasted for several responses, and a rate limit never does: the last good state stays.
"""

import hashlib
import time
from dataclasses import replace

from livekeep.core.config import Stream
from livekeep.core.state import DURATION_BUCKETS_SECONDS, Cause, PollerState, Requests, StreamState
from livekeep.core.text import local_time
from livekeep.screen.poller.vimeo import SET_TOKEN, Answer
from livekeep.system.vimeo import Limits

CHOOSE_STREAM = "set vimeo_event in /etc/livekeep/livekeep.toml, then run: sudo systemctl reload livekeep-poller"
WAITING: dict[Cause, str] = {
    "standing-still": "The stream stands still; waiting for it to continue",
    "ended": "The stream has ended according to its playlist; waiting for Vimeo to confirm that, or for the stream to continue",
    "not-open": "The stream cannot be opened; waiting for it to come back",
}


def judged(known: PollerState, answer: Answer, failures_before_error: int, now: float) -> PollerState:
    """The state after a response."""
    why, limits = (answer.cause, answer.reason, answer.advice, now), answer.limits
    if limits != Limits():
        known = replace(known, ratelimit_limit=limits.limit, ratelimit_remaining=limits.remaining, ratelimit_reset=limits.reset)
    if answer.verdict == "rate-limited":
        return changed(known, "unknown", *why) if known.state == "unknown" else known
    if answer.verdict == "outage":
        known = replace(known, consecutive_failures=known.consecutive_failures + 1)
        if known.consecutive_failures >= failures_before_error:
            return changed(known, "error", *why)
        return changed(known, "unknown", *why) if known.state == "unknown" else known
    known = replace(known, consecutive_failures=0)
    if answer.verdict == "refused":
        return changed(known, "error", *why)
    return changed(replace(known, last_success=now), answer.verdict, *why)


def waiting(known: PollerState, cause: Cause, now: float) -> PollerState:
    """The stream was reported as standing still and has not continued yet. An error stays, because it is more specific."""
    return known if known.state == "error" else changed(known, "starting", cause, WAITING[cause], "", now)


def changed(known: PollerState, state: StreamState, cause: Cause, reason: str, advice: str, now: float) -> PollerState:
    """`known` with another state, and since when."""
    is_same = (known.state, known.cause) == (state, cause)
    since = known.since if is_same and known.since else now
    # A stall or an outage of the API doesn't end the time on air.
    goes_on = state == "live" or (state == "error" and cause == "outage") or (state == "starting" and cause != "")
    live_since = known.live_since if goes_on else None
    if state == "live":
        live_since = live_since or now
    return replace(known, state=state, cause=cause, reason=reason, advice=advice, since=since, live_since=live_since)


def counted(requests: Requests, outcome: str, seconds: float) -> Requests:
    """Count one more request; the buckets are cumulative."""
    by_outcome = {**requests.by_outcome, outcome: requests.by_outcome.get(outcome, 0) + 1}
    bounds = zip(requests.duration_buckets, DURATION_BUCKETS_SECONDS, strict=True)
    buckets = tuple(count + (seconds <= bound) for count, bound in bounds)
    return Requests(by_outcome, buckets, requests.duration_count + 1, requests.duration_sum_seconds + seconds)


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
    if not stream.is_set_up():
        return ""
    address = stream.vimeo_event or stream.vimeo_video or stream.url
    return hashlib.blake2b(f"{kind_of(stream)} {address}".encode(), key=key, digest_size=16).hexdigest()


def status_line(known: PollerState) -> str:
    """The status line of `systemctl status`, in local time."""
    if known.state == "live" and known.live_since:
        return f"live since {time.strftime('%H:%M', local_time(known.live_since))}"
    if known.state == "offline" and known.next_start:
        try:
            return f"offline; next start {time.strftime('%a %H:%M', local_time(known.next_start))}"
        except (ValueError, OverflowError, OSError):
            return "offline; next start at an unknown time"
    if known.state in ("error", "unknown", "starting") and known.reason:
        return f"{known.state}: {known.reason}"
    return str(known.state)
