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
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from livekeep.air import profile
from livekeep.air.ffmpeg import LEASH, environment
from livekeep.air.flv import AUDIO
from livekeep.air.probe import ItemError, probe
from livekeep.air.profile import Plan
from livekeep.air.redaction import redacted
from livekeep.air.relay import Slate
from livekeep.core.config import Channel
from livekeep.core.errors import TemporaryError

SECONDS = 10.0
PLAIN_SECONDS = 2.0
"""Of the plain picture: where ten seconds of the other one took too long, these do not."""
LONGEST_SECONDS = 20.0
"""Of a video, its beginning."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
VERSION_SECONDS = 20.0
PROBE_SECONDS = 10.0
ENCODE_SECONDS = 60.0
"""Of each of the two. All of these together end well before TimeoutStartSec= of livekeep-worker@.service."""
PROFILE_KEYS = ("width", "height", "frame_rate", "video_bitrate", "audio_bitrate", "keyframe_seconds", "preset")
RECIPE = 1
"""Goes up when the slate is made in another way."""
PLAIN = "color=c=0x10466a"
STILL_QUALITY = ("-qmin", "20")
"""A still picture would get the channel's whole bit rate, for nothing that can be seen."""
LARGEST_READ_BYTES = 64 * 1024 * 1024
"""Of the channel's slate; a larger one is told from another by its size and date: reading it would take too long."""

logger = logging.getLogger("livekeep.worker")


class SlateError(TemporaryError):
    """No slate could be made at all."""


def make_slate(channel: Channel, cache: Path, encode_seconds: float = ENCODE_SECONDS) -> Path:
    """The slate of `channel` as an FLV file in `cache`, made if it is not there: whole groups of pictures, with quiet sound.

    Takes some seconds, for the start of the worker, in its main thread. Raises `SlateError` when even the plain one fails.
    """
    version = ffmpeg_version()
    try:
        own = cache / name_of(channel, fingerprint(Path(channel.slate)), version)
        return kept(own, channel, lambda: command_for(channel), encode_seconds)
    except FileNotFoundError:
        logger.warning("%s: is not there; a plain picture is the slate. Set the channel's slate", channel.slate)
    except (ItemError, SlateError) as error:
        logger.warning("%s: cannot be used as slate (%s); a plain picture takes its place", channel.slate, error)
    return kept(cache / name_of(channel, PLAIN, version), channel, lambda: plain_command(channel), encode_seconds)


def kept(target: Path, channel: Channel, command: Callable[[], list[str]], encode_seconds: float) -> Path:
    """`target`, made by `command` when it is not there or is damaged. Raises `ItemError` or `SlateError`."""
    if target.exists():
        flaw = flaw_of(target, channel)
        if not flaw:
            return target
        logger.warning("%s: %s; it is made anew", target, flaw)
    encode(command(), target, channel, encode_seconds)
    return target


def flaw_of(file: Path, channel: Channel) -> str:
    """What keeps a slate's file off air, "" when nothing does."""
    try:
        found = Slate(file.read_bytes(), 1000 / channel.frame_rate)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except ValueError as error:
        return f"is damaged: {error}"
    return "" if AUDIO in found.headers else "is damaged: it holds no sound"


def name_of(channel: Channel, content: str, version: str) -> str:
    keys = [f"{key}={getattr(channel, key)!r}" for key in PROFILE_KEYS]
    made_from = hashlib.sha256("\n".join([f"{RECIPE}", *keys, content, version]).encode()).hexdigest()
    return f"slate-{made_from[:24]}.flv"


def fingerprint(file: Path) -> str:
    """Of the content. Raises `FileNotFoundError` and `SlateError`."""
    try:
        found = file.stat()
        # One that waits for a writer, such as a FIFO, would not even be opened.
        if not stat.S_ISREG(found.st_mode):
            raise SlateError("is no file")
        if found.st_size > LARGEST_READ_BYTES:
            return f"{found.st_size} {found.st_mtime_ns}"
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise SlateError(f"cannot be read ({getattr(error, 'strerror', '') or error})") from error


def ffmpeg_version() -> str:
    try:
        done = subprocess.run(["ffmpeg", "-version"], capture_output=True, check=True, env=environment(), timeout=VERSION_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise SlateError(f"ffmpeg cannot be started ({redacted(str(error))}); is the package ffmpeg installed?") from error
    return done.stdout.decode(errors="replace").partition("\n")[0]


def command_for(channel: Channel) -> list[str]:
    """Raises `ItemError` for a video that cannot be played."""
    file = Path(channel.slate)
    if file.suffix.lower() in PICTURES:
        picture = ["-protocol_whitelist", "file", "-f", "image2", "-pattern_type", "none"]
        picture += ["-framerate", f"{profile.rate_of(channel)}", "-i", f"file:{file}"]
        return still_command(picture, channel, seconds_of(channel))
    media = probe(str(file), PROBE_SECONDS)
    found = Plan("encode", "encode" if media.audio else "silence")
    return with_length(profile.feeder_command(str(file), found, channel, media), seconds_of(channel, media.duration_seconds))


def plain_command(channel: Channel) -> list[str]:
    picture = ["-f", "lavfi", "-i", f"{PLAIN}:size=640x360:rate={profile.rate_of(channel)}"]
    return still_command(picture, channel, seconds_of(channel, PLAIN_SECONDS))


def seconds_of(channel: Channel, available: float | None = None) -> float:
    """How long the slate is: whole groups of pictures, about ten seconds, or as much of a video as there is."""
    group = float(profile.keyframe_frames(channel) / profile.rate_of(channel))
    if available is None:
        return math.ceil(SECONDS / group) * group
    return max(math.floor(min(available, LONGEST_SECONDS) / group), 1) * group


def still_command(picture: list[str], channel: Channel, seconds: float) -> list[str]:
    """One picture, fitted once and then repeated."""
    rate = profile.rate_of(channel)
    graph = ";".join(
        (
            f"[0:v]{profile.fitting(channel)},loop=loop=-1:size=1,setpts=N/({rate})/TB,{profile.headers()}[picture]",
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


def encode(command: list[str], target: Path, channel: Channel, seconds: float) -> None:
    """Write what `command` prints into `target`: whole, and found good, or not at all. Raises `SlateError`."""
    # Always the same name: what a worker that was killed left behind is written over.
    temporary = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as output:
            done = subprocess.run(
                [*LEASH, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                env=environment(),
                timeout=seconds,
                check=False,
            )
            output.flush()
            os.fsync(output.fileno())
        if done.returncode or not temporary.stat().st_size:
            raise SlateError(redacted(last_line(done.stderr)) or f"ffmpeg ended with {done.returncode}")
        if flaw := flaw_of(temporary, channel):
            raise SlateError(f"what ffmpeg made of it {flaw}")
        temporary.rename(target)
    except subprocess.TimeoutExpired as error:
        raise SlateError(f"ffmpeg did not make it within {seconds:g} s") from error
    except OSError as error:
        raise SlateError(f"{target}: cannot be written ({error.strerror}); is the disk full?") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def last_line(printed: bytes) -> str:
    lines = printed.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
