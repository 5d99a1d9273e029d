"""When to poll next."""

import heapq
import itertools
import statistics
from typing import get_args

import pytest

from livekeep.screen.poller import backoff
from livekeep.screen.poller.backoff import Intervals, RateShare
from livekeep.screen.poller.vimeo import Verdict
from livekeep.system.vimeo import Limits

WALL = 1_800_000_000.0
INTERVALS = Intervals(10.0, 3.0)
ALL = get_args(Verdict)


def least(low: float, _high: float) -> float:
    return low


def most(_low: float, high: float) -> float:
    return high


UNTOLD = Limits()


def delay(
    verdict: Verdict,
    failures: int = 0,
    next_start: float | None = None,
    limits: Limits = UNTOLD,
    jitter: backoff.Jitter = most,
    intervals: Intervals = INTERVALS,
) -> float:
    return backoff.delay(verdict, failures, intervals, next_start, limits, WALL, jitter)


def test_the_interval_is_kept_while_all_is_well() -> None:
    assert delay("live") == delay("offline") == 10.0
    assert delay("starting") == 5.0


@pytest.mark.parametrize(
    ("seconds_to_start", "expected"),
    [(3600, 10), (311, 10), (305, 5), (302, 3), (300, 3), (1, 3), (-60, 3), (-1799, 3), (-1800, 10), (-9999, 10)],
)
def test_near_the_start_it_is_shorter(seconds_to_start: float, expected: float) -> None:
    assert delay("offline", next_start=WALL + seconds_to_start) == expected
    assert delay("live", next_start=WALL + seconds_to_start) == 10.0


def test_a_long_interval_does_not_leap_over_the_time_before_the_start() -> None:
    assert delay("offline", next_start=WALL + 1000, intervals=Intervals(3600, 3)) == 700
    assert delay("offline", next_start=WALL + 1000, intervals=Intervals(1, 3)) == 1


def test_outages_back_off_to_ten_seconds() -> None:
    assert [delay("outage", count) for count in range(1, 8)] == [1, 2, 4, 8, 10, 10, 10]
    assert [delay("outage", count, jitter=least) for count in range(1, 6)] == [0.75, 1.5, 3, 6, 7.5]
    assert delay("outage", 10**6) == 10


def test_refusals_are_asked_again_within_a_minute() -> None:
    assert [delay("refused", count) for count in range(1, 6)] == [10, 20, 40, 60, 60]
    assert delay("refused", 1, intervals=Intervals(3600, 3)) == 60


def test_a_rate_limit_is_waited_for() -> None:
    assert delay("rate-limited", 1, limits=Limits(250, 0, WALL + 30)) == 31
    assert delay("rate-limited", 1, limits=Limits(250, 0, WALL + 30), jitter=least) == 30
    assert [delay("rate-limited", count) for count in range(1, 6)] == [60, 120, 240, 300, 300]
    assert delay("rate-limited", 1, limits=Limits(250, 0, WALL - 5)) == 60


def test_a_wrong_clock_cannot_silence_it() -> None:
    assert delay("rate-limited", limits=Limits(250, 0, WALL + 10**8)) == 300
    assert delay("live", limits=Limits(250, 2, WALL + 10**8)) == 300
    assert delay("live", limits=Limits(250, 2, WALL - 10**8)) == 10


@pytest.mark.parametrize("verdict", ["live", "offline", "starting"])
def test_the_last_requests_are_left_to_others(verdict: Verdict) -> None:
    assert delay(verdict, limits=Limits(250, 5, WALL + 40)) == 41
    assert backoff.is_held(verdict, Limits(250, 5, WALL + 40), WALL)
    assert not backoff.is_held(verdict, Limits(250, 6, WALL + 40), WALL)


def test_the_short_interval_is_stretched_to_what_is_left() -> None:
    near = WALL + 60
    assert delay("offline", next_start=near, limits=Limits(25, 20, WALL + 60)) == 4
    assert delay("offline", next_start=near, limits=Limits(2500, 2000, WALL + 60)) == 3
    assert delay("offline", limits=Limits(25, 20, WALL + 60)) == 10


def test_no_delay_is_ever_beyond_its_bounds() -> None:
    starts = (None, WALL - 10**6, WALL, WALL + 301, WALL + 10**6)
    limits = [
        Limits(*entry)
        for entry in itertools.product((None, 250), (None, -1, 0, 5, 6, 10**9), (None, WALL - 1, WALL + 1, WALL + 10**9))
    ]
    for verdict, start, limit, failures, jitter in itertools.product(ALL, starts, limits, (0, 1, 5, 10**9), (least, most)):
        assert 0.5 < delay(verdict, failures, start, limit, jitter) <= backoff.LONGEST_WAIT_SECONDS + 1


def polled(limit: int, boxes: int, hours: float) -> tuple[list[list[float]], int]:
    """`boxes` on one token for `hours` of simulated time: each one's waits, and how many requests the limit refused."""
    shares, counts = [RateShare() for _ in range(boxes)], [0] * boxes
    waits: list[list[float]] = [[] for _ in range(boxes)]
    reset, used, refused = WALL + 60, 0, 0
    due = [(WALL + box, box) for box in range(boxes)]
    while (now := due[0][0]) < WALL + hours * 3600:
        box = due[0][1]
        while now >= reset:
            reset, used = reset + 60, 0
        used, counts[box] = used + 1, counts[box] + 1
        refused += used > limit
        limits = Limits(limit, max(limit - used, 0), reset)
        shares[box].note(limits, counts[box])
        intervals = Intervals(shares[box].interval_seconds(), 3.0, shares[box].sharers)
        wait = backoff.delay("offline", 0, intervals, None, limits, now, most)
        waits[box].append(wait)
        heapq.heapreplace(due, (now + wait, box))
    return waits, refused


@pytest.mark.parametrize(("limit", "expected"), [(25, 7.2), (60, 3.0), (90, 2.0), (2500, 2.0)])
def test_one_box_polls_as_often_as_a_third_of_the_limit_allows(limit: int, expected: float) -> None:
    waits, refused = polled(limit, 1, 1)
    assert refused == 0
    assert waits[0] == pytest.approx([expected] * len(waits[0]))


@pytest.mark.parametrize(("limit", "expected"), [(25, 10.0), (60, 9.0), (125, 4.32), (2500, 2.0)])
def test_three_boxes_share_that_third_for_a_day_and_never_reach_the_limit(limit: int, expected: float) -> None:
    waits, refused = polled(limit, 3, 24)
    assert refused == 0
    for one in waits:
        assert statistics.mean(one) == pytest.approx(expected, rel=0.02), "each as often as the others"


def test_without_a_reported_limit_it_polls_every_ten_seconds() -> None:
    share = RateShare()
    share.note(Limits(), 1)
    share.note(Limits(0, 0, WALL), 2)
    assert share.interval_seconds() == 10.0


def test_it_slows_down_while_others_use_up_the_limit_and_recovers_after_the_reset() -> None:
    share = RateShare()
    share.note(Limits(250, 249, WALL + 60), 1)
    assert share.interval_seconds() == 2.0
    for own in range(1, 5):
        share.note(Limits(250, 249 - 50 * own, WALL + 60), 1 + own)
    assert share.interval_seconds() == 10.0
    held = delay("offline", limits=Limits(250, 49, WALL + 30), intervals=Intervals(share.interval_seconds(), 3.0, share.sharers))
    assert held == pytest.approx(50 * 30 / 44)
    for own in range(4):
        share.note(Limits(250, 249 - own, WALL + 120), 10 + own)
    assert share.interval_seconds() == 2.0
