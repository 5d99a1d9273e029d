"""FLV as ffmpeg writes and reads it: a stream of tags, each a piece of audio or video with its timestamp.

Implemented here because container libraries also decode, and the relay needs only the tags, unchanged, as they arrive.
Source: Adobe Flash Video File Format Specification 10.1, annex E; H.264 and AAC only.
"""

import struct
from typing import NamedTuple

from livekeep.core.config import Channel

AUDIO, VIDEO, SCRIPT = 8, 9, 18
FILE_HEADER = b"FLV\1\5\0\0\0\x09\0\0\0\0"
"""Sound and picture, and the size of the tag before the first: none."""
HEADER_BYTES = 11
SIZE_BYTES = 4
LARGEST_BODY_BYTES = 8 * 1024 * 1024
KEYFRAME = 1
AVC, AAC = 7, 10
SEQUENCE_HEADER, AVC_PICTURE = 0, 1
SAMPLE_RATE, AAC_FRAME_SAMPLES = 44100, 1024
"""Of all audio that is sent."""
SOUND_FRAME_MS = AAC_FRAME_SAMPLES / SAMPLE_RATE * 1000


class FlvError(ValueError):
    """The bytes are not FLV."""


class Tag(NamedTuple):
    """A piece of the stream. `timestamp` is its decoding time in ms; `body` begins with the codec's own header."""

    kind: int
    timestamp: int
    body: bytes

    @property
    def is_sequence_header(self) -> bool:
        """Whether it holds the decoder configuration: SPS and PPS, or AAC's AudioSpecificConfig."""
        if len(self.body) < 2 or self.body[1] != SEQUENCE_HEADER:
            return False
        return self.kind == VIDEO or self.body[0] >> 4 == AAC

    @property
    def is_picture(self) -> bool:
        return self.kind == VIDEO and len(self.body) > 5 and self.body[1] == AVC_PICTURE

    @property
    def is_keyframe(self) -> bool:
        return self.is_picture and self.body[0] >> 4 == KEYFRAME

    @property
    def composition_ms(self) -> int:
        """The delay between a picture's decoding and presentation times, in ms."""
        raw = int.from_bytes(self.body[2:5], "big")
        return raw - (1 << 24) if raw >> 23 else raw


class Reader:
    """Takes FLV in pieces of any size and returns complete tags."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_begun = False

    def feed(self, data: bytes) -> list[Tag]:
        """The tags that are complete with `data`. Raises `FlvError` for bytes that are not FLV."""
        self._buffer += data
        if not self._is_begun and not self._begin():
            return []
        tags = []
        buffer, position, end = self._buffer, 0, len(self._buffer)
        while end - position >= HEADER_BYTES:
            size = int.from_bytes(buffer[position + 1 : position + 4], "big")
            following = position + HEADER_BYTES + size + SIZE_BYTES
            kind = buffer[position] & 0x1F
            if kind not in (AUDIO, VIDEO, SCRIPT) or size > LARGEST_BODY_BYTES:
                raise FlvError(f"no tag of FLV: kind {kind}, {size} bytes")
            if following > end:
                break
            timestamp = int.from_bytes(buffer[position + 4 : position + 7], "big") | buffer[position + 7] << 24
            tags.append(Tag(kind, timestamp, bytes(buffer[position + HEADER_BYTES : following - SIZE_BYTES])))
            position = following
        del buffer[:position]
        return tags

    def _begin(self) -> bool:
        """Remove the file header; whether it was complete."""
        if len(self._buffer) < len(FILE_HEADER):
            return False
        if not self._buffer.startswith(b"FLV"):
            raise FlvError("does not begin as FLV does")
        del self._buffer[: len(FILE_HEADER)]
        self._is_begun = True
        return True


def encode(tag: Tag, timestamp: int) -> bytes:
    """The tag as bytes, with another timestamp in ms, of which FLV keeps 32 bits."""
    size = len(tag.body)
    time = timestamp & 0xFFFFFFFF
    header = (tag.kind << 56 | size << 32 | (time & 0xFFFFFF) << 8 | time >> 24).to_bytes(8, "big")
    return b"".join((header, b"\0\0\0", tag.body, (size + HEADER_BYTES).to_bytes(4, "big")))


def metadata(channel: Channel) -> bytes:
    """The tag that describes the stream to a receiver beforehand; AMF0, bit rates in kbit/s."""
    values = {
        "width": channel.width,
        "height": channel.height,
        "framerate": channel.frame_rate,
        "videodatarate": channel.video_bitrate / 1000,
        "videocodecid": AVC,
        "audiodatarate": channel.audio_bitrate / 1000,
        "audiosamplerate": SAMPLE_RATE,
        "audiocodecid": AAC,
    }
    body = bytearray(b"\2" + text("onMetaData") + b"\x08" + len(values).to_bytes(4, "big"))
    for name, value in values.items():
        body += text(name) + b"\0" + struct.pack(">d", value)
    return encode(Tag(SCRIPT, 0, bytes(body + b"\0\0\x09")), 0)


def text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()
