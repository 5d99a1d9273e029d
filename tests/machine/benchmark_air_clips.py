"""The clips of the air part's benchmark, created once and cached: 50 different ones, some that fail, two at the full bit rate."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

from tests.machine import root

FIFTY, FAULTS, BIG = "fifty", "faults", "big"
SMALL_PROFILE = {"width": 320, "height": 180, "video_bitrate": 400_000, "audio_bitrate": 64_000, "preset": "ultrafast"}
BIG_SECONDS = 150
COUNT = 50
AAC = ("-c:a", "aac", "-ar", "44100", "-ac", "2", "-b:a", "64k")
ENCODER = ("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1")
H264 = (*ENCODER, "-pix_fmt", "yuv420p", "-bf", "0", "-x264-params", "scenecut=0")
FFMPEG = ("ffmpeg", "-nostdin", "-loglevel", "error")
TONE = "sine=frequency=440:sample_rate=48000"
# Most of their numbers have no common divisor but 1: no two of the 50 agree in all properties.
SIZES = ("320x180", "640x360", "426x240", "240x180", "480x200", "180x320", "352x288")
RATES = ("25", "30", "24", "50", "30000/1001", "15", "20", "60", "12")
CODECS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("mp4", (*H264, "-b:v", "300k")),
    ("mkv", ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1:frame-threads=1")),
    ("webm", ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-threads", "1", "-b:v", "200k")),
    ("ts", ("-c:v", "mpeg4", "-b:v", "400k")),
    ("avi", ("-c:v", "mpeg4", "-b:v", "400k")),
)
SOUNDS = (AAC, ("-c:a", "aac", "-ar", "48000", "-ac", "1"), (), ("-c:a", "libmp3lame", "-ar", "44100"))
WEBM_SOUNDS = (("-c:a", "libvorbis", "-ac", "2"), ("-c:a", "libopus", "-ac", "1"), (), ("-c:a", "libopus", "-ac", "2"))
LENGTHS = (2.0, 2.6, 2.2, 3.2, 2.1, 2.4)


def clips(kind: str) -> Path:
    """The folder of the clips, created when absent."""
    made = {FIFTY: make_fifty, FAULTS: make_faults, BIG: make_big}[kind]
    recipe = [kind, COUNT, BIG_SECONDS, SIZES, RATES, CODECS, SOUNDS, WEBM_SOUNDS, LENGTHS, H264, AAC]
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    folder = root.cache() / f"benchmark-clips-{kind}-{key}"
    with root.locked(folder):
        if not folder.exists():
            partial = root.fresh(folder)
            partial.mkdir()
            made(partial)
            partial.rename(folder)
    return folder


def encode(file: Path, size: str, rate: str, seconds: float, picture: tuple[str, ...], sound: tuple[str, ...]) -> None:
    command = [*FFMPEG, "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]
    if sound:
        command += ["-f", "lavfi", "-i", f"{TONE}:duration={seconds}"]
    subprocess.run([*command, *picture, *sound, str(file)], check=True, stdin=subprocess.DEVNULL, timeout=300)


def make_fifty(folder: Path) -> None:
    """One in ten fits the small profile and is copied; the others differ from it and from each other."""
    for number in range(COUNT):
        if number % 10 == 0:
            encode(folder / f"{number:02}.mp4", "320x180", "25", 2 + number / 50, (*H264, "-g", "50", "-b:v", "300k"), AAC)
            continue
        kind, picture = CODECS[number % len(CODECS)]
        sound = (WEBM_SOUNDS if kind == "webm" else SOUNDS)[number % 4]
        size, rate = SIZES[number % len(SIZES)], RATES[number % len(RATES)]
        encode(folder / f"{number:02}.{kind}", size, rate, LENGTHS[number % len(LENGTHS)], picture, sound)


def make_faults(folder: Path) -> None:
    """Sorted by name: a truncated one, a good one. By age, the newest first: a long one."""
    names = ("1-cut.mp4", "2-plays.mp4", "3-long.mp4")
    for name, seconds in zip(names, (45.0, 30.0, 90.0), strict=True):
        start = ("-movflags", "+faststart") if name == "1-cut.mp4" else ()
        encode(folder / name, "426x240", "30", seconds, (*H264, "-g", "60"), (*AAC, *start))
    os.truncate(folder / names[0], (folder / names[0]).stat().st_size // 3)
    for age, name in enumerate(reversed(names)):
        os.utime(folder / name, (1_700_000_000 - age * 1000,) * 2)


def make_big(folder: Path) -> None:
    """They fit the default profile at its full bit rate, and are copied; the picture is repeated, which is faster than encoding.

    Picture only: sound never has exactly the same length, and the rate would vary.
    """
    once = folder / "once.mp4"
    picture = (*H264, "-g", "50", "-b:v", "3000k", "-maxrate", "3000k", "-bufsize", "3000k")
    source = "testsrc2=size=1280x720:rate=25:duration=10,noise=alls=20:allf=t"
    subprocess.run([*FFMPEG, "-f", "lavfi", "-i", source, *picture, str(once)], check=True, timeout=300)
    for name in ("a.mp4", "b.mp4"):
        again = [*FFMPEG, "-stream_loop", "-1", "-i", str(once), "-f", "lavfi", "-i", TONE, "-t", f"{BIG_SECONDS}"]
        again += ["-map", "0:v", "-map", "1:a", "-c:v", "copy", *AAC, "-b:a", "128k", "-movflags", "+faststart"]
        subprocess.run([*again, str(folder / name)], check=True, timeout=300)
    once.unlink()
