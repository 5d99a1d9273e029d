"""The timeline of a connection: where video and audio have ended, when the next tag is due, and the bytes of the tags sent. Pure.

Its times are ms since the connection began. Tags follow without a gap on those before; the slate's quiet audio fills in for
missing audio.
"""

from collections.abc import Iterable, Mapping

from livekeep.air.worker.flv import AUDIO, FILE_HEADER, SOUND_FRAME_MS, VIDEO, Tag, encode
from livekeep.air.worker.slate_loop import SlateLoop

BURST_SECONDS = 0.5
"""A connection begins with this much at once: the publisher detects the streams sooner, and the receiver has a buffer."""
LONGEST_LAG_MS = 2000.0
"""A longer lag, as after the machine's suspend, is not caught up: the timeline continues from here."""
MISSING_FRAMES = 1.5
"""A gap of this many audio frames is filled."""


class Timeline:
    """Tags are sent in runs from one source (an item or the slate); `place` begins the next run."""

    def __init__(self, slate: SlateLoop, frame_ms: float, metadata: bytes) -> None:
        self.media_seconds = 0.0
        """The time sent, over all connections."""
        self.drift_seconds = 0.0
        """How late the newest tag was sent, relative to its timestamp."""
        self.ends = {VIDEO: 0.0, AUDIO: 0.0}
        self.last = {VIDEO: -1, AUDIO: -1}
        """The timestamps of the newest tags."""
        self.offset_ms = 0.0
        """The offset that is added to the current source's timestamps."""
        self.is_new = False
        """Whether no picture of the source has reached its nominal time yet."""
        self.limit_ms = 0.0
        """Everything before this time is due."""
        self._slate, self._frame_ms, self._metadata = slate, frame_ms, metadata
        self._epoch: float | None = None
        self._first_ms = 0
        self._sent_headers: dict[int, bytes] = {}
        self._out: list[bytes] = []

    def connect(self, now: float, first_ms: int) -> None:
        """Begin a connection, which needs all headers again."""
        self._epoch, self._first_ms = now - BURST_SECONDS, first_ms
        self.ends = {VIDEO: float(first_ms), AUDIO: float(first_ms)}
        self.last = {VIDEO: first_ms - 1, AUDIO: first_ms - 1}
        self._sent_headers.clear()
        self._out = [FILE_HEADER, self._metadata]

    def disconnect(self) -> None:
        self._epoch = None
        self._out.clear()

    @property
    def is_connected(self) -> bool:
        return self._epoch is not None

    @property
    def has_sent(self) -> bool:
        """Whether any tag was sent on this connection."""
        return bool(self._sent_headers)

    @property
    def end_ms(self) -> float:
        return max(self.ends.values())

    def at(self, now: float) -> float:
        """The clock's position on the timeline."""
        return self._first_ms + (now - (self._epoch if self._epoch is not None else now)) * 1000

    def clock_of(self, time_ms: float) -> float:
        """The clock's time for a position on the timeline; only while connected."""
        return (self._epoch or 0.0) + (time_ms - self._first_ms) / 1000

    def take(self) -> bytes:
        """The bytes of the tags sent since the last call."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def time_of(self, tag: Tag) -> float:
        """When a tag is decoded.

        If an item needs less time for reordering than the one before it, its first pictures would be late by the difference:
        they are decoded earlier, each by a little less, and shown at their own time.
        """
        wanted = tag.timestamp + self.offset_ms
        if tag.kind == VIDEO and self.is_new:
            return min(wanted, self.last[VIDEO] + self._frame_ms + SOUND_FRAME_MS)
        return wanted

    def place(self, pictures: Iterable[Tag], sounds: Iterable[Tag], headers: Mapping[int, Tag]) -> None:
        """Begin a run with these tags: they start where both video and audio have ended."""
        self.is_new = True
        offsets = []
        picture = next((tag for tag in pictures if tag.is_picture), None)
        if picture:
            offsets.append(self.ends[VIDEO] - picture.timestamp - picture.composition_ms)
        sound = next((tag for tag in sounds if tag.kind == AUDIO and not tag.is_sequence_header), None)
        if sound:
            offsets.append(self.ends[AUDIO] - sound.timestamp)
        self.offset_ms = max(offsets, default=0.0)
        for tag in headers.values():
            self._send_header(tag, self.last[tag.kind] + 1)

    def send(self, tag: Tag) -> None:
        """Append one tag."""
        wanted = round(tag.timestamp + self.offset_ms)
        if tag.is_sequence_header:
            self._send_header(tag, wanted)
            return
        timestamp = max(round(self.time_of(tag)), self.last[tag.kind] + 1)
        if tag.kind == VIDEO and timestamp >= wanted:
            self.is_new = False
        self._put(moved(tag, timestamp - wanted), timestamp, ending(tag, self._frame_ms) + self.offset_ms)

    def fill_sound(self, until_ms: float, slack_ms: float = 0.0) -> None:
        """Fill missing audio with quiet audio up to about a moment; a gap of up to `slack_ms` may still be filled by the item."""
        least_ms = max(MISSING_FRAMES * SOUND_FRAME_MS, slack_ms)
        while until_ms - self.ends[AUDIO] >= least_ms and (body := self._slate.quiet(self._sent_headers.get(AUDIO))):
            end_ms = self.ends[AUDIO]
            self._put(Tag(AUDIO, 0, body), max(round(end_ms), self.last[AUDIO] + 1), end_ms + SOUND_FRAME_MS)

    def _put(self, tag: Tag, timestamp: int, end_ms: float) -> None:
        late_ms = self.limit_ms - timestamp
        if late_ms > LONGEST_LAG_MS and self._epoch is not None:
            self._epoch += late_ms / 1000
            self.limit_ms, late_ms = float(timestamp), 0.0
        self.drift_seconds = late_ms / 1000
        before = self.end_ms
        self.last[tag.kind] = timestamp
        self.ends[tag.kind] = max(self.ends[tag.kind], end_ms)
        self.media_seconds += (self.end_ms - before) / 1000
        self._out.append(encode(tag, timestamp))

    def _send_header(self, tag: Tag, timestamp: int) -> None:
        if self._sent_headers.get(tag.kind) != tag.body:
            self._sent_headers[tag.kind] = tag.body
            self._out.append(encode(tag, max(timestamp, self.last[tag.kind] + 1)))


def moved(tag: Tag, later_ms: int) -> Tag:
    """The tag with a later decoding time (negative: earlier) and an unchanged presentation time."""
    if not tag.is_picture or not later_ms:
        return tag
    composition_ms = max(tag.composition_ms - later_ms, 0)
    return tag._replace(body=tag.body[:2] + composition_ms.to_bytes(3, "big") + tag.body[5:])


def ending(tag: Tag, frame_ms: float) -> float:
    """When the tag's picture or audio ends, in its own time, ms."""
    if tag.kind == AUDIO:
        return tag.timestamp + SOUND_FRAME_MS
    return tag.timestamp + tag.composition_ms + frame_ms
