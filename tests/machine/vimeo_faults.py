"""The faults of the Vimeo stand-in: documented refusals, and what networks and proxies do to a response.

"500" and "503" are outages without a known error code (a 503 with 7900 means "starting" and is no fault); "429" gives the end of
its window in X-RateLimit-Reset.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.machine.standin import Handler

ERROR_TYPE = "application/vnd.vimeo.error+json"
INVALID_TOKEN = "You must provide a valid authenticated access token."
BIG_BYTES = 1 << 30
DRIP_SECONDS = 1.0
DEPTH = 200_000

HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"

# Bodies of a 200 in place of the documented one.
ODD_BODIES: dict[str, bytes] = {
    "no_url": b"{}",
    "wrong_type": b'{"m3u8_playback_url": {"hls": 17}}',
    "null_url": b'{"m3u8_playback_url": null}',
    "not_an_object": b'["m3u8_playback_url"]',
    "bad_url_scheme": b'{"m3u8_playback_url": "file:///etc/passwd"}',
    "deep_json": b'{"m3u8_playback_url": ' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    "garbage": b'{"m3u8_playback_url": "' + bytes(range(128, 256)) * 4,
    "empty": b"",
}

# Name: (status, error_code, developer_message).
REFUSALS: dict[str, tuple[int, int, str]] = {
    "403": (403, 3200, "The authenticated user can't access the M3U8 playback URL."),
    "404": (404, 5000, "The specified resource does not exist."),
    "4020": (500, 4020, "No streamable video was found."),
    "4021": (500, 4021, "No video was found."),
    "2204": (400, 2204, "The parameters passed to this API endpoint did not pass Vimeo's validation."),
}

# Of proxies and guest networks: status and title.
PAGES = {
    "html502": (502, "502 Bad Gateway"),
    "503": (503, "503 Service Unavailable"),
    "html200": (200, "Please log in to the guest network"),
}

NAMES = {*ODD_BODIES, *REFUSALS, *PAGES} | {
    "hang", "reset", "500", "429", "401", "big", "redirect_loop", "slow_drip",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """One response; an empty media type is the API's ordinary one."""

    status: int
    body: dict[str, Any]
    media_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def error_body(code: int, developer_message: str) -> dict[str, Any]:
    """The documented shape of an error."""
    text = "Something strange occurred. Please contact the app owners."
    return {"error": text, "link": None, "developer_message": developer_message, "error_code": code}


def refusal(status: int, code: int, developer_message: str) -> Answer:
    """A documented error."""
    return Answer(status, error_body(code, developer_message), ERROR_TYPE)


def documented(name: str) -> Answer:
    """One of REFUSALS, with its additional fields."""
    answer = refusal(*REFUSALS[name])
    if name == "2204":
        wrong = {"field": "ttl", "error": "Invalid value", "developer_message": "Out of range", "error_code": 2204}
        answer.body["invalid_parameters"] = [wrong]
    return answer


def rate_headers(limit: int, remaining: int, reset: float) -> dict[str, str]:
    """The X-RateLimit headers; `reset` in seconds since the epoch becomes ISO 8601."""
    moment = datetime.fromtimestamp(reset, UTC).isoformat(timespec="seconds")
    return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": moment}


def misbehave(handler: Handler, fault: str, still: Callable[[], bool], seconds: float) -> None:
    """Respond to one request with a fault of NAMES."""
    if fault in ODD_BODIES:
        handler.answer(200, ODD_BODIES[fault], "application/json")
    elif fault in REFUSALS:
        _send(handler, documented(fault))
    elif fault in PAGES:
        handler.answer(PAGES[fault][0], HTML.format(PAGES[fault][1]).encode(), "text/html; charset=utf-8")
    elif fault == "hang":
        handler.hang(still)
    elif fault == "reset":
        handler.reset()
    elif fault == "redirect_loop":
        handler.answer(302, b"", "text/html", {"Location": handler.path})
    elif fault in ("big", "slow_drip"):
        _endless(handler, still, is_slow=fault == "slow_drip")
    elif fault == "429":
        headers = rate_headers(2500, 0, time.time() + seconds)
        _send(handler, Answer(429, error_body(9000, "Too many API requests."), ERROR_TYPE, headers))
    elif fault == "401":
        _send(handler, Answer(401, {"error": INVALID_TOKEN}, ERROR_TYPE))
    else:
        _send(handler, Answer(500, {"error": "An internal error occurred."}, ERROR_TYPE))


def _send(handler: Handler, answer: Answer) -> None:
    handler.answer(answer.status, json.dumps(answer.body).encode(), answer.media_type, answer.headers)


def _endless(handler: Handler, still: Callable[[], bool], is_slow: bool) -> None:
    """A gigabyte of one string, as fast as the client reads; or one byte at a time, so that no single read ever times out."""
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(BIG_BYTES))
    handler.end_headers()
    block = b" " if is_slow else b"a" * (1 << 20)
    handler.wfile.write(b" " if is_slow else b'{"m3u8_playback_url": "http://')
    for _ in range(BIG_BYTES // len(block)):
        if not still():
            return
        handler.wfile.write(block)
        time.sleep(DRIP_SECONDS if is_slow else 0)
