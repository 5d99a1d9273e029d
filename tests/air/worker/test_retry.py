"""When publishing is tried again, where, and when it is given up: the rules as a table, and every run of failures."""

import itertools

import pytest

from livekeep.air.worker.retry import (
    FAILURES,
    SHUT_SECONDS,
    STALL_SECONDS,
    Arrival,
    Decision,
    Failure,
    RetryState,
    after_failure,
    on_air,
    planned,
)
from livekeep.core.channels import ON_AIR_SECONDS

LONG = 3600.0
KINDS: tuple[Failure, ...] = ("dropped", "refused", "unreachable", "stalled")
"""Those that differ; a crash is treated as a drop."""
UNREACHABLE: Failure = "unreachable"
REFUSED: tuple[Failure, ...] = ("refused",)
REFUSED_BY_ONE: tuple[Failure, ...] = ("refused", "unreachable")


def run(
    ingests: int, *failures: Failure, on_air_seconds: float = 0.0, state: RetryState | None = None
) -> list[tuple[int, float | None]]:
    """For each failure in turn where to go on, and after how many seconds; None: given up."""
    state = state or RetryState()
    found: list[tuple[int, float | None]] = []
    for failure in failures:
        state, decision = after_failure(state, failure, ingests, LONG, on_air_seconds)
        found.append((state.ingest, decision.delay_seconds if decision.will_retry else None))
    return found


@pytest.mark.parametrize("failure", ["dropped", "stalled", "crashed"])
def test_what_was_on_air_is_tried_again_at_once(failure: Failure) -> None:
    assert run(1, *[failure] * 4, on_air_seconds=30.0) == [(0, 0.0)] * 4


@pytest.mark.parametrize("failure", ["dropped", "stalled", "crashed"])
def test_what_never_stays_on_air_is_tried_more_slowly(failure: Failure) -> None:
    assert run(1, *[failure] * 6, on_air_seconds=29.9) == [(0, 0.0), (0, 1.0), (0, 2.0), (0, 5.0), (0, 5.0), (0, 5.0)]


def test_coming_on_air_shortly_does_not_quicken_what_never_stays() -> None:
    state, _decision = after_failure(RetryState(), "dropped", 1, 10.0, 9.0)
    assert run(1, "dropped", state=on_air(state)) == [(0, 1.0)]
    state, _decision = after_failure(on_air(state), "dropped", 1, 40.0, 31.0)
    assert run(1, "dropped", state=on_air(state)) == [(0, 0.0)]


@pytest.mark.parametrize("failure", FAILURES)
def test_never_two_attempts_within_a_second(failure: Failure) -> None:
    for ingests, ran in itertools.product((1, 2), (0.0, 0.3, 0.999, 1.0, 50.0)):
        _state, decision = after_failure(RetryState(), failure, ingests, ran, 0.0)
        assert decision.delay_seconds + ran >= 1.0


def test_unreachable_is_tried_for_ever() -> None:
    assert run(1, *[UNREACHABLE] * 50) == [(0, 1.0), *[(0, 2.0)] * 10, *[(0, 5.0)] * 39]


def test_unreachable_alternates_with_the_backup() -> None:
    assert run(2, *[UNREACHABLE] * 4) == [(1, 1.0), (0, 2.0), (1, 2.0), (0, 2.0)]


def test_third_refusal_gives_up() -> None:
    assert run(1, *REFUSED * 3) == [(0, 30.0), (0, 60.0), (0, None)]


def test_refusal_counts_when_both_ingests_refuse() -> None:
    assert run(2, *REFUSED * 6) == [(1, 0.0), (0, 30.0), (1, 0.0), (0, 60.0), (1, 0.0), (0, None)]


def test_refusal_counts_when_the_other_ingest_is_not_there() -> None:
    assert run(2, *REFUSED_BY_ONE * 3) == [(1, 0.0), (0, 30.0), (1, 0.0), (0, 60.0), (1, 0.0), (0, None)]


def test_refusal_does_not_count_when_the_other_ingest_took_the_stream() -> None:
    state, _decision = after_failure(RetryState(), "refused", 2, LONG, 0.0)
    state, decision = after_failure(on_air(state), "dropped", 2, LONG, LONG)
    assert (state, decision) == (RetryState(ingest=1, failures=1), Decision("dropped", 1, will_retry=True, delay_seconds=0.0))


def test_refusals_count_though_it_was_unreachable_between() -> None:
    assert run(1, "refused", "unreachable", "refused", "unreachable", "refused")[-1] == (0, None)


def test_coming_on_air_clears_the_counts() -> None:
    state = RetryState()
    for failure in ("refused", "refused", "unreachable", "unreachable"):
        state, _decision = after_failure(state, failure, 1, LONG, 0.0)
    assert run(1, "refused", state=on_air(state)) == [(0, 30.0)]
    assert run(1, "unreachable", state=on_air(state)) == [(0, 1.0)]
    assert on_air(state).failures == 0


def test_backup_is_kept_until_it_fails_or_a_planned_reconnect() -> None:
    state, _decision = after_failure(RetryState(), "unreachable", 2, LONG, 0.0)
    assert on_air(state).ingest == 1
    assert run(2, "dropped", state=on_air(state), on_air_seconds=LONG) == [(1, 0.0)]
    assert run(2, "unreachable", state=on_air(state)) == [(0, 1.0)]
    assert planned(on_air(state)).ingest == 0


def test_ingest_that_hangs_or_drops_again_is_left_for_the_other() -> None:
    assert run(2, "stalled", on_air_seconds=LONG) == [(1, 0.0)]
    assert run(2, "dropped", "dropped", on_air_seconds=10.0) == [(0, 0.0), (1, 1.0)]


@pytest.mark.parametrize("ingests", [1, 2])
def test_every_run_of_failures(ingests: int) -> None:
    """What holds always: the count, the place, an end only after three refusals, and no hurry with who refuses."""
    for failures in itertools.product(KINDS, repeat=6):
        state, waited, refusals_without_wait = RetryState(), 0.0, 0
        for count, failure in enumerate(failures, 1):
            was = state.ingest
            state, decision = after_failure(state, failure, ingests, 1.0, 0.0)
            assert decision.retry_count == count == state.failures
            assert state.ingest in range(ingests)
            if not decision.will_retry:
                assert decision.error_type == "refused"
                assert waited >= 90
                assert failures[:count].count("refused") >= 3
                break
            assert 0 <= decision.delay_seconds <= 60
            waited += decision.delay_seconds
            refusals_without_wait = 0 if decision.delay_seconds >= 30 or failure != "refused" else refusals_without_wait + 1
            assert refusals_without_wait < 2
            assert failure != "refused" or ingests == 1 or state.ingest != was
        else:
            assert state.refusals < 3


def seen(*samples: tuple[float, int, int | None], is_shut: bool = False) -> Arrival:
    arrival = Arrival()
    for now, given, acknowledged in samples:
        arrival = arrival.seen(now, given, acknowledged, is_window_shut=is_shut)
    return arrival


def test_on_air_takes_five_seconds_of_acknowledged_bytes() -> None:
    arrival = seen((10.0, 100, None), (11.0, 200, 100), (15.9, 300, 200))
    assert not arrival.is_on_air(15.9)
    assert arrival.seen(11.0 + ON_AIR_SECONDS, 400, 300).is_on_air(16.0)


def test_stall_is_what_is_given_and_not_acknowledged() -> None:
    arrival = seen((0.0, 100, 100), (1.0, 200, 100), (2.0, 300, 100))
    assert not arrival.is_stalled(1.0 + STALL_SECONDS - 0.1)
    assert arrival.is_stalled(1.0 + STALL_SECONDS)
    assert not arrival.seen(3.9, 400, 101).is_stalled(4.0)


def test_shut_window_is_a_stall_sooner() -> None:
    arrival = seen((0.0, 100, 100), (1.0, 200, 100), is_shut=True)
    assert not arrival.is_stalled(1.0 + SHUT_SECONDS - 0.1)
    assert arrival.is_stalled(1.0 + SHUT_SECONDS)


def test_nothing_given_is_no_stall() -> None:
    assert not seen((0.0, 100, 100), (1.0, 100, 100)).is_stalled(LONG)


def test_connection_in_the_making_is_no_stall() -> None:
    assert not seen((0.0, 100, None), (5.0, 200, None)).is_stalled(LONG)
    assert seen((0.0, 100, None)).on_air_seconds() == 0.0


def streamed(offered_share: float, seconds: float = 6.0) -> Arrival:
    """At 3 Mbit/s, all of it acknowledged; the receiver offers `offered_share` of that anew."""
    arrival = Arrival()
    for step in range(round(seconds / 0.4) + 1):
        sent = round(step * 0.4 * 375_000)
        arrival = arrival.seen(step * 0.4, sent, sent, offered_bytes=4_000_000 + round(sent * offered_share))
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
    assert not arrival.seen(3.4, sent, sent, offered_bytes=5_200_000).is_stalled(4.0)
