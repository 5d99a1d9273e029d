"""An item of the playlist as its headers and packets describe it: the data types, and parsing from ffprobe's output. Pure."""

import dataclasses
import enum
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from livekeep.air.worker.packets import Scan, Track
from livekeep.core.errors import TemporaryError

SAME_RATE = 0.001
"""Two rates that differ by no more than this fraction count as equal."""
LONGEST_SECONDS = 1e9
JITTER_SECONDS = 0.0021
"""Matroska and FLV round times to milliseconds."""
DECLARING = ("matroska", "mov", "flv", "avi", "asf")
"""The containers whose header states their duration; for others, ffprobe derives it from timestamps."""
LACKING_SECONDS, LACKING_SHARE = 1.0, 0.02
"""An item is incomplete when more than both of these is missing."""


class ItemFailure(enum.StrEnum):
    """Why an item could not be played, or not to its end; LIVEKEEP_ERROR_TYPE of the event item-failed."""

    MISSING = "missing"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    TIMEOUT = "timeout"
    NOT_MEDIA = "not-media"
    TRUNCATED = "truncated"
    NO_VIDEO = "no-video"
    NOT_STARTED = "not-started"
    """ffmpeg could not be started."""
    NO_PICTURE = "no-picture"
    """It produced no output."""
    SHORT = "short"
    """It ended early."""
    OTHER = "other"


class ItemError(TemporaryError):
    """An item can't be played. The text is one sentence with the item's name; never a URL."""

    def __init__(self, error_type: ItemFailure, sentence: str) -> None:
        self.error_type = error_type
        super().__init__(sentence)


@dataclass(frozen=True)
class Video:
    """The video stream; None means unknown. Only the packets show some of it (`scanned`)."""

    index: int
    """Of the stream in its file."""
    codec: str
    width: int
    height: int
    profile: str = ""
    sample_aspect: Fraction | None = None
    rotation_degrees: int = 0
    pixel_format: str = ""
    is_interlaced: bool | None = None
    frame_rate: float | None = None
    has_constant_rate: bool | None = None
    bitrate: int | None = None
    """Bits per second; of the whole file where its container does not state it for the video."""
    start_seconds: float = 0.0
    """Relative to the start of the item, which is that of its first stream."""
    duration_seconds: float | None = None


@dataclass(frozen=True)
class Audio:
    """The audio stream; None means unknown."""

    index: int
    codec: str
    profile: str = ""
    sample_rate: int | None = None
    channels: int | None = None
    bitrate: int | None = None
    start_seconds: float = 0.0
    duration_seconds: float | None = None


@dataclass(frozen=True)
class MediaInfo:
    """An item that has a video stream."""

    container: str
    duration_seconds: float | None
    """How much of it should be played: by its packets if they are known, plus what its header promises beyond them."""
    video: Video
    audio: Audio | None = None
    scan: Scan | None = None
    """All its packets; None before the scan."""
    lack: str = ""
    """Why part of `duration_seconds` can't be played; "" if no reason is known."""


def media_of(document: dict[str, Any]) -> MediaInfo | None:
    """An item from ffprobe's JSON; None when it has no video stream."""
    form = document.get("format", {})
    streams = [stream for stream in document.get("streams", []) if isinstance(stream, dict)]
    # Cover art doesn't count.
    pictures = [
        stream
        for stream in streams
        if stream.get("codec_type") == "video"
        and number(stream.get("width"))
        and not stream.get("disposition", {}).get("attached_pic")
    ]
    sounds = [stream for stream in streams if stream.get("codec_type") == "audio" and number(stream.get("channels"))]
    if not pictures:
        return None
    picture, sound = preferred(pictures), preferred(sounds) if sounds else None
    begins = [number(stream.get("start_time")) or 0.0 for stream in (picture, sound) if stream]
    container = str(form.get("format_name", ""))
    duration, start = length(form.get("duration")), number(form.get("start_time")) or 0.0
    if duration is not None and container.startswith(("matroska", "flv")) and 0 < start < duration:
        # These containers store the end time.
        duration -= start
    return MediaInfo(
        container=container,
        duration_seconds=duration,
        video=video_of(picture, min(begins), number(form.get("bit_rate"))),
        audio=audio_of(sound, min(begins)) if sound else None,
    )


def preferred(streams: list[dict[str, Any]]) -> dict[str, Any]:
    return next((stream for stream in streams if stream.get("disposition", {}).get("default")), streams[0])


def video_of(stream: dict[str, Any], begin_seconds: float, whole_bitrate: float | None) -> Video:
    lowest, average = ratio(stream.get("r_frame_rate"), "/"), ratio(stream.get("avg_frame_rate"), "/")
    rate = average or lowest
    rotations = [data.get("rotation") for data in stream.get("side_data_list", []) if isinstance(data, dict)]
    order = str(stream.get("field_order", "unknown"))
    bitrate = number(stream.get("bit_rate")) or whole_bitrate
    return Video(
        index=int(stream["index"]),
        codec=str(stream.get("codec_name", "")),
        width=int(stream["width"]),
        height=int(stream["height"]),
        profile=str(stream.get("profile", "")),
        sample_aspect=ratio(stream.get("sample_aspect_ratio"), ":"),
        rotation_degrees=next((int(number(turn) or 0) % 360 for turn in rotations if turn is not None), 0),
        pixel_format=str(stream.get("pix_fmt", "")),
        is_interlaced=None if order == "unknown" else order != "progressive",
        frame_rate=float(rate) if rate else None,
        has_constant_rate=abs(lowest - average) <= SAME_RATE * average if lowest and average else None,
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


def duration_of(stream: dict[str, Any]) -> float | None:
    """Of one stream in seconds. Matroska stores its end time, counted from the start of the file, in a tag."""
    if (length_seconds := length(stream.get("duration"))) is not None:
        return length_seconds
    parts = [number(part) for part in str(stream.get("tags", {}).get("DURATION", "")).split(":")]
    if len(parts) != 3 or None in parts:
        return None
    hours, minutes, seconds = (part or 0.0 for part in parts)
    return max(hours * 3600 + minutes * 60 + seconds - (number(stream.get("start_time")) or 0.0), 0.0)


def length(value: Any) -> float | None:
    """A duration in seconds, or None for an implausible one."""
    seconds = number(value)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_SECONDS else None


def number(value: Any) -> float | None:
    """A finite number, or None for ffprobe's "N/A"."""
    try:
        parsed = float(value)
    except (TypeError, ValueError):
        return None
    return parsed if math.isfinite(parsed) else None


def ratio(value: Any, sign: str) -> Fraction | None:
    above, _, below = str(value).partition(sign)
    if not (above.isdecimal() and below.isdecimal() and int(above) and int(below)):
        return None
    return Fraction(int(above), int(below))


def scanned(media: MediaInfo, scan: Scan) -> MediaInfo:
    """`media` updated from its packets, which take precedence over its headers."""
    video, audio = media.video, media.audio
    closed = sum(hole.seconds for hole in scan.shared_holes)
    if audio and scan.audio:
        audio = dataclasses.replace(
            audio,
            start_seconds=scan.audio.start_seconds,
            duration_seconds=max(scan.audio.seconds - closed, 0.0),
            bitrate=bitrate_of(scan.audio),
        )
    elif audio:
        # The audio that the header promises does not exist.
        audio = None
    rate = real_rate(scan.video, video.frame_rate)
    video = dataclasses.replace(
        video,
        start_seconds=scan.video.start_seconds,
        duration_seconds=max(scan.video.seconds - closed, 0.0),
        bitrate=bitrate_of(scan.video) or video.bitrate,
        frame_rate=rate,
        has_constant_rate=has_even_steps(scan, rate),
    )
    seconds, lack = scan.seconds, ""
    declared = media.duration_seconds if media.container.startswith(DECLARING) and not scan.restarts else None
    lacking = (declared or 0.0) - seconds - closed
    if declared and (lacking > max(LACKING_SECONDS, LACKING_SHARE * declared) or (scan.cut_off and lacking > 0)):
        lack = f"it is cut off: {seconds:.1f} s of {declared:.1f} s are there"
        seconds = declared
    elif scan.cut_off:
        lack = "it is cut off"
    return dataclasses.replace(media, duration_seconds=round(seconds, 3), video=video, audio=audio, scan=scan, lack=lack)


def bitrate_of(track: Track) -> int | None:
    return round(track.bits / track.seconds) if track.seconds > 0 else None


def real_rate(track: Track, declared: float | None) -> float | None:
    """Pictures per second: the header's rate unless the pictures contradict it, else the measured one."""
    mean = track.mean_step_seconds
    if not mean or mean <= 0:
        return declared
    steps = track.packets - 1
    if declared and abs(steps * mean - steps / declared) <= 2 * JITTER_SECONDS:
        return declared
    return 1 / mean


def has_even_steps(scan: Scan, rate: float | None) -> bool:
    shortest, longest = scan.video.shortest_step_seconds, scan.video.longest_step_seconds
    if not rate or not scan.video.has_all_times or scan.video.holes or scan.restarts:
        return False
    if shortest is None or longest is None:
        return True
    return shortest >= 1 / rate - JITTER_SECONDS and longest <= 1 / rate + JITTER_SECONDS
