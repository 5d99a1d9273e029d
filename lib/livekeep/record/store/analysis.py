"""Analyses the metrics of many days: trend, regression, comparison of two periods, thresholds from a function's own history.

Pure: days come from `queries.function_series`, and `now` is passed in. Standard library only. Durations and times are
microseconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from livekeep.record.store.queries import Bucket, Figures, FunctionFigures

RECENT_DAYS = 7
EARLIER_DAYS = 28
REGRESSION_RATIO = 1.15
"""The median of the last 7 days over the median of the 28 before, or three of the last 4 days over the median before them.

tests/record/benchmark_analysis.py says which changes are detected how soon, and how many alarms are false.
"""
NOISE_FACTOR = 2.0
"""For a series with large daily variation: a change must exceed this many of its deviations."""
LAST_DAYS = 4
LEAST_OF_LAST_DAYS = 1.05
"""The fourth of the last 4 days must be slower than before, too."""
LEAST_RECENT_DAYS = 4
"""A weekly function has no 7 days; fewer than these are too few."""
LEAST_EARLIER_DAYS = 7
SECOND = 1_000_000
DAY_SECONDS = 86400


@dataclass(frozen=True)
class Regression:
    """A function that became slower."""

    before: float
    """The median of the earlier days' medians."""
    now: float
    """The median of the last days' medians."""
    since: int
    """The beginning of the most likely day of the change."""

    @property
    def ratio(self) -> float:
        return self.now / self.before


@dataclass(frozen=True)
class Trend:
    """The change of the daily median in a week, as a share (0.05 is 5 % more each week)."""

    weekly: float
    is_clear: bool
    """Whether it exceeds the days' own noise (Mann-Kendall, 1 %)."""
    days: int


@dataclass(frozen=True)
class Change:
    """One metric in two periods."""

    before: float
    after: float

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def ratio(self) -> float | None:
        """`None` when there was no value before."""
        return self.after / self.before if self.before else None


@dataclass(frozen=True)
class Comparison:
    """A function in two periods."""

    name: str
    kind: str
    status: Literal["both", "new", "gone"]
    count: Change
    failed_share: Change
    mean: Change
    p50: Change
    p95: Change


def regression(days: Sequence[Bucket], now: int) -> Regression | None:
    """Whether a function became slower, judged by its complete days at `now`; `None` when it did not, or has too few days."""
    recent_begin = now - RECENT_DAYS * DAY_SECONDS * SECOND
    begin = recent_begin - EARLIER_DAYS * DAY_SECONDS * SECOND
    usable = [day for day in days if begin <= day.began_at and day.ends_at <= now and day.figures.p50 > 0]
    values = [day.figures.p50 for day in usable]
    recent = sum(day.began_at >= recent_begin for day in usable)
    if recent < LEAST_RECENT_DAYS or len(usable) - recent < LEAST_EARLIER_DAYS:
        return None
    for count, is_each in ((recent, False), (LAST_DAYS, True)):
        earlier, later = values[:-count], values[-count:]
        before = median(earlier)
        # Larger for a series with large daily variation.
        limit = before * max(REGRESSION_RATIO, math.exp(NOISE_FACTOR * deviation([math.log(value) for value in earlier])))
        first, second = sorted(later)[:2]
        if (second > limit and first > before * LEAST_OF_LAST_DAYS) if is_each else median(later) > limit:
            return Regression(before, median(later), usable[change_point(values)].began_at)
    return None


def deviation(values: Sequence[float]) -> float:
    """The median absolute deviation, scaled to a normal distribution's standard deviation."""
    middle = median(values)
    return 1.4826 * median(abs(value - middle) for value in values)


def change_point(values: Sequence[float]) -> int:
    """The index that best splits a series in two, each part near its own median (least absolute deviation); at least 1."""

    def spread(part: Sequence[float]) -> float:
        middle = median(part)
        return sum(abs(value - middle) for value in part)

    return min(range(1, len(values)), key=lambda cut: spread(values[:cut]) + spread(values[cut:]))


def trend(days: Sequence[Bucket]) -> Trend | None:
    """The Theil-Sen slope of the logarithms of daily medians; `None` with fewer than 7 days."""
    points = [(day.began_at / SECOND / DAY_SECONDS, math.log(day.figures.p50)) for day in days[-365:] if day.figures.p50 > 0]
    if len(points) < RECENT_DAYS:
        return None
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0]) for index, earlier in enumerate(points) for later in points[index + 1 :]
    ]
    rising = sum((slope > 0) - (slope < 0) for slope in slopes)
    n = len(points)
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return Trend(math.exp(median(slopes) * 7) - 1, abs(rising) > 2.576 * deviation, n)


def compare(before: Sequence[FunctionFigures], after: Sequence[FunctionFigures]) -> tuple[Comparison, ...]:
    """Every function of two periods; the one with the largest change of total time first."""
    old = {(row.name, row.kind): row.figures for row in before}
    new = {(row.name, row.kind): row.figures for row in after}
    rows = []
    for key in sorted({*old, *new}, key=lambda key: -abs(new.get(key, Figures()).sum - old.get(key, Figures()).sum)):
        first, last = old.get(key, Figures()), new.get(key, Figures())
        names = ("count", "failed_share", "mean", "p50", "p95")
        changes = [Change(getattr(first, name), getattr(last, name)) for name in names]
        rows.append(Comparison(*key, "new" if key not in old else "gone" if key not in new else "both", *changes))
    return tuple(rows)


def auto_threshold(values: Sequence[float]) -> float | None:
    """The threshold above which a value is unusual, from its values on earlier days or hours; `None` with fewer than 7.

    Their median plus 5 deviations (median absolute deviation, scaled to a normal distribution's), at least 1.5 times the median.
    """
    if len(values) < RECENT_DAYS:
        return None
    middle = median(values)
    return max(middle + 5 * deviation(values), middle * 1.5)
