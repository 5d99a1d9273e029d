"""Detects whether the stream's picture moves, from small copies taken at intervals. All times are monotonic seconds.

A changing position is no proof: an encoder that lost its camera keeps sending the same picture, or a black one. It encodes
the picture again each time, so that two copies are never quite equal.
"""

from livekeep.core.state import StreamPicture

TOLERANCE = 6
"""Of 255 levels, for the mean of one part of the picture: x264 changed it by up to 5 at 300 kbit/s, 720p; a clock in it by 7."""
LONGEST_GAP_SECONDS = 300.0
"""After a longer gap between copies, the time between is unknown."""


class Motion:
    """`changed`: when the picture was last seen to change, None if never; `cost_seconds`: the duration of a copy."""

    def __init__(self) -> None:
        self.changed: float | None = None
        self.cost_seconds = 0.0
        self._reference = b""
        self._blank_since: float | None = None
        self._seen = 0.0

    def note(self, copy: bytes, now: float) -> None:
        """Add a copy: the brightness of each part of the picture, always the same number of parts."""
        if not copy:
            return
        is_late = now - self._seen > LONGEST_GAP_SECONDS
        self._seen = now
        differs = len(copy) != len(self._reference) or any(
            abs(a - b) > TOLERANCE for a, b in zip(copy, self._reference, strict=True)
        )
        if is_late or self.changed is None or differs:
            self.changed, self._reference = now, copy
        is_blank = max(copy) - min(copy) <= TOLERANCE
        if not is_blank:
            self._blank_since = None
        elif is_late or self._blank_since is None:
            self._blank_since = now

    def judge(self, now: float, blank_seconds: float, frozen_seconds: float) -> StreamPicture:
        """ "blank" or "frozen" if the picture has been so for that long (0: never), else "moving"; "" without a copy."""
        if self.changed is None:
            return ""
        if blank_seconds and self._blank_since is not None and now - self._blank_since >= blank_seconds:
            return "blank"
        return "frozen" if frozen_seconds and now - self.changed >= frozen_seconds else "moving"
