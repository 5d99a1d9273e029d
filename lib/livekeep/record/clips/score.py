"""How surprising the plays of the last hours are, clip by clip. Pure.

The expected plays of a clip in a window are its own level times the usual course of the source's plays (course.py). The level is
its plays in the 24 hours before the window relative to the course; a new or rarely played clip relies on the course alone (a
gamma distribution of levels of shape LEVEL_SHAPE around 1). Plays come in bursts: given the expectation, their number has a
negative binomial distribution, whose dispersion is that of the source's other clips in the same window. If all clips rise above
their expectation, each clip's expectation rises, too.

The score is -log10 of the probability of as many plays or more: 6 is one in a million. Of several windows, the most surprising
one counts. Fetches need no regular interval: a window has its actual begin and end.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from livekeep.record.clips.course import HOUR, LEAST_RATE, Course

WINDOW_HOURS = (1.0, 3.0, 6.0, 12.0)
BEFORE_HOURS = 24.0
LEVEL_SHAPE = 1.0
PLAYS_AT_ONCE = 2.0
"""A visitor may play a clip again, or bring another one: the variance is this multiple of the mean, even for rare plays."""
USUAL_SIZE = 4.0
"""The size of the negative binomial, where too few clips determine it."""
DISPERSION_RANGE = (0.5, 50.0)
RISE_RANGE = (0.3, 4.0)
LEAST_EXPECTED = 3.0
"""The fewest expected plays of a clip that counts for the whole source."""
FEW_CLIPS = 5
"""This many clips count by half."""
MEDIAN_OF_CHI_SQUARE = 0.455
MOST_TERMS = 1000


@dataclass(frozen=True, slots=True)
class Window:
    """Times of fetches of the source, Unix seconds: the last hours, and the day before them."""

    before: float
    begin: float
    end: float

    @property
    def hours(self) -> float:
        return (self.end - self.begin) / HOUR


@dataclass(frozen=True, slots=True)
class Plays:
    """Of one clip: per window the plays in it, and in the day before it. `since`: from when on they are known."""

    clip: int
    created: float | None
    since: float
    recent: tuple[int, ...]
    earlier: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """`ratio`: plays relative to the expectation. `usual`: plays an hour on a usual day; `size`: the dispersion around it."""

    clip: int
    score: float = 0.0
    plays: int = 0
    hours: float = 0.0
    ratio: float = 0.0
    usual: float = 0.0
    size: float = 1.0
    begin: float = 0.0
    is_new: bool = False
    """Whether nothing is known about it from before the window."""


def windows(moments: Sequence[float]) -> tuple[Window, ...]:
    """The windows possible with a source's fetches, `moments` ascending; the shortest first, each with a day before it.

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
    """The last moment up to `limit`, with a tolerance for a run that started slightly late."""
    return max((moment for moment in moments if moment <= limit + 0.1 * HOUR), default=None)


def surprise(plays: int, expected: float, size: float) -> float:
    """-log10 of the probability that a negative binomial of that mean and size gives at least `plays`; 0 up to the mean."""
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
        # The remainder is less than a geometric series.
        total += term * ratio / (1 - ratio)
    return max(-(log + math.log(total)) / math.log(10), 0.0)


def size_around(mean: float, *sizes: float) -> float:
    """The size of the negative binomial whose variance combines all of `sizes` and the bursts of plays."""
    return 1 / (sum(1 / size for size in sizes) + (PLAYS_AT_ONCE - 1) / max(mean, 1e-9))


@dataclass(frozen=True, slots=True)
class Expectation:
    """A clip in a window, without regard to the source's other clips: the mean, and the size from its level's uncertainty.

    `hours`: how long it is known in the window; `weight`: the same, weighted by the time of day.
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
    """From the plays and expectations of a source's clips: the rise of the whole source, and the dispersion."""
    pairs = [pair for clip, pair in usable.items() if clip != but]
    together = rise(pairs)
    return together, dispersion([(plays, mean * together) for plays, mean in pairs])


def rise(pairs: Sequence[tuple[int, float]]) -> float:
    """The median ratio of plays to expectation; shrunk towards 1 for few clips."""
    if not pairs:
        return 1.0
    low, high = RISE_RANGE
    middle = min(max(statistics.median(plays / mean for plays, mean in pairs), low), high)
    return math.exp(math.log(middle) * len(pairs) / (len(pairs) + FEW_CLIPS))


def dispersion(pairs: Sequence[tuple[int, float]]) -> float:
    """The size of the negative binomial of (plays, expected): the size at which the median deviation matches the distribution.

    The median is robust against a few take-offs.
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
    """The score of each clip, by its number in the database; and per window the rise of the whole source."""
    best: dict[int, Score] = {}
    rises = []
    # Several windows are several chances of a surprise.
    discount = math.log10(len(spans)) if spans else 0.0
    for index, window in enumerate(spans):
        known = [(clip, expectation(clip, index, window, course)) for clip in clips if clip.since < window.end]
        usable = {clip.clip: (clip.recent[index], it.mean) for clip, it in known if it.mean >= LEAST_EXPECTED}
        shared = surroundings(usable)
        rises.append(shared[0])
        for clip, expected in known:
            # Among few clips, one that takes off would dominate its own reference.
            is_alone = clip.clip in usable and len(usable) <= 2 * FEW_CLIPS
            together, spread = surroundings(usable, but=clip.clip) if is_alone else shared
            plays, mean = clip.recent[index], expected.mean * together
            score = max(surprise(plays, mean, size_around(mean, expected.size, spread)) - discount, 0.0)
            if clip.clip in best and score <= best[clip.clip].score:
                continue
            best[clip.clip] = Score(
                clip=clip.clip,
                score=score,
                plays=plays,
                hours=expected.hours,
                ratio=plays / mean,
                usual=expected.mean / max(expected.weight, 1e-9),
                size=spread,
                begin=max(window.begin, clip.since),
                is_new=clip.since >= window.begin,
            )
    return best, tuple(rises)
