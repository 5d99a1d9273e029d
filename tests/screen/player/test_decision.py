"""The choice of the picture, over every combination of what it depends on."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple, get_args

import pytest

from livekeep.core.state import Cause, Picture, PollerState, StreamPicture, StreamState, TvMethod, TvState
from livekeep.screen.player.decision import (
    LOADING_SECONDS,
    NO_MOVING_PICTURE,
    POLLER_MISSING_SECONDS,
    Choice,
    Phase,
    StreamReport,
    choose,
    phase_of,
)


class View(NamedTuple):
    """What the choice depends on."""

    poller: PollerState | None
    missing_seconds: float
    phase: Phase
    previous: Choice
    config_problem: str = ""
    stream_picture: StreamPicture = ""


REASONS = ("", "Vimeo says so")
POLLERS = (
    None,
    *(PollerState(*told, "do it") for told in itertools.product(get_args(StreamState), get_args(Cause), REASONS)),
)
PREVIOUS = tuple(Choice(shown, f"was {shown}", says_reason=shown == "error") for shown in get_args(Picture))
MISSING_SECONDS = (0.0, POLLER_MISSING_SECONDS - 1, POLLER_MISSING_SECONDS, 1e9)
CONFIG_PROBLEMS = ("", "livekeep.toml: log.level: is wrong")


def views() -> Iterator[View]:
    for fields in itertools.product(POLLERS, MISSING_SECONDS, get_args(Phase), PREVIOUS, CONFIG_PROBLEMS):
        yield View(*fields)


ALL = tuple((view, choose(*view)) for view in views())
CONFIGURED = tuple((view, choice) for view, choice in ALL if not view.config_problem)


def test_every_combination_is_there() -> None:
    assert len(ALL) == (5 * 10 * 2 + 1) * 4 * 6 * 4 * 2


@pytest.mark.parametrize("method", get_args(TvMethod))
def test_a_tv_that_is_off_on_purpose_has_no_picture_whatever_else_is_known(method: TvMethod) -> None:
    """One that is off over HDMI-CEC has its picture all the time: somebody may switch it on by hand."""
    off = TvState(is_wanted=False, method=method, reason="the plan (daily 08:00-22:00)")
    for view, choice in ALL:
        assert choose(*view, tv=TvState(method=method)) == choice
        expected = Choice("none", "The TV is off: the plan (daily 08:00-22:00)") if method in ("blank", "black") else choice
        assert choose(*view, tv=off) == expected


def test_a_stream_that_plays_without_a_moving_picture_stays_and_is_told() -> None:
    for view, choice in ALL:
        for seen in get_args(StreamPicture):
            found = choose(*view._replace(stream_picture=seen))
            is_told = seen in NO_MOVING_PICTURE and view.phase == "playing" and choice.picture == "stream"
            assert found.picture == choice.picture
            assert found.reason == (f"{choice.reason}, but {NO_MOVING_PICTURE[seen]}" if is_told else choice.reason)
            assert bool(found.advice) or not is_told


def test_there_is_always_a_picture_and_a_reason() -> None:
    assert {choice.picture for _, choice in ALL} == {"stream", "holding", "error"}
    assert [view for view, choice in ALL if not choice.reason] == []


def test_the_error_picture_says_why_and_the_stream_is_clean() -> None:
    for view, choice in ALL:
        assert choice.says_reason or choice.picture != "error", view
        assert not (choice.says_reason and choice.picture == "stream"), view


def test_a_faulty_configuration_is_told_whatever_else_is_known() -> None:
    for view, choice in ALL:
        if view.config_problem:
            assert choice == Choice("error", view.config_problem, "sudo livekeep check-config", True)


def test_no_outage_takes_down_a_stream_that_plays() -> None:
    for view, choice in CONFIGURED:
        ends = view.poller and (view.poller.state == "offline" or is_refused(view.poller))
        no_stream = view.poller and view.poller.state == "unknown" and view.poller.cause in ("no-token", "no-stream")
        kept_error = view.poller and view.poller.state == "unknown" and view.previous.picture == "error"
        if view.phase == "playing" and not (ends or no_stream or kept_error):
            assert choice.picture == "stream", view


def is_refused(poller: PollerState | None) -> bool:
    return poller is not None and poller.state == "error" and poller.cause in ("refused", "bad-config")


def test_a_refusal_shows_at_once() -> None:
    for view, choice in CONFIGURED:
        if view.poller and is_refused(view.poller):
            assert (choice.picture, choice.advice) == ("error", "do it")
            assert view.poller.reason in choice.reason


def test_a_dead_stream_is_shown_only_to_start_it() -> None:
    for view, choice in CONFIGURED:
        if choice.picture == "stream" and view.phase != "playing":
            assert view.poller
            assert view.poller.state == "live", view


def test_a_poller_that_is_there_is_never_missed() -> None:
    for poller, phase, previous in itertools.product(POLLERS[1:], get_args(Phase), PREVIOUS):
        assert len({choose(poller, seconds, phase, previous) for seconds in MISSING_SECONDS}) == 1


def test_the_same_view_again_gives_the_same_picture() -> None:
    for view, choice in CONFIGURED:
        again = choose(view.poller, view.missing_seconds, view.phase, choice)
        assert again.picture == choice.picture, view


TABLE = {
    # state, cause: the picture while the stream plays well, and else; None: what is shown now
    ("live", ""): ("stream", "stream"),
    ("offline", ""): ("holding", "holding"),
    ("starting", ""): ("stream", "holding"),
    ("error", "refused"): ("error", "error"),
    ("error", "bad-config"): ("error", "error"),
    ("error", "outage"): ("stream", "error"),
    ("error", "rate-limited"): ("stream", "error"),
    ("error", "standing-still"): ("stream", "error"),
    ("error", "not-open"): ("stream", "error"),
    ("unknown", "no-token"): ("holding", "holding"),
    ("unknown", "no-stream"): ("holding", "holding"),
    ("unknown", ""): (None, None),
    ("absent", "briefly"): ("stream", None),
    ("absent", "for long"): ("stream", "error"),
}


@pytest.mark.parametrize(("state", "cause"), TABLE)
def test_the_table_of_the_module(state: str, cause: str) -> None:
    for phase, previous in itertools.product(get_args(Phase), PREVIOUS):
        poller = None if state == "absent" else PollerState(state, cause, "so it is")  # type: ignore[arg-type]
        choice = choose(poller, 60.0 if cause == "for long" else 59.9, phase, previous)
        kept = "error" if previous.picture == "error" else "stream" if phase == "playing" else "holding"
        assert choice.picture == (TABLE[state, cause][phase != "playing"] or kept), (phase, previous)
        assert choice.says_reason == (choice.picture == "error" or cause in ("no-token", "no-stream"))


@pytest.mark.parametrize(
    ("report", "phase"),
    [
        (StreamReport(), "none"),
        (StreamReport("ended", 0.0, 5.0, 99.9), "ended"),
        (StreamReport("loading", 100.0 - LOADING_SECONDS), "loading"),
        (StreamReport("loading", 99.9 - LOADING_SECONDS), "stalled"),
        (StreamReport("playing", 0.0, None, 92.0), "playing"),
        (StreamReport("playing", 0.0, 3.0, 92.0), "playing"),
        (StreamReport("playing", 0.0, 3.0, 91.9), "stalled"),
    ],
)
def test_playing_means_that_the_position_changed_lately(report: StreamReport, phase: str) -> None:
    assert phase_of(report, 100.0, 8.0) == phase
