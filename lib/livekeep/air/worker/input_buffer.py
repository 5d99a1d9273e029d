"""The buffer of an item between its feeder and the relay: its tags, and whether they suffice to begin. Pure."""

import math
from collections import deque

from livekeep.air.worker.flv import AUDIO, SCRIPT, VIDEO, Reader, Tag

LARGEST_AHEAD_BYTES = 3 * 1024 * 1024
"""The most that is held of an item in memory; the rest waits in the feeder."""
LONGEST_AHEAD_SECONDS = 6.0
NEED_SECONDS = 1.0
"""More than the relay sends at once when a connection begins."""
LARGEST_NEED_SECONDS = 5.0
"""An item that ran dry resumes when it has buffered more than the last time, but needs no more than this."""
END_OF_SEQUENCE = 2


class InputBuffer:
    """The tags of an item or the slate, in its own time. The feeder's bytes go in; the relay takes tags out."""

    def __init__(self, name: str, frame_ms: float) -> None:
        self.name = name
        self.frame_ms = frame_ms
        self.pictures: deque[Tag] = deque()
        self.sounds: deque[Tag] = deque()
        """Separate queues, since a feeder can be far ahead with one of them."""
        self.headers: dict[int, Tag] = {}
        """The newest sequence header of video and audio, by kind."""
        self.is_over = False
        """The feeder delivers no more."""
        self.first_ms: int | None = None
        self.played_to_ms = 0.0
        """The end of what the relay has taken."""
        self.taken_ms: int | None = None
        """The decoding time of the last picture that the relay has taken."""
        self.left_out_ms = 0.0
        """The total length of the holes that the relay has closed."""
        self.quiet_ms = 0.0
        """The total length of the quiet audio that the relay inserted where the item had none."""
        self.problem = ""
        """Why it was not sent in full or unchanged; one sentence."""
        self.is_cut = False
        """Pictures of it are certainly missing, whatever length its header stated."""
        self._bytes = 0
        self._reader = Reader()
        self._need_seconds = NEED_SECONDS
        self._waits_for_keyframe = True
        self._is_interrupted = False
        self._has_sound = False

    def feed(self, data: bytes) -> None:
        """Parse bytes from the feeder. Raises `FlvError`."""
        for tag in self._reader.feed(data):
            self._take(tag)

    def end(self) -> None:
        """The feeder has ended."""
        self.is_over = True

    def _take(self, tag: Tag) -> None:
        if tag.kind == SCRIPT or (tag.kind == VIDEO and len(tag.body) > 1 and tag.body[1] == END_OF_SEQUENCE):
            return
        if tag.is_sequence_header:
            # A file can have another one in its middle, which stays in order with the tags.
            if tag.kind not in self.headers:
                self.headers[tag.kind] = tag
                return
        elif self._waits_for_keyframe:
            if tag.kind == VIDEO and not tag.is_keyframe:
                return
            if tag.kind == AUDIO and self._is_interrupted:
                # Audio without its picture would be sent before the slate ends.
                return
            if tag.kind == VIDEO:
                self._waits_for_keyframe = self._is_interrupted = False
        if self.first_ms is None:
            self.first_ms = tag.timestamp
            self.played_to_ms = float(tag.timestamp)
        self._has_sound = self._has_sound or tag.kind == AUDIO
        (self.pictures if tag.kind == VIDEO else self.sounds).append(tag)
        self._bytes += len(tag.body)

    @property
    def is_full(self) -> bool:
        return self._bytes >= LARGEST_AHEAD_BYTES or self.ahead_seconds >= LONGEST_AHEAD_SECONDS

    @property
    def ahead_seconds(self) -> float:
        """How much video is buffered."""
        return (self.pictures[-1].timestamp - self.pictures[0].timestamp) / 1000 if self.pictures else 0.0

    @property
    def is_ready(self) -> bool:
        """Whether it can start without running dry immediately."""
        if VIDEO not in self.headers or self._waits_for_keyframe or self.head is None:
            return False
        enough = self.ahead_seconds >= self._need_seconds and (self._has_sound or AUDIO not in self.headers)
        return self.is_over or self.is_full or enough

    @property
    def is_empty(self) -> bool:
        """Nothing is buffered, and no more will come."""
        return self.is_over and (self.head is None or self._waits_for_keyframe or VIDEO not in self.headers)

    @property
    def played_seconds(self) -> float:
        """How much was shown; the closed holes don't count."""
        return (self.played_to_ms - self.first_ms - self.left_out_ms) / 1000 if self.first_ms is not None else 0.0

    def place(self, timestamp_ms: float) -> str:
        """A moment of the item's own time, formatted for people."""
        return f"{(timestamp_ms - (self.first_ms or 0)) / 1000:.1f}"

    @property
    def head(self) -> Tag | None:
        """The next tag by timestamp."""
        if self.pictures and self.sounds:
            return self.pictures[0] if self.pictures[0].timestamp <= self.sounds[0].timestamp else self.sounds[0]
        return self.pictures[0] if self.pictures else self.sounds[0] if self.sounds else None

    def pop(self, first: Tag | None = None) -> Tag:
        """Remove and return the next tag, which must exist: `first`, the first of its kind, or else the next by timestamp."""
        first = first or self.head
        tag = (self.pictures if first and first.kind == VIDEO else self.sounds).popleft()
        self._bytes -= len(tag.body)
        if tag.is_sequence_header:
            self.headers[tag.kind] = tag
        elif tag.kind == VIDEO:
            self.taken_ms = tag.timestamp
            self.played_to_ms = max(self.played_to_ms, tag.timestamp + tag.composition_ms + self.frame_ms)
        return tag

    def drop_sounds(self, before_ms: float) -> None:
        """Discard the audio that begins earlier."""
        while self.sounds and self.sounds[0].timestamp < before_ms:
            self._drop(self.sounds)

    def _drop(self, tags: deque[Tag]) -> None:
        tag = tags.popleft()
        self._bytes -= len(tag.body)
        if tag.is_sequence_header:
            self.headers[tag.kind] = tag

    def put_back(self, tags: list[Tag]) -> None:
        """Put back the tags that were taken last."""
        for tag in reversed(tags):
            (self.pictures if tag.kind == VIDEO else self.sounds).appendleft(tag)
            self._bytes += len(tag.body)

    def leave_to_keyframe(self) -> None:
        """Discard tags until the next keyframe, also among those still to come."""
        self.taken_ms = None
        while self.pictures and not self.pictures[0].is_keyframe:
            self._drop(self.pictures)
        self.drop_sounds(self.pictures[0].timestamp if self.pictures else math.inf)
        self._waits_for_keyframe = self._is_interrupted = not self.pictures

    def interrupt(self) -> None:
        """The item ran dry: it resumes at a keyframe, after buffering more than the last time."""
        self.leave_to_keyframe()
        self._need_seconds = min(self._need_seconds * 2 + 1, LARGEST_NEED_SECONDS)
