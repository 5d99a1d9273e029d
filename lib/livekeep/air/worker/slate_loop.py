"""The slate as an endless sequence of tags: its pictures in a loop, and its quiet audio for items that lack audio. Pure."""

from livekeep.air.worker.flv import AUDIO, SOUND_FRAME_MS, VIDEO, Tag
from livekeep.air.worker.input_buffer import InputBuffer

FORMAT_BYTES = 4
"""The part of an audio header that a decoder depends on: FLV's codec, then AAC's profile, sampling rate and channels."""


class SlateLoop:
    """The slate's tags in a loop. Its headers equal those of the items if it was made with the same parameters."""

    def __init__(self, flv: bytes, frame_ms: float) -> None:
        """Raises `FlvError`, or `ValueError` when it contains no picture."""
        buffer = InputBuffer("slate", frame_ms)
        buffer.feed(flv)
        buffer.end()
        if buffer.is_empty:
            raise ValueError("the slate contains no picture")
        self.headers = buffer.headers
        self._quiet = -1
        tags = tuple(iter(lambda: buffer.pop() if buffer.head else None, None))
        shown = [tag.timestamp + tag.composition_ms for tag in tags if tag.is_picture]
        self._length_ms = max(shown) + frame_ms - min(shown)
        # Audio outside the pictures' time would freeze the last picture at each repetition.
        first_ms, last_ms = min(shown) - SOUND_FRAME_MS / 2, max(shown) + frame_ms - SOUND_FRAME_MS / 2
        self.tags = tuple(tag for tag in tags if tag.kind == VIDEO or first_ms <= tag.timestamp < last_ms)
        self._sounds = tuple(tag.body for tag in self.tags if tag.kind == AUDIO and not tag.is_sequence_header)
        self.rewind()

    def rewind(self) -> None:
        self._next = 0
        self._offset_ms = 0.0

    def peek(self) -> Tag:
        tag = self.tags[self._next]
        return tag._replace(timestamp=round(tag.timestamp + self._offset_ms))

    def next_of(self, kind: int) -> Tag:
        """The next tag of a kind, without removing it."""
        following = (self.tags[index % len(self.tags)] for index in range(self._next, self._next + len(self.tags)))
        tag = next(tag for tag in following if tag.kind == kind)
        return tag._replace(timestamp=round(tag.timestamp + self._offset_ms))

    def quiet(self, header: bytes | None) -> bytes | None:
        """The next frame of the slate's audio, if its format matches `header`; else None."""
        own = self.headers.get(AUDIO)
        if not (self._sounds and own and header and header[:FORMAT_BYTES] == own.body[:FORMAT_BYTES]):
            return None
        self._quiet = (self._quiet + 1) % len(self._sounds)
        return self._sounds[self._quiet]

    def pop(self) -> Tag:
        tag = self.peek()
        self._next += 1
        if self._next == len(self.tags):
            self._next = 0
            self._offset_ms += self._length_ms
        return tag
