"""What is on the TV when Vimeo's API refuses, fails or asks to wait, or the token is missing or insufficient."""

from __future__ import annotations

import time

import pytest

from tests.machine.machine import wait_for
from tests.machine.root import Suite
from tests.machine.screen import POLLER, Screen

# The poller is the same program everywhere; the older Python and requests are more likely to fail.
SUITES: tuple[Suite, ...] = ("bookworm",)

OUTAGES = ("500", "html502", "html200", "hang", "slow_drip", "reset", "big", "deep_json", "redirect_loop", "bad_url_scheme")
# Each with the picture's text and the document that it refers to.
REFUSALS = {
    "401": ("does not accept the token", "livekeep set-token"),
    "403": ("does not provide this stream", "livekeep set-token"),
    "404": ("has no such event", "livekeep.toml"),
    "2204": ("rejects the request", "livekeep.toml"),
}
CAN_TAKE_A_MINUTE = 90.0


def test_an_outage_shows_the_error_picture(screen: Screen) -> None:
    """After the configured number of failures; one successful response later everything is healthy again."""
    screen.configure({"poller": {"failures_before_error": 2}})
    with screen.watched():
        for fault in OUTAGES:
            screen.vimeo.fault(fault)
            screen.knows(state="error", cause="outage")
            screen.shows("error")
            screen.says("Vimeo's API cannot be reached: ")
            screen.says("sudo livekeep doctor")
            screen.vimeo.ok()
            screen.knows(state="offline")
            screen.shows("holding")


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refusal_shows_the_error_picture_with_its_reason(screen: Screen, fault: str) -> None:
    """At the first response, also while the stream plays; a reload polls at once."""
    with screen.watched():
        screen.vimeo.fault(fault)
        screen.shows("error")
        for words in REFUSALS[fault]:
            screen.says(words)
        assert screen.knows(state="error")["consecutive_failures"] == 0
        screen.vimeo.ok()
        screen.vimeo.go_live(screen.live.url)
        screen.machine.systemctl("reload", POLLER)
        screen.moves()
        screen.vimeo.fault(fault)
        screen.shows("error")


def test_an_outage_leaves_a_stream_that_plays(screen: Screen) -> None:
    """Each kind in turn, until it counts as an error: the stream continues."""
    screen.goes_live()
    with screen.watched() as sampler:
        for fault in ("500", "hang", "reset", "garbage"):
            screen.vimeo.fault(fault)
            screen.knows(CAN_TAKE_A_MINUTE, state="error", cause="outage")
            screen.moves()
            screen.vimeo.ok()
            screen.knows(state="live", consecutive_failures=0)
    assert [label for _, label in screen.spans(sampler)] == ["stream"]


def test_a_rate_limit_is_waited_for(screen: Screen) -> None:
    """No request before the window ends, even on a reload; the picture stays."""
    screen.vimeo.forget()
    screen.vimeo.fault("429", times=1, seconds=8)
    wait_for(lambda: any(entry["fault"] == "429" for entry in screen.vimeo.requests()), 20)
    screen.machine.systemctl("reload", POLLER)
    screen.keeps("holding", 3)
    wait_for(lambda: screen.vimeo.requests()[-1]["fault"] == "", 30)
    entries = screen.vimeo.requests()
    first = next(index for index, entry in enumerate(entries) if entry["fault"] == "429")
    # The header has whole seconds.
    assert entries[first + 1]["at"] - entries[first]["at"] > 6


def test_the_request_budget_is_kept(screen: Screen) -> None:
    """With a budget of few requests a minute, none is refused as one too many."""
    screen.configure({"poller": {"interval_seconds": 1.0}})
    screen.vimeo.limit(12)
    screen.vimeo.forget()
    time.sleep(15)
    assert [entry["status"] for entry in screen.vimeo.requests() if entry["status"] == 429] == []


def test_no_token_yet(screen: Screen) -> None:
    """The TV says so; a token that is stored later takes effect without further action."""
    screen.machine.run("rm /etc/credstore/livekeep.vimeo-token; systemctl restart livekeep-poller")
    screen.says("token is missing")
    screen.shows("holding")
    assert "restarted with it" in screen.livekeep("set-token", "/root/token")
    screen.knows(state="offline")
    wait_for(lambda: screen.line() == "", 15)
    screen.goes_live()


def test_a_token_without_the_scope(screen: Screen) -> None:
    """The error picture names the scope that is missing."""
    screen.vimeo.token(scope="public")
    screen.machine.systemctl("restart", POLLER)
    screen.shows("error")
    screen.says("lacks the scope private")
    assert any(entry.get("LIVEKEEP_EVENT") == "token-refused" for entry in screen.machine.journal_entries(POLLER))
