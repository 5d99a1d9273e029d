"""Reads what QEMU records of a machine: its screen (PPM) and its sound (RIFF/WAVE)."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

WAV_HEADER_BYTES = 44


def read_ppm(data: bytes) -> tuple[int, int, bytes]:
    """Read a binary PPM of 8 bits: width, height, pixels. Raises ValueError."""
    kind, width, height, largest, pixels = data.split(maxsplit=4) if data[-1:] else (b"",) * 5
    if kind != b"P6" or largest != b"255":
        raise ValueError("not a PPM of 8 bits a colour")
    # split() would take a first pixel that looks like white space for a separator.
    pixels = data[len(data) - int(width) * int(height) * 3 :]
    return int(width), int(height), pixels


def read_wav(path: Path) -> tuple[int, array[int]]:
    """Return the rate in Hz and the left channel's samples of QEMU's 16-bit stereo recording.

    The header's lengths are wrong until QEMU has ended: they are not read. Before the first sound the file is
    empty: rate 0, no samples.
    """
    data = path.read_bytes()
    rate = int.from_bytes(data[24:28], "little")
    samples = array("h")
    samples.frombytes(data[WAV_HEADER_BYTES : len(data) - (len(data) - WAV_HEADER_BYTES) % 4])
    return rate, samples[::2]


def strength(samples: array[int], rate: int, hertz: float) -> float:
    """How much of this frequency is in the sound, by Goertzel's algorithm."""
    factor = 2 * math.cos(2 * math.pi * hertz / rate)
    last = before = 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    return (last * last + before * before - factor * last * before) / len(samples) ** 2
