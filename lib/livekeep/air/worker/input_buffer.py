"""An item on its way from its feeder into the relay: the tags that have come, and whether they are enough to begin with. Pure."""

import math
from collections import deque

from livekeep.air.worker.flv import AUDIO, SCRIPT, VIDEO, Reader, Tag

LARGEST_AHEAD_BYTES = 3 * 1024 * 1024
"""What is held of an item in memory; the rest waits in the feeder."""
LONGEST_AHEAD_SECONDS = 6.0
NEED_SECONDS = 1.0
"""More than the relay sends at once when a connection begins."""
LARGEST_NEED_SECONDS = 5.0
"""An item that ran dry comes back when it has gathered more than the last time, but no more than this."""
END_OF_SEQUENCE = 2


class InputBuffer:
    """The tags of one item, in the item's own time. Its feeder's bytes go in; the relay takes tags out."""

    def __init__(self, name: str, frame_ms: float) -> None:
        self.name = name
        self.frame_ms = frame_ms
        self.pictures: deque[Tag] = deque()
        self.sounds: deque[Tag] = deque()
        """Apart, since a feeder may be far ahead with one of them."""
        self.headers: dict[int, Tag] = {}
        """The newest sequence header of picture and sound, by kind."""
        self.is_over = False
        """No more will come."""
        self.first_ms: int | None = None
        self.played_to_ms = 0.0
        """The end of what the relay has taken."""
        self.taken_ms: int | None = None
        """The decoding time of the last picture that the relay has taken."""
        self.left_out_ms = 0.0
        """The holes that the relay has closed."""
        self.quiet_ms = 0.0
        """The sound that the relay has put where the item had none."""
        self.problem = ""
        """Why not all of it went out, or not as it is; one sentence."""
        self.is_cut = False
        """Pictures of it are missing for certain, whatever its length was said to be."""
        self._bytes = 0
        self._reader = Reader()
        self._need_seconds = NEED_SECONDS
        self._waits_for_keyframe = True
        self._is_interrupted = False
        self._has_sound = False

    def feed(self, data: bytes) -> None:
        """Take bytes of the feeder. Raises `FlvError`."""
        for tag in self._reader.feed(data):
            self._take(tag)

    def end(self) -> None:
        """The feeder is at its end."""
        self.is_over = True

    def _take(self, tag: Tag) -> None:
        if tag.kind == SCRIPT or (tag.kind == VIDEO and len(tag.body) > 1 and tag.body[1] == END_OF_SEQUENCE):
            return
        if tag.is_sequence_header:
            # A file may have another one in its middle: it travels with the tags.
            if tag.kind not in self.headers:
                self.headers[tag.kind] = tag
                return
        elif self._waits_for_keyframe:
            if tag.kind == VIDEO and not tag.is_keyframe:
                return
            if tag.kind == AUDIO and self._is_interrupted:
                # Sound without its picture would come before the slate is left.
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
        """Of the picture."""
        return (self.pictures[-1].timestamp - self.pictures[0].timestamp) / 1000 if self.pictures else 0.0

    @property
    def is_ready(self) -> bool:
        """Whether it can go on the wire and will not run dry at once."""
        if VIDEO not in self.headers or self._waits_for_keyframe or self.head is None:
            return False
        enough = self.ahead_seconds >= self._need_seconds and (self._has_sound or AUDIO not in self.headers)
        return self.is_over or self.is_full or enough

    @property
    def is_empty(self) -> bool:
        """Nothing is there, and nothing will come."""
        return self.is_over and (self.head is None or self._waits_for_keyframe or VIDEO not in self.headers)

    @property
    def played_seconds(self) -> float:
        """Of what was shown; the holes in it do not count."""
        return (self.played_to_ms - self.first_ms - self.left_out_ms) / 1000 if self.first_ms is not None else 0.0

    def place(self, timestamp_ms: float) -> str:
        """A moment of the item's own time as people say it."""
        return f"{(timestamp_ms - (self.first_ms or 0)) / 1000:.1f}"

    @property
    def head(self) -> Tag | None:
        """The next tag in the order of their times."""
        if self.pictures and self.sounds:
            return self.pictures[0] if self.pictures[0].timestamp <= self.sounds[0].timestamp else self.sounds[0]
        return self.pictures[0] if self.pictures else self.sounds[0] if self.sounds else None

    def pop(self, first: Tag | None = None) -> Tag:
        """Take the next tag, which is there: `first`, the first of its kind, or else the next in the order of their times."""
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
        """Leave out the sound that begins earlier."""
        while self.sounds and self.sounds[0].timestamp < before_ms:
            self._drop(self.sounds)

    def _drop(self, tags: deque[Tag]) -> None:
        tag = tags.popleft()
        self._bytes -= len(tag.body)
        if tag.is_sequence_header:
            self.headers[tag.kind] = tag

    def put_back(self, tags: list[Tag]) -> None:
        """What was taken last goes to the front again."""
        for tag in reversed(tags):
            (self.pictures if tag.kind == VIDEO else self.sounds).appendleft(tag)
            self._bytes += len(tag.body)

    def leave_to_keyframe(self) -> None:
        """Leave out what cannot be shown by itself, now and in what comes."""
        self.taken_ms = None
        while self.pictures and not self.pictures[0].is_keyframe:
            self._drop(self.pictures)
        self.drop_sounds(self.pictures[0].timestamp if self.pictures else math.inf)
        self._waits_for_keyframe = self._is_interrupted = not self.pictures

    def interrupt(self) -> None:
        """It ran dry: it begins again with a keyframe, when it has gathered more than the last time."""
        self.leave_to_keyframe()
        self._need_seconds = min(self._need_seconds * 2 + 1, LARGEST_NEED_SECONDS)
