"""The ffmpeg that turns an item into FLV on standard output: copied, or transcoded into the channel's form. Pure.

What is transcoded is fitted into the channel's size with black bars, at its constant rate, BT.709 in limited range, H.264 whose
headers are the same bytes for every item and the slate, so that a player goes from one to the next without a new decoder; AAC-LC,
44.1 kHz, stereo, exactly as long as the picture.
Sources: YouTube's encoder settings; libx264's options (ffmpeg-codecs(1)).
"""

from fractions import Fraction

from livekeep.air.worker.ffmpeg import input_options
from livekeep.air.worker.media_info import MediaInfo
from livekeep.air.worker.packets import BACK_SECONDS, RESTARTING
from livekeep.air.worker.profile import LONGEST_STILL_SECONDS, SAMPLE_RATE, SLACK_SECONDS, Plan, end_of, rate_of, sound_goes_on
from livekeep.core.config import Channel

AAC_FRAME = 1024
LONGEST_INTERLEAVING_SECONDS = 30
"""How much of the sound waits in ffmpeg for the picture, or the other way round, before it is written out of order."""
MOST_JOINED = 40
"""Holes, and restarts of timestamps, that are joined: more would make ffmpeg's expression too long."""
THREADS = 2
"""Of the decoder and of the encoder: more only cost memory, as the relay takes the output at the clock's pace."""
QUIET = "anoisesrc=amplitude=0.001:colour=pink:seed=1:sample_rate=44100"
"""Sound that nobody hears: ingests have taken digital silence, which is but a few bits, for a broken stream."""
BEGUN = f"atrim=start={AAC_FRAME / SAMPLE_RATE:.6f}"
"""The encoder puts a frame of its own before the first: as much of the sound gives way, so that it begins with the picture."""
SILENCE = f"anullsrc=channel_layout=stereo:sample_rate={SAMPLE_RATE}"


def keyframe_frames(channel: Channel) -> int:
    return max(round(rate_of(channel) * Fraction(channel.keyframe_seconds)), 1)


def feeder_command(source: str, plan: Plan, channel: Channel, media: MediaInfo) -> list[str]:
    """The ffmpeg that writes an item as FLV to its standard output, as fast as that is read."""
    decoding = ["-threads", f"{THREADS}", "-filter_threads", f"{THREADS}"] if plan.video == "encode" else []
    picture = ["-map", f"0:{media.video.index}"]
    if plan.video == "copy":
        picture += ["-c:v", "copy"]
    else:
        picture += ["-vf", picture_steps(media, channel), *encoder_options(channel)]
    if plan.audio == "copy" and media.audio:
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


def silence_input(media: MediaInfo) -> list[str]:
    """Sound for what has none; for a known picture, hardly longer than that: 7.1 may take more of it than the picture needs.

    What a header says is not known: a limit that is too short would cut the picture off.
    """
    end, longer = end_of(media.video) if media.scan else None, min(sound_goes_on(media), LONGEST_STILL_SECONDS)
    limit = [] if end is None else ["-t", f"{end + longer + SLACK_SECONDS:.3f}"]
    return ["-f", "lavfi", *limit, "-i", QUIET if media.audio is None else SILENCE]


def sound_options(media: MediaInfo, channel: Channel) -> list[str]:
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


def picture_steps(media: MediaInfo, channel: Channel) -> str:
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


def joined(media: MediaInfo, setter: str) -> list[str]:
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


def paced(media: MediaInfo) -> str:
    """The item's sound at the pace of its timestamps: stretched where it drifts, filled where some of it is missing."""
    audio, picture_end = media.audio, end_of(media.video)
    start, end = (audio.start_seconds, end_of(audio)) if audio else (0.0, None)
    steps = [
        *joined(media, "asetpts"),
        f"aresample={SAMPLE_RATE}:async=1000" + (":first_pts=0" if start > SLACK_SECONDS else ""),
        "aformat=sample_fmts=fltp:channel_layouts=stereo",
    ]
    if end is not None and picture_end is not None and picture_end - end > SLACK_SECONDS:
        # Nothing in the file says to the mixer that no more is to come, and it would wait.
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
