"""How surprising the plays of the last hours are, clip by clip. Pure.

What is expected of a clip in a window is its own level times the usual age curve of the source's clips. Its level is how much it
was played in the 24 hours before the window, against the curve; a clip that is new, or seldom played, leans on the curve alone
(a gamma distribution of levels of shape LEVEL_SHAPE around 1). Plays come in bursts: given what is expected, their number has a
negative binomial distribution, whose dispersion is that of the source's other clips in the same window. And all clips of a source
rise and fall together over the day: what is expected of one follows the others.

The score is -log10 of the probability of as many plays or more: 6 is one in a million. Of several windows, the most surprising
one counts. Nothing depends on regular intervals: what is known of a window is its real begin and end.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

HOUR = 3600.0
WINDOW_HOURS = (1.0, 3.0, 6.0, 12.0)
BEFORE_HOURS = 24.0
AGE_HOURS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Where the bins of the age curve begin; the last one has no end."""
USUAL_DECAY = 0.8
"""Plays an hour fall with this power of age until a source's own curve is known."""
PRIOR_HOURS = 48.0
"""So many clip-hours of the usual decay count in each bin beside what was seen."""
LEAST_RATE = 1e-4
"""Plays an hour that are expected of any clip."""
LEVEL_SHAPE = 1.0
USUAL_SIZE = 4.0
"""Of the negative binomial, where too few clips tell of it."""
DISPERSION_RANGE = (0.5, 50.0)
RISE_RANGE = (0.3, 4.0)
LEAST_EXPECTED = 3.0
"""Plays of a clip that tells of the whole source."""
FEW_CLIPS = 5
"""So many of them are believed by half."""
MEDIAN_OF_CHI_SQUARE = 0.455
MOST_TERMS = 1000


@dataclass(frozen=True, slots=True)
class Window:
    """Moments at which the source was fetched, Unix seconds: the last hours, and the day before them."""

    before: float
    begin: float
    end: float

    @property
    def hours(self) -> float:
        return (self.end - self.begin) / HOUR


@dataclass(frozen=True, slots=True)
class Plays:
    """Of one clip: for each window the plays in it, and in the day before it. `since`: from when on they are known."""

    clip: int
    created: float | None
    since: float
    recent: tuple[int, ...]
    earlier: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """`ratio`: plays against what was expected. `usual`: plays an hour on a usual day; `size`: the dispersion around it."""

    clip: int
    score: float = 0.0
    plays: int = 0
    hours: float = 0.0
    ratio: float = 0.0
    usual: float = 0.0
    size: float = 1.0
    begin: float = 0.0
    is_new: bool = False
    """Whether nothing is known of it from before the window."""


class AgeCurve:
    """Plays an hour of a usual clip of the source, by its age."""

    def __init__(self, hours: Sequence[float], plays: Sequence[float]) -> None:
        """For each bin of AGE_HOURS the clip-hours that were seen, and the plays in them."""
        shape = [middle**-USUAL_DECAY for middle in MIDDLES]
        weight = sum(seen * usual for seen, usual in zip(hours, shape, strict=True))
        level = sum(plays) / weight if weight else 0.0
        self._logs = [
            math.log(max((count + PRIOR_HOURS * level * usual) / (seen + PRIOR_HOURS), LEAST_RATE))
            for seen, count, usual in zip(hours, plays, shape, strict=True)
        ]

    def rate(self, age_hours: float) -> float:
        """Plays an hour: between the middles of two bins a power of age."""
        if age_hours <= MIDDLES[0]:
            return math.exp(self._logs[0])
        if age_hours >= MIDDLES[-1]:
            return math.exp(self._logs[-1])
        place = math.log2(age_hours)
        number = next(index for index, middle in enumerate(MIDDLES) if middle > age_hours)
        low, high = LOG_MIDDLES[number - 1], LOG_MIDDLES[number]
        share = (place - low) / (high - low)
        return math.exp(self._logs[number - 1] * (1 - share) + self._logs[number] * share)

    def plays(self, created: float | None, begin: float, end: float) -> float:
        """What a usual clip is played between two moments."""
        if end <= begin:
            return 0.0
        if created is None or begin - created > AGE_HOURS[-1] * HOUR:
            return math.exp(self._logs[-1]) * (end - begin) / HOUR
        first, last = max(begin - created, 0.0) / HOUR, max(end - created, 0.0) / HOUR
        # The curve falls steeply at first: the ages at which it is looked at lie closer there.
        steps = 4 if first > 8 else 12
        low, high = math.log1p(first), math.log1p(last)
        edges = [math.expm1(low + (high - low) * step / steps) for step in range(steps + 1)]
        return sum((b - a) * self.rate((a + b) / 2) for a, b in pairwise(edges))


MIDDLES = (0.5, *(math.sqrt(low * high) for low, high in pairwise(AGE_HOURS[1:])), 2 * AGE_HOURS[-1])
LOG_MIDDLES = tuple(math.log2(middle) for middle in MIDDLES)


def windows(moments: Sequence[float]) -> tuple[Window, ...]:
    """The windows that a source's fetches allow, `moments` ascending; the shortest first, none where there are too few fetches.

    After missed runs the shortest one is as long as the gap.
    """
    found: dict[float, Window] = {}
    for hours in WINDOW_HOURS:
        begin = latest(moments[:-1], moments[-1] - hours * HOUR) if moments else None
        before = latest(moments, begin - BEFORE_HOURS * HOUR) if begin is not None else None
        if begin is not None and begin not in found and before is None and moments[0] < begin:
            before = moments[0]
        if begin is not None and before is not None:
            found.setdefault(begin, Window(before, begin, moments[-1]))
    return tuple(found.values())


def latest(moments: Sequence[float], limit: float) -> float | None:
    """The last moment that is not behind `limit`, but for a run that began a little late."""
    return max((moment for moment in moments if moment <= limit + 0.1 * HOUR), default=None)


def surprise(plays: int, expected: float, size: float) -> float:
    """-log10 of the probability that a negative binomial of that mean and size gives so many or more; 0 up to the mean."""
    if plays <= expected:
        return 0.0
    share = expected / (size + expected)
    log = math.lgamma(plays + size) - math.lgamma(size) - math.lgamma(plays + 1)
    log += size * math.log(size / (size + expected)) + plays * math.log(share)
    total = term = 1.0
    ratio = 0.0
    for number in range(plays, plays + MOST_TERMS):
        ratio = (number + size) / (number + 1) * share
        term *= ratio
        total += term
        if term < 1e-12 * total:
            break
    else:
        # What is left is less than a geometric series.
        total += term * ratio / (1 - ratio)
    return max(-(log + math.log(total)) / math.log(10), 0.0)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Of a clip in a window, before the source's others are looked at: the mean, and the size of what is known of its level."""

    mean: float
    size: float
    hours: float


def expectation(clip: Plays, index: int, window: Window, curve: AgeCurve) -> Expectation:
    before = curve.plays(clip.created, max(window.before, clip.since), window.begin)
    usual = curve.plays(clip.created, max(window.begin, clip.since), window.end)
    size = LEVEL_SHAPE + clip.earlier[index]
    hours = (window.end - max(window.begin, clip.since)) / HOUR
    return Expectation(max(size / (LEVEL_SHAPE + before) * usual, LEAST_RATE * hours), size, hours)


def surroundings(telling: Mapping[int, tuple[int, float]], but: int | None = None) -> tuple[float, float]:
    """What the plays of a source's clips and what was expected of them tell: how it rose as a whole, and the dispersion."""
    pairs = [pair for clip, pair in telling.items() if clip != but]
    together = rise(pairs)
    return together, dispersion([(plays, mean * together) for plays, mean in pairs])


def rise(pairs: Sequence[tuple[int, float]]) -> float:
    """How much the clips were played against what was expected, by their median; nearer to 1 where there are few."""
    if not pairs:
        return 1.0
    low, high = RISE_RANGE
    middle = min(max(statistics.median(plays / mean for plays, mean in pairs), low), high)
    return math.exp(math.log(middle) * len(pairs) / (len(pairs) + FEW_CLIPS))


def dispersion(pairs: Sequence[tuple[int, float]]) -> float:
    """The size of the negative binomial of (plays, expected): the one by which the median deviation is as it should be.

    The median does not mind if some of them take off.
    """
    squares = [((plays - mean) ** 2, mean) for plays, mean in pairs]
    low, high = DISPERSION_RANGE
    if squares:
        for _ in range(12):
            middle = math.sqrt(low * high)
            deviation = statistics.median(square / (mean + mean**2 / middle) for square, mean in squares)
            low, high = (middle, high) if deviation < MEDIAN_OF_CHI_SQUARE else (low, middle)
    share = len(squares) / (len(squares) + FEW_CLIPS)
    return 1 / (share / math.sqrt(low * high) + (1 - share) / USUAL_SIZE)


def scores(clips: Sequence[Plays], spans: Sequence[Window], curve: AgeCurve) -> tuple[dict[int, Score], tuple[float, ...]]:
    """The score of each clip, by its number in the database; and for each window how much the source rose as a whole."""
    best: dict[int, Score] = {}
    rises = []
    # Several windows are several chances to be surprised.
    discount = math.log10(len(spans)) if spans else 0.0
    for index, window in enumerate(spans):
        known = [(clip, expectation(clip, index, window, curve)) for clip in clips if clip.since < window.end]
        telling = {clip.clip: (clip.recent[index], it.mean) for clip, it in known if it.mean >= LEAST_EXPECTED}
        shared = surroundings(telling)
        rises.append(shared[0])
        for clip, expected in known:
            # Of a few, one that takes off would be too much of what it is held against.
            is_alone = clip.clip in telling and len(telling) <= 2 * FEW_CLIPS
            together, spread = surroundings(telling, but=clip.clip) if is_alone else shared
            result = scored(clip, index, window, expected, together, spread)
            result = replace(result, score=max(result.score - discount, 0.0))
            if clip.clip not in best or result.score > best[clip.clip].score:
                best[clip.clip] = result
    return best, tuple(rises)


def scored(clip: Plays, index: int, window: Window, expected: Expectation, together: float, spread: float) -> Score:
    plays, mean = clip.recent[index], expected.mean * together
    return Score(
        clip=clip.clip,
        score=surprise(plays, mean, 1 / (1 / expected.size + 1 / spread)),
        plays=plays,
        hours=expected.hours,
        ratio=plays / mean,
        usual=expected.mean / expected.hours,
        size=spread,
        begin=max(window.begin, clip.since),
        is_new=clip.since >= window.begin,
    )


def curve_of(seen: Mapping[tuple[int, int], tuple[float, int]]) -> AgeCurve:
    """The age curve from (clip, bin) → (hours, plays). The rates of the twentieth that is played most count as its lowest."""
    hours, plays = [0.0] * len(AGE_HOURS), [0.0] * len(AGE_HOURS)
    for number in range(len(AGE_HOURS)):
        entries = [(length, count) for (_clip, place), (length, count) in seen.items() if place == number and length > 0]
        rates = sorted(count / length for length, count in entries)
        limit = rates[-1 - len(rates) // 20] if rates else 0.0
        hours[number] = sum(length for length, _count in entries)
        plays[number] = sum(min(count, limit * length) for length, count in entries)
    return AgeCurve(hours, plays)
