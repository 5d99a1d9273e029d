"""How surprising the plays of the last hours are, clip by clip. Pure.

What is expected of a clip in a window is its own level times the usual course of the source's plays (course.py). Its level is how
much it was played in the 24 hours before the window, against the course; a clip that is new, or seldom played, leans on the
course alone (a gamma distribution of levels of shape LEVEL_SHAPE around 1). Plays come in bursts: given what is expected, their
number has a negative binomial distribution, whose dispersion is that of the source's other clips in the same window. And when
all of them rise against what was expected, so does what is expected of each.

The score is -log10 of the probability of as many plays or more: 6 is one in a million. Of several windows, the most surprising
one counts. Nothing depends on regular intervals: what is known of a window is its real begin and end.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from livekeep.record.clips.course import HOUR, LEAST_RATE, Course

WINDOW_HOURS = (1.0, 3.0, 6.0, 12.0)
BEFORE_HOURS = 24.0
LEVEL_SHAPE = 1.0
PLAYS_AT_ONCE = 2.0
"""A visitor may play a clip again, or bring another one: the variance is so many times the mean, even of clips that few play."""
USUAL_SIZE = 4.0
"""Of the negative binomial, where too few clips determine it."""
DISPERSION_RANGE = (0.5, 50.0)
RISE_RANGE = (0.3, 4.0)
LEAST_EXPECTED = 3.0
"""Plays of a clip that counts for the whole source."""
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
    """`ratio`: plays against what was expected. `usual`: plays in an hour of a usual day; `size`: the dispersion around it."""

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


def windows(moments: Sequence[float]) -> tuple[Window, ...]:
    """The windows that a source's fetches allow, `moments` ascending; the shortest first, none without a day to compare with.

    After missed runs the shortest one is as long as the gap.
    """
    by_begin: dict[float, Window] = {}
    for hours in WINDOW_HOURS:
        begin = latest(moments[:-1], moments[-1] - hours * HOUR) if moments else None
        before = latest(moments, begin - BEFORE_HOURS * HOUR) if begin is not None else None
        if begin is not None and before is not None:
            by_begin.setdefault(begin, Window(before, begin, moments[-1]))
    return tuple(by_begin.values())


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


def size_around(mean: float, *sizes: float) -> float:
    """The size of the negative binomial whose variance comes of all of `sizes`, and of plays that come together."""
    return 1 / (sum(1 / size for size in sizes) + (PLAYS_AT_ONCE - 1) / max(mean, 1e-9))


@dataclass(frozen=True, slots=True)
class Expectation:
    """Of a clip in a window, before the source's others are considered: the mean, and the size of what is known of its level.

    `hours`: how long it is known in the window; `weight`: the same, each hour as much as is usual for it.
    """

    mean: float
    size: float
    hours: float
    weight: float


def expectation(clip: Plays, index: int, window: Window, course: Course) -> Expectation:
    begin = max(window.begin, clip.since)
    before = course.plays(clip.created, max(window.before, clip.since), window.begin)
    usual = course.plays(clip.created, begin, window.end)
    size = LEVEL_SHAPE + clip.earlier[index]
    hours = (window.end - begin) / HOUR
    mean = max(size / (LEVEL_SHAPE + before) * usual, LEAST_RATE * hours)
    return Expectation(mean, size, hours, course.hours(begin, window.end))


def surroundings(usable: Mapping[int, tuple[int, float]], but: int | None = None) -> tuple[float, float]:
    """What the plays of a source's clips and what was expected of them show: how it rose as a whole, and the dispersion."""
    pairs = [pair for clip, pair in usable.items() if clip != but]
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
            deviation = statistics.median(square / (PLAYS_AT_ONCE * mean + mean**2 / middle) for square, mean in squares)
            low, high = (middle, high) if deviation < MEDIAN_OF_CHI_SQUARE else (low, middle)
    share = len(squares) / (len(squares) + FEW_CLIPS)
    return 1 / (share / math.sqrt(low * high) + (1 - share) / USUAL_SIZE)


def scores(clips: Sequence[Plays], spans: Sequence[Window], course: Course) -> tuple[dict[int, Score], tuple[float, ...]]:
    """The score of each clip, by its number in the database; and for each window how much the source rose as a whole."""
    best: dict[int, Score] = {}
    rises = []
    # Several windows are several chances to be surprised.
    discount = math.log10(len(spans)) if spans else 0.0
    for index, window in enumerate(spans):
        known = [(clip, expectation(clip, index, window, course)) for clip in clips if clip.since < window.end]
        usable = {clip.clip: (clip.recent[index], it.mean) for clip, it in known if it.mean >= LEAST_EXPECTED}
        shared = surroundings(usable)
        rises.append(shared[0])
        for clip, expected in known:
            # Of a few, one that takes off would be too much of what it is held against.
            is_alone = clip.clip in usable and len(usable) <= 2 * FEW_CLIPS
            together, spread = surroundings(usable, but=clip.clip) if is_alone else shared
            result = scored(clip, index, window, expected, together, spread)
            result = replace(result, score=max(result.score - discount, 0.0))
            if clip.clip not in best or result.score > best[clip.clip].score:
                best[clip.clip] = result
    return best, tuple(rises)


def scored(clip: Plays, index: int, window: Window, expected: Expectation, together: float, spread: float) -> Score:
    plays, mean = clip.recent[index], expected.mean * together
    return Score(
        clip=clip.clip,
        score=surprise(plays, mean, size_around(mean, expected.size, spread)),
        plays=plays,
        hours=expected.hours,
        ratio=plays / mean,
        usual=expected.mean / max(expected.weight, 1e-9),
        size=spread,
        begin=max(window.begin, clip.since),
        is_new=clip.since >= window.begin,
    )
