"""Whether an item fits its channel's profile and so can be copied; everything else is transcoded (`transcode`). Pure.

Source: YouTube's encoder settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from livekeep.air.worker.flv import SAMPLE_RATE
from livekeep.air.worker.media_info import SAME_RATE, Audio, MediaInfo, Video
from livekeep.air.worker.packets import Hole
from livekeep.core.channels import Mode
from livekeep.core.config import Channel

LONGEST_KEYFRAME_SECONDS = 4.0
"""YouTube's limit."""
SLACK_SECONDS = 0.1
"""How far video and audio may differ at their start and end."""
LONGEST_CUT_SECONDS = 1.0
"""Audio that continues for longer after the video is not cut off at its end: the last picture stays instead."""
LONGEST_STILL_SECONDS = 10.0
"""How long the last picture stays for audio that continues; the audio after that is cut off."""
RICHER_VIDEO, RICHER_AUDIO = 1.25, 1.5
"""An item that is copied may have up to this multiple of the channel's bit rate."""
RICHEST_SECOND = 2.5
"""One second of video may have up to this multiple of the channel's bit rate. With a one-second buffer, encoders reach twice."""
UNREAD = "was not read to its end yet"
PROFILES = ("Constrained Baseline", "Baseline", "Main", "High")
"""Of H.264; every player decodes them."""


@dataclass(frozen=True)
class Plan:
    """How an item is played; `reasons` say in plain words why it is not copied unchanged."""

    copies_video: bool = False
    copies_audio: bool = False
    """Only together with the video."""
    reasons: tuple[str, ...] = ()

    @property
    def mode(self) -> Mode:
        return "copy" if self.copies_audio else "normalise"


def plan(media: MediaInfo, channel: Channel) -> Plan:
    video_reasons = [*reasons_to_encode(media.video, channel), *reasons_of_packets(media, channel)]
    longer = sound_goes_on(media)
    if longer > LONGEST_CUT_SECONDS:
        video_reasons.append(f"sound continues for {longer:.1f} s after the picture")
    audio_reasons = reasons_of_sound(media, channel)
    return Plan(not video_reasons, not video_reasons and not audio_reasons, (*video_reasons, *audio_reasons))


def reasons_to_encode(video: Video, channel: Channel) -> list[str]:
    """Why the video itself can't be copied."""
    if channel.copy == "never":
        return ['the channel copies nothing (copy = "never")']
    rate, most = rate_of(channel), int(channel.video_bitrate * RICHER_VIDEO)
    if video.codec != "h264":
        return [f"picture is {video.codec or 'of an unknown codec'}, not h264"]
    checks = (
        (not video.profile or video.profile in PROFILES, f"picture has H.264's profile {video.profile}"),
        (video.pixel_format == "yuv420p", f"pixels are {video.pixel_format or 'of an unknown format'}, not yuv420p"),
        (video.is_interlaced is False, "picture is interlaced" if video.is_interlaced else "picture may be interlaced"),
        (
            (video.width, video.height) == (channel.width, channel.height),
            f"size is {video.width}x{video.height}, not {channel.width}x{channel.height}",
        ),
        (video.sample_aspect in (None, 1), f"pixels are not square ({video.sample_aspect})"),
        (video.rotation_degrees == 0, f"picture is turned by {video.rotation_degrees} degrees"),
        (
            video.frame_rate is not None and abs(video.frame_rate - rate) <= rate * SAME_RATE,
            f"frame rate is {shown(video.frame_rate)}, not {shown(float(rate))}",
        ),
        (video.has_constant_rate is not False, "frame rate varies"),
        (
            video.bitrate is not None and video.bitrate <= most,
            f"bit rate of the picture is {kilobits(video.bitrate)}, not {kilobits(most)} at most",
        ),
        (video.start_seconds <= SLACK_SECONDS, f"picture begins {video.start_seconds:.1f} s after the sound"),
    )
    return [reason for is_good, reason in checks if not is_good]


def reasons_of_packets(media: MediaInfo, channel: Channel) -> list[str]:
    """Why the video's packets must not go on air unchanged; without a scan none may."""
    scan, most = media.scan, int(channel.video_bitrate * RICHEST_SECOND)
    if scan is None:
        return [UNREAD]
    longest = max(LONGEST_KEYFRAME_SECONDS, channel.keyframe_seconds)
    first_restart = scan.restarts[0].moment_seconds if scan.restarts else 0.0
    more_restarts = f", and {len(scan.restarts) - 1} times more" if len(scan.restarts) > 1 else ""
    checks = (
        (not scan.damage, f"is damaged ({scan.damage})"),
        (scan.video.has_all_times and media.video.has_constant_rate is not None, "has packets without a time"),
        (scan.video.starts_with_keyframe, "does not begin with a keyframe"),
        (
            scan.video.keyframe_seconds <= longest + SLACK_SECONDS,
            f"keyframes are {shown(scan.video.keyframe_seconds)} s apart, not {longest:g} s at most",
        ),
        (not scan.restarts, f"its timestamps restart at {first_restart:.1f} s{more_restarts}"),
        (not scan.video.holes, f"picture has a hole {hole_text(scan.video.holes)}"),
        (not scan.video.left_out, "an edit list leaves some of its pictures out"),
        (
            scan.video.worst_second_bits <= most,
            f"picture has up to {kilobits(scan.video.worst_second_bits)} in a second, not {kilobits(most)} at most",
        ),
    )
    return [reason for is_good, reason in checks if not is_good]


def hole_text(holes: Sequence[Hole]) -> str:
    """The first hole and the number of holes; "" without any."""
    if not holes:
        return ""
    more = f", and {len(holes) - 1} more" if len(holes) > 1 else ""
    return f"of {holes[0].seconds:.1f} s at {holes[0].start_seconds:.1f} s{more}"


def reasons_of_sound(media: MediaInfo, channel: Channel) -> list[str]:
    """Why the audio can't be copied."""
    audio, most = media.audio, int(channel.audio_bitrate * RICHER_AUDIO)
    if audio is None:
        return ["has no sound"]
    if (audio.codec, audio.profile) != ("aac", "LC"):
        return [
            f"sound is {audio.codec or 'of an unknown codec'}{f' {audio.profile}' if audio.codec == 'aac' else ''}, not aac LC"
        ]
    ends = end_of(media.video), end_of(audio)
    differ = None if None in ends else abs((ends[0] or 0) - (ends[1] or 0))
    track = media.scan.audio if media.scan else None
    holes = track.holes if track else ()
    checks = (
        (audio.sample_rate == SAMPLE_RATE, f"sound has {shown(audio.sample_rate)} Hz, not {SAMPLE_RATE}"),
        (audio.channels == 2, f"sound has {shown(audio.channels)} channel{'s' * (audio.channels != 1)}, not 2"),
        (
            audio.bitrate is None or audio.bitrate <= most,
            f"bit rate of the sound is {kilobits(audio.bitrate)}, not {kilobits(most)} at most",
        ),
        (audio.start_seconds <= SLACK_SECONDS, f"sound begins {audio.start_seconds:.1f} s after the picture"),
        (not (track and track.changes_length), "rate of the sound changes"),
        (not holes, f"sound has a hole {hole_text(holes)}"),
        (differ is not None, "length of the sound is not known"),
        ((differ or 0) <= SLACK_SECONDS, f"sound and picture end {differ or 0:.1f} s apart"),
    )
    return [reason for is_good, reason in checks if not is_good]


def end_of(stream: Video | Audio) -> float | None:
    return None if stream.duration_seconds is None else stream.start_seconds + stream.duration_seconds


def sound_goes_on(media: MediaInfo) -> float:
    """For how many seconds audio continues after the video's end; 0 if unknown."""
    ends = end_of(media.video), end_of(media.audio) if media.audio else None
    return 0.0 if ends[0] is None or ends[1] is None else max(ends[1] - ends[0], 0.0)


def cut_text(media: MediaInfo) -> str:
    """The part of an item's file that is cut off; "" if none is."""
    longer = sound_goes_on(media)
    if longer <= LONGEST_STILL_SECONDS:
        return ""
    return f"its sound continues for {longer:.1f} s after the picture, of which {LONGEST_STILL_SECONDS:.0f} s are played"


def shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def kilobits(value: int | None) -> str:
    return "unknown" if value is None else f"{value / 1000:.0f} kbit/s"


def rate_of(channel: Channel) -> Fraction:
    """The channel's frame rate; 23.976, 29.97 and 59.94 become the exact television rates."""
    near = Fraction(round(channel.frame_rate) * 1000, 1001)
    if abs(channel.frame_rate - near) < 0.006:
        return near
    return Fraction(channel.frame_rate).limit_denominator(1000)
