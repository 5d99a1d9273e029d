"""What goes on air when no item can: ten seconds of FLV, made once and kept. Runs in livekeep-worker@CHANNEL.

The slate is encoded as every normalised item is, so that going to it and back changes no header. It is named by what it was made
from: the profile, the content of the channel's slate and the version of ffmpeg; another of these makes another file.
A slate that cannot be used must not keep a channel off air: a plain picture takes its place, and the log says so.
"""

import contextlib
import hashlib
import logging
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from livekeep.air import profile
from livekeep.air.ffmpeg import LEASH, environment
from livekeep.air.probe import ItemError, probe
from livekeep.air.profile import Plan
from livekeep.air.redaction import redacted
from livekeep.core.config import Channel
from livekeep.core.errors import TemporaryError

SECONDS = 10.0
LONGEST_SECONDS = 20.0
"""Of a video, its beginning."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
PROBE_SECONDS = 10.0
ENCODE_SECONDS = 120.0
PROFILE_KEYS = ("width", "height", "frame_rate", "video_bitrate", "audio_bitrate", "keyframe_seconds", "preset")
RECIPE = 1
"""Goes up when the slate is made in another way."""
PLAIN = "color=c=0x10466a"
STILL_QUALITY = ("-qmin", "20")
"""A still picture would get the channel's whole bit rate, for nothing that can be seen."""
LARGEST_BYTES = 64 * 1024 * 1024

logger = logging.getLogger("livekeep.worker")


class SlateError(TemporaryError):
    """No slate could be made at all."""


def make_slate(channel: Channel, cache: Path) -> Path:
    """The slate of `channel` as an FLV file in `cache`, made if it is not there: whole groups of pictures, with quiet sound.

    Takes some seconds, for the start of the worker, in its main thread. Raises `SlateError` when even the plain one fails.
    """
    with contextlib.suppress(FileNotFoundError):
        return kept(channel, cache, fingerprint(Path(channel.slate)), lambda: command_for(channel))
    logger.warning("%s: is not there; a plain picture is the slate. Set the channel's slate", channel.slate)
    return plain(channel, cache)


def kept(channel: Channel, cache: Path, content: str, command: Callable[[], list[str]]) -> Path:
    target = cache / f"slate-{name_of(channel, content)}.flv"
    if target.exists():
        return target
    try:
        encode(command(), target)
    except (ItemError, SlateError) as error:
        if content == PLAIN:
            raise
        logger.warning("%s: cannot be used as slate (%s); a plain picture takes its place", channel.slate, error)
        return plain(channel, cache)
    return target


def plain(channel: Channel, cache: Path) -> Path:
    picture = ["-f", "lavfi", "-i", f"{PLAIN}:size=640x360:rate={profile.rate_of(channel)}"]
    return kept(channel, cache, PLAIN, lambda: still_command(picture, channel))


def name_of(channel: Channel, content: str) -> str:
    keys = [f"{key}={getattr(channel, key)!r}" for key in PROFILE_KEYS]
    return hashlib.sha256("\n".join([f"{RECIPE}", *keys, content, ffmpeg_version()]).encode()).hexdigest()[:24]


def fingerprint(file: Path) -> str:
    """Of the content. Raises `FileNotFoundError`; another fault is found again by the encoder, which says it better."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except OSError as error:
        return f"{error.strerror}"


def ffmpeg_version() -> str:
    try:
        done = subprocess.run(["ffmpeg", "-version"], capture_output=True, check=True, env=environment(), timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        raise SlateError(f"ffmpeg cannot be started ({redacted(str(error))}); is the package ffmpeg installed?") from error
    return done.stdout.decode(errors="replace").partition("\n")[0]


def command_for(channel: Channel) -> list[str]:
    """Raises `ItemError` for a video that cannot be played."""
    file = Path(channel.slate)
    if file.suffix.lower() in PICTURES:
        picture = ["-protocol_whitelist", "file", "-f", "image2", "-pattern_type", "none"]
        picture += ["-framerate", f"{profile.rate_of(channel)}", "-i", f"file:{file}"]
        return still_command(picture, channel)
    media = probe(str(file), PROBE_SECONDS)
    found = Plan("encode", "encode" if media.audio else "silence")
    return with_length(profile.feeder_command(str(file), found, channel, media), seconds_of(channel, media.duration_seconds))


def seconds_of(channel: Channel, available: float | None = None) -> float:
    """How long the slate is: whole groups of pictures, about ten seconds, or as much of a video as there is."""
    group = float(profile.keyframe_frames(channel) / profile.rate_of(channel))
    if available is None:
        return math.ceil(SECONDS / group) * group
    return max(math.floor(min(available, LONGEST_SECONDS) / group), 1) * group


def still_command(picture: list[str], channel: Channel) -> list[str]:
    """One picture, fitted once and then repeated."""
    seconds, rate = seconds_of(channel), profile.rate_of(channel)
    graph = ";".join(
        (
            f"[0:v]{profile.fitting(None, channel)},loop=loop=-1:size=1,setpts=N/({rate})/TB,{profile.headers()}[picture]",
            f"[1:0]aformat=sample_fmts=fltp:channel_layouts=stereo,{profile.BEGUN}[sound]",
        )
    )
    inputs = [*profile.beginning(), *picture, "-f", "lavfi", "-i", profile.QUIET]
    encoders = [*profile.encoder_options(channel), *STILL_QUALITY, *profile.sound_encoder_options(channel)]
    whole = ["-filter_complex", graph, "-map", "[picture]", "-map", "[sound]", *encoders, *profile.flv_options()]
    return with_length([*inputs, *whole], seconds)


def with_length(command: list[str], seconds: float) -> list[str]:
    *most, output = command
    return [*most, "-t", f"{seconds:.6f}", output]


def encode(command: list[str], target: Path) -> None:
    """Write what `command` prints into `target`, whole or not at all. Raises `SlateError`."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as output:
            done = subprocess.run(
                [*LEASH, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                env=environment(),
                timeout=ENCODE_SECONDS,
                check=False,
            )
            output.flush()
            os.fsync(output.fileno())
        if done.returncode or not temporary.stat().st_size:
            raise SlateError(redacted(last_line(done.stderr)) or f"ffmpeg ended with {done.returncode}")
        temporary.rename(target)
    except subprocess.TimeoutExpired as error:
        raise SlateError(f"ffmpeg did not make it within {ENCODE_SECONDS:g} s") from error
    except OSError as error:
        raise SlateError(f"{target}: cannot be written ({error.strerror}); is the disk full?") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def last_line(printed: bytes) -> str:
    lines = printed.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
