"""How soon a function that became slower is detected, and how many alarms are false, on made series. Prints a table.

    python3 -m tests.record.benchmark_analysis [--series 300] [--years 100]

A made series has the medians of its days: noise that lasts for some days, week-ends that differ, single slow days.
"""

import argparse
import math
import random
import sys
from collections.abc import Sequence

from livekeep.record.store.analysis import regression
from livekeep.record.store.queries import Bucket, Figures

DAY = 86_400_000_000
BEGAN = 1_700_006_400_000_000
STEP = 1.3
STEP_AT = 45
MEDIAN = 2_000_000
NOISES = (0.02, 0.03, 0.05, 0.08, 0.10)
"""Standard deviations of a day's median; the median of some hundred calls a day has 2 to 5 %."""


def values(draw: random.Random, days: int, noise: float, step_at: int | None = None) -> list[float]:
    result, wander = [], 0.0
    for day in range(days):
        wander = 0.3 * wander + draw.gauss(0, noise) * math.sqrt(1 - 0.3**2)
        value = MEDIAN * math.exp(wander) * (1.05 if day % 7 in (5, 6) else 1)
        if draw.random() < 0.03:
            value *= draw.uniform(1.3, 2.5)
        result.append(value * STEP if step_at is not None and day >= step_at else value)
    return result


def buckets(medians: Sequence[float]) -> list[Bucket]:
    return [
        Bucket(BEGAN + day * DAY, BEGAN + (day + 1) * DAY, Figures(count=100, p50=round(value)))
        for day, value in enumerate(medians)
    ]


def shown_within(days: Sequence[Bucket], most: int) -> int | None:
    """The number of days until the step is detected."""
    return next((n for n in range(1, most + 1) if regression(days[: STEP_AT + n], BEGAN + (STEP_AT + n) * DAY)), None)


def false_alarms(days: Sequence[Bucket]) -> int:
    """How often a regression begins in a series without a change."""
    said = [regression(days[:end], BEGAN + end * DAY) is not None for end in range(35, len(days))]
    return sum(now and not before for before, now in zip([False, *said], said, strict=False))


def measure(noise: float, series: int, years: int) -> tuple[float, float]:
    """The share of steps detected within 4 days, and false alarms per series and year."""
    draw = random.Random(1)
    result = [shown_within(buckets(values(draw, 60, noise, STEP_AT)), 4) for _ in range(series)]
    alarms = sum(false_alarms(buckets(values(draw, 35 + 365, noise))) for _ in range(years))
    return sum(days is not None for days in result) / series, alarms / years


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--years", type=int, default=100)
    arguments = parser.parse_args(argv)
    for noise in NOISES:
        share, alarms = measure(noise, arguments.series, arguments.years)
        print(f"noise {noise:4.0%}: detected within 4 days {share:6.1%}, false alarms a series and year {alarms:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
