"""What the API's answers mean, and what is asked."""

import json
import time
from typing import Any

import pytest

from livekeep.core.config import Stream
from livekeep.core.state import REQUEST_OUTCOMES
from livekeep.screen.poller import vimeo
from livekeep.screen.poller.vimeo import Answer, Api, classify
from livekeep.system.http import LARGEST_BODY_BYTES, Client
from tests.web import Web, error, http

TOKEN = "a-token-that-nobody-may-see"
EVENT = Stream(vimeo_event="12345")
VIDEO = Stream(vimeo_video="678")


def body(code: Any = None) -> bytes:
    return json.dumps({"error": "…", "link": None} | ({} if code is None else {"error_code": code})).encode()


URL = "https://live.example/1/playlist.m3u8?exp=1800000000~hmac=abc"
TABLE = [
    (200, json.dumps({"m3u8_playback_url": URL}).encode(), "live", "2xx", ""),
    (400, body(10008), "offline", "4xx", ""),
    (400, body("10008"), "offline", "4xx", ""),
    (500, body(4020), "offline", "5xx", ""),
    (503, body(7900), "starting", "5xx", ""),
    (400, body(2204), "refused", "4xx", "bad-config"),
    (400, body(), "refused", "4xx", "bad-config"),
    (401, body(8003), "refused", "4xx", "refused"),
    (401, b'{"error": "You must provide a valid authenticated access token."}', "refused", "4xx", "refused"),
    (401, body(3200), "refused", "4xx", "refused"),
    (403, body(3200), "refused", "4xx", "refused"),
    (404, body(5000), "refused", "4xx", "refused"),
    (429, body(9000), "rate-limited", "429", "rate-limited"),
    (500, body(), "outage", "5xx", "outage"),
    (500, body(7900), "outage", "5xx", "outage"),
    (503, body(4020), "outage", "5xx", "outage"),
    (502, b"<html>502</html>", "outage", "5xx", "outage"),
    (408, body(), "outage", "4xx", "outage"),
    (200, b"", "outage", "invalid", "outage"),
    (200, b"<html>log in</html>", "outage", "invalid", "outage"),
    (200, b"\xff\xfe", "outage", "invalid", "outage"),
    (200, b"[]", "outage", "invalid", "outage"),
    (200, b'{"m3u8_playback_url": null}', "outage", "invalid", "outage"),
    (200, b'{"m3u8_playback_url": {"hls": 17}}', "outage", "invalid", "outage"),
    (200, b'{"m3u8_playback_url": "file:///etc/passwd"}', "outage", "invalid", "outage"),
    (200, b'{"m3u8_playback_url": "https://"}', "outage", "invalid", "outage"),
    (200, b'{"m3u8_playback_url": "https://a b/"}', "outage", "invalid", "outage"),
    (200, b'{"m3u8_playback_url": "https://[1"}', "outage", "invalid", "outage"),
    (200, b'{"m3u8_playback_url": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "outage", "invalid", "outage"),
    (204, b"", "outage", "invalid", "outage"),
    (302, b"", "outage", "3xx", "outage"),
]


@pytest.mark.parametrize(("status", "raw", "verdict", "outcome", "cause"), TABLE)
def test_every_answer_has_its_meaning(status: int, raw: bytes, verdict: str, outcome: str, cause: str) -> None:
    answer = classify(status, {}, raw)
    assert (answer.verdict, answer.outcome, answer.cause) == (verdict, outcome, cause)
    assert answer.outcome in REQUEST_OUTCOMES
    assert bool(answer.reason) == (verdict != "live")
    assert answer.url == (URL if verdict == "live" else "")
    assert URL not in repr(answer)


def test_what_is_wrong_with_a_4xx_is_told_in_words_with_its_status() -> None:
    reasons = {status: classify(status, {}, body(3200)).reason for status in (401, 403, 404, 405)}
    assert all(f"HTTP {status}" in reason for status, reason in reasons.items())
    assert len(set(reasons.values())) == len(reasons)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-09-11T12:00:30+00:00", 1789128030.0),
        ("2026-09-11T12:00:30Z", 1789128030.0),
        ("2026-09-11T14:00:30+02:00", 1789128030.0),
        ("2026-09-11T12:00:30", 1789128030.0),
        ("1789128030", 1789128030.0),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_the_reset_is_read_in_both_forms(text: str | None, expected: float | None) -> None:
    headers = {"x-ratelimit-limit": "250", "x-ratelimit-remaining": "0"} | (
        {"x-ratelimit-reset": text} if text is not None else {}
    )
    limits = classify(429, headers, b"").limits
    assert (limits.limit, limits.remaining, limits.reset) == (250, 0, expected)


@pytest.mark.parametrize("odd", ["many", "1e9", "", "9" * 400])
def test_odd_limits_are_no_limits(odd: str) -> None:
    assert classify(200, {"x-ratelimit-remaining": odd}, b"{}").limits.remaining is None


def test_the_end_of_a_signed_url_is_found() -> None:
    assert vimeo.expiry_of("https://a.example/exp=1800000000~acl=%2F*~hmac=1/x.m3u8") == 1800000000
    assert vimeo.expiry_of("https://a.example/x.m3u8?expires=1800000000&s=1") == 1800000000
    assert vimeo.expiry_of("https://a.example/x.m3u8") is None


def test_a_token_without_the_scope_is_named() -> None:
    assert vimeo.scope_problem(200, {"scope": "private public"}) is None
    sentence, scopes = vimeo.scope_problem(200, {"scope": "public"}) or ("", "")
    assert "lacks the scope private" in sentence
    assert scopes == "public"
    assert vimeo.scope_problem(401, None) is not None
    assert vimeo.scope_problem(200, None) is None
    assert vimeo.scope_problem(500, {"scope": "public"}) is None


def ask(web: Web, stream: Stream = EVENT, seconds: float = 20.0, client: Client | None = None) -> Answer:
    return Api(web.url, TOKEN).ask(client or Client(), stream, time.monotonic() + seconds)


def test_a_question_has_the_documented_form_and_the_connection_is_kept() -> None:
    with Web(lambda request: error(400, 10008)) as web:
        client = Client()
        assert [ask(web, client=client).verdict for _ in range(3)] == ["offline"] * 3
        assert web.connections == 1
    request = web.requests[0]
    assert request.line == "GET /me/live_events/12345/m3u8_playback HTTP/1.1"
    assert request.headers["authorization"] == f"bearer {TOKEN}"
    assert request.headers["accept"] == "application/vnd.vimeo.*+json;version=3.4"
    assert request.headers["user-agent"].startswith("livekeep/")
    assert request.headers["host"] == f"127.0.0.1:{web.port}"


def answer_video(status: int, code: int, details: bytes) -> Any:
    return lambda request: details if "fields=" in request.path else error(status, code)


def test_a_video_without_a_playlist_is_off_air_when_it_exists() -> None:
    with Web(answer_video(404, 5000, http(200, {"uri": "/videos/678"}))) as web:
        assert ask(web, VIDEO).verdict == "offline"
        assert web.requests[0].path == "/me/videos/678/m3u8_playback"
    with Web(answer_video(404, 5000, error(404, 5000))) as web:
        assert ask(web, VIDEO).verdict == "refused"
    with Web(answer_video(404, 5000, error(502))) as web:
        assert ask(web, VIDEO).verdict == "outage"
    with Web(answer_video(403, 3200, http(200, {}))) as web:
        assert ask(web, VIDEO).verdict == "refused"


def test_every_fault_of_the_transport_is_an_outage() -> None:
    with Web(lambda request: web.hang) as web:
        answer = ask(web, seconds=0.3)
    assert (answer.verdict, answer.outcome, answer.reason) == (
        "outage", "timeout", "Vimeo's API cannot be reached: no answer within 0.3 s",
    )  # fmt: skip
    with Web(lambda request: http(200, b" " * LARGEST_BODY_BYTES + b'{"m3u8_playback_url": "http://a/"}')) as web:
        assert (ask(web).verdict, ask(web).outcome) == ("outage", "invalid")
    with Web(lambda request: http(200, b" " * (LARGEST_BODY_BYTES - 100) + b'{"m3u8_playback_url": "http://a/"}')) as web:
        assert ask(web).verdict == "live"
