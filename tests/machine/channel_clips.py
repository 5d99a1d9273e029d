"""Five different clips for a channel in a machine, created by ffmpeg once and cached: a typical operator's folder.

The first fits the default profile and can be copied; the others differ from it in size, codec, rate or sound. Each has one
colour, by which a test identifies the clip on air.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from tests.machine import root

SECONDS = 4
AAC = ("-c:a", "aac", "-ar", "44100", "-ac", "2", "-b:a", "128k")
BASELINE = ("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-pix_fmt", "yuv420p", "-bf", "0")
COLOURS = {
    "1-fits.mp4": "0x00A000",
    "2-small.mp4": "0xA00000",
    "3-hevc.mp4": "0x0000C0",
    "4-silent.mp4": "0xA0A000",
    "5-vp8.webm": "0xA000A0",
}
"""By name, in the order of the playlist."""
RECIPES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # Size, rate, encoding; without sound if no sound is encoded.
    "1-fits.mp4": ("1280x720", "25", (*BASELINE, "-g", "50", "-x264-params", "scenecut=0", "-b:v", "1500k", *AAC)),
    "2-small.mp4": ("640x360", "30", (*BASELINE, "-c:a", "aac", "-ar", "48000", "-ac", "1")),
    "3-hevc.mp4": (
        "960x540",
        "24",
        ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1:frame-threads=1", *AAC),
    ),
    "4-silent.mp4": ("854x480", "50", (*BASELINE, "-an")),
    "5-vp8.webm": (
        "320x240",
        "15",
        ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-threads", "1", "-c:a", "libvorbis", "-ac", "2"),
    ),
}


def clips() -> Path:
    """The folder of the clips, created when absent."""
    key = hashlib.sha256(json.dumps([SECONDS, COLOURS, RECIPES]).encode()).hexdigest()[:12]
    folder = root.cache() / f"channel-clips-{key}"
    with root.locked(folder):
        if not folder.exists():
            partial = root.fresh(folder)
            partial.mkdir()
            for name in RECIPES:
                _make(name, partial / name)
            partial.rename(folder)
    return folder


def _make(name: str, file: Path) -> None:
    size, rate, encoding = RECIPES[name]
    # The noise makes frames differ, as with a camera.
    picture = f"color=c={COLOURS[name]}:size={size}:rate={rate}:duration={SECONDS},noise=alls=6:allf=t,format=yuv420p"
    sound = f"sine=frequency=440:sample_rate=48000:duration={SECONDS}"
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *encoding, str(file)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=120)
