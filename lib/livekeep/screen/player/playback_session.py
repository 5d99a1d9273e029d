"""The stream's session on the display: whether it plays, when it can be opened, which URL the player requests from the poller.

No I/O; the time is passed in (monotonic seconds).
"""

import time
from dataclasses import dataclass

from livekeep.core.state import UrlRequest, UrlRequestReason
from livekeep.screen.player.decision import Phase, StreamReport, phase_of

FRESH_SECONDS = 9.0
"""A signed URL is valid for 10 to 60 s (Vimeo's `ttl`): an older one is no longer opened."""
STEADY_SECONDS = 10.0
"""A stream that played this long was healthy: the delay between attempts is reset."""
LONGEST_DELAY_SECONDS = 10.0


@dataclass
class Counts:
    """Since the player started; the names are those of `core.state.Playback`."""

    stalls: int = 0
    stalled_seconds: float = 0.0
    last_stall_at: float | None = None
    """Unix seconds."""
    starts: int = 0
    failed_starts: int = 0


class PlaybackSession:
    """One stream on one display, from the first attempt to the end. `is_open`: whether the display has the stream open.

    `source`: what the stream is opened from, as in `core.state.PollerState`; "" if unknown.
    """

    def __init__(self, counts: Counts | None = None, source: str = "") -> None:
        self.counts = counts or Counts()
        self.source = source
        self.phase: Phase = "none"
        self.url_request: UrlRequest | None = None
        self.failures = 0
        self.not_before = 0.0
        self.is_open = False
        self._playing_since: float | None = None
        self._stalled_since: float | None = None

    def is_of(self, source: str) -> bool:
        """Whether the session is for the stream of that source; never for an unknown one."""
        return source != "" and self.source == source

    def turn_to(self, source: str) -> None:
        """The stream of `source` is now requested: drops one of another source, with its failures and URL request."""
        if not self.is_of(source):
            self.close()
            self.source = source

    def open(self) -> None:
        """The display has received the stream."""
        self.is_open = True
        self._playing_since = None
        self.counts.starts += 1

    def close(self) -> None:
        """The stream is no longer needed."""
        self.is_open = False
        self.phase = "none"
        self.url_request = None
        self.failures = 0
        self.not_before = 0.0
        self._stalled_since = None

    def reopen(self, now: float) -> None:
        """The stream plays, but must be reopened with a fresh URL; this is not a failure."""
        self.is_open = False
        self.request_url("start", now)

    def request_url(self, reason: UrlRequestReason, now: float) -> None:
        self.url_request = UrlRequest(reason, now)

    def may_start(self, obtained: float | None, now: float) -> bool:
        """Whether a URL obtained at that time can be opened now; requests a fresh one if it is too old."""
        if obtained is None or now < self.not_before:
            return False
        if self.url_request and obtained < self.url_request.requested_monotonic:
            return False
        if now - obtained > FRESH_SECONDS:
            self.request_url("start", now)
            return False
        return True

    def follow(self, report: StreamReport, now: float, stall_seconds: float) -> None:
        """Set `phase` from the display's report. Each stop gives "stalled", "ended" or "failed" once, and closes the stream."""
        phase = phase_of(report, now, stall_seconds)
        # A restarted player takes over the stream that the display already plays.
        self.is_open = self.is_open or phase in ("loading", "playing")
        self.phase = phase if self.is_open else "none"
        if self.phase == "playing":
            self.url_request = None
            if self._playing_since is None:
                self._playing_since = now
            if self._stalled_since is not None:
                self.counts.stalled_seconds += now - self._stalled_since
                self._stalled_since = None
            if now - self._playing_since >= STEADY_SECONDS:
                self.failures = 0
        elif self.phase in ("stalled", "ended"):
            self.is_open = False
            self._note_stop(report, now)

    def _note_stop(self, report: StreamReport, now: float) -> None:
        if self.phase == "stalled" and self._playing_since is not None:
            self.counts.stalls += 1
            self.counts.last_stall_at = time.time()
            self._stalled_since = report.changed_monotonic
            self.request_url("stall", now)
            return
        self.request_url("end", now)
        if self._playing_since is None or now - self._playing_since < STEADY_SECONDS:
            self.phase = "failed"
            self.not_before = now + min(0.5 * 2.0 ** min(self.failures, 10), LONGEST_DELAY_SECONDS)
            self.failures += 1
            self.counts.failed_starts += 1
