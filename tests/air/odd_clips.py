"""Clips whose packets say something else than their headers: holes, timestamps that begin again, damage, late keyframes.

`odd(NAME)` gives the path, made on first use; any other name is one of `clips`.
"""

import functools
from collections.abc import Callable
from pathlib import Path

from tests.air.clips import AAC, clip, encode, folder, h264, picture, sound

STEADY = h264(25, "-maxrate", "400k", "-bufsize", "400k")
NOISE = "noise=alls=100:allf=t:enable='between(t,8,9.5)'"
FORCED = ("-force_key_frames", "expr:lt(t,22)*gte(t,n_forced)")


def without(first: float, last: float) -> str:
    return rf"select='not(between(t\,{first}\,{last}))'"


RECIPES: dict[str, list[str]] = {
    "hole-in-picture.mkv": [*picture(seconds=30), *sound(30), "-vf", without(22, 28), "-vsync", "passthrough", *STEADY, *AAC],
    "hole-in-sound.mp4": [*picture(seconds=6), *sound(6), "-af", f"a{without(2, 4)}", *STEADY, *AAC],
    "hole-in-both.mkv": [*picture(seconds=12), *sound(12), "-vf", without(4, 10), "-vsync", "passthrough", "-af",
                         f"a{without(4, 10)}", *STEADY, *AAC],
    "late-keyframes.mp4": [*picture(seconds=34), *sound(34), *h264(1000, *FORCED), *AAC],
    "burst.mp4": [*picture(seconds=20), *sound(20), "-vf", NOISE, *h264(50, "-crf", "30", "-b:v", "0"), *AAC],
    "lossless.mp4": ["-f", "lavfi", "-i", "color=gray:size=320x180:rate=25:duration=2", *sound(2), *h264(50), "-b:v", "0",
                     "-qp", "0", *AAC],
    "late-start.mkv": [*picture(), *sound(), *STEADY, *AAC, "-output_ts_offset", "300", "-avoid_negative_ts", "disabled"],
    "slower.mp4": [*picture(rate="25", seconds=4), *sound(4), *STEADY, *AAC],
}  # fmt: skip


def piece(ending: str, *, seconds: float = 2, is_silent: bool = False) -> bytes:
    path = folder() / f"piece-{seconds}{is_silent}.{ending}"
    if not path.exists():
        encode([*picture(seconds=seconds), *([] if is_silent else sound(seconds)), *STEADY, *([] if is_silent else AAC)], path)
    return path.read_bytes()


def wrong_header() -> bytes:
    """An FLV whose header tells of 1 s: its recorder died."""
    content = bytearray(piece("flv", seconds=4))
    at = content.index(b"duration\0") + len(b"duration\0")
    content[at : at + 8] = b"\x3f\xf0" + bytes(6)
    return bytes(content)


MADE: dict[str, Callable[[], bytes]] = {
    "again.flv": lambda: piece("flv") + piece("flv")[13:],
    "again.mkv": lambda: piece("mkv") * 2,
    "again-silent.ts": lambda: piece("ts", is_silent=True) * 2,
    "wrong-header.flv": wrong_header,
    "damaged.ts": lambda: b"".join(packet for number, packet in enumerate(packets_188()) if number % 97),
}


def packets_188() -> list[bytes]:
    content = clip("matching.ts").read_bytes()
    return [content[at : at + 188] for at in range(0, len(content), 188)]


@functools.cache
def odd(name: str) -> Path:
    path = folder() / name
    if name in RECIPES:
        encode(RECIPES[name], path)
    elif name in MADE:
        path.write_bytes(MADE[name]())
    else:
        return clip(name)
    return path
