"""Mergeable histograms of durations: the percentiles of a month come from its days. Standard library only.

Buckets grow by a constant factor, so that an estimate is off by at most `ERROR` of the value, whatever its size. Source: Masson,
Rim, Lee: "DDSketch", 2019, section 2. A histogram is a dict of bucket to count; in the database it is a blob:

| bytes  | meaning                                                                                       |
|--------|-----------------------------------------------------------------------------------------------|
| 1      | width of a count: 1, 2, 4 or 8 bytes                                                          |
| n      | distance of each bucket from the one before (the first: from 0); 255 more with a count of zero |
| n × w  | counts, little endian                                                                         |
"""

import math
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

ERROR = 0.019
"""Relative error of a percentile; rounding adds up to half a microsecond."""
FACTOR = (1 + ERROR) / (1 - ERROR)
LOG_FACTOR = math.log(FACTOR)
LARGEST_STEP = 255
CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}

Histogram = dict[int, int]
"""Bucket → count."""


@lru_cache(maxsize=4096)
def bucket(value: int) -> int:
    """The bucket of `value` (zero or more)."""
    return 1 + math.ceil(math.log(value) / LOG_FACTOR - 1e-9) if value > 0 else 0


@lru_cache(maxsize=2048)
def value_of(bucket_number: int) -> float:
    """The value that differs by at most `ERROR` from each value of the bucket."""
    return 2 * FACTOR ** (bucket_number - 1) / (FACTOR + 1) if bucket_number > 0 else 0.0


def count(values: Iterable[int]) -> Histogram:
    histogram: Histogram = {}
    for number in map(bucket, values):
        histogram[number] = histogram.get(number, 0) + 1
    return histogram


def merge(target: Histogram, other: Mapping[int, int]) -> None:
    """Add the counts of `other` to `target`."""
    for number, counted in other.items():
        target[number] = target.get(number, 0) + counted


def add(target: list[int], blob: bytes) -> None:
    """Add an encoded histogram to `target`, a list of counts by bucket: faster than a dict for thousands of histograms."""
    distances, counts = _read(blob)
    target += [0] * (sum(distances) + 1 - len(target))
    for number, counted in zip(accumulate(distances), counts, strict=True):
        target[number] += counted


def percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """The smallest value that at least `share` (0 to 1) of all values don't exceed; None when there is no value."""
    rank = max(1, math.ceil(share * sum(histogram.values()) - 1e-9))
    reached = 0
    for number in sorted(histogram):
        reached += histogram[number]
        if reached >= rank:
            return value_of(number)
    return None


def percentiles(counts: Sequence[int], shares: Iterable[float]) -> list[float]:
    """Like `percentile`, for a list of counts by bucket with at least one value."""
    reached = list(accumulate(counts))
    ranks = [max(1, math.ceil(share * reached[-1] - 1e-9)) for share in shares]
    return [value_of(bisect_left(reached, rank)) for rank in ranks]


def encode(histogram: Mapping[int, int]) -> bytes:
    steps, counts, at = bytearray(), [], 0
    for number in sorted(histogram):
        while number - at > LARGEST_STEP:
            steps.append(LARGEST_STEP)
            counts.append(0)
            at += LARGEST_STEP
        steps.append(number - at)
        counts.append(histogram[number])
        at = number
    largest = max(counts, default=0)
    width = next(width for width in CODES if largest < 1 << 8 * width)
    return bytes((width,)) + bytes(steps) + little_endian(array(CODES[width], counts)).tobytes()


def decode(blob: bytes) -> Histogram:
    """Raises `ValueError` for an invalid histogram."""
    distances, counts = _read(blob)
    return {number: counted for number, counted in zip(accumulate(distances), counts, strict=True) if counted}


def _read(blob: bytes) -> tuple[bytes, Sequence[int]]:
    """The distances of the buckets, and their counts, including zeros."""
    width = blob[0] if blob else 0
    if width not in CODES or (len(blob) - 1) % (width + 1):
        raise ValueError("not a histogram")
    length = (len(blob) - 1) // (width + 1)
    counts = array(CODES[width])
    counts.frombytes(blob[1 + length :])
    return blob[1 : 1 + length], little_endian(counts)


def little_endian(counts: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        counts.byteswap()
    return counts
