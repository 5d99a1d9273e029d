"""The stream's session, in simulated time."""

import pytest

from livekeep.core.state import UrlRequest
from livekeep.screen.player.decision import Phase, StreamReport
from livekeep.screen.player.playback_session import (
    FRESH_SECONDS,
    LONGEST_DELAY_SECONDS,
    STEADY_SECONDS,
    Counts,
    PlaybackSession,
)

STALL_SECONDS = 8.0


def follow(session: PlaybackSession, phase: Phase, now: float, changed: float = 0.0) -> Phase:
    """Apply a report of that phase; a stalled one is of a position that has not changed for too long."""
    reported: Phase = "playing" if phase == "stalled" else phase
    changed = changed or (now - STALL_SECONDS - 1 if phase == "stalled" else now)
    session.follow(StreamReport(reported, now, 1.0, changed), now, STALL_SECONDS)
    return session.phase


def opened(now: float = 100.0) -> PlaybackSession:
    """A session whose stream was opened at `now`."""
    session = PlaybackSession()
    assert session.may_start(now, now)
    session.open()
    return session


def playing(now: float, seconds: float) -> PlaybackSession:
    """A session whose stream has played for `seconds` at `now`."""
    session = opened(now - seconds - 1)
    for phase, at in (("loading", now - seconds - 1), ("playing", now - seconds), ("playing", now)):
        assert follow(session, phase, at) == phase  # type: ignore[arg-type]
    return session


def test_a_fresh_url_is_opened_at_once() -> None:
    session = PlaybackSession()
    assert not session.may_start(None, 100.0)
    assert session.may_start(100.0 - FRESH_SECONDS, 100.0)
    assert session.url_request is None


def test_an_old_url_is_not_opened_but_a_fresh_one_requested_once() -> None:
    session = PlaybackSession()
    assert not session.may_start(90.0, 100.0)
    assert session.url_request == UrlRequest("start", 100.0)
    assert not session.may_start(90.0, 100.5)
    assert session.url_request == UrlRequest("start", 100.0), "the poller counts each new request"
    assert not session.may_start(99.9, 100.6), "obtained before it was asked for"
    assert session.may_start(100.1, 100.6)


def test_a_request_that_was_granted_too_late_is_made_again() -> None:
    session = PlaybackSession()
    session.request_url("start", 100.0)
    assert not session.may_start(100.1, 110.0)
    assert session.url_request == UrlRequest("start", 110.0)


def test_the_url_request_goes_once_the_stream_plays() -> None:
    session = PlaybackSession()
    session.request_url("start", 100.0)
    session.open()
    follow(session, "loading", 101.0)
    assert session.url_request
    follow(session, "playing", 102.0)
    assert session.url_request is None
    assert session.is_open


def test_a_stall_is_told_once_counted_and_followed_by_a_url_request() -> None:
    session = playing(200.0, 30.0)
    assert follow(session, "stalled", 208.1, changed=200.0) == "stalled"
    assert session.url_request == UrlRequest("stall", 208.1)
    assert not session.is_open
    assert follow(session, "none", 208.2) == "none"
    assert (session.counts.stalls, session.counts.starts) == (1, 1)
    assert not session.may_start(207.0, 208.3)
    assert session.may_start(209.0, 209.0), "after a stall there is no delay"
    session.open()
    follow(session, "loading", 209.0)
    follow(session, "playing", 210.0)
    assert (session.counts.stalls, session.counts.stalled_seconds, session.counts.starts) == (1, 10.0, 2)
    follow(session, "playing", 215.0)
    assert session.counts.stalled_seconds == 10.0


def test_the_end_of_a_stream_is_told_once_and_followed_by_a_url_request() -> None:
    session = playing(200.0, STEADY_SECONDS)
    assert follow(session, "ended", 200.1) == "ended"
    assert session.url_request == UrlRequest("end", 200.1)
    assert follow(session, "ended", 200.2) == "none"
    assert session.counts == Counts(starts=1)
    assert session.may_start(200.3, 200.3)


@pytest.mark.parametrize("phase", ["ended", "stalled"])
def test_a_stream_without_a_first_frame_has_failed(phase: Phase) -> None:
    session = opened()
    assert follow(session, phase, 120.0) == "failed"
    assert session.url_request == UrlRequest("end", 120.0)
    assert session.counts == Counts(starts=1, failed_starts=1)
    assert not session.may_start(120.2, 120.2)
    assert session.may_start(120.2, 120.5)


def test_a_stream_that_ends_soon_after_its_start_has_failed() -> None:
    session = playing(200.0, STEADY_SECONDS - 2)
    assert follow(session, "ended", 201.0) == "failed"
    assert session.counts.failed_starts == 1


def test_the_delay_doubles_up_to_its_cap_forever() -> None:
    session, now, delays = opened(), 100.0, []
    for _ in range(3000):
        assert follow(session, "ended", now) == "failed"
        delays.append(session.not_before - now)
        assert not session.may_start(session.not_before - 0.01, session.not_before - 0.01)
        now = session.not_before
        assert session.may_start(now, now)
        session.open()
    assert delays[:6] == pytest.approx([0.5, 1, 2, 4, 8, 10])
    assert set(delays[5:]) == {LONGEST_DELAY_SECONDS}


def test_a_steady_stream_clears_the_failures_and_a_short_one_does_not() -> None:
    session, now = opened(), 100.0
    for _ in range(4):
        follow(session, "ended", now)
        now = session.not_before
        session.open()
    follow(session, "playing", now)
    follow(session, "playing", now + STEADY_SECONDS - 0.1)
    assert session.failures == 4
    follow(session, "playing", now + STEADY_SECONDS)
    assert session.failures == 0


def test_a_stream_that_is_not_wanted_any_more_leaves_nothing() -> None:
    session = opened()
    follow(session, "ended", 101.0)
    session.close()
    assert (session.phase, session.url_request, session.failures, session.is_open) == ("none", None, 0, False)
    assert follow(session, "ended", 102.0) == "none"
    assert session.counts == Counts(starts=1, failed_starts=1), "what was counted stays"


@pytest.mark.parametrize(("phase", "taken"), [("playing", True), ("loading", True), ("stalled", False), ("ended", False)])
def test_a_restarted_player_takes_over_what_plays(phase: Phase, taken: bool) -> None:
    session = PlaybackSession()
    assert follow(session, phase, 100.0) == (phase if taken else "none")
    assert session.is_open == taken
    assert session.counts.starts == 0
    assert not session.is_of(""), "of what is not known nothing can be said"
    assert not session.is_of("one")


def test_a_stream_that_is_opened_again_has_not_failed() -> None:
    session = playing(200.0, 30.0)
    session.reopen(200.0)
    assert (session.is_open, session.url_request, session.counts) == (False, UrlRequest("start", 200.0), Counts(starts=1))
    assert not session.may_start(199.9, 200.1)
    assert session.may_start(200.1, 200.2)


def test_another_source_leaves_the_open_stream_and_its_troubles() -> None:
    session = PlaybackSession(source="one")
    session.open()
    assert follow(session, "ended", 100.0) == "failed"
    session.turn_to("one")
    assert (session.failures, session.url_request) == (1, UrlRequest("end", 100.0)), "the same stream again changes nothing"
    assert not session.may_start(100.1, 100.1)
    session.turn_to("two")
    assert (session.failures, session.url_request, session.is_of("two")) == (0, None, True)
    assert session.may_start(100.1, 100.1)
    session.open()
    session.turn_to("two")
    assert session.is_open
    session.turn_to("three")
    assert not session.is_open
