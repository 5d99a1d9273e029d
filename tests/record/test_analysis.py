"""livekeep.record.store.analysis: trend, regression, comparison and thresholds of simulated days."""

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record.store import analysis
from livekeep.record.store.queries import Figures, FunctionFigures
from tests.record.benchmark_analysis import BEGAN, DAY, STEP_AT, buckets, false_alarms, measure, shown_within, values

days_of_noise = st.lists(st.floats(0.97, 1.03), min_size=14, max_size=60)


def trend(medians: Sequence[float]) -> analysis.Trend:
    result = analysis.trend(buckets(medians))
    assert result
    return result


@given(days_of_noise, st.floats(-0.15, 0.15), st.integers(0, 3), st.floats(1_000, 1e9))
@settings(deadline=None, max_examples=150, derandomize=True)
def test_trend_correctness(noise: list[float], weekly: float, outliers: int, level: float) -> None:
    """The slope is right whatever the level, and a few outliers don't change it."""
    medians = [level * wobble * (1 + weekly) ** (day / 7) for day, wobble in enumerate(noise)]
    for number in range(outliers):
        medians[number * len(medians) // 3] *= 20
    result = trend(medians)
    # At worst the noise is a step of 6 % in the middle: half of all pairs of days then have its slope, over most of the series.
    tolerance = 1.2 * 0.06 * 7 / (len(noise) - 1) + 7 / level + (0.03 if outliers else 0)
    assert result.weekly == pytest.approx(weekly, abs=tolerance)
    assert result.days == len(noise)
    if abs(weekly) > 2 * tolerance and not outliers:
        assert result.is_clear
        assert (result.weekly > 0) == (weekly > 0)


@given(days_of_noise)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_a_trend_turns_with_time_and_not_with_the_unit(noise: list[float]) -> None:
    forward, backward = trend([wobble * 1e6 for wobble in noise]), trend([wobble * 1e6 for wobble in reversed(noise)])
    assert (1 + forward.weekly) * (1 + backward.weekly) == pytest.approx(1, abs=1e-6)
    assert trend([wobble * 1e9 for wobble in noise]).weekly == pytest.approx(forward.weekly, abs=1e-4)


def test_noise_alone_is_no_clear_trend() -> None:
    draw = random.Random(3)
    clear = sum(trend([1e6 * math.exp(draw.gauss(0, 0.1)) for _ in range(30)]).is_clear for _ in range(200))
    assert clear <= 8


def test_too_few_days_say_nothing() -> None:
    assert analysis.trend(buckets([1.0] * 6)) is None
    assert analysis.auto_threshold([1.0] * 6) is None
    assert analysis.regression(buckets([1e6] * 10 + [2e6]), BEGAN + 11 * DAY) is None


def test_steps_of_30_percent_are_detected_within_4_days_and_false_alarms_are_rare() -> None:
    for noise in (0.02, 0.05):
        result, alarms = measure(noise, series=60, years=12)
        assert result == 1.0
        assert alarms <= 1.0


def test_a_regression_says_from_what_to_what_and_since_when() -> None:
    days = buckets([1_000_000.0] * STEP_AT + [1_300_000.0] * 5)
    result = analysis.regression(days, days[-1].ends_at)
    assert result == analysis.Regression(1_000_000, 1_300_000, days[STEP_AT].began_at)
    assert result.ratio == pytest.approx(1.3)
    # Once the new level is the usual one, it is no regression any more; nor is a speed-up.
    assert analysis.regression(buckets([1e6] * 45 + [1.3e6] * 40), BEGAN + 85 * DAY) is None
    assert analysis.regression(buckets([1.3e6] * 45 + [1e6] * 8), BEGAN + 53 * DAY) is None


def test_the_day_that_is_not_over_does_not_count() -> None:
    days = buckets([1e6] * STEP_AT + [1.3e6] * 4)
    assert analysis.regression(days, days[-1].ends_at)
    assert analysis.regression(days, days[-1].ends_at - 1) is None


def test_single_slow_days_are_no_regression() -> None:
    medians = [1e6] * 40
    for day in (20, 33, 36, 38):
        medians[day] = 5e6
    assert false_alarms(buckets([*medians, *medians[:3]])) == 0


def test_a_function_that_rests_at_week_ends_is_judged() -> None:
    days = [day for number, day in enumerate(buckets([1e6] * 43 + [1.4e6] * 7)) if number % 7 not in (5, 6)]
    assert analysis.regression(days, BEGAN + 50 * DAY)


def test_a_step_is_detected_in_a_noisy_series_some_days_later() -> None:
    draw = random.Random(5)
    result = [shown_within(buckets(values(draw, 60, 0.08, STEP_AT)), 14) for _ in range(50)]
    assert sum(days is not None for days in result) >= 48


def row(name: str, count: int = 10, failures: int = 0, **more: int) -> FunctionFigures:
    return FunctionFigures(name, "function", Figures(count, failures, **more))


def test_two_periods_are_compared_function_by_function() -> None:
    before = [row("a", 10, 1, sum=1000, p50=90, p95=200), row("gone", sum=5)]
    after = [row("a", 20, 4, sum=4000, p50=180, p95=200), row("new", sum=50)]
    first, second, third = analysis.compare(before, after)
    assert (first.name, first.status, second.name, second.status, third.name, third.status) == (
        "a", "both", "new", "new", "gone", "gone",
    )  # fmt: skip
    assert (first.count.before, first.count.after, first.count.difference, first.count.ratio) == (10, 20, 10, 2.0)
    assert (first.failed_share.before, first.failed_share.after) == (0.1, 0.2)
    assert (first.mean.before, first.mean.after, first.p50.ratio, first.p95.ratio) == (100, 200, 2.0, 1.0)
    assert second.count.ratio is None
    assert third.p50.after == 0


def test_a_threshold_from_history_lies_above_all_that_is_usual() -> None:
    draw = random.Random(2)
    history = [100 * math.exp(draw.gauss(0, 0.1)) for _ in range(60)]
    threshold = analysis.auto_threshold(history)
    assert threshold
    assert max(history) < threshold < 250
    # A single outlier does not raise it much.
    assert analysis.auto_threshold([*history, 1e9]) == pytest.approx(threshold, rel=0.05)
    assert analysis.auto_threshold([100.0] * 7) == 150
