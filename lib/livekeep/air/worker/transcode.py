"""The ffmpeg command that turns an item into FLV on standard output: copied, or transcoded to the channel's format. Pure.

Transcoded video is fitted into the channel's size with black bars, at its constant rate, BT.709 in limited range, H.264 with
identical header bytes for every item and the slate, so that a player switches between them without a new decoder; audio: AAC-LC,
44.1 kHz, stereo, exactly as long as the video.
Sources: YouTube's encoder settings; libx264's options (ffmpeg-codecs(1)).
"""

from fractions import Fraction

from livekeep.air.worker.ffmpeg import input_options
from livekeep.air.worker.flv import AAC_FRAME_SAMPLES, SAMPLE_RATE
from livekeep.air.worker.media_info import MediaInfo
from livekeep.air.worker.packets import BACK_SECONDS, RESTARTING
from livekeep.air.worker.profile import LONGEST_STILL_SECONDS, SLACK_SECONDS, Plan, end_of, rate_of, sound_goes_on
from livekeep.core.config import Channel

LONGEST_INTERLEAVING_SECONDS = 30
"""How much audio ffmpeg buffers while it waits for video, or the reverse, before it writes out of order."""
MOST_JOINED = 40
"""Holes and timestamp restarts that are joined: more would make ffmpeg's expression too long."""
THREADS = 2
"""Of the decoder and of the encoder: more only cost memory, because the relay takes the output in real time."""
QUIET = "anoisesrc=amplitude=0.001:colour=pink:seed=1:sample_rate=44100"
"""Inaudible sound: ingests have mistaken digital silence, which is only a few bits, for a broken stream."""
BEGUN = f"atrim=start={AAC_FRAME_SAMPLES / SAMPLE_RATE:.6f}"
"""The encoder inserts a frame before the first: this trims as much audio, so that audio begins with the video."""
SILENCE = f"anullsrc=channel_layout=stereo:sample_rate={SAMPLE_RATE}"


BEGINNING = ("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "level+warning", "-nostats")
FLV_OPTIONS = (
    *("-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"),
    *("-max_interleave_delta", f"{LONGEST_INTERLEAVING_SECONDS * 1_000_000}"),
    *("-flush_packets", "1", "-f", "flv", "-flvflags", "no_duration_filesize+no_sequence_end+no_metadata", "pipe:1"),
)
"""For the relay: every packet immediately, no checksum at the end, no end-of-sequence before the next item's."""
HEADERS = "setparams=field_mode=prog:range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709,sidedata=mode=delete"
"""Filters that keep the source's metadata out of the output's headers."""


def keyframe_frames(channel: Channel) -> int:
    return max(round(rate_of(channel) * Fraction(channel.keyframe_seconds)), 1)


def feeder_command(source: str, plan: Plan, channel: Channel, media: MediaInfo) -> list[str]:
    """The ffmpeg that writes an item as FLV to its standard output, as fast as it is read."""
    if plan.copies_video:
        decoding, picture = [], ["-c:v", "copy"]
    else:
        decoding = ["-threads", f"{THREADS}", "-filter_threads", f"{THREADS}"]
        picture = ["-vf", picture_steps(media, channel), *encoder_options(channel)]
    picture = ["-map", f"0:{media.video.index}", *picture]
    if plan.copies_audio and media.audio:
        sound = ["-map", f"0:{media.audio.index}", "-c:a", "copy"]
        return [*BEGINNING, *input_options(source), *picture, *sound, *FLV_OPTIONS]
    # A header's length is not reliable: a limit that is too short would cut the video off.
    end, longer = end_of(media.video) if media.scan else None, min(sound_goes_on(media), LONGEST_STILL_SECONDS)
    # 7.1 can use more silence than it needs.
    limit = [] if end is None else ["-t", f"{end + longer + SLACK_SECONDS:.3f}"]
    silence = ["-f", "lavfi", *limit, "-i", QUIET if media.audio is None else SILENCE]
    sound = ["-filter_complex", sound_graph(media), "-map", "[sound]", *sound_encoder_options(channel), "-shortest"]
    return [*BEGINNING, *decoding, *input_options(source), *silence, *picture, *sound, *FLV_OPTIONS]


def sound_graph(media: MediaInfo) -> str:
    """The filters for audio that is exactly as long as the video.

    Silence comes from a separate input, the item's audio is mixed into it, and `-shortest` cuts both at the video's end.
    Simpler ways failed: after the end of the audio, `apad` produces none until the video ends (5.1), or too much (7.1); `concat`
    adds none after its last part; a probed length is wrong for a truncated file.
    """
    quiet = "[1:0]aformat=sample_fmts=fltp:channel_layouts=stereo"
    audio, picture_end = media.audio, end_of(media.video)
    if audio is None:
        return f"{quiet},{BEGUN}[sound]"
    # Audio that drifts is stretched, and missing audio is filled.
    steps = [
        *joined(media, "asetpts"),
        f"aresample={SAMPLE_RATE}:async=1000" + (":first_pts=0" if audio.start_seconds > SLACK_SECONDS else ""),
        "aformat=sample_fmts=fltp:channel_layouts=stereo",
    ]
    end = end_of(audio)
    if end is not None and picture_end is not None and picture_end - end > SLACK_SECONDS:
        # The file doesn't tell the mixer that the audio has ended, so it would wait.
        steps.append(f"atrim=end={max(end - SLACK_SECONDS / 2, 0.001):.3f}")
    mixed = "[paced][quiet]amix=duration=longest:dropout_transition=0:normalize=0"
    return f"[0:{audio.index}]{','.join(steps)}[paced];{quiet}[quiet];{mixed},{BEGUN}[sound]"


def picture_steps(media: MediaInfo, channel: Channel) -> str:
    """Filters that convert the item's video to the channel's size, rate and headers."""
    rate, longer = rate_of(channel), min(sound_goes_on(media), LONGEST_STILL_SECONDS)
    # Start at 0 only where needed: a format change within the item (a recorded broadcast) would repeat the wait.
    at_rate = f"fps={rate}" + (":start_time=0" if media.video.start_seconds > float(1 / rate) else "")
    # Order saves work: a dropped frame is not scaled first, and a repeated one is scaled once.
    is_faster = (media.video.frame_rate or 0.0) > rate
    steps = [
        *joined(media, "setpts"),
        *([] if media.video.is_interlaced is False else ["bwdif=deint=interlaced"]),
        *([at_rate, fitting(channel)] if is_faster else [fitting(channel), at_rate]),
        *([f"tpad=stop_mode=clone:stop_duration={longer:.3f}"] if longer > SLACK_SECONDS else []),
        HEADERS,
    ]
    return ",".join(steps)


def joined(media: MediaInfo, setter: str) -> list[str]:
    """Filters that join timestamp restarts and remove the holes that video and audio share.

    Registers of the expression: 0, number of restarts so far; 1, time of the last frame; 2, that time on the joined timeline.
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
    """Filters that fit the video into the channel's size and colors."""
    width, height = channel.width, channel.height
    fitted = f"w='2*round(min({width},{height}*dar)/2)':h='2*round(min({height},{width}/dar)/2)'"
    scale = f"scale={fitted}:flags=bicubic:out_color_matrix=bt709:out_range=tv"
    return f"{scale},format=yuv420p,pad={width}:{height}:-1:-1,setsar=1"


def encoder_options(channel: Channel) -> list[str]:
    """libx264 options: headers independent of the item (`stitchable`), and a delay of one frame for all presets."""
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
