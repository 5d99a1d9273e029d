"""The recovery of the stream, in simulated time."""

from dataclasses import replace

import pytest

from livekeep.core.state import PollerState, StreamUrl, UrlRequest, UrlRequestReason
from livekeep.screen.poller.recovery import FRESH_SECONDS, NEVER, StreamRecovery
from livekeep.screen.poller.vimeo import Answer
from livekeep.system.hls import Media

WALL = 1_800_000_000.0
LIVE = PollerState("live", since=WALL - 100, live_since=WALL - 100, url_obtained_monotonic=900.0)
URL = "https://cdn.example/x.m3u8?signature"
ANSWER = Answer("live", "2xx", url=URL)
OUTAGE = Answer("outage", "timeout", "outage", "no answer", "wait")
STILL = Answer("live", "2xx", media=Media(1, 5, "s5.ts"))
GROWN = Answer("live", "2xx", media=Media(2, 5, "s6.ts"))
REFUSED = Answer("refused", "4xx", "refused")


def requested(reason: UrlRequestReason = "stall", now: float = 1000.0, is_held: bool = False) -> StreamRecovery:
    recovery = StreamRecovery()
    assert recovery.begin(UrlRequest(reason, now), 900.0, now, is_held)
    return recovery


def answered(recovery: StreamRecovery, now: float, answer: Answer = ANSWER) -> tuple[PollerState, StreamUrl | None]:
    fresh = LIVE if answer is ANSWER else replace(LIVE, consecutive_failures=1)
    return recovery.after_answer(LIVE, fresh, answer, "source", now, WALL)


def checked(recovery: StreamRecovery, check: Answer, now: float, is_held: bool = False) -> tuple[str, str, bool] | None:
    """State and cause to publish, and whether with a URL; None for "poll first"."""
    step = recovery.after_check(LIVE, check, now, WALL, is_held)
    return (step[0].state, step[0].cause, step[1] is not None) if step else None


def standing(is_held: bool = False) -> StreamRecovery:
    """A recovery whose playlist stood still at its first check."""
    recovery = requested(is_held=is_held)
    answered(recovery, 1001.0)
    assert checked(recovery, STILL, 1001.1) == ("starting", "standing-still", False)
    return recovery


def test_a_request_is_acted_on_once_and_only_when_it_is_newer_than_the_url() -> None:
    recovery = StreamRecovery()
    assert not recovery.begin(None, None, 1000.0, False)
    assert not recovery.begin(UrlRequest("stall", 950.0), 950.0, 1000.0, False)
    assert recovery.begin(UrlRequest("stall", 950.0), 949.0, 1000.0, False)
    assert not recovery.begin(UrlRequest("stall", 950.0), 949.0, 1001.0, False)
    assert recovery.begin(UrlRequest("end", 951.0), None, 1002.0, False)


def test_without_a_stall_the_url_is_handed_out_at_once() -> None:
    for recovery in (StreamRecovery(), requested("start")):
        assert answered(recovery, 1001.0) == (LIVE, StreamUrl(URL, 1001.0, "source"))
        assert recovery.check_due() == NEVER


def test_after_a_stall_the_url_waits_until_the_playlist_has_grown() -> None:
    recovery = requested()
    assert recovery.check_due() == NEVER, "the answer brings a fresh URL first"
    state, url = answered(recovery, 1001.0)
    assert (state.state, url) == ("live", None), "what is known stands"
    assert (recovery.check_due(), recovery.url_to_check(1000.9), recovery.url_to_check(1001.0)) == (1001.0, "", URL)
    assert checked(recovery, STILL, 1001.1) == ("starting", "standing-still", False)
    assert recovery.check_due() == 1002.1
    assert checked(recovery, GROWN, 1002.2) == ("live", "", True)
    assert (recovery.attempt, recovery.check_due()) == (None, NEVER)


def test_a_url_that_is_too_old_by_then_is_replaced_first() -> None:
    recovery, now = standing(), 1001.0 + FRESH_SECONDS + 1
    assert checked(recovery, GROWN, now) is None
    assert recovery.check_due() == NEVER, "nothing is left to check"
    assert answered(recovery, now + 1) == (LIVE, StreamUrl(URL, now + 1, "source"))


def test_where_no_poll_brings_a_url_the_one_in_hand_is_handed_out() -> None:
    now = 1001.0 + FRESH_SECONDS + 1
    assert checked(standing(), GROWN, now, is_held=True) == ("live", "", True)
    recovery = standing()
    assert checked(recovery, GROWN, now) is None
    state, url = answered(recovery, now + 1, OUTAGE)
    assert (state.state, url) == ("live", StreamUrl(URL, now + 1, "source")), "as good as new: it has just been seen to work"


def test_while_polls_are_held_the_url_in_hand_is_checked_at_once() -> None:
    recovery = StreamRecovery()
    answered(recovery, 990.0)
    assert recovery.begin(UrlRequest("end", 1000.0), 990.0, 1000.0, True)
    assert recovery.url_to_check(1000.0) == URL


def test_an_old_url_that_is_refused_may_be_over_and_a_fresh_one_is_for_the_player_to_try() -> None:
    for age, step in ((1.0, ("live", "", True)), (FRESH_SECONDS + 1, None)):
        recovery = requested()
        answered(recovery, 1001.0)
        assert checked(recovery, REFUSED, 1001.0 + age) == step


def test_off_air_ends_it() -> None:
    recovery = requested()
    answered(recovery, 1001.0)
    offline = PollerState("offline")
    assert recovery.after_answer(LIVE, offline, Answer("offline", "4xx"), "source", 1002.0, WALL) == (offline, None)
    assert (recovery.in_hand, recovery.attempt) == (None, None)
    assert checked(recovery, GROWN, 1003.0) == ("live", "", False), "a check that was in flight changes nothing"


def test_what_is_no_playlist_is_handed_out_at_once() -> None:
    recovery = requested()
    camera = replace(ANSWER, url="rtsp://camera.example/1")
    assert recovery.after_answer(LIVE, LIVE, camera, "source", 1001.0, WALL)[1] == StreamUrl(camera.url, 1001.0, "source")
    assert recovery.url_to_check(2000.0) == ""


@pytest.mark.parametrize(("waited", "pause"), [(10, 1), (70, 2), (700, 10)])
def test_checks_are_a_second_apart_and_ten_later(waited: float, pause: float) -> None:
    recovery = standing()
    checked(recovery, STILL, 1000.0 + waited)
    assert recovery.check_due() == 1000.0 + waited + pause
