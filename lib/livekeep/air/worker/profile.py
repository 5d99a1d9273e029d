"""Whether an item fits its channel's profile, and the ffmpeg that turns it into FLV on standard output. Pure.

What fits is copied, all else is normalised: fitted into the channel's size with black bars, at its constant rate, BT.709 in
limited range, H.264 whose headers are the same bytes for every item and the slate, so that a player goes from one to the next
without a new decoder; AAC-LC, 44.1 kHz, stereo, exactly as long as the picture.
Sources: YouTube's encoder settings; libx264's options (ffmpeg-codecs(1)); broadcast.md's measurements are repeated by the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from livekeep.air.worker.ffmpeg import input_options
from livekeep.air.worker.item import SAME_RATE, Audio, Media, Video
from livekeep.air.worker.packets import BACK_SECONDS, RESTARTING, Hole, Restart
from livekeep.core.channels import Mode
from livekeep.core.config import Channel

SAMPLE_RATE = 44100
AAC_FRAME = 1024
LONGEST_KEYFRAME_SECONDS = 4.0
"""YouTube's limit."""
SLACK_SECONDS = 0.1
"""How far picture and sound may differ at their start and end."""
LONGEST_CUT_SECONDS = 1.0
"""Sound that goes on for longer after the picture is not cut off where the picture ends: the last one stands."""
LONGEST_STILL_SECONDS = 10.0
"""How long the last picture stands for sound that goes on; the sound behind that is cut off."""
LONGEST_INTERLEAVING_SECONDS = 30
"""How much of the sound waits in ffmpeg for the picture, or the other way round, before it is written out of order."""
RICHER_VIDEO, RICHER_AUDIO = 1.25, 1.5
"""What is copied may have so many times the channel's bit rate."""
RICHEST_SECOND = 2.5
"""The picture of one second may have so many times the channel's bit rate. An encoder with a buffer of a second makes twice."""
UNREAD = "is not yet read to its end"
PROFILES = ("Constrained Baseline", "Baseline", "Main", "High")
"""Of H.264, which every player takes."""
MOST_JOINED = 40
"""Holes, and restarts of timestamps, that are joined: more would make ffmpeg's expression too long."""
THREADS = 2
"""Of the decoder and of the encoder: more only cost memory, as the relay takes the output at the clock's pace."""
QUIET = "anoisesrc=amplitude=0.001:colour=pink:seed=1:sample_rate=44100"
"""Sound that nobody hears: ingests have taken digital silence, which is but a few bits, for a broken stream."""
BEGUN = f"atrim=start={AAC_FRAME / SAMPLE_RATE:.6f}"
"""The encoder puts a frame of its own before the first: as much of the sound gives way, so that it begins with the picture."""
SILENCE = f"anullsrc=channel_layout=stereo:sample_rate={SAMPLE_RATE}"


@dataclass(frozen=True)
class Plan:
    """What becomes of an item; `reasons` say in plain words why it is not copied as it is."""

    video: Literal["copy", "encode"]
    audio: Literal["copy", "encode", "silence"]
    reasons: tuple[str, ...] = ()


def plan(media: Media, channel: Channel) -> Plan:
    video_reasons = (*reasons_to_encode(media.video, channel), *reasons_of_packets(media, channel), *reasons_of_length(media))
    audio_reasons = reasons_of_sound(media, channel)
    return Plan(
        video="encode" if video_reasons else "copy",
        audio="silence" if media.audio is None else "encode" if audio_reasons or video_reasons else "copy",
        reasons=(*video_reasons, *audio_reasons),
    )


def mode_of(found: Plan) -> Mode:
    """ "copy" when neither picture nor sound is encoded anew."""
    return "copy" if found.video == found.audio == "copy" else "normalise"


def reasons_to_encode(video: Video, channel: Channel) -> list[str]:
    """Why the picture itself cannot be copied."""
    if channel.copy == "never":
        return ['the channel copies nothing (copy = "never")']
    rate, most = rate_of(channel), int(channel.video_bitrate * RICHER_VIDEO)
    longest = max(LONGEST_KEYFRAME_SECONDS, channel.keyframe_seconds)
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
        (is_close(video.frame_rate, float(rate)), f"frame rate is {shown(video.frame_rate)}, not {shown(float(rate))}"),
        (video.has_constant_rate is not False, "frame rate varies"),
        (video.starts_with_keyframe is not False, "does not begin with a keyframe"),
        (
            video.keyframe_seconds is None or video.keyframe_seconds <= longest + SLACK_SECONDS,
            f"keyframes are {shown(video.keyframe_seconds)} s apart, not {longest:g} s at most",
        ),
        (
            video.bitrate is not None and video.bitrate <= most,
            f"bit rate of the picture is {kilobits(video.bitrate)}, not {kilobits(most)} at most",
        ),
        (video.start_seconds <= SLACK_SECONDS, f"picture begins {video.start_seconds:.1f} s after the sound"),
    )
    return [reason for is_good, reason in checks if not is_good]


def reasons_of_packets(media: Media, channel: Channel) -> list[str]:
    """Why the packets of the picture must not go on air as they are; without knowing them none may."""
    scan, most = media.scan, int(channel.video_bitrate * RICHEST_SECOND)
    if scan is None:
        return [UNREAD]
    video = media.video
    known = None not in (video.has_constant_rate, video.starts_with_keyframe, video.keyframe_seconds)
    checks = (
        (not scan.damage, f"is damaged ({scan.damage})"),
        (known, "has packets without a time"),
        (not scan.restarts, f"its timestamps begin again at {restart_text(scan.restarts)}"),
        (not scan.video.holes, f"picture has a hole {hole_text(scan.video.holes)}"),
        (not scan.video.left_out, "an edit list leaves some of its pictures out"),
        (
            scan.video.worst_second_bits <= most,
            f"picture has up to {kilobits(scan.video.worst_second_bits)} in a second, not {kilobits(most)} at most",
        ),
    )
    return [reason for is_good, reason in checks if not is_good]


def hole_text(holes: Sequence[Hole]) -> str:
    """Of the first one, and how many there are; "" without any."""
    if not holes:
        return ""
    more = f", and {len(holes) - 1} more" if len(holes) > 1 else ""
    return f"of {holes[0].seconds:.1f} s at {holes[0].start_seconds:.1f} s{more}"


def restart_text(restarts: Sequence[Restart]) -> str:
    if not restarts:
        return ""
    return f"{restarts[0].moment_seconds:.1f} s" + (f", and {len(restarts) - 1} times more" if len(restarts) > 1 else "")


def reasons_of_length(media: Media) -> list[str]:
    longer = sound_goes_on(media)
    return [f"sound goes on for {longer:.1f} s after the picture"] if longer > LONGEST_CUT_SECONDS else []


def reasons_of_sound(media: Media, channel: Channel) -> list[str]:
    """Why the sound cannot be copied."""
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


def sound_goes_on(media: Media) -> float:
    """For how many seconds there is sound after the picture's end; 0 when that is not known."""
    ends = end_of(media.video), end_of(media.audio) if media.audio else None
    return 0.0 if ends[0] is None or ends[1] is None else max(ends[1] - ends[0], 0.0)


def cut_text(media: Media) -> str:
    """What of an item is cut off although its file has it; "" when nothing is."""
    longer = sound_goes_on(media)
    if longer <= LONGEST_STILL_SECONDS:
        return ""
    return f"its sound goes on for {longer:.1f} s after the picture, of which {LONGEST_STILL_SECONDS:.0f} s are played"


def is_close(value: float | None, wanted: float) -> bool:
    return value is not None and abs(value - wanted) <= wanted * SAME_RATE


def shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def kilobits(value: int | None) -> str:
    return "unknown" if value is None else f"{value / 1000:.0f} kbit/s"


def rate_of(channel: Channel) -> Fraction:
    """The channel's frame rate; 23.976, 29.97 and 59.94 are those of television."""
    near = Fraction(round(channel.frame_rate) * 1000, 1001)
    if abs(channel.frame_rate - near) < 0.006:
        return near
    return Fraction(channel.frame_rate).limit_denominator(1000)


def keyframe_frames(channel: Channel) -> int:
    return max(round(rate_of(channel) * Fraction(channel.keyframe_seconds)), 1)


def feeder_command(source: str, found: Plan, channel: Channel, media: Media) -> list[str]:
    """The ffmpeg that writes an item as FLV to its standard output, as fast as that is read."""
    decoding = ["-threads", f"{THREADS}", "-filter_threads", f"{THREADS}"] if found.video == "encode" else []
    picture = ["-map", f"0:{media.video.index}"]
    if found.video == "copy":
        picture += ["-c:v", "copy"]
    else:
        picture += ["-vf", picture_steps(media, channel), *encoder_options(channel)]
    if found.audio == "copy" and media.audio:
        sound = ["-map", f"0:{media.audio.index}", "-c:a", "copy"]
        return [*beginning(), *input_options(source), *picture, *sound, *flv_options()]
    inputs = [*beginning(), *decoding, *input_options(source), *silence_input(media)]
    return [*inputs, *picture, *sound_options(media, channel), *flv_options()]


def beginning() -> list[str]:
    return ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "level+warning", "-nostats"]


def flv_options() -> list[str]:
    """FLV as the relay wants it: every packet at once, no sum at the end, no end of the sequence before the next item's."""
    flags = "no_duration_filesize+no_sequence_end+no_metadata"
    tidy = [
        "-sn",
        "-dn",
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
        "-max_interleave_delta",
        f"{LONGEST_INTERLEAVING_SECONDS * 1_000_000}",
    ]
    return [*tidy, "-flush_packets", "1", "-f", "flv", "-flvflags", flags, "pipe:1"]


def silence_input(media: Media) -> list[str]:
    """Sound for what has none; for a known picture, hardly longer than that: 7.1 may take more of it than the picture needs.

    What a header says is not known: a limit that is too short would cut the picture off.
    """
    end, longer = end_of(media.video) if media.scan else None, min(sound_goes_on(media), LONGEST_STILL_SECONDS)
    limit = [] if end is None else ["-t", f"{end + longer + SLACK_SECONDS:.3f}"]
    return ["-f", "lavfi", *limit, "-i", QUIET if media.audio is None else SILENCE]


def sound_options(media: Media, channel: Channel) -> list[str]:
    """Sound exactly as long as the picture.

    Silence comes from an input of its own, the item's sound is mixed into it, and `-shortest` cuts both where the picture ends.
    The nearer ways failed: after the end of the sound `apad` gives none until the picture is through (5.1), or too much (7.1);
    `concat` adds none behind its last part; a length that was probed is wrong for a file that is cut off.
    """
    quiet = "[1:0]aformat=sample_fmts=fltp:channel_layouts=stereo"
    graph = f"{quiet},{BEGUN}[sound]"
    if media.audio:
        mixed = "[paced][quiet]amix=duration=longest:dropout_transition=0:normalize=0"
        graph = f"[0:{media.audio.index}]{paced(media)}[paced];{quiet}[quiet];{mixed},{BEGUN}[sound]"
    return ["-filter_complex", graph, "-map", "[sound]", *sound_encoder_options(channel), "-shortest"]


def picture_steps(media: Media, channel: Channel) -> str:
    """The item's picture as the channel's: its size, its rate, its headers."""
    rate, longer = rate_of(channel), min(sound_goes_on(media), LONGEST_STILL_SECONDS)
    # From 0 on only where it is wanted: a change within the item (a recorded broadcast) would repeat the wait.
    at_rate = f"fps={rate}" + (":start_time=0" if media.video.start_seconds > float(1 / rate) else "")
    # A frame that is left out is not scaled before, one that is repeated is scaled once.
    is_faster = (media.video.frame_rate or 0.0) > rate
    steps = [
        *joined(media, "setpts"),
        *([] if media.video.is_interlaced is False else ["bwdif=deint=interlaced"]),
        *([at_rate, fitting(channel)] if is_faster else [fitting(channel), at_rate]),
        *([f"tpad=stop_mode=clone:stop_duration={longer:.3f}"] if longer > SLACK_SECONDS else []),
        headers(),
    ]
    return ",".join(steps)


def joined(media: Media, setter: str) -> list[str]:
    """One line of time without restarts, and without the holes that picture and sound share: nobody wants to see those.

    Registers of the expression: 0, how often the timestamps have begun again; 1, the time of the last frame; 2, that on the line.
    """
    scan = media.scan
    restarts = () if scan is None or media.container in RESTARTING else scan.restarts[:MOST_JOINED]
    holes = scan.shared_holes[:MOST_JOINED] if scan else ()
    if not restarts and not holes:
        return []
    shift = "+".join(f"gte(ld(0),{number})*{restart.shift_seconds:.6f}" for number, restart in enumerate(restarts, 1)) or "0"
    closed = "".join(f"-gte(ld(2),{hole.start_seconds + hole.seconds / 2:.6f})*{hole.seconds:.6f}" for hole in holes)
    counting = f"st(0,ld(0)+gt(N,0)*lt(T,ld(1)-{BACK_SECONDS}));st(1,T);st(2,T+{shift})"
    return [f"{setter}='{counting};PTS+({shift}{closed})/TB'"]


def fitting(channel: Channel) -> str:
    """The picture fitted into the channel's size, in its colours."""
    width, height = channel.width, channel.height
    fitted = f"w='2*round(min({width},{height}*dar)/2)':h='2*round(min({height},{width}/dar)/2)'"
    steps = [
        f"scale={fitted}:flags=bicubic:out_color_matrix=bt709:out_range=tv",
        "format=yuv420p",
        f"pad={width}:{height}:-1:-1",
        "setsar=1",
    ]
    return ",".join(steps)


def headers() -> str:
    """Nothing is left of the source that would become a header of the output."""
    return "setparams=field_mode=prog:range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709,sidedata=mode=delete"


def paced(media: Media) -> str:
    """The item's sound at the pace of its timestamps: stretched where it drifts, filled where some of it is missing."""
    audio, picture_end = media.audio, end_of(media.video)
    start, end = (audio.start_seconds, end_of(audio)) if audio else (0.0, None)
    steps = [
        *joined(media, "asetpts"),
        f"aresample={SAMPLE_RATE}:async=1000" + (":first_pts=0" if start > SLACK_SECONDS else ""),
        "aformat=sample_fmts=fltp:channel_layouts=stereo",
    ]
    if end is not None and picture_end is not None and picture_end - end > SLACK_SECONDS:
        # Nothing in the file tells the mixer that no more is to come, and it would wait.
        steps.append(f"atrim=end={max(end - SLACK_SECONDS / 2, 0.001):.3f}")
    return ",".join(steps)


def encoder_options(channel: Channel) -> list[str]:
    """libx264, so that its headers do not depend on the item (`stitchable`), and its delay is one frame for all presets."""
    keyframes = keyframe_frames(channel)
    fixed = f"keyint={keyframes}:min-keyint={keyframes}:scenecut=0:open-gop=0:bframes=2:b-pyramid=none:ref=1:stitchable=1"
    colours = ("-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
    return [
        *("-c:v", "libx264", "-preset", channel.preset, "-profile:v", "main", "-pix_fmt", "yuv420p", "-threads", f"{THREADS}"),
        *("-b:v", f"{channel.video_bitrate}", "-maxrate", f"{channel.video_bitrate}", "-bufsize", f"{channel.video_bitrate * 2}"),
        *("-x264-params", fixed, "-a53cc", "0", *colours, "-chroma_sample_location", "left"),
    ]


def sound_encoder_options(channel: Channel) -> list[str]:
    return ["-c:a", "aac", "-profile:a", "aac_low", "-ar", f"{SAMPLE_RATE}", "-ac", "2", "-b:a", f"{channel.audio_bitrate}"]
