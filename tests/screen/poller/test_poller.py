"""livekeep-poller as a process: what it makes of the API's answers, of its configuration and of signals."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from livekeep.core import state
from livekeep.core.state import OpenStream
from tests.outside import wait_until
from tests.screen.poller.running_poller import SIGNATURE, STREAM, TOKEN, RunningPoller, Vimeo, settings_for
from tests.web import Reply, Web, error, http, playlist


@pytest.fixture
def vimeo() -> Iterator[Vimeo]:
    with Vimeo() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPoller]:
    with RunningPoller(tmp_path_factory.mktemp("idle"), "") as poller:
        yield poller


def test_on_air_and_off_air(tmp_path: Path, vimeo: Vimeo) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo)) as poller:
        first = poller.until_state("offline")
        assert (first.selected, first.kind, first.consecutive_failures, first.cause) == ("main", "vimeo-event", 0, "")
        assert poller.url() is None
        vimeo.go_live()
        poller.reload()
        live = poller.until_state("live")
        url = poller.url()
        assert url is not None
        obtained = url.obtained_monotonic
        assert url.url.startswith(f"{vimeo.stream_url}?{SIGNATURE}=")
        assert live.url_expires == 1999999999
        assert live.live_since
        later = poller.until(lambda found: found.url_obtained_monotonic and found.url_obtained_monotonic > obtained)
        assert (later.since, later.live_since) == (live.since, live.live_since)
        vimeo.answers(error(400, 10008))
        poller.reload()
        off = poller.until_state("offline")
        assert (off.live_since, off.url_obtained_monotonic, poller.url()) == (None, None, None)
        assert off.requests.duration_count == sum(off.requests.by_outcome.values()) > 3
        assert off.requests.by_outcome["4xx"] >= 2
        wait_until("both reloads", lambda: poller.told.count("READY=1") == 3)
        poller.stop()
        assert [line for line in poller.told if line in ("READY=1", "STOPPING=1")] == ["READY=1"] * 3 + ["STOPPING=1"]
        assert poller.told.count("WATCHDOG=1") > 2
        assert any(line.startswith("STATUS=live since ") for line in poller.told)
        # What livekeep-tv reads stays over a restart; systemd removes it when the unit stops.
        assert [path.name for path in (poller.root / "poller").iterdir()] == ["on_air.json"]
        assert not list((poller.root / "stream").iterdir())


def test_the_secret_is_for_few_and_nowhere_else(tmp_path: Path, vimeo: Vimeo) -> None:
    with RunningPoller(tmp_path, settings_for(vimeo)) as poller:
        vimeo.go_live()
        poller.until_state("live")
        poller.request_url("stall")
        poller.until(lambda found: found.state != "live")
        for reply in (error(401), http(302, Location=f"http://[x/?{SIGNATURE}"), error(500), http(200, f"{{{SIGNATURE}")):
            vimeo.answers(reply)
            asked = vimeo.asks()
            poller.reload()
            poller.until(lambda _, asked=asked: vimeo.asks() > asked)  # type: ignore[misc]
        vimeo.go_live()
        poller.request_url("start")
        poller.until_state("live")
        told = poller.everything_told()
        assert "polled: live" in told
        assert TOKEN not in told
        assert SIGNATURE not in told
        assert (poller.root / "stream/stream.json").stat().st_mode & 0o007 == 0
        assert (poller.root / "poller/state.json").stat().st_mode & 0o007 == 0


def test_every_fault_is_survived_and_forgotten(tmp_path: Path, vimeo: Vimeo) -> None:
    deep = b'{"m3u8_playback_url": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    faults: list[Reply] = [
        error(500), http(200, "<html>"), http(200, deep), http(200, {"m3u8_playback_url": "file:///etc/passwd"}), None,
        vimeo.web.hang, vimeo.web.drip, http(302, Location="/me/m3u8_playback"), b"garbage\r\n\r\n", http(200, b" " * 3_000_000),
    ]  # fmt: skip
    with RunningPoller(tmp_path, settings_for(vimeo, "interval_seconds = 60\ntimeout_seconds = 0.5")) as poller:
        poller.until_state("offline")
        descriptors = poller.descriptors()
        for fault in faults:
            vimeo.answers(fault)
            poller.reload()
            found = poller.until(lambda found: found.consecutive_failures > 0)
            assert found.state == "offline"
            vimeo.answers(error(400, 10008))
            poller.reload()
            poller.until(lambda found: found.consecutive_failures == 0)
        wait_until("no descriptor more", lambda: poller.descriptors() <= descriptors + 2)
        outcomes = poller.until(lambda found: True).requests.by_outcome
        assert all(outcomes[name] for name in ("4xx", "5xx", "timeout", "invalid", "connect", "3xx"))


def test_a_hanging_api_hinders_neither_the_watchdog_nor_the_end(tmp_path: Path, vimeo: Vimeo) -> None:
    vimeo.answers(vimeo.web.hang)
    with RunningPoller(tmp_path, settings_for(vimeo, "timeout_seconds = 30")) as poller:
        # Sooner than the request is given up.
        wait_until("the watchdog is fed again", lambda: poller.told.count("WATCHDOG=1") >= 2)
        assert poller.process.poll() is None
        began = time.monotonic()
        poller.stop()
        assert time.monotonic() - began < 15


def test_the_next_start_is_told_and_asked_for_more_often(tmp_path: Path, vimeo: Vimeo) -> None:
    start = int(time.time()) + 200
    vimeo.details = http(200, {"next_occurrence_time": datetime.fromtimestamp(start, UTC).isoformat()})
    with RunningPoller(tmp_path, settings_for(vimeo, "interval_seconds = 60\nnear_start_interval_seconds = 1")) as poller:
        found = poller.until(lambda found: found.next_start)
        assert found.next_start == start
        poller.until(lambda _: any("offline; next start" in line for line in poller.told))
        poller.until(lambda _: vimeo.asks() >= 3)
        vimeo.go_live()
        assert poller.until_state("live").next_start is None


def test_a_corrected_number_is_another_source_and_another_name_is_not(tmp_path: Path, vimeo: Vimeo) -> None:
    vimeo.go_live()
    with RunningPoller(tmp_path, settings_for(vimeo)) as poller:
        first = poller.until_state("live").source
        poller.configure(settings_for(vimeo, stream=STREAM.replace("12345", "12346")))
        poller.reload()
        corrected = poller.until(lambda found: found.source != first and found.state == "live")
        url = poller.url()
        assert url
        assert url.source == corrected.source, "the URL carries what it is of"
        poller.configure(settings_for(vimeo, stream='[stream]\nselected = "sunday"\n[streams.sunday]\nvimeo_event = "12345"\n'))
        poller.reload()
        assert poller.until(lambda found: found.selected == "sunday" and found.state == "live").source == first
    with RunningPoller(tmp_path / "again", settings_for(vimeo)) as poller:
        assert poller.until_state("live").source == first, "the same after a restart"


def test_another_stream_is_told_of_at_its_first_answer_whatever_that_is(tmp_path: Path, vimeo: Vimeo) -> None:
    """The player keeps the stream that it has until then, and must learn that another one is meant."""
    vimeo.go_live()
    with RunningPoller(tmp_path, settings_for(vimeo)) as poller:
        first = poller.until_state("live")
        vimeo.answers(error(503))
        poller.configure(settings_for(vimeo, stream=STREAM.replace("12345", "12346")))
        poller.reload()
        found = poller.until(lambda found: found.source != first.source)
        assert (found.selected, found.state, found.cause, found.live_since) == ("main", "unknown", "outage", None)
        assert poller.url() is None


def test_a_plain_address_needs_no_token(tmp_path: Path, vimeo: Vimeo) -> None:
    with Web(lambda request: http(200, playlist(1, 3))) as web:
        stream = f'[streams.main]\nurl = "{web.url}/live.m3u8?key={SIGNATURE}"\n'
        with RunningPoller(tmp_path, settings_for(vimeo, stream=stream), token=None) as poller:
            assert poller.until_state("live").kind == "url"
            web.answer = lambda request: http(404)
            poller.reload()
            assert "not open" in poller.until_state("offline", "not-open").reason
            web.answer = lambda request: http(200, playlist(1, 3, ended=True))
            poller.reload()
            poller.until_state("offline", "ended")
            web.answer = lambda request: http(403)
            poller.reload()
            poller.until_state("error", "refused")
            assert SIGNATURE not in poller.everything_told()
        assert "authorization" not in web.requests[0].headers
    assert not vimeo.web.requests


def test_a_plain_address_that_is_shown_stays_on_whatever_its_playlist_says(tmp_path: Path, vimeo: Vimeo) -> None:
    with Web(lambda request: http(200, playlist(1, 3))) as web:
        stream = f'[streams.main]\nurl = "{web.url}/live.m3u8"\n'
        with RunningPoller(tmp_path, settings_for(vimeo, stream=stream), token=None) as poller:
            poller.until_state("live")
            poller.show("stream")
            seen = len(web.requests)
            wait_until("a poll that knows of it", lambda: len(web.requests) > seen + 1)
            for reply in (http(404), http(200, playlist(1, 3, ended=True))):
                web.answer = lambda request, reply=reply: reply
                two_more = len(web.requests) + 2
                wait_until("two more looks", lambda two_more=two_more: len(web.requests) >= two_more)
                assert poller.until(lambda found: found).state == "live"
            # Another stream's picture says nothing of this one.
            state.write(state.stamped(OpenStream(source="another")), poller.root)
            poller.until_state("offline", "ended")
            web.answer = lambda request: http(200, playlist(1, 3))
            poller.until_state("live")
            poller.show("stream")
            web.answer = lambda request: http(200, playlist(1, 3, ended=True))
            # The player reports its end: now the playlist counts.
            poller.request_url("end")
            poller.until_state("offline", "ended")


def test_without_a_stream_it_waits_and_shows_that_it_lives(idle: RunningPoller) -> None:
    """The last test of this file: the poller ran beside the others."""
    found = idle.until_state("unknown", "no-stream")
    assert "vimeo_event" in found.advice
    started = idle.began_monotonic
    assert idle.until(lambda later: later.written_monotonic > started + 10)
    assert found.since < time.time() - 9
