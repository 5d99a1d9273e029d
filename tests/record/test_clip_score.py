"""The score of clips: its arithmetic, its robustness, and that it detects take-offs among simulated clips."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record.clips import score, takeoff
from livekeep.record.clips.course import AGE_HOURS, HOUR, Course, day_of, rates_by_age
from livekeep.record.clips.score import BEFORE_HOURS, Plays, Score, Window, surprise, windows
from livekeep.record.clips.takeoff import Recent, Takeoff
from tests.record.benchmark_clips import alarms, trial

NOW = 1_800_000_000.0
DAY = 86400.0
FLAT = Course([1.0] * len(AGE_HOURS))
"""One play an hour at any age."""
SPANS = tuple(Window(NOW - (hours + BEFORE_HOURS) * HOUR, NOW - hours * HOUR, NOW) for hours in (1.0, 3.0, 6.0, 12.0))


def exact(plays: int, expected: float, size: float) -> float:
    """-log10 P(X ≥ plays), from all terms below it."""
    share, below, term = expected / (size + expected), 0.0, math.exp(size * math.log(size / (size + expected)))
    for number in range(plays):
        below += term
        term *= (number + size) / (number + 1) * share
    return -math.log10(1 - below)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.integers(1, 400), st.floats(0.01, 200), st.floats(0.3, 60))
def test_the_surprise_is_the_tail_of_a_negative_binomial(plays: int, expected: float, size: float) -> None:
    result = surprise(plays, expected, size)
    if plays <= expected:
        assert result == 0
    elif result < 8:
        assert result == pytest.approx(exact(plays, expected, size), abs=0.01)
    assert surprise(plays + 1, expected, size) >= result
    assert surprise(plays, expected * 1.1, size) <= result + 1e-9


FAR_OUT = [(10**9, 10.0, 4.0), (10**9, 10**8, 50.0), (3_000_000, 10**6, 0.5), (1, 1e-9, 1.0)]


@pytest.mark.parametrize(("plays", "expected", "size"), FAR_OUT)
def test_the_surprise_of_what_is_far_out_is_a_number(plays: int, expected: float, size: float) -> None:
    assert 0 < surprise(plays, expected, size) < 1e10


def plays_of(clip: int, recent: Sequence[int], earlier: Sequence[int], age_hours: float = 2000) -> Plays:
    created = NOW - age_hours * HOUR
    return Plays(clip, created, created, tuple(recent), tuple(earlier))


def steady(clip: int, an_hour: float) -> Plays:
    recent = [round(an_hour * span.hours) for span in SPANS]
    return plays_of(clip, recent, [round(an_hour * BEFORE_HOURS)] * len(SPANS))


def scores(*clips: Plays, course: Course = FLAT, spans: Sequence[Window] = SPANS) -> dict[int, Score]:
    return score.scores(clips, spans, course)[0]


def test_one_that_is_played_nine_times_as_often_for_three_hours() -> None:
    hot = plays_of(1, [90, 270, 300, 360], [240, 240, 240, 240])
    result = scores(hot, *(steady(number, 5) for number in range(2, 30)))
    assert max(result.values(), key=lambda it: it.score).clip == 1
    assert result[1].score > 8
    assert takeoff.begins(result[1])
    assert takeoff.reason_of(result[1]) == "9 × its usual rate for 3 h"
    assert all(it.score < 1 for number, it in result.items() if number != 1)


def test_few_plays_are_no_surprise() -> None:
    others = [steady(number, 2) for number in range(2, 30)]
    assert scores(plays_of(1, [2, 3, 3, 3], [1, 1, 1, 1]), *others)[1].score < 3
    assert not takeoff.begins(scores(plays_of(1, [5, 9, 9, 9], [0, 0, 0, 0]), *others)[1])
    assert scores(plays_of(1, [0, 0, 0, 0], [0, 0, 0, 0]), *others)[1].score == 0


def test_an_evening_lifts_all_and_is_no_take_off_of_any() -> None:
    busy = [plays_of(number, [40, 120, 240, 400], [240] * 4) for number in range(1, 40)]
    assert not any(takeoff.begins(it) for it in scores(*busy).values())
    # A single such clip takes off, and so does one that rises beyond the others.
    assert takeoff.begins(scores(busy[0], *(steady(number, 10) for number in range(2, 40)))[1])
    hot = plays_of(1, [320, 960, 1300, 1500], [240] * 4)
    assert [it.clip for it in scores(hot, *busy[1:]).values() if takeoff.begins(it)] == [1]


def test_a_new_clip_is_held_against_what_is_usual_for_its_age() -> None:
    course = Course([100.0 / 2**number for number in range(len(AGE_HOURS))])
    others = [steady(number, 3) for number in range(2, 30)]
    usual = plays_of(1, [100] * 4, [0] * 4, age_hours=1)
    assert not takeoff.begins(scores(usual, *others, course=course)[1])
    result = scores(plays_of(1, [2500] * 4, [0] * 4, age_hours=1), *others, course=course)[1]
    assert takeoff.begins(result)
    assert takeoff.reason_of(result).endswith("× what is usual for clips of its age, in its first 1 h")
    # Nor is the decline of a new clip's plays unusual.
    falling = plays_of(1, [12, 40, 85, 200], [888, 860, 815, 700], age_hours=20)
    assert not takeoff.begins(scores(falling, *others, course=course)[1])


def test_a_clip_whose_age_is_not_told_counts_as_old() -> None:
    unknown = replace(plays_of(1, [90, 270, 300, 360], [240] * 4), created=None)
    assert takeoff.begins(scores(unknown, *(steady(number, 5) for number in range(2, 30)))[1])


def test_one_clip_alone_and_none_at_all() -> None:
    assert scores() == {}
    assert takeoff.begins(scores(plays_of(1, [90, 270, 300, 360], [240] * 4))[1])
    assert scores(steady(1, 10), spans=()) == {}


# The windows


def test_the_windows_of_regular_runs() -> None:
    moments = [NOW - number * 900 for number in range(40 * 4, -1, -1)]
    assert [round(span.hours) for span in windows(moments)] == [1, 3, 6, 12]
    assert all((span.begin - span.before) / HOUR == pytest.approx(24, abs=0.2) for span in windows(moments))


def test_after_missed_runs_the_window_is_as_long_as_the_gap() -> None:
    moments = [*(NOW - number * 900 for number in range(60 * 4, 5 * 4 - 1, -1)), NOW]
    assert [round(span.hours) for span in windows(moments)] == [5, 6, 12]
    moments = [*(NOW - number * 900 for number in range(90 * 4, 50 * 4 - 1, -1)), NOW]
    assert [round(span.hours) for span in windows(moments)] == [50]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_young_source_has_no_window_yet(count: int) -> None:
    assert windows([NOW - number * 900 for number in range(count)][::-1]) == ()


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.lists(st.floats(1, 200_000), max_size=60))
def test_the_windows_of_any_runs_are_in_order_and_of_fetches(gaps: list[float]) -> None:
    moments = [NOW]
    for gap in gaps:
        moments.append(moments[-1] + gap)
    result = windows(moments)
    assert all(span.before < span.begin < span.end == moments[-1] for span in result)
    assert {moment for span in result for moment in (span.before, span.begin, span.end)} <= set(moments)
    assert [span.begin for span in result] == sorted({span.begin for span in result}, reverse=True)


# The usual course


def seen_falling(level: float, first: int = 0, last: int = 12) -> dict[int, tuple[float, int]]:
    """A clip whose plays an hour halve from each bin to the next, seen in some of them."""
    widths = [AGE_HOURS[number + 1] - AGE_HOURS[number] if number < 11 else 1000.0 for number in range(12)]
    return {number: (widths[number], round(level * widths[number] / 2**number)) for number in range(first, last)}


def test_the_fall_with_age_is_that_of_clips_which_were_seen_at_both_ages() -> None:
    # The old ones are far more popular than the new ones, which must not make the course rise.
    clips = [seen_falling(2_000.0 + number, 0, 5) for number in range(40)]
    clips += [seen_falling(500_000.0 + number, 4, 12) for number in range(40)]
    rates = rates_by_age(clips)
    assert all(1.8 < high / low < 2.2 for high, low in pairwise(rates))


def test_before_a_source_tells_the_fall_is_the_usual_one() -> None:
    rates = rates_by_age([{0: (1.0, 100)}])
    assert rates[0] == pytest.approx(100)
    assert rates[0] > rates[3] > rates[9]
    assert rates_by_age([]) == [score.LEAST_RATE] * len(AGE_HOURS)


def test_a_viral_clip_does_not_make_the_course() -> None:
    usual = rates_by_age([{5: (16.0, 16)} for _ in range(40)])
    assert rates_by_age([*({5: (16.0, 16)} for _ in range(40)), {5: (16.0, 100_000)}])[5] < 2 * usual[5]


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.floats(0, 3000), st.floats(0.1, 50), st.floats(0.1, 50), st.lists(st.floats(0.2, 4), min_size=24, max_size=24))
def test_the_course_adds_up(age: float, first: float, second: float, day: list[float]) -> None:
    course, created, end = Course([1.0] * len(AGE_HOURS), day), NOW - age * HOUR, NOW + (first + second) * HOUR
    middle = NOW + first * HOUR
    parts = course.plays(created, NOW, middle) + course.plays(created, middle, end)
    assert course.plays(created, NOW, end) == pytest.approx(parts, rel=1e-6)
    assert course.hours(NOW, NOW + 24 * HOUR) == pytest.approx(24)
    assert course.plays(created, NOW, NOW - 1) == 0


def days_of(*plays_by_hour: list[int]) -> list[tuple[float, int]]:
    begin = NOW - NOW % DAY
    return [(begin, 0), *((begin + (number + 1) * HOUR, count) for number, count in enumerate(chain(*plays_by_hour)))]


def test_the_day_is_that_of_most_days() -> None:
    usual = [*[10] * 12, *[30] * 12]
    day = day_of(days_of(usual, usual, usual))
    assert sum(day) == pytest.approx(24)
    assert day[20] / day[3] == pytest.approx(3, rel=0.35)
    viral = [*[10] * 11, 100_000, *[30] * 12]
    assert day_of(days_of(usual, viral, usual))[11] == pytest.approx(day[11], rel=0.35)


def test_of_few_plays_and_of_missing_hours_no_day_is_made() -> None:
    flat = (1.0,) * 24
    assert day_of([]) == day_of(days_of([1] * 24)) == flat
    fetches = days_of([*[10] * 12, *[30] * 12])
    assert day_of(fetches[:15]) == flat
    assert day_of([fetches[0], fetches[8], fetches[24]]) == flat


def test_what_is_usual_in_the_evening_is_no_take_off() -> None:
    day = [2.0 if 18 <= hour < 24 else 2 / 3 for hour in range(24)]
    evening = NOW - NOW % DAY + 23 * HOUR
    spans = [Window(evening - 27 * HOUR, evening - 3 * HOUR, evening)]
    # A single clip, so that no other shows the evening's rise; known since that day's morning.
    clip = Plays(1, None, evening - 15 * HOUR, (300,), (12 * 20,))
    flat = scores(clip, spans=spans)[1]
    known = scores(clip, spans=spans, course=Course([1.0] * 12, day))[1]
    assert flat.ratio > 4
    assert known.ratio < 3


# The end of a take-off


def going_on(*recent: Recent, began_hours: float = 5.0) -> tuple[Takeoff, takeoff.Ranked]:
    return takeoff.go_on(Takeoff(7, 1, NOW - began_hours * HOUR, usual=10.0, size=4.0, score=6.0), recent, NOW)


def test_a_take_off_goes_on_while_it_is_twice_what_was_usual() -> None:
    after, ranked = going_on(Recent(25, 1.0, 1.0), Recent(60, 3.0, 3.0))
    assert (after.ended, ranked.is_hot, ranked.reason) == (None, True, "2.5 × its usual rate for 5 h")
    after, ranked = going_on(Recent(19, 1.0, 1.0), Recent(59, 3.0, 3.0))
    assert (after.ended, ranked.is_hot) == (NOW, False)


def test_what_was_before_the_take_off_is_not_held_against_it() -> None:
    assert going_on(Recent(50, 1.0, 1.0), Recent(50, 3.0, 3.0), began_hours=1.2)[0].ended is None
    # Not even if all of it is shorter than the shortest window.
    assert going_on(Recent(50, 1.0, 1.0), began_hours=0.4)[0].ended is None


def test_in_an_evening_twice_is_twice_of_the_evening() -> None:
    assert going_on(Recent(30, 1.0, 1.0), Recent(90, 3.0, 3.0))[0].ended is None
    assert going_on(Recent(30, 1.0, 2.0), Recent(90, 3.0, 6.0))[0].ended == NOW


def test_what_is_over_does_not_begin_again() -> None:
    hot = scores(plays_of(1, [90, 270, 300, 360], [240] * 4), *(steady(number, 5) for number in range(2, 30)))[1]
    assert takeoff.begins(hot, [Recent(90, 1.0, 1.0), Recent(270, 3.0, 3.0)])
    assert not takeoff.begins(hot, [Recent(15, 1.0, 1.0), Recent(270, 3.0, 3.0)])


def test_after_three_days_it_is_usual() -> None:
    assert going_on(Recent(90, 1.0, 1.0), began_hours=71)[0].ended is None
    assert going_on(Recent(90, 1.0, 1.0), began_hours=73)[0].ended == NOW


DURATIONS = [(0.004, "1 min"), (0.25, "15 min"), (1.02, "1 h"), (5.6, "6 h"), (47, "47 h"), (50, "2 days")]


@pytest.mark.parametrize(("hours", "text"), DURATIONS)
def test_durations_in_words(hours: float, text: str) -> None:
    assert takeoff.duration(hours) == text


# Simulated clips


def test_it_finds_those_that_take_off_among_made_clips() -> None:
    """benchmark_clips.py has the measurements; here are a few deterministic trials."""
    result = [trial(seed, count=200, factors=(8, 20), days=2.5) for seed in range(2)]
    ours, hacker_news = (sum(it.precision[name] for it in result) / len(result) for name in ("score", "Hacker News"))
    assert ours >= 0.9
    assert hacker_news <= 0.5
    assert sum(it.false_alarms for it in result) == 0


def test_each_take_off_is_one_event_and_nothing_else_is() -> None:
    result, right, wrong = alarms(seed=5, count=60, days=3, take_offs=3)
    assert (result, right, wrong) == (3, 3, 0)
