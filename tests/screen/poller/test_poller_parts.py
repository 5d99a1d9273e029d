"""The poller's parts by themselves: threads with a deadline, and what answers make of what is known."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from livekeep.core.config import Stream
from livekeep.core.state import PollerState, Requests
from livekeep.screen.poller import transitions
from livekeep.screen.poller.background_request import BackgroundRequest
from livekeep.screen.poller.token_and_schedule import read_token
from livekeep.screen.poller.vimeo import Answer
from livekeep.system.http import Client
from livekeep.system.vimeo import Limits
from tests.outside import PATIENCE_SECONDS, wait_until

NOW = 1_800_000_000.0
OUTAGE = Answer("outage", "timeout", "outage", "Vimeo's API cannot be reached: no answer within 5 s", "sudo livekeep doctor")
LIVE = Answer("live", "2xx", url="https://a.example/x.m3u8")
OFFLINE = Answer("offline", "4xx", reason="The event is not live")
REFUSED = Answer("refused", "4xx", "refused", "no", "mend it")
LIMITED = Answer("rate-limited", "429", "rate-limited", "wait", "", limits=Limits(250, 0, NOW + 30))


EVENT = Stream(vimeo_event="12345")


def test_a_source_tells_nothing_without_the_key_of_the_machine() -> None:
    camera = Stream(url="rtsp://admin:1234@camera.example/1")
    assert transitions.source_of(camera, b"this") != transitions.source_of(camera, b"that")
    assert transitions.source_of(camera, b"this") == transitions.source_of(Stream(url=camera.url), b"this")
    others = (EVENT, Stream(vimeo_video="12345"), Stream(url="12345"), Stream(url="rtsp://admin:1235@camera.example/1"), camera)
    assert len({transitions.source_of(stream, b"this") for stream in others}) == 5
    assert transitions.source_of(Stream(), b"this") == ""


def after(known: PollerState, *answers: Answer, failures: int = 3) -> PollerState:
    for step, answer in enumerate(answers):
        known = transitions.judged(known, answer, failures, NOW + step)
    return known


def test_a_changed_zone_is_taken_without_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    known = PollerState(state="offline", next_start=NOW)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert transitions.status_line(known) == "offline; next start Fri 08:00"
    monkeypatch.setenv("TZ", "America/New_York")
    assert transitions.status_line(known) == "offline; next start Fri 03:00"
    assert transitions.status_line(replace(known, next_start=1e300)) == "offline; next start at an unknown time"
    assert transitions.status_line(after(PollerState(), REFUSED)) == "error: no"
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("first", [LIVE, OFFLINE, REFUSED, Answer("starting", "5xx", reason="soon")])
def test_what_is_known_stands_through_a_short_outage_and_any_rate_limit(first: Answer) -> None:
    known = after(PollerState(), first)
    for trouble in ((OUTAGE,), (OUTAGE, OUTAGE), (LIMITED,), (LIMITED,) * 50, (OUTAGE, LIMITED, OUTAGE, LIMITED)):
        found = after(known, *trouble)
        assert (found.state, found.cause, found.reason, found.since) == (known.state, known.cause, known.reason, known.since)
    broken = after(known, OUTAGE, OUTAGE, OUTAGE)
    assert (broken.state, broken.cause, broken.consecutive_failures) == ("error", "outage", 3)
    assert after(broken, first).state == known.state


def test_what_is_known_of_a_stream_that_gave_no_answer() -> None:
    for answers, state, cause in (
        ((OUTAGE,), "unknown", "outage"),
        ((OUTAGE,) * 3, "error", "outage"),
        ((LIMITED,), "unknown", "rate-limited"),
    ):
        found = after(PollerState(), *answers)
        assert (found.state, found.cause) == (state, cause)


def test_waiting_never_hides_an_error() -> None:
    broken = after(PollerState(), REFUSED)
    assert transitions.waiting(broken, "standing-still", NOW) == broken


def test_a_good_answer_restarts_the_count() -> None:
    found = after(PollerState(), OFFLINE, OUTAGE, OUTAGE, OFFLINE, OUTAGE, OUTAGE)
    assert (found.state, found.consecutive_failures, found.last_success) == ("offline", 2, NOW + 3)


def test_on_air_since_survives_an_outage_and_a_stall_but_not_the_end() -> None:
    live = after(PollerState(), LIVE)
    assert after(live, OUTAGE, OUTAGE, OUTAGE, LIVE).live_since == live.live_since
    still = transitions.waiting(live, "standing-still", NOW + 5)
    assert (still.state, still.live_since, after(still, LIVE).live_since) == ("starting", live.live_since, live.live_since)
    assert after(live, OFFLINE, LIVE).live_since == NOW + 1
    assert after(live, REFUSED).live_since is None


def test_requests_are_counted_cumulatively() -> None:
    found = Requests()
    for seconds, outcome in ((0.01, "2xx"), (0.3, "2xx"), (99.0, "timeout")):
        found = transitions.counted(found, outcome, seconds)
    assert (found.by_outcome["2xx"], found.by_outcome["timeout"], found.duration_count) == (2, 1, 3)
    assert found.duration_buckets == (1, 1, 1, 2, 2, 2, 2, 2)
    assert found.duration_sum_seconds == pytest.approx(99.31)


@pytest.mark.parametrize(
    ("content", "token", "problem"),
    [
        (b" abc123\n", "abc123", ""),
        ('\ufeff"abc123"\r\n'.encode(), "abc123", ""),
        (b"\n \n", "", ""),
        (b"a b", "", "more than a token"),
        (b"a\x1bb", "", "more than a token"),
        (b"\xff\xfe", "", "is not text"),
    ],
)
def test_a_token_is_stripped_and_must_be_one_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, token: str, problem: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_token() == ("", ""), "there is none"
    (tmp_path / "livekeep.vimeo-token").write_bytes(content)
    assert read_token()[0] == token
    assert problem in read_token()[1]
    assert bool(read_token()[1]) == bool(problem)


def finished(request: BackgroundRequest[str]) -> tuple[str, float]:
    taken: list[tuple[str, float]] = []
    wait_until("the request's end", lambda: taken.append(found) if (found := request.take(time.monotonic())) else taken)
    return taken[0]


def test_a_request_that_hangs_is_left_behind_with_its_client() -> None:
    release, used = threading.Event(), []
    request: BackgroundRequest[str] = BackgroundRequest("test", Client, lambda: None)

    def hang(client: Client, _deadline: float) -> str:
        used.append(client)
        release.wait(PATIENCE_SECONDS)
        return "late"

    def end(client: Client, _deadline: float) -> str:
        used.append(client)
        return "done"

    before = time.monotonic()
    request.start(hang, "timed out", 0.05)
    result, began = finished(request)
    assert (result, before <= began <= time.monotonic()) == ("timed out", True)
    for _ in range(2):
        request.start(end, "timed out", PATIENCE_SECONDS)
        assert finished(request)[0] == "done"
    release.set()
    assert used[0] is not used[1]
    assert used[1] is used[2], "the connection is kept"
