"""When publishing is tried again, where, and when it is given up: the rules as a table, and every run of failures."""

import itertools
from typing import get_args

import pytest

from livekeep.air.worker.publisher_end import Why
from livekeep.air.worker.retry import SHUT_SECONDS, STALL_SECONDS, Arrival, RetryState, after_failure, on_air, planned
from livekeep.air.worker.tcp_info import Sample

LONG = 3600.0
KINDS: tuple[Why, ...] = ("dropped", "refused", "unreachable", "stalled")
"""Those that differ; a crash is treated as a drop."""
FAST_THEN_SLOW = [(0, 0.0), (0, 1.0), (0, 2.0), (0, 5.0), (0, 5.0), (0, 5.0)]
GIVEN_UP = [(1, 0.0), (0, 30.0), (1, 0.0), (0, 60.0), (1, 0.0), (0, None)]


def run(
    ingests: int, *failures: Why, on_air_seconds: float = 0.0, state: RetryState | None = None
) -> list[tuple[int, float | None]]:
    """For each failure in turn where to go on, and after how many seconds; None: given up."""
    state = state or RetryState()
    found: list[tuple[int, float | None]] = []
    for failure in failures:
        state, _error_type, delay_seconds = after_failure(state, failure, ingests, LONG, on_air_seconds)
        found.append((state.ingest, delay_seconds))
    return found


def state_after(*failures: Why, ingests: int = 1, on_air_seconds: float = 0.0) -> RetryState:
    """After these failures, on air again."""
    state = RetryState()
    for failure in failures:
        state = after_failure(state, failure, ingests, LONG, on_air_seconds)[0]
    return on_air(state)


@pytest.mark.parametrize(
    ("ingests", "failures", "on_air_seconds", "follows"),
    [
        # What was on air is tried again at once; what never stays there, more slowly.
        *((1, [failure] * 4, 30.0, [(0, 0.0)] * 4) for failure in ("dropped", "stalled", "crashed")),
        *((1, [failure] * 6, 29.9, FAST_THEN_SLOW) for failure in ("dropped", "stalled", "crashed")),
        (1, ["unreachable"] * 50, 0.0, [(0, 1.0), *[(0, 2.0)] * 10, *[(0, 5.0)] * 39]),
        (2, ["unreachable"] * 4, 0.0, [(1, 1.0), (0, 2.0), (1, 2.0), (0, 2.0)]),
        # The third refusal is the last, with two ingests only those of both count.
        (1, ["refused"] * 3, 0.0, [(0, 30.0), (0, 60.0), (0, None)]),
        (1, ["refused", "unreachable"] * 2 + ["refused"], 0.0, [(0, 30.0), (0, 1.0), (0, 60.0), (0, 2.0), (0, None)]),
        (2, ["refused"] * 6, 0.0, GIVEN_UP),
        (2, ["refused", "unreachable"] * 3, 0.0, GIVEN_UP),
        # One that hangs, or drops again, is left for the other.
        (2, ["stalled"], LONG, [(1, 0.0)]),
        (2, ["dropped", "dropped"], 10.0, [(0, 0.0), (1, 1.0)]),
    ],
)
def test_what_follows_failures(
    ingests: int, failures: list[Why], on_air_seconds: float, follows: list[tuple[int, float | None]]
) -> None:
    assert run(ingests, *failures, on_air_seconds=on_air_seconds) == follows


def test_coming_on_air_shortly_does_not_quicken_what_never_stays() -> None:
    assert run(1, "dropped", state=state_after("dropped", on_air_seconds=9.0)) == [(0, 1.0)]
    assert run(1, "dropped", state=state_after("dropped", on_air_seconds=31.0)) == [(0, 0.0)]


@pytest.mark.parametrize("failure", get_args(Why))
def test_never_two_attempts_within_a_second(failure: Why) -> None:
    for ingests, ran in itertools.product((1, 2), (0.0, 0.3, 0.999, 1.0, 50.0)):
        _state, _error_type, delay_seconds = after_failure(RetryState(), failure, ingests, ran, 0.0)
        assert delay_seconds is not None
        assert delay_seconds + ran >= 1.0


def test_refusal_does_not_count_when_the_other_ingest_took_the_stream() -> None:
    taken = state_after("refused", ingests=2)
    assert after_failure(taken, "dropped", 2, LONG, LONG) == (RetryState(ingest=1, failures=1), "dropped", 0.0)


def test_coming_on_air_clears_the_counts() -> None:
    state = state_after("refused", "refused", "unreachable", "unreachable")
    assert run(1, "refused", state=state) == [(0, 30.0)]
    assert run(1, "unreachable", state=state) == [(0, 1.0)]
    assert state.failures == 0


def test_backup_is_kept_until_it_fails_or_a_planned_reconnect() -> None:
    state = state_after("unreachable", ingests=2)
    assert state.ingest == 1
    assert run(2, "dropped", state=state, on_air_seconds=LONG) == [(1, 0.0)]
    assert run(2, "unreachable", state=state) == [(0, 1.0)]
    assert planned(state).ingest == 0


@pytest.mark.parametrize("ingests", [1, 2])
def test_every_run_of_failures(ingests: int) -> None:
    """What holds always: the count, the place, an end only after three refusals, and no hurry with who refuses."""
    for failures in itertools.product(KINDS, repeat=6):
        state, waited, refusals_without_wait = RetryState(), 0.0, 0
        for count, failure in enumerate(failures, 1):
            was = state.ingest
            state, error_type, delay_seconds = after_failure(state, failure, ingests, 1.0, 0.0)
            assert state.failures == count
            assert state.ingest in range(ingests)
            if delay_seconds is None:
                assert error_type == "refused"
                assert waited >= 90
                assert failures[:count].count("refused") >= 3
                break
            assert 0 <= delay_seconds <= 60
            waited += delay_seconds
            refusals_without_wait = 0 if delay_seconds >= 30 or failure != "refused" else refusals_without_wait + 1
            assert refusals_without_wait < 2
            assert failure != "refused" or ingests == 1 or state.ingest != was
        else:
            assert state.refusals < 3


def sample(acknowledged: int, offered: int | None = None, unsent: int = 0) -> Sample:
    window = offered - acknowledged if offered is not None else acknowledged
    return Sample(acknowledged, unsent, unacknowledged_segments=0, window_bytes=window, received_bytes=0)


def seen(*samples: tuple[float, int, int | None], is_shut: bool = False) -> Arrival:
    arrival = Arrival()
    for now, given, acknowledged in samples:
        arrival = arrival.seen(now, given, None if acknowledged is None else sample(acknowledged, unsent=int(is_shut)))
    return arrival


def test_on_air_begins_with_the_first_acknowledged_bytes() -> None:
    assert seen((10.0, 100, None), (11.0, 200, 100), (15.9, 300, 200)).on_air_seconds() == pytest.approx(4.9)
    assert seen((0.0, 100, None)).on_air_seconds() == 0.0


def test_stall_is_what_is_given_and_not_acknowledged() -> None:
    arrival = seen((0.0, 100, 100), (1.0, 200, 100), (2.0, 300, 100))
    assert not arrival.is_stalled(1.0 + STALL_SECONDS - 0.1)
    assert arrival.is_stalled(1.0 + STALL_SECONDS)
    assert not arrival.seen(3.9, 400, sample(101)).is_stalled(4.0)


def test_shut_window_is_a_stall_sooner() -> None:
    arrival = seen((0.0, 100, 100), (1.0, 200, 100), is_shut=True)
    assert not arrival.is_stalled(1.0 + SHUT_SECONDS - 0.1)
    assert arrival.is_stalled(1.0 + SHUT_SECONDS)


def test_without_bytes_to_acknowledge_there_is_no_stall() -> None:
    assert not seen((0.0, 100, 100), (1.0, 100, 100)).is_stalled(LONG)
    # Nor while a connection is being set up.
    assert not seen((0.0, 100, None), (5.0, 200, None)).is_stalled(LONG)


def streamed(offered_share: float, seconds: float = 6.0) -> Arrival:
    """At 3 Mbit/s, all of it acknowledged; the receiver offers `offered_share` of that anew."""
    arrival = Arrival()
    for step in range(round(seconds / 0.4) + 1):
        sent = round(step * 0.4 * 375_000)
        arrival = arrival.seen(step * 0.4, sent, sample(sent, 4_000_000 + round(sent * offered_share)))
    return arrival


def test_what_only_the_receiver_s_kernel_takes_is_a_stall() -> None:
    assert not streamed(1.0).is_stalled(6.0)
    assert not streamed(0.5).is_stalled(6.0)
    assert streamed(0.0).is_stalled(6.0)
    assert streamed(0.05).is_stalled(6.0)
    assert not streamed(0.0, 2.8).is_stalled(2.8)


def test_a_receiver_that_reads_again_is_none() -> None:
    arrival = streamed(0.0, 3.2)
    sent = arrival.acknowledged_bytes + 150_000
    assert not arrival.seen(3.4, sent, sample(sent, 5_200_000)).is_stalled(4.0)
