"""FLV that looks like what a feeder gives, made without ffmpeg: the relay looks at headers and times, never at pictures."""

from __future__ import annotations

from collections.abc import Iterator

from livekeep.air.worker.flv import AUDIO, FILE_HEADER, SCRIPT, VIDEO, Reader, Tag, encode

FRAME_MS = 40.0
SOUND_MS = 1024 / 44100 * 1000


def header(kind: int, name: bytes) -> Tag:
    return Tag(kind, 0, (b"\x17\0\0\0\0" if kind == VIDEO else b"\xaf\0") + name)


def picture(timestamp: int, is_key: bool, composition_ms: int = 0, size: int = 40) -> Tag:
    return Tag(
        VIDEO, timestamp, bytes([0x17 if is_key else 0x27, 1]) + composition_ms.to_bytes(3, "big", signed=True) + bytes(size)
    )


def sound(timestamp: int, size: int = 20) -> Tag:
    return Tag(AUDIO, timestamp, b"\xaf\1" + bytes(size))


def tags(
    seconds: float, *, frame_ms: float = FRAME_MS, group: int = 50, delay_frames: int = 0, sound_seconds: float | None = None
) -> Iterator[Tag]:
    """The tags of an item in the order of their times, without headers; `delay_frames` of reordering, as B-frames bring."""
    frames = [
        (round(index * frame_ms), 0, picture(round(index * frame_ms), index % group == 0, round(delay_frames * frame_ms)))
        for index in range(round(seconds * 1000 / frame_ms))
    ]
    length_ms = (seconds if sound_seconds is None else sound_seconds) * 1000
    first = delay_frames * frame_ms
    sounds = [
        (round(first + index * SOUND_MS), 1, sound(round(first + index * SOUND_MS)))
        for index in range(round(length_ms / SOUND_MS))
    ]
    yield from (tag for _time, _kind, tag in sorted([*frames, *sounds], key=lambda entry: entry[:2]))


def item(seconds: float, *, name: bytes = b"same", **options: float) -> bytes:
    """A whole item as its feeder writes it, with what ffmpeg puts around it."""
    inner = [header(VIDEO, name), header(AUDIO, b"aac"), *tags(seconds, **options)]  # type: ignore[arg-type]
    last = inner[-1].timestamp
    around = [Tag(SCRIPT, 0, b"\2\0\nonMetaData"), *inner, Tag(VIDEO, last, b"\x17\2\0\0\0")]
    return FILE_HEADER + b"".join(encode(tag, tag.timestamp) for tag in around)


def read(data: bytes) -> list[Tag]:
    return Reader().feed(data)
