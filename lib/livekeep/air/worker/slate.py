"""The slate, on air when no item can be: ten seconds of FLV, made once and cached if possible. Runs in livekeep-worker@CHANNEL.

The slate is encoded like every transcoded item, so that switching to it and back changes no header. Its file name derives from
the profile, the content of the channel's slate and the version of ffmpeg; a change of any of them makes another file.
An unusable slate must not keep a channel off air: a plain picture replaces it, and the log reports it.
"""

import contextlib
import hashlib
import logging
import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from livekeep.air.worker import profile, transcode
from livekeep.air.worker.ffmpeg import MODEST, confined_leash
from livekeep.air.worker.flv import AUDIO
from livekeep.air.worker.media_info import ItemError
from livekeep.air.worker.probe import probe
from livekeep.air.worker.profile import Plan
from livekeep.air.worker.slate_loop import SlateLoop
from livekeep.core.config import Channel
from livekeep.core.errors import TemporaryError
from livekeep.system import process
from livekeep.system.redaction import redacted

SECONDS = 10.0
PLAIN_SECONDS = 2.0
"""Of the plain picture: short enough where ten seconds of the other slate took too long."""
LONGEST_SECONDS = 20.0
"""The longest part of a video that is used, from its start."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
VERSION_SECONDS = 20.0
PROBE_SECONDS = 10.0
ENCODE_SECONDS = 60.0
"""For each of the two slates. Both together end well before TimeoutStartSec= of livekeep-worker@.service."""
PROFILE_KEYS = ("width", "height", "frame_rate", "video_bitrate", "audio_bitrate", "keyframe_seconds", "preset")
RECIPE = 2
"""Increases when the way the slate is made changes."""
PLAIN = "color=c=0x10466a"
STILL_QUALITY = ("-qmin", "20")
"""A still picture would get the channel's whole bit rate without any visible benefit."""
LARGEST_READ_BYTES = 64 * 1024 * 1024
LARGEST_SLATE_BYTES = 256 * 1024 * 1024
"""Of the channel's slate; a larger one is identified by its size and date, because reading it would take too long."""

logger = logging.getLogger("livekeep.worker")


class SlateError(TemporaryError):
    """Not even the plain slate could be made."""


@dataclass(frozen=True)
class MadeSlate:
    content: bytes
    """FLV."""
    file: Path
    """Its file in the cache, if it could be stored."""
    problem: str = ""
    """Why it is not the channel's own, or not cached; one sentence."""


def make_slate(channel: Channel, cache: Path | None, encode_seconds: float = ENCODE_SECONDS) -> MadeSlate:
    """The slate of `channel` in FLV, made if it is not in `cache`: whole groups of pictures, with quiet audio.

    Takes some seconds; runs in the main thread when the worker starts. If the cache can't be written, as on a full disk, each
    start takes that time; None means no cache. Raises `SlateError` when even the plain one fails.
    """
    version = ffmpeg_version()
    try:
        own = name_of(channel, fingerprint(Path(channel.slate)), version)
        return made_or_kept(cache, own, channel, lambda: command_for(channel), encode_seconds)
    except FileNotFoundError:
        problem = f"{channel.slate}: is not there; a plain picture is the slate. Set the channel's slate"
    except (ItemError, SlateError) as error:
        problem = f"{channel.slate}: cannot be used as slate ({error}); a plain picture takes its place"
    logger.warning("%s", problem)
    picture = ["-f", "lavfi", "-i", f"{PLAIN}:size=640x360:rate={profile.rate_of(channel)}"]
    command = still_command(picture, channel, seconds_of(channel, PLAIN_SECONDS))
    plain = made_or_kept(cache, name_of(channel, PLAIN, version), channel, lambda: command, encode_seconds)
    return replace(plain, problem="; ".join(filter(None, (problem, plain.problem))))


def made_or_kept(
    cache: Path | None, name: str, channel: Channel, command: Callable[[], list[str]], encode_seconds: float
) -> MadeSlate:
    """The slate `name` from the cache; `command` makes it if it is missing or damaged. Raises `ItemError` or `SlateError`."""
    if cache is None:
        return MadeSlate(encode(command(), channel, encode_seconds), Path(name))
    target = cache / name
    try:
        content = target.read_bytes()
        if not (flaw := flaw_of(content, channel)):
            return MadeSlate(content, target)
        logger.warning("%s: %s; it is made again", target, flaw)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        logger.warning("%s: cannot be read (%s); it is made again", target, error.strerror)
    content = encode(command(), channel, encode_seconds)
    # A fixed name, so that the next worker overwrites what a killed one left.
    temporary = target.with_name(f".{name}.new")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        temporary.rename(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        problem = f"{cache}: the slate cannot be kept ({error.strerror}); it is made again at each start; free the disk"
        logger.warning("%s", problem)
        return MadeSlate(content, target, problem)
    return MadeSlate(content, target)


def flaw_of(content: bytes, channel: Channel) -> str:
    """Why a slate can't go on air, "" if it can."""
    try:
        slate = SlateLoop(content, 1000 / channel.frame_rate)
    except ValueError as error:
        return f"is damaged: {error}"
    return "" if AUDIO in slate.headers else "is damaged: it contains no sound"


def name_of(channel: Channel, content: str, version: str) -> str:
    keys = [f"{key}={getattr(channel, key)!r}" for key in PROFILE_KEYS]
    made_from = hashlib.sha256("\n".join([f"{RECIPE}", *keys, content, version]).encode()).hexdigest()
    return f"slate-{made_from[:24]}.flv"


def fingerprint(file: Path) -> str:
    """The fingerprint of the content. Raises `FileNotFoundError` and `SlateError`."""
    try:
        status = file.stat()
        # Opening a file that waits for a writer, such as a FIFO, would block.
        if not stat.S_ISREG(status.st_mode):
            raise SlateError("is no file")
        if status.st_size > LARGEST_READ_BYTES:
            return f"{status.st_size} {status.st_mtime_ns}"
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise SlateError(f"cannot be read ({getattr(error, 'strerror', '') or error})") from error


def ffmpeg_version() -> str:
    try:
        ended = process.run(["ffmpeg", "-version"], VERSION_SECONDS, process.environment())
    except process.ChildError as error:
        raise SlateError(f"{error}; is the package ffmpeg installed?") from error
    if ended.exit_code:
        raise SlateError(f"ffmpeg -version ended with {ended.exit_code}; is the package ffmpeg installed?")
    return ended.text().partition("\n")[0]


def command_for(channel: Channel) -> list[str]:
    """The ffmpeg command for the slate. Raises `ItemError` for an unplayable video."""
    file = Path(channel.slate)
    if file.suffix.lower() in PICTURES:
        picture = [*MODEST, "-protocol_whitelist", "file", "-f", "image2", "-pattern_type", "none"]
        picture += ["-framerate", f"{profile.rate_of(channel)}", "-i", f"file:{file}"]
        return still_command(picture, channel, seconds_of(channel))
    media = probe(str(file), PROBE_SECONDS)
    return with_length(transcode.feeder_command(str(file), Plan(), channel, media), seconds_of(channel, media.duration_seconds))


def seconds_of(channel: Channel, available: float | None = None) -> float:
    """The length of the slate: whole groups of pictures, about ten seconds, or as much as a shorter video has."""
    group = float(transcode.keyframe_frames(channel) / profile.rate_of(channel))
    if available is None:
        return math.ceil(SECONDS / group) * group
    return max(math.floor(min(available, LONGEST_SECONDS) / group), 1) * group


def still_command(picture: list[str], channel: Channel, seconds: float) -> list[str]:
    """One picture, scaled once and then repeated."""
    rate = profile.rate_of(channel)
    shown = f"[0:v]{transcode.fitting(channel)},loop=loop=-1:size=1,setpts=round(N/({rate})/TB),{transcode.HEADERS}[picture]"
    heard = f"[1:0]aformat=sample_fmts=fltp:channel_layouts=stereo,{transcode.BEGUN}[sound]"
    inputs = [*transcode.BEGINNING, *picture, "-f", "lavfi", "-i", transcode.QUIET]
    encoders = [*transcode.encoder_options(channel), *STILL_QUALITY, *transcode.sound_encoder_options(channel)]
    mapped = ["-filter_complex", f"{shown};{heard}", "-map", "[picture]", "-map", "[sound]"]
    return with_length([*inputs, *mapped, *encoders, *transcode.FLV_OPTIONS], seconds)


def with_length(command: list[str], seconds: float) -> list[str]:
    *most, output = command
    return [*most, "-t", f"{seconds:.6f}", output]


def encode(command: list[str], channel: Channel, seconds: float) -> bytes:
    """The output of `command`, checked. Writes nothing. Raises `SlateError`."""
    whole = [*confined_leash(channel.slate), *command]
    try:
        ended = process.run(whole, seconds, process.environment(), with_errors=True, most_output_bytes=LARGEST_SLATE_BYTES)
    except process.TooSlowError as error:
        raise SlateError(f"ffmpeg did not make it within {seconds:g} s") from error
    except process.NotStartedError as error:
        raise SlateError(f"{error}; is util-linux installed?") from error
    except process.ChildError as error:
        raise SlateError(str(error)) from error
    if ended.exit_code or not ended.output:
        last_line = ended.errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise SlateError(redacted(last_line) or f"ffmpeg ended with {ended.exit_code}")
    if flaw := flaw_of(ended.output, channel):
        raise SlateError(f"ffmpeg's output {flaw}")
    return ended.output
