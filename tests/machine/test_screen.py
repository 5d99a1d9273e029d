"""What is on the TV, as the stream and Vimeo's API have their good and bad days."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.machine.live import LiveStream
from tests.machine.machine import wait_for
from tests.machine.screen import PLAYER, POLLER, Screen
from tests.machine.vimeo import VIDEO_ID

OUTAGES = ("500", "503", "html502", "html200", "hang", "slow_drip", "reset", "garbage", "big", "deep_json", "redirect_loop",
           "no_url", "bad_url_scheme")  # fmt: skip
REFUSALS = {
    "401": "does not accept the token",
    "403": "does not hand out this stream",
    "404": "knows no such event",
    "2204": "does not accept the question",
}
BREAKDOWNS: dict[str, Callable[[LiveStream], None]] = {
    "stops growing": lambda live: live.stall(),
    "404": lambda live: live.answer(404),
    "403": lambda live: live.answer(403, only=".m3u8"),
    "hangs": lambda live: live.hang(),
    "resets": lambda live: live.reset(),
}
CAN_TAKE_A_MINUTE = 90.0


def test_goes_live_and_off_without_a_black_moment(screen: Screen) -> None:
    """Holding, stream, holding: nothing else between them, twice."""
    with screen.watched() as sampler:
        for _ in range(2):
            screen.goes_live()
            screen.vimeo.go_off()
            screen.shows("holding")
    labels = [label for _, label in screen.spans(sampler) if label != "other"]
    assert labels == ["holding", "stream", "holding", "stream", "holding"]
    assert sampler.achieved_hz() > 25


@pytest.mark.parametrize("fault", OUTAGES)
def test_an_outage_shows_the_error_picture(screen: Screen, fault: str) -> None:
    """After the configured number of failures; one answer later all is well again."""
    screen.configure({"poller": {"failures_before_error": 2}})
    with screen.watched():
        screen.vimeo.fault(fault)
        screen.shows("error")
        screen.says("Vimeo's API cannot be reached: ")
        screen.says("sudo livekeep doctor")
        screen.vimeo.ok()
        screen.shows("holding")


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refusal_shows_the_error_picture_with_its_reason(screen: Screen, fault: str) -> None:
    """At the first answer, and while the stream plays too; a reload asks at once."""
    with screen.watched():
        screen.vimeo.fault(fault)
        screen.shows("error")
        screen.says(REFUSALS[fault])
        screen.says("Run: " if fault != "404" else "livekeep.toml")
        assert screen.knows(state="error")["consecutive_failures"] == 0
        screen.vimeo.ok()
        screen.vimeo.go_live(screen.live.url)
        screen.machine.systemctl("reload", POLLER)
        screen.moves()
        screen.vimeo.fault(fault)
        screen.shows("error")


def test_an_outage_leaves_a_stream_that_plays(screen: Screen) -> None:
    """Each kind in turn, until it counts as an error: the stream plays on."""
    screen.goes_live()
    with screen.watched() as sampler:
        for fault in ("500", "hang", "reset", "garbage"):
            screen.vimeo.fault(fault)
            screen.knows(CAN_TAKE_A_MINUTE, state="error", cause="outage")
            screen.moves()
            screen.vimeo.ok()
            screen.knows(state="live", consecutive_failures=0)
    assert [label for _, label in screen.spans(sampler)] == ["stream"]


def test_soon_on_air(screen: Screen) -> None:
    """The holding picture while Vimeo prepares the stream."""
    screen.vimeo.starting()
    assert "available soon" in screen.knows(state="starting")["reason"]
    screen.keeps("holding", 3)
    screen.goes_live()


def test_a_rate_limit_is_waited_for(screen: Screen) -> None:
    """No request before the window ends, though the operator reloads; the picture stays."""
    screen.vimeo.forget()
    screen.vimeo.fault("429", times=1, seconds=8)
    wait_for(lambda: any(entry["fault"] == "429" for entry in screen.vimeo.requests()), 20)
    screen.machine.systemctl("reload", POLLER)
    screen.keeps("holding", 3)
    wait_for(lambda: screen.vimeo.requests()[-1]["fault"] == "", 30)
    entries = screen.vimeo.requests()
    first = next(index for index, entry in enumerate(entries) if entry["fault"] == "429")
    # The header tells whole seconds.
    assert entries[first + 1]["at"] - entries[first]["at"] > 6


def test_the_request_budget_is_kept(screen: Screen) -> None:
    """With few requests a minute there is not one refusal for too many."""
    screen.configure({"poller": {"interval_seconds": 1.0}})
    screen.vimeo.limit(12)
    screen.vimeo.forget()
    time.sleep(15)
    assert [entry["status"] for entry in screen.vimeo.requests() if entry["status"] == 429] == []


def test_the_next_start_is_told(screen: Screen) -> None:
    """A weekday, then a countdown; nothing when that is not wanted."""
    screen.vimeo.schedule(datetime.now(UTC) + timedelta(days=3))
    screen.machine.systemctl("restart", POLLER)
    screen.says("Next: ")
    screen.vimeo.schedule(datetime.now(UTC) + timedelta(minutes=8))
    screen.machine.systemctl("restart", POLLER)
    screen.says("Live in ")
    first = screen.line()
    wait_for(lambda: screen.line() != first, 15)
    screen.shows("holding")
    screen.configure({"screen": {"show_next_start": False}})
    wait_for(lambda: screen.line() == "", 15)
    screen.vimeo.schedule(None)
    screen.machine.systemctl("restart", POLLER)


@pytest.mark.parametrize("way", BREAKDOWNS)
def test_a_stream_that_breaks_down_comes_back(screen: Screen, way: str) -> None:
    """The frozen picture gives way to the holding picture; the stream comes back by itself."""
    screen.goes_live()
    stalls = screen.state("player")["playback"]["stalls"]
    with screen.watched() as sampler:
        BREAKDOWNS[way](screen.live)
        screen.shows("holding", within=60)
        time.sleep(5)
        screen.live.resume()
        screen.moves(60)
    assert "error" not in {label for _, label in screen.spans(sampler)}
    if way == "stops growing":
        assert screen.state("player")["playback"]["stalls"] > stalls


def test_a_short_stall_is_sat_out(screen: Screen) -> None:
    """A pause shorter than the stream's own buffer and the configured time does not reach the screen."""
    screen.configure({"screen": {"stall_seconds": 20.0}})
    screen.goes_live()
    with screen.watched() as sampler:
        screen.live.stall()
        time.sleep(4)
        screen.live.resume()
        screen.moves()
    assert [label for _, label in screen.spans(sampler)] == ["stream"]


def test_the_stream_ends_and_begins_anew(screen: Screen) -> None:
    """At the end the holding picture at once, though the API still says live; a new broadcast is shown."""
    screen.goes_live()
    with screen.watched():
        screen.live.end()
        screen.shows("holding")
        screen.live.restart()
        screen.moves(60)
        screen.live.end()
        screen.shows("holding")
        screen.vimeo.go_off()
        screen.knows(state="offline")
        screen.live.restart()
        screen.goes_live(60)


def test_a_fresh_url_for_every_start(screen: Screen) -> None:
    """URLs expire: each start uses one that is younger than that."""
    screen.live.enforce_expiry()
    screen.goes_live()
    screen.vimeo.go_off()
    screen.shows("holding")
    screen.goes_live()
    screen.machine.run("systemctl reset-failed livekeep-display; systemctl restart livekeep-display")
    screen.moves()
    refused = [entry for entry in screen.live.requests() if entry["status"] == 403]
    screen.live.enforce_expiry(False)
    # A playlist that is played on may outlive its URL; none is begun with an old one.
    assert screen.state("player")["playback"]["failed_starts"] == 0 or refused == []


def test_a_video_instead_of_an_event(screen: Screen) -> None:
    """A one-time event: off air it has no playlist, which is no fault."""
    screen.configure({"streams.main": {"vimeo_event": "", "vimeo_video": VIDEO_ID}})
    screen.knows(state="offline", kind="vimeo-video")
    screen.goes_live()
    screen.vimeo.go_off()
    screen.shows("holding")


def test_a_plain_url(screen: Screen) -> None:
    """Live when it can be opened; no token, no API."""
    screen.live.answer(404)
    screen.configure({"streams.main": {"vimeo_event": "", "url": screen.live.url}})
    screen.knows(state="offline", kind="url")
    screen.keeps("holding", 2)
    with screen.watched():
        screen.live.resume()
        screen.moves()
        screen.live.answer(404)
        screen.shows("holding", within=60)
        screen.live.resume()
        screen.moves(60)


def test_another_stream_is_selected(screen: Screen) -> None:
    """`livekeep select` changes the stream on the screen, and an unknown name changes nothing."""
    screen.configure({"streams.spare": {"url": screen.live.url}})
    try:
        assert "has taken it" in screen.livekeep("select", "spare")
        screen.moves()
        assert "there is no stream" in screen.livekeep("select", "nonsense")
        assert "* spare" in screen.livekeep("select")
        screen.keeps("stream", 2)
    finally:
        screen.livekeep("select", "main")
    screen.shows("holding")


def test_no_token_yet(screen: Screen) -> None:
    """The TV says so; a token that comes later is taken without anybody's help."""
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


def test_several_holding_pictures(screen: Screen) -> None:
    """They take turns without a black moment."""
    pictures = [f"/usr/local/share/livekeep/pictures/{name}.png" for name in ("holding", "error")]
    with screen.watched():
        screen.configure({"screen": {"holding": pictures, "slideshow_seconds": 2.0}})
        for name in ("error", "holding", "error"):
            screen.shows(name, within=15)


def test_the_holding_picture_can_be_a_video(screen: Screen) -> None:
    """Shown over and over."""
    video = next(path for path in screen.machine.run("ls /tmp/*.ts", check=False).stdout.split() or ["/tmp/loop.ts"])
    from tests.machine.live import SD, clip

    screen.machine.copy_in(clip(SD, 1), video)
    screen.configure({"screen": {"holding": video}})
    wait_for(lambda: screen.tv.grid()[0][2] > 150 and screen.tv.grid()[0][0] < 60, 20)
    first = screen.tv.checksum()
    wait_for(lambda: screen.tv.checksum() != first, 10)
    screen.goes_live()


def test_the_units_did_not_restart_for_any_of_this(screen: Screen) -> None:
    """All of the above was done by the same player."""
    assert screen.machine.unit_property(PLAYER, "NRestarts") == "0"
    assert screen.machine.systemctl("--failed", "--no-legend", "--plain").stdout == ""
