"""Whether the picture of a stream moves, by small copies of it that are taken now and then. All times are monotonic seconds.

A position that moves says nothing of that: an encoder that lost its camera sends the same picture, or a black one, on and on. It
encodes it again all the time, so that two copies are never quite the same.
"""

from livekeep.core.state import StreamPicture

TOLERANCE = 6
"""Of 255 levels, for the mean of one part of the picture: x264 changed it by up to 5 at 300 kbit/s, 720p; a clock in it by 7."""
LONGEST_GAP_SECONDS = 300.0
"""After a longer time without a copy nothing is known of what was between."""


class Motion:
    """`changed` tells when the picture was last seen to change, None when it was never seen; `cost_seconds` what a copy took."""

    def __init__(self) -> None:
        self.changed: float | None = None
        self.cost_seconds = 0.0
        self._reference = b""
        self._blank_since: float | None = None
        self._seen = 0.0

    def note(self, copy: bytes, now: float) -> None:
        """Take in a copy: the brightness of each part of the picture, always the same number of them."""
        if not copy:
            return
        is_late = now - self._seen > LONGEST_GAP_SECONDS
        self._seen = now
        if is_late or self.changed is None or differ(copy, self._reference):
            self.changed, self._reference = now, copy
        is_blank = max(copy) - min(copy) <= TOLERANCE
        if not is_blank:
            self._blank_since = None
        elif is_late or self._blank_since is None:
            self._blank_since = now

    def judge(self, now: float, blank_seconds: float, frozen_seconds: float) -> StreamPicture:
        """What is to be seen: "blank" or "frozen" once it has been so for that long, 0 for never."""
        if self.changed is None:
            return ""
        if blank_seconds and self._blank_since is not None and now - self._blank_since >= blank_seconds:
            return "blank"
        return "frozen" if frozen_seconds and now - self.changed >= frozen_seconds else "moving"


def differ(one: bytes, other: bytes) -> bool:
    """Whether two copies are of different pictures."""
    return len(one) != len(other) or any(abs(a - b) > TOLERANCE for a, b in zip(one, other, strict=True))
