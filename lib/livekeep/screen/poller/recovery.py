"""The recovery of the stream after its end or a stall, as far as it is the poller's: when the player may open it again.

The player shows the holding picture and requests a URL. With the first answer after that, which brings a fresh URL, the checks of
the playlist begin; once it has grown, or tells nothing, the URL is handed out: the one in hand, or that of another poll when it
is too old by then. Until then the stream is published as starting. All times are monotonic seconds, but `wall` is Unix seconds.
"""

import logging
import math
from dataclasses import dataclass, replace

from livekeep.core.state import PollerState, StreamUrl, UrlRequest
from livekeep.screen.poller import stream_check, transitions
from livekeep.screen.poller.stream_check import StreamCheck
from livekeep.screen.poller.vimeo import Answer
from livekeep.system.hls import Media

FRESH_SECONDS = 8.0
"""A signed URL may live for ten seconds only: an older one is requested again before a start."""
NEVER = math.inf

logger = logging.getLogger("livekeep.poller")

Step = tuple[PollerState, StreamUrl | None]
"""The state to publish, and the URL to hand out with it."""


@dataclass(frozen=True)
class Attempt:
    """One recovery that is going on. `first` is the first playlist since; `began` and `next_check` pace the checks."""

    began: float
    next_check: float
    first: Media | None = None
    may_play: bool = False
    """Whether the stream goes on, and only the URL is too old."""

    def after_check(self, check: StreamCheck, now: float) -> "Attempt":
        """Remember the first playlist; the next check is a second later, two after a minute, ten after ten minutes."""
        waited = now - self.began
        pause = 1.0 if waited < 60 else 2.0 if waited < 600 else 10.0
        return replace(self, next_check=now + pause, first=self.first or check.media)


class StreamRecovery:
    """`in_hand` is the newest URL; `attempt` is None while nothing is to be recovered."""

    def __init__(self) -> None:
        self.in_hand: StreamUrl | None = None
        self.attempt: Attempt | None = None
        self._acted = -NEVER

    def forget(self) -> None:
        """The stream is another one, or off air."""
        self.in_hand = self.attempt = None

    def begin(self, request: UrlRequest | None, obtained: float | None, now: float, is_held: bool) -> bool:
        """Act once on each URL request that is newer than the URL that the player has; whether to poll now.

        `is_held`: no poll can bring a fresh URL soon, so the one in hand is checked.
        """
        if request is None or request.requested_monotonic <= max(self._acted, -NEVER if obtained is None else obtained):
            return False
        self._acted = request.requested_monotonic
        self.attempt = None if request.reason == "start" else Attempt(now, now if is_held else NEVER)
        return True

    def after_answer(self, base: PollerState, fresh: PollerState, answer: Answer, source: str, now: float, wall: float) -> Step:
        """`base` is what was known before the answer, `fresh` what the answer says by itself."""
        if answer.verdict == "live":
            self.in_hand = StreamUrl(answer.url, now, source)
            if self.attempt is None or self.attempt.may_play or not answer.url.startswith("http"):
                self.attempt = None
                return fresh, self.in_hand
            self._begin_checks(now)
            if base.state in ("live", "starting"):
                return with_state_of(base, fresh), None
            return transitions.waiting(replace(fresh, state="starting"), "standing-still", wall), None
        if answer.verdict in ("outage", "rate-limited"):
            self._begin_checks(now)
            if self.attempt and self.attempt.may_play and self.in_hand:
                return self._hand_out_again(fresh, now, wall)
            return fresh, None
        self.forget()
        return fresh, None

    def check_due(self) -> float:
        """When the playlist is to be checked."""
        return self.attempt.next_check if self.attempt and self.in_hand and not self.attempt.may_play else NEVER

    def url_to_check(self, now: float) -> str:
        """The address of a playlist that is due; "" for none."""
        url = self.in_hand.url if self.in_hand and now >= self.check_due() else ""
        return url if url.startswith("http") else ""

    def after_check(self, known: PollerState, check: StreamCheck, now: float, wall: float, is_held: bool) -> Step | None:
        """What a check makes of what is known; None where another poll must bring a fresh URL first."""
        if not self.attempt or not self.in_hand:
            return known, None
        progress = stream_check.progress(self.attempt.first, check)
        self.attempt = self.attempt.after_check(check, now)
        logger.debug("checked the playlist: %s", progress)
        is_fresh = now - self.in_hand.obtained_monotonic <= FRESH_SECONDS
        if check.kind == "refused" and not is_fresh:
            # Its signature may be over.
            return None
        if progress not in ("grown", "unknown"):
            return transitions.waiting(known, progress, wall), None
        self.attempt = replace(self.attempt, may_play=True)
        return self._hand_out_again(known, now, wall) if is_fresh or is_held else None

    def _begin_checks(self, now: float) -> None:
        if self.attempt and self.attempt.next_check == NEVER:
            self.attempt = replace(self.attempt, next_check=now)

    def _hand_out_again(self, known: PollerState, now: float, wall: float) -> Step:
        """Live with the URL in hand, which has just been seen to work."""
        self.attempt = None
        if self.in_hand and self.in_hand.obtained_monotonic <= max(self._acted, now - FRESH_SECONDS):
            self.in_hand = replace(self.in_hand, obtained_monotonic=now)
        return transitions.changed(known, "live", "", "", "", wall), self.in_hand


def with_state_of(base: PollerState, fresh: PollerState) -> PollerState:
    """The figures of `fresh` with what `base` says of the stream."""
    kept = replace(fresh, state=base.state, cause=base.cause, reason=base.reason, advice=base.advice)
    return replace(kept, since=base.since, live_since=base.live_since)
