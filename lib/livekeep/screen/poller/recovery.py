"""The poller's part of the stream's recovery after its end or a stall: decides when the player can reopen it.

The player shows the holding picture and requests a URL. The next response brings a fresh URL and starts the checks of the
playlist. Once the playlist has grown, or can't be judged, the player gets the current URL, or that of another poll if the current
one is too old. Until then the published state is starting. All times are monotonic seconds, but `wall` is Unix seconds.
"""

import logging
import math
from dataclasses import dataclass, replace

from livekeep.core.state import PollerState, StreamUrl, UrlRequest
from livekeep.screen.poller import stream_check, transitions
from livekeep.screen.poller.vimeo import Answer
from livekeep.system.hls import Media

FRESH_SECONDS = 8.0
"""A signed URL can be valid for only ten seconds: an older one is requested again before a start."""
NEVER = math.inf

logger = logging.getLogger("livekeep.poller")

Step = tuple[PollerState, StreamUrl | None]
"""The state to publish, and the URL to publish with it."""


@dataclass
class Attempt:
    """A recovery in progress. `first` is the first playlist since its start; `began` and `next_check` schedule the checks."""

    began: float
    next_check: float
    first: Media | None = None
    may_play: bool = False
    """Whether the stream continues, and only the URL is too old."""


class StreamRecovery:
    """`in_hand` is the newest URL; `attempt` is None when no recovery is in progress."""

    def __init__(self) -> None:
        self.in_hand: StreamUrl | None = None
        self.attempt: Attempt | None = None
        self._acted = -NEVER

    def forget(self) -> None:
        """The stream was changed, or is off air."""
        self.in_hand = self.attempt = None

    def begin(self, request: UrlRequest | None, obtained: float | None, now: float, is_held: bool) -> bool:
        """Act once on each URL request that is newer than the player's URL; whether to poll now.

        `is_held`: no poll can bring a fresh URL soon, so the current one is checked.
        """
        if request is None or request.requested_monotonic <= max(self._acted, -NEVER if obtained is None else obtained):
            return False
        self._acted = request.requested_monotonic
        self.attempt = None if request.reason == "start" else Attempt(now, now if is_held else NEVER)
        return True

    def after_answer(self, base: PollerState, fresh: PollerState, answer: Answer, source: str, now: float, wall: float) -> Step:
        """`base` is the state before the answer, `fresh` the state from the answer alone."""
        attempt = self.attempt
        if answer.verdict not in ("live", "outage", "rate-limited"):
            self.forget()
            return fresh, None
        if answer.verdict == "live":
            self.in_hand = StreamUrl(answer.url, now, source)
            if attempt is None or attempt.may_play or not answer.url.startswith("http"):
                self.attempt = None
                return fresh, self.in_hand
        if attempt and attempt.next_check == NEVER:
            attempt.next_check = now
        if answer.verdict == "live":
            if base.state not in ("live", "starting"):
                return transitions.waiting(replace(fresh, state="starting"), "standing-still", wall), None
            kept = replace(fresh, state=base.state, cause=base.cause, reason=base.reason, advice=base.advice)
            return replace(kept, since=base.since, live_since=base.live_since), None
        if attempt and attempt.may_play and self.in_hand:
            return self._hand_out_again(fresh, now, wall)
        return fresh, None

    def check_due(self) -> float:
        """When the playlist check is due."""
        return self.attempt.next_check if self.attempt and self.in_hand and not self.attempt.may_play else NEVER

    def url_to_check(self, now: float) -> str:
        """The URL of a playlist whose check is due; "" for none."""
        url = self.in_hand.url if self.in_hand and now >= self.check_due() else ""
        return url if url.startswith("http") else ""

    def after_check(self, known: PollerState, check: Answer, now: float, wall: float, is_held: bool) -> Step | None:
        """The state after a check; None if another poll must bring a fresh URL first."""
        attempt = self.attempt
        if not attempt or not self.in_hand:
            return known, None
        cause = stream_check.standstill(attempt.first, check)
        logger.debug("checked the playlist: %s", cause or "can be played")
        waited = now - attempt.began
        attempt.next_check = now + (1.0 if waited < 60 else 2.0 if waited < 600 else 10.0)
        attempt.first = attempt.first or check.media
        is_fresh = now - self.in_hand.obtained_monotonic <= FRESH_SECONDS
        if check.verdict == "refused" and not is_fresh:
            # Its signature may have expired.
            return None
        if cause:
            return transitions.waiting(known, cause, wall), None
        attempt.may_play = True
        return self._hand_out_again(known, now, wall) if is_fresh or is_held else None

    def _hand_out_again(self, known: PollerState, now: float, wall: float) -> Step:
        """Live with the current URL, which the check has just confirmed."""
        self.attempt = None
        if self.in_hand and self.in_hand.obtained_monotonic <= max(self._acted, now - FRESH_SECONDS):
            self.in_hand = replace(self.in_hand, obtained_monotonic=now)
        return transitions.changed(known, "live", "", "", "", wall), self.in_hand
