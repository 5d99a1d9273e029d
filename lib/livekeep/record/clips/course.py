"""The usual course of a source's plays: over a clip's age, and over the day. Pure.

Both are medians over many clips and days, so that a few take-offs do not distort them. The fall of the rate from one age to the
next comes from clips seen at both ages: different clips may have had very different levels from the start.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise

HOUR = 3600.0
DAY_HOURS = 24
AGE_HOURS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Lower bounds of the age bins, in hours; the last one is open."""
MIDDLES = (0.5, *(math.sqrt(low * high) for low, high in pairwise(AGE_HOURS[1:])), 2 * AGE_HOURS[-1])
LOG_MIDDLES = tuple(math.log2(middle) for middle in MIDDLES)
USUAL_DECAY = 0.8
"""Exponent by which plays an hour fall with age, where the source's own clips give no other."""
FEW = 5
"""This many clips count by half."""
LEAST_PAIR_PLAYS = 5
LEAST_SHARE = 0.4
"""The share of a bin in which a clip must have been seen to count."""
LEAST_RATE = 1e-4
"""The minimum expected plays an hour of any clip."""
LEAST_DAY_PLAYS = 50
LEAST_DAY_HOURS = 20
LONGEST_GAP_HOURS = 2.0
"""Plays gained between fetches farther apart say nothing about the time of day."""
DAY_RANGE = (0.2, 4.0)
FLAT_DAY = (1.0,) * DAY_HOURS


class Course:
    """`rates`: plays an hour of a usual clip in each age bin. `day`: their factor in each hour of the day."""

    def __init__(self, rates: Sequence[float], day: Sequence[float] = FLAT_DAY) -> None:
        self._logs = [math.log(max(rate, LEAST_RATE)) for rate in rates]
        self._day = tuple(day)
        self._before = tuple(sum(day[:hour]) for hour in range(DAY_HOURS))
        self._whole = sum(day)

    def hours(self, begin: float, end: float) -> float:
        """The hours between two moments (Unix seconds), weighted by the time of day; a whole day is DAY_HOURS."""
        return max(self._since_epoch(end) - self._since_epoch(begin), 0.0)

    def _since_epoch(self, moment: float) -> float:
        days, hours = divmod(moment / HOUR, DAY_HOURS)
        hour = int(hours)
        return (days * self._whole + self._before[hour] + (hours - hour) * self._day[hour]) * DAY_HOURS / self._whole

    def rate(self, age_hours: float) -> float:
        """Plays an hour at an age: a power law between the middles of two bins."""
        if age_hours <= MIDDLES[0]:
            return math.exp(self._logs[0])
        if age_hours >= MIDDLES[-1]:
            return math.exp(self._logs[-1])
        number = next(index for index, middle in enumerate(MIDDLES) if middle > age_hours)
        low, high = LOG_MIDDLES[number - 1], LOG_MIDDLES[number]
        share = (math.log2(age_hours) - low) / (high - low)
        return math.exp(self._logs[number - 1] * (1 - share) + self._logs[number] * share)

    def plays(self, created: float | None, begin: float, end: float) -> float:
        """The plays of a usual clip between two moments; a clip of unknown age counts as old."""
        if end <= begin:
            return 0.0
        if created is None or begin - created > AGE_HOURS[-1] * HOUR:
            return math.exp(self._logs[-1]) * self.hours(begin, end)
        first, last = max(begin - created, 0.0) / HOUR, max(end - created, 0.0) / HOUR
        # The curve is steep at first, so the evaluation points are denser there.
        steps = 4 if first > 8 else 12
        low, high = math.log1p(first), math.log1p(last)
        edges = [math.expm1(low + (high - low) * step / steps) for step in range(steps + 1)]
        return sum(self.rate((a + b) / 2) * self.hours(created + a * HOUR, created + b * HOUR) for a, b in pairwise(edges))


Seen = Mapping[int, tuple[float, int]]
"""Of a clip: per age bin, the hours in which it was seen, and the plays."""


def rates_by_age(clips: Sequence[Seen]) -> list[float]:
    """Plays an hour in each age bin, from the observations of each clip."""
    shape = [1.0]
    for number in range(len(AGE_HOURS) - 2, -1, -1):
        shape.insert(0, shape[0] * math.exp(fall(clips, number)))
    # A clip's own level relative to the shape; the top twentieth counts no more than its lowest clip.
    levels = []
    for seen in clips:
        weight = sum(hours * shape[number] for number, (hours, _plays) in seen.items())
        if weight > 0:
            levels.append((sum(plays for _hours, plays in seen.values()) / weight, weight))
    levels.sort()
    limit = levels[-1 - len(levels) // 20][0] if levels else 0.0
    total = sum(weight for _level, weight in levels)
    level = sum(min(one, limit) * weight for one, weight in levels) / total if total else 0.0
    return [max(level * part, LEAST_RATE) for part in shape]


def fall(clips: Sequence[Seen], number: int) -> float:
    """The logarithm of a bin's rate over the next bin's, as the median of the clips seen in both."""
    usual = USUAL_DECAY * math.log(MIDDLES[number + 1] / MIDDLES[number])
    # The last bin is open: it uses the width of the one before.
    least = [LEAST_SHARE * (high - low) for low, high in pairwise(AGE_HOURS[number : number + 3])]
    differences = []
    for seen in clips:
        (hours, plays), (next_hours, next_plays) = seen.get(number, (0.0, 0)), seen.get(number + 1, (0.0, 0))
        if hours >= least[0] and next_hours >= least[-1] and plays + next_plays >= LEAST_PAIR_PLAYS:
            differences.append(math.log((plays + 0.5) / hours) - math.log((next_plays + 0.5) / next_hours))
    if not differences:
        return usual
    return (len(differences) * statistics.median(differences) + FEW * usual) / (len(differences) + FEW)


def day_of(fetches: Sequence[tuple[float, int]]) -> tuple[float, ...]:
    """The daily profile (UTC) of all clips' plays, with a mean of 1: the median of the days with enough plays.

    `fetches`: the time of each, ascending, and the plays that all clips gained since the one before.
    """
    by_hour: dict[int, float] = {}
    for (begin, _gained), (end, gained) in pairwise(fetches):
        if not 0 < end - begin <= LONGEST_GAP_HOURS * HOUR:
            continue
        # Distribute the plays over the hours that the span touches.
        first, last = begin / HOUR, end / HOUR
        for hour in range(math.floor(first), math.floor(last) + 1):
            share = (min(last, hour + 1) - max(first, hour)) / (last - first)
            by_hour[hour] = by_hour.get(hour, 0.0) + gained * share
    days: dict[int, dict[int, float]] = {}
    for hour, plays in by_hour.items():
        days.setdefault(hour // DAY_HOURS, {})[hour % DAY_HOURS] = plays
    usable = [day for day in days.values() if len(day) >= LEAST_DAY_HOURS and sum(day.values()) >= LEAST_DAY_PLAYS]
    if not usable:
        return FLAT_DAY
    trust = len(usable) / (len(usable) + 1)
    profile = []
    for hour in range(DAY_HOURS):
        shares = [day[hour] * len(day) / sum(day.values()) for day in usable if hour in day]
        profile.append(1 + trust * (statistics.median(shares) - 1) if shares else 1.0)
    low, high = DAY_RANGE
    mean = sum(profile) / DAY_HOURS
    return tuple(min(max(part / mean, low), high) for part in profile)
