"""An item of the playlist, as ffprobe describes it: the facts, and how they are read from its output. Pure."""

import dataclasses
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

SAME_RATE = 0.001
LONGEST_SECONDS = 1e9
"""Two rates that differ by no more than this part are one."""
JITTER_SECONDS = 0.0021
"""Matroska and FLV round times to milliseconds."""


@dataclass(frozen=True)
class Video:
    """The picture; None is not known. The look at its first seconds is for H.264 only."""

    index: int
    """Of the stream in its file."""
    codec: str
    width: int
    height: int
    sample_aspect: Fraction | None = None
    rotation_degrees: int = 0
    pixel_format: str = ""
    is_interlaced: bool | None = None
    frame_rate: float | None = None
    has_constant_rate: bool | None = None
    bitrate: int | None = None
    """Bits a second; of the whole file where its container does not say it for the picture."""
    start_seconds: float = 0.0
    """After the start of the item, which is that of its first stream."""
    duration_seconds: float | None = None
    starts_with_keyframe: bool | None = None
    keyframe_seconds: float | None = None
    """The longest distance between two keyframes, or from the last one to the end of the look."""
    has_b_frames: bool | None = None


@dataclass(frozen=True)
class Audio:
    """The sound; None is not known."""

    index: int
    codec: str
    profile: str = ""
    sample_rate: int | None = None
    channels: int | None = None
    bitrate: int | None = None
    start_seconds: float = 0.0
    duration_seconds: float | None = None


@dataclass(frozen=True)
class Media:
    """An item that has a picture."""

    container: str
    duration_seconds: float | None
    video: Video
    audio: Audio | None = None


@dataclass(frozen=True)
class Packet:
    pts_seconds: float | None
    dts_seconds: float | None
    is_keyframe: bool


def media_of(document: dict[str, Any]) -> Media | None:
    """An item from ffprobe's JSON; None when it has no picture (a cover is none)."""
    form = document.get("format", {})
    streams = [stream for stream in document.get("streams", []) if isinstance(stream, dict)]
    pictures = [stream for stream in streams if stream.get("codec_type") == "video" and is_picture(stream)]
    sounds = [stream for stream in streams if stream.get("codec_type") == "audio" and number(stream.get("channels"))]
    if not pictures:
        return None
    picture, sound = preferred(pictures), preferred(sounds) if sounds else None
    begins = [number(stream.get("start_time")) or 0.0 for stream in (picture, sound) if stream]
    return Media(
        container=str(form.get("format_name", "")),
        duration_seconds=length(form.get("duration")),
        video=video_of(picture, min(begins), number(form.get("bit_rate"))),
        audio=audio_of(sound, min(begins)) if sound else None,
    )


def is_picture(stream: dict[str, Any]) -> bool:
    return bool(number(stream.get("width"))) and not stream.get("disposition", {}).get("attached_pic")


def preferred(streams: list[dict[str, Any]]) -> dict[str, Any]:
    return next((stream for stream in streams if stream.get("disposition", {}).get("default")), streams[0])


def video_of(stream: dict[str, Any], begin_seconds: float, whole_bitrate: float | None) -> Video:
    rate = ratio(stream.get("avg_frame_rate"), "/") or ratio(stream.get("r_frame_rate"), "/")
    order = str(stream.get("field_order", "unknown"))
    bitrate = number(stream.get("bit_rate")) or whole_bitrate
    return Video(
        index=int(stream["index"]),
        codec=str(stream.get("codec_name", "")),
        width=int(stream["width"]),
        height=int(stream["height"]),
        sample_aspect=ratio(stream.get("sample_aspect_ratio"), ":"),
        rotation_degrees=rotation_of(stream),
        pixel_format=str(stream.get("pix_fmt", "")),
        is_interlaced=None if order == "unknown" else order != "progressive",
        frame_rate=float(rate) if rate else None,
        has_constant_rate=has_one_rate(stream),
        bitrate=int(bitrate) if bitrate else None,
        start_seconds=(number(stream.get("start_time")) or 0.0) - begin_seconds,
        duration_seconds=duration_of(stream),
    )


def audio_of(stream: dict[str, Any], begin_seconds: float) -> Audio:
    bitrate, sample_rate = number(stream.get("bit_rate")), number(stream.get("sample_rate"))
    return Audio(
        index=int(stream["index"]),
        codec=str(stream.get("codec_name", "")),
        profile=str(stream.get("profile", "")),
        sample_rate=int(sample_rate) if sample_rate else None,
        channels=int(stream["channels"]),
        bitrate=int(bitrate) if bitrate else None,
        start_seconds=(number(stream.get("start_time")) or 0.0) - begin_seconds,
        duration_seconds=duration_of(stream),
    )


def has_one_rate(stream: dict[str, Any]) -> bool | None:
    lowest, average = ratio(stream.get("r_frame_rate"), "/"), ratio(stream.get("avg_frame_rate"), "/")
    return abs(lowest - average) <= SAME_RATE * average if lowest and average else None


def rotation_of(stream: dict[str, Any]) -> int:
    found = [data.get("rotation") for data in stream.get("side_data_list", []) if isinstance(data, dict)]
    return next((int(number(turn) or 0) % 360 for turn in found if turn is not None), 0)


def duration_of(stream: dict[str, Any]) -> float | None:
    """Of one stream in seconds. Matroska has the moment of its end, counted from the start of the file, in a tag."""
    if (found := length(stream.get("duration"))) is not None:
        return found
    parts = [number(part) for part in str(stream.get("tags", {}).get("DURATION", "")).split(":")]
    if len(parts) != 3 or None in parts:
        return None
    hours, minutes, seconds = (part or 0.0 for part in parts)
    return max(hours * 3600 + minutes * 60 + seconds - (number(stream.get("start_time")) or 0.0), 0.0)


def length(value: Any) -> float | None:
    """A span of time in seconds, or None for one that no item has."""
    found = number(value)
    return found if found is not None and 0 <= found <= LONGEST_SECONDS else None


def number(value: Any) -> float | None:
    """A finite number, or None for ffprobe's "N/A"."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def ratio(value: Any, sign: str) -> Fraction | None:
    above, _, below = str(value).partition(sign)
    if not (above.isdecimal() and below.isdecimal() and int(above) and int(below)):
        return None
    return Fraction(int(above), int(below))


def packets_of(text: str) -> list[Packet]:
    """From ffprobe's lines "pts,dts,flags"."""
    found = []
    for line in text.splitlines():
        pts, _, rest = line.partition(",")
        dts, _, flags = rest.partition(",")
        if flags:
            found.append(Packet(number(pts), number(dts), flags.startswith("K")))
    return found


def looked_at(video: Video, packets: list[Packet]) -> Video:
    """`video` with what its first packets show."""
    times = [packet.pts_seconds for packet in packets if packet.pts_seconds is not None]
    if not packets or len(times) < len(packets):
        return video
    keys = sorted(packet.pts_seconds for packet in packets if packet.is_keyframe and packet.pts_seconds is not None)
    return dataclasses.replace(
        video,
        starts_with_keyframe=packets[0].is_keyframe,
        keyframe_seconds=longest(sorted({min(times), *keys, max(times)})),
        has_b_frames=any(packet.pts_seconds != packet.dts_seconds for packet in packets if packet.dts_seconds is not None),
        has_constant_rate=video.has_constant_rate and is_even(sorted(times), video.frame_rate),
    )


def longest(times: list[float]) -> float:
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)


def is_even(times: Iterable[float], frame_rate: float | None) -> bool:
    ordered = list(times)
    steps = [later - earlier for earlier, later in itertools.pairwise(ordered)]
    return bool(frame_rate) and all(abs(step - 1 / (frame_rate or 1)) <= JITTER_SECONDS for step in steps)
