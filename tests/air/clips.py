"""Unlike clips, made by ffmpeg on first use and kept for the test session: small, a few seconds each.

`clip(NAME)` gives the path; NAMES are all of them, PLAYABLE those with a picture that can be shown, MATCHING those that fit
CHANNEL for copying. `make_all(folder, names)` fills a folder for those who want files beside each other.
"""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from livekeep.air.worker.media_info import MediaInfo, scanned
from livekeep.air.worker.probe import probe
from livekeep.air.worker.scan import scan
from livekeep.core.config import Channel

CHANNEL = Channel(width=320, height=180, frame_rate=25.0, video_bitrate=400_000, audio_bitrate=64_000, preset="ultrafast")
"""A small profile, quick to encode."""

SECONDS = 3
READING_SECONDS = 30.0
TONE = "sine=frequency=440:sample_rate=48000"


def picture(size: str = "320x180", rate: str = "25", seconds: float = SECONDS) -> list[str]:
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]


def sound(seconds: float = SECONDS, source: str = TONE) -> list[str]:
    return ["-f", "lavfi", "-i", f"{source}:duration={seconds}"]


def h264(keyframes: int = 50, *more: str) -> list[str]:
    still = "scenecut=0:bframes=0" if "-bf" not in more else "scenecut=0"
    plain = ["-pix_fmt", "yuv420p", "-b:v", "300k", "-x264-params", still]
    return ["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-g", str(keyframes), *plain, *more]


AAC = ["-c:a", "aac", "-ar", "44100", "-ac", "2", "-b:a", "64k"]
AAC_48_MONO = ["-c:a", "aac", "-ar", "48000", "-ac", "1", "-b:a", "48k"]

RECIPES: dict[str, list[str]] = {
    # They fit CHANNEL.
    "matching.mp4": [*picture(), *sound(), *h264(), *AAC],
    "matching-b-frames.mp4": [*picture(), *sound(), *h264(50, "-bf", "2"), *AAC],
    "matching.mkv": [*picture(), *sound(), *h264(), *AAC],
    "matching.ts": [*picture(), *sound(), *h264(), *AAC],
    "matching-faststart.mp4": [*picture(), *sound(), *h264(), *AAC, "-movflags", "+faststart"],
    # Their sound alone does not fit.
    "no-audio.mp4": [*picture(), *h264()],
    "mono-48k.mp4": [*picture(), *sound(), *h264(), *AAC_48_MONO],
    "surround.mp4": [*picture(), *sound(), *h264(), "-c:a", "aac", "-ar", "48000", "-ac", "6", "-b:a", "192k"],
    "mp3.mp4": [*picture(), *sound(), *h264(), "-c:a", "libmp3lame", "-ar", "44100"],
    "short-sound.mp4": [*picture(), *sound(1), *h264(), *AAC],
    "late-sound.mp4": [*picture(), "-itsoffset", "1", *sound(2), *h264(), *AAC],
    # Their picture does not fit.
    "larger.mp4": [*picture("640x360", "30"), *sound(), *h264(), *AAC],
    "film.mp4": [*picture("480x200", "24"), *sound(), *h264(), *AAC],
    "ntsc.mp4": [*picture("320x240", "30000/1001"), *sound(), *h264(), *AAC],
    "fifty.mp4": [*picture(rate="50"), *sound(), *h264(), *AAC],
    "hevc.mp4": [*picture(seconds=2), *sound(2), "-c:v", "libx265", "-preset", "ultrafast",
                 "-x265-params", "log-level=none:pools=1:frame-threads=1", *AAC_48_MONO],
    "vp8.webm": [*picture("240x136"), *sound(), "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8",
                 "-b:v", "200k", "-threads", "1", "-c:a", "libvorbis", "-ac", "2"],
    "vp9.webm": [*picture("240x136", seconds=2), *sound(2), "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8",
                 "-b:v", "200k", "-threads", "1", "-c:a", "libopus"],
    "mpeg2.ts": [*picture("352x288"), *sound(), "-c:v", "mpeg2video", "-b:v", "600k", "-c:a", "mp2"],
    "mpeg4.avi": [*picture("320x240"), *sound(), "-c:v", "mpeg4", "-b:v", "400k", "-c:a", "libmp3lame"],
    "portrait.mp4": [*picture(), *sound(), *h264(), *AAC],
    "anamorphic.mp4": [*picture("240x180"), *sound(), *h264(), "-vf", "setsar=16/11", *AAC],
    "interlaced.mp4": [*picture(rate="50"), *sound(), "-vf", "interlace", *h264(25, "-flags", "+ildct+ilme", "-bf", "0"), *AAC],
    "varying-rate.mp4": [*picture(rate="30"), *sound(), "-vf", r"select='not(mod(floor(n/10)\,2)*mod(n\,3))'",
                         "-vsync", "vfr", *h264(), *AAC],
    "ten-bit.mp4": [*picture(), *sound(), *h264(), "-pix_fmt", "yuv420p10le", *AAC],
    "hdr.mkv": [*picture(seconds=2), *sound(2), "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le",
                "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-x265-params",
                ("log-level=none:pools=1:frame-threads=1:hdr10=1:repeat-headers=1:max-cll=1000,400:"
                 "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"), *AAC],
    "full-range.mp4": [*picture(), *sound(), *h264(), "-vf", "scale=out_range=pc", "-pix_fmt", "yuvj420p", *AAC],
    "long-gop.mp4": [*picture(seconds=6), *sound(6), *h264(1000), *AAC],
    # More than the worker reads ahead: its feeder runs for most of it, however quick the machine is.
    "long.mp4": [*picture("160x90", seconds=40), *sound(40), *h264(), *AAC],
    "high-bitrate.mp4": [*picture(), *sound(), *h264(), "-b:v", "3000k", "-qmax", "10", *AAC],
    "late-picture.mkv": [*picture(seconds=2), *sound(), "-vf", "setpts=PTS+1/TB", *h264(), *AAC],
    "long-sound.mp4": [*picture(seconds=1), *sound(4), *h264(), *AAC],
    "one-frame.mp4": [*picture(seconds=0.04), *h264()],
    "half.mp4": [*picture(seconds=0.4), *sound(0.4), *h264(), *AAC],
    # Nothing to be shown.
    "audio-only.mp4": [*sound(), *AAC],
}  # fmt: skip
BROKEN = ("truncated.mp4", "no-index.mp4", "corrupt.mp4", "empty.mp4", "text.mp4", "playlist.mp4", "changing.ts")
NAMES = (*RECIPES, *BROKEN)
MATCHING = tuple(name for name in NAMES if name.startswith("matching"))
PLAYABLE = (*(name for name in RECIPES if name not in ("audio-only.mp4", "long.mp4")), "changing.ts")
"""Those that play from end to end, in a few seconds."""


@functools.cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="livekeep-clips-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def clip(name: str) -> Path:
    """The clip of that name, made if it is not there yet."""
    path = folder() / name
    if not path.exists():
        make(name, path)
    return path


@functools.cache
def known(path: Path) -> MediaInfo:
    """An item as the worker knows it when all of it is read."""
    media = probe(str(path), READING_SECONDS)
    return scanned(media, scan(str(path), media, path.name, timeout_seconds=READING_SECONDS))


def make_all(into: Path, names: tuple[str, ...]) -> list[Path]:
    """Copies of clips in a folder of the caller's."""
    return [Path(shutil.copy(clip(name), into / name)) for name in names]


def encode(arguments: list[str], path: Path) -> None:
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments, "-strict", "-2", str(path)]
    subprocess.run(command, check=True, timeout=60)


def make(name: str, path: Path) -> None:
    unready = path.with_name(f"new-{path.name}")
    if name in RECIPES:
        encode(RECIPES[name], unready)
    else:
        BREAKING[name](unready)
    if name == "portrait.mp4":
        turned = path.with_name(f"turned-{path.name}")
        encode(["-i", str(unready), "-c", "copy", "-metadata:s:v:0", "rotate=90"], turned)
        turned.rename(unready)
    unready.rename(path)


def truncated(path: Path) -> None:
    """The index at the front says six seconds, and a third of them is there."""
    encode([*picture(seconds=6), *sound(6), *h264(25), *AAC, "-movflags", "+faststart"], path)
    os.truncate(path, path.stat().st_size // 3)


def no_index(path: Path) -> None:
    """Cut off before its index, which lies at the end."""
    shutil.copy(clip("matching.mp4"), path)
    os.truncate(path, path.stat().st_size // 2)


def corrupt(path: Path) -> None:
    """Noise in the middle third of its pictures and sound."""
    content = bytearray(clip("matching-faststart.mp4").read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes((index * 151 + index // 7) & 255 for index in range(third))
    path.write_bytes(content)


def changing(path: Path) -> None:
    """Size, rate and channels of the sound change in the middle, as when a broadcast was recorded."""
    first, second = path.with_name("first.ts"), path.with_name("second.ts")
    encode([*picture(seconds=2), *sound(2), *h264(), *AAC], first)
    encode([*picture("480x360", "30", 2), *sound(2), *h264(), *AAC_48_MONO, "-output_ts_offset", "2"], second)
    path.write_bytes(first.read_bytes() + second.read_bytes())


BREAKING = {
    "truncated.mp4": truncated,
    "no-index.mp4": no_index,
    "corrupt.mp4": corrupt,
    "empty.mp4": lambda path: path.write_bytes(b""),
    "text.mp4": lambda path: path.write_text("This is a letter, not a film.\n" * 50),
    "playlist.mp4": lambda path: path.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{clip('matching.ts')}\n#EXT-X-ENDLIST\n"
    ),
    "changing.ts": changing,
}
