"""The player's URL request: a fresh URL at once, and after a stall one only when the stream goes on."""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from livekeep.screen.poller.recovery import FRESH_SECONDS
from tests.outside import wait_until
from tests.screen.poller.running_poller import RunningPoller, Vimeo, settings_for, unchanged
from tests.web import MASTER, Reply, Request, Web, error, http, playlist

SLOW = "interval_seconds = 60"


class Stream:
    """An HLS stream with a master playlist, that goes on only when the test says so."""

    def __init__(self) -> None:
        self.web = Web(self._answer)
        self.media: Reply = http(200, playlist(10, 4))
        self.url = f"{self.web.url}/master.m3u8"
        self.oldest_signature = 0

    def _answer(self, request: Request) -> Reply:
        signature = re.search(r"=([0-9]+)&exp=", request.path)
        if signature and int(signature[1]) < self.oldest_signature:
            return http(403)
        return http(200, MASTER) if request.path.startswith("/master") else self.media


@pytest.fixture
def stream() -> Iterator[Stream]:
    running = Stream()
    yield running
    running.web.close()


@pytest.fixture
def vimeo(stream: Stream) -> Iterator[Vimeo]:
    with Vimeo() as running:
        running.go_live(stream.url)
        yield running


@dataclass(frozen=True)
class Standing:
    """A poller that waits for its stream to go on, beside the other tests."""

    poller: RunningPoller
    vimeo: Vimeo
    stream: Stream
    since_monotonic: float
    """No URL was obtained after that."""

    def until_its_url_is_old(self) -> None:
        time.sleep(max(0.0, self.since_monotonic + FRESH_SECONDS + 1 - time.monotonic()))


@contextlib.contextmanager
def standing_still(folder: Path) -> Iterator[Standing]:
    stream = Stream()
    with Vimeo() as vimeo:
        vimeo.go_live(stream.url)
        with RunningPoller(folder, settings_for(vimeo, SLOW)) as poller:
            poller.until_state("live")
            poller.request_url("end")
            poller.until_state("starting", "standing-still")
            yield Standing(poller, vimeo, stream, time.monotonic())
    stream.web.close()


@pytest.fixture(scope="module", autouse=True)
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing_still(tmp_path_factory.mktemp("standing")) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def another_standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing_still(tmp_path_factory.mktemp("standing")) as running:
        yield running


def test_a_start_gets_a_fresh_url_at_once_and_only_one(tmp_path: Path, vimeo: Vimeo, stream: Stream) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo, SLOW)) as poller:
        poller.until_state("live")
        time.sleep(1.0)
        asked = poller.request_url("start")
        found = poller.until(lambda found: (found.url_obtained_monotonic or 0) > asked)
        url = poller.url()
        assert found.state == "live"
        assert url is not None
        assert url.obtained_monotonic == found.url_obtained_monotonic
        unchanged(lambda: vimeo.asks() == 2, 1.2)
        # Each start begins with one look whether the event has ended.
        assert [request.path.partition("?")[0] for request in stream.web.requests] == ["/master.m3u8", "/low/index.m3u8"] * 2


def test_url_requests_keep_a_second_between_polls(tmp_path: Path, vimeo: Vimeo) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo, SLOW)) as poller:
        poller.until_state("live")

        def four_after_a_request() -> bool:
            poller.request_url("start")
            return vimeo.asks() >= 4

        began = time.monotonic()
        poller.until(lambda _: four_after_a_request())
        assert time.monotonic() - began >= 2


def test_after_a_stall_it_waits_for_growth(tmp_path: Path, vimeo: Vimeo, stream: Stream) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo, SLOW)) as poller:
        live = poller.until_state("live")
        asked = poller.request_url("stall")
        waiting = poller.until_state("starting", "standing-still")
        assert waiting.reason == "The stream stands still; waiting for it to continue"
        assert poller.url() is None
        unchanged(lambda: (found := poller.state()) and found.state == "starting", 1.2)
        stream.media = http(200, playlist(11, 4))
        again = poller.until_state("live", "")
        assert again.url_obtained_monotonic is not None
        assert again.url_obtained_monotonic > asked
        assert again.live_since == live.live_since
        assert poller.url() is not None
        looks = len(stream.web.requests)
        unchanged(lambda: len(stream.web.requests) == looks, 1.2)


def test_a_stream_that_is_gone_while_the_api_says_live(tmp_path: Path, vimeo: Vimeo, stream: Stream) -> None:
    ended = http(200, playlist(10, 4, ended=True))
    with RunningPoller(tmp_path, settings_for(vimeo, SLOW)) as poller:
        poller.until_state("live")
        stream.media = http(404)
        poller.request_url("end")
        turns: tuple[tuple[Reply, str], ...] = ((http(404), "not-open"), (ended, "ended"), (None, "not-open"), (ended, "ended"))
        for media, cause in turns:
            stream.media = media
            assert poller.until_state("starting", cause).reason
        stream.media = http(200, playlist(20, 4))
        poller.until_state("live", "")


def test_an_event_that_is_over_is_not_started_though_the_api_says_live(tmp_path: Path, vimeo: Vimeo, stream: Stream) -> None:
    stream.media = http(200, playlist(0, 400, ended=True))
    with RunningPoller(tmp_path, settings_for(vimeo)) as poller:
        ended = poller.until_state("offline", "ended")
        assert ended.reason == "The stream has ended according to its playlist"
        assert poller.url() is None
        # The display was restarted: its player requests a fresh URL.
        poller.request_url("start")
        asks = vimeo.asks()
        unchanged(lambda: (found := poller.state()) and (found.state, found.cause) == ("offline", "ended"), 2.5)
        wait_until("polls since then", lambda: vimeo.asks() > asks + 1)
        assert (poller.until(lambda found: found).state, poller.url()) == ("offline", None)
        stream.media = http(200, playlist(0, 3))
        poller.until_state("live")


def test_an_event_that_ended_while_it_was_shown_stays_ended_after_a_restart_of_the_display(
    tmp_path: Path, vimeo: Vimeo, stream: Stream
) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo)) as poller:
        poller.until_state("live")
        poller.show("stream")
        asks = vimeo.asks()
        wait_until("a poll that knows of it", lambda: vimeo.asks() > asks + 1)
        stream.media = http(200, playlist(0, 4, ended=True))
        # mpv plays on to the end of what it has.
        unchanged(lambda: (found := poller.state()) and found.state == "live", 2.5)
        poller.request_url("end")
        poller.until_state("starting", "ended")
        poller.request_url("start")
        poller.until_state("offline", "ended")


def test_a_playlist_that_cannot_be_judged_is_left_to_the_player(tmp_path: Path, vimeo: Vimeo, stream: Stream) -> None:
    """A server that lets the player in and not us, such as one that asks for something we don't know of."""
    with RunningPoller(tmp_path, settings_for(vimeo, SLOW)) as poller:
        poller.until_state("live")
        stream.media = http(403)
        asked = poller.request_url("stall")
        found = poller.until(lambda found: found.state == "live" and (found.url_obtained_monotonic or 0) > asked)
        assert poller.url() is not None
        assert found.cause == ""


def test_the_end_that_the_api_confirms_is_told_at_once(tmp_path: Path, vimeo: Vimeo, stream: Stream) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo, SLOW)) as poller:
        poller.until_state("live")
        time.sleep(1.0)
        vimeo.answers(error(400, 10008))
        looks = len(stream.web.requests)
        poller.request_url("end")
        poller.until_state("offline", "")
        assert len(stream.web.requests) == looks


def test_a_stall_while_the_api_is_out_ends_with_the_url_in_hand(tmp_path: Path, vimeo: Vimeo, stream: Stream) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo, SLOW)) as poller:
        poller.until_state("live")
        vimeo.answers(error(502))
        asked = poller.request_url("stall")
        poller.until_state("starting", "standing-still")
        stream.media = http(200, playlist(11, 4))
        found = poller.until_state("live", "")
        assert (found.url_obtained_monotonic or 0) > asked
        assert poller.url() is not None


def test_a_url_request_is_seen_though_the_player_came_later(tmp_path: Path, vimeo: Vimeo) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo, SLOW)) as poller:
        (poller.root / "player").rmdir()
        poller.until_state("live")
        time.sleep(1.0)
        (poller.root / "player").mkdir()
        time.sleep(0.2)
        asked = poller.request_url("start")
        poller.until(lambda found: (found.url_obtained_monotonic or 0) > asked)


def test_an_old_url_in_hand_is_replaced_before_it_is_handed_out(standing: Standing) -> None:
    """Near the end of this file: the stream stood still beside the others, with one URL in hand."""
    standing.until_its_url_is_old()
    asks = standing.vimeo.asks()
    standing.stream.media = http(200, playlist(12, 4))
    standing.poller.until_state("live", "")
    assert standing.vimeo.asks() == asks + 1


def test_a_signature_that_is_over_is_no_reason_to_start(another_standing: Standing) -> None:
    """The same, and its server lets the old URL in no more: a fresh one is asked for, and looked at."""
    poller, vimeo, stream = another_standing.poller, another_standing.vimeo, another_standing.stream
    another_standing.until_its_url_is_old()
    asks = vimeo.asks()
    stream.oldest_signature = asks + 1
    wait_until("a fresh URL is asked for", lambda: vimeo.asks() > asks)
    unchanged(lambda: (found := poller.state()) and found.state == "starting", 2.5)
    stream.media = http(200, playlist(11, 4))
    poller.until_state("live", "")
