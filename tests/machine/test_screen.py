"""What is on the TV in the course of a stream's life."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from tests.machine.live import SD, LiveStream, clip
from tests.machine.machine import wait_for
from tests.machine.screen import PLAYER, POLLER, Screen
from tests.machine.tv import Colour
from tests.machine.vimeo import VIDEO_ID

BREAKDOWNS: dict[str, Callable[[LiveStream], None]] = {
    "stops growing": lambda live: live.stall(),
    "404": lambda live: live.answer(404),
    "403": lambda live: live.answer(403, only=".m3u8"),
    "hangs": lambda live: live.hang(),
    "resets": lambda live: live.reset(),
}
OWN_PICTURES = "/var/lib/livekeep/pictures"


def test_goes_live_and_off_without_a_black_moment(screen: Screen) -> None:
    """Holding, stream, holding: nothing else between them, twice."""
    with screen.watched() as sampler:
        for _ in range(2):
            screen.goes_live()
            screen.vimeo.go_off()
            screen.shows("holding")
    labels = [label for _, label in screen.spans(sampler) if label != "other"]
    assert labels == ["holding", "stream", "holding", "stream", "holding"]
    # Enough to see a black moment, on a machine that is busy with other tests, too.
    assert sampler.achieved_hz() > 5


def test_soon_on_air(screen: Screen) -> None:
    """The holding picture while Vimeo prepares the stream."""
    screen.vimeo.starting()
    assert "available soon" in screen.knows(state="starting")["reason"]
    screen.keeps("holding", 3)
    screen.goes_live()


def test_the_next_start_is_told(screen: Screen) -> None:
    """A weekday, then a countdown; nothing when it is disabled."""
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
    """The frozen picture is replaced by the holding picture; the stream comes back by itself."""
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
    """A pause shorter than the stream's own buffer and the configured time does not show on the screen."""
    screen.configure({"screen": {"stall_seconds": 20.0}})
    screen.goes_live()
    with screen.watched() as sampler:
        screen.live.stall()
        time.sleep(4)
        screen.live.resume()
        screen.moves()
    assert [label for _, label in screen.spans(sampler)] == ["stream"]


def test_an_encoder_that_restarts_keeps_the_stream_on_the_screen(screen: Screen) -> None:
    """Timestamps start again, picture and sound change format: mpv 0.40 stood still at that forever, or reported it."""
    screen.goes_live()
    stalls = screen.state("player")["playback"]["stalls"]
    with screen.watched() as sampler:
        screen.live.relaunch()
        wait_for(lambda: screen.state("player")["playback"]["width_pixels"] == 640, 40)
        # Longer than a stall may last.
        time.sleep(12)
        screen.moves()
    assert [label for _, label in screen.spans(sampler)] == ["stream"]
    assert screen.state("player")["playback"]["stalls"] == stalls
    screen.live.restart()


def test_the_stream_ends_and_begins_anew(screen: Screen) -> None:
    """At the end the holding picture appears at once, though the API still says live; a new broadcast is shown."""
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
    """URLs expire: each start uses one younger than that."""
    failed = screen.state("player")["playback"]["failed_starts"]
    screen.live.enforce_expiry()
    screen.goes_live()
    screen.vimeo.go_off()
    screen.shows("holding")
    screen.goes_live()
    screen.machine.run("systemctl reset-failed livekeep-display; systemctl restart livekeep-display")
    screen.moves()
    screen.live.enforce_expiry(False)
    assert screen.state("player")["playback"]["failed_starts"] == failed


def test_a_video_instead_of_an_event(screen: Screen) -> None:
    """A one-time event: while off air it has no playlist, which is no fault."""
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
    screen.configure({"streams.spare": {"url": screen.live.url}, "streams.dead": {"url": "http://127.0.0.1:9/live.m3u8"}})
    try:
        assert "uses it now" in screen.livekeep("select", "spare")
        screen.moves()
        assert "there is no stream" in screen.livekeep("select", "nonsense")
        assert "* spare" in screen.livekeep("select")
        screen.keeps("stream", 2)
        # A restarted player recognises what is on the screen.
        old = screen.signal(PLAYER, signal.SIGKILL)
        screen.is_renewed(PLAYER, old)
        screen.keeps("stream", 2)
        screen.livekeep("select", "dead")
        wait_for(lambda: screen.picture() in ("holding", "error"), 15)
    finally:
        screen.livekeep("select", "main")
    screen.shows("holding")


def test_sound_alone_is_heard_beside_the_holding_picture(screen: Screen) -> None:
    """Not a black screen; and the picture is shown again when it is back."""
    screen.live.restart(sound_only=True)
    screen.vimeo.go_live(screen.live.url)
    try:
        with screen.watched():
            wait_for(lambda: screen.state("player").get("stream_picture") == "none", 30, 0.2)
            screen.keeps("holding", 3)
        # A stall that an earlier test made counts more, for five minutes.
        assert screen.livekeep("health").startswith("degraded: the holding picture is shown, but the stream ")
        assert "sound only" in screen.livekeep("status")
    finally:
        with screen.watched():
            screen.live.end()
            wait_for(lambda: screen.state("player").get("stream_picture") != "none", 30, 0.2)
            screen.live.restart()
            screen.moves(60)


def test_several_holding_pictures(screen: Screen, tmp_path: Path) -> None:
    """They alternate without a black moment."""
    colours = {"red": (200, 20, 20), "white": (230, 230, 230)}
    for name, colour in colours.items():
        screen.machine.copy_in(painted(tmp_path / f"{name}.png", colour), f"{OWN_PICTURES}/{name}.png")
    with screen.watched():
        screen.configure({"screen": {"holding": [f"{OWN_PICTURES}/{name}.png" for name in colours], "slideshow_seconds": 2.0}})
        for name in ("error", "other", "error", "other"):
            screen.shows(name, within=15)
        screen.goes_live()


def test_the_holding_picture_can_be_a_video(screen: Screen) -> None:
    """Shown in a loop."""
    screen.machine.copy_in(clip(SD), f"{OWN_PICTURES}/loop.ts")
    screen.configure({"screen": {"holding": f"{OWN_PICTURES}/loop.ts"}})
    wait_for(lambda: (corner := screen.tv.pixel(screen.tv.width - 20, 5))[2] > 150 and corner[0] < 40, 20)
    first = screen.tv.checksum()
    wait_for(lambda: screen.tv.checksum() != first, 20)
    with screen.watched():
        screen.goes_live()
        screen.vimeo.go_off()
        screen.shows("holding")


def painted(path: Path, colour: Colour) -> Path:
    """A picture of one colour, on the host."""
    Image.new("RGB", (640, 360), colour).save(path)
    return path


def test_the_units_did_not_restart_for_any_of_this(screen: Screen) -> None:
    """The same player did all of the above."""
    assert screen.machine.unit_property(PLAYER, "NRestarts") == "0"
    assert screen.machine.failed_units() == ""
