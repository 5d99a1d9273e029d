"""The part of the Vimeo API 3.4 that shows whether a stream is live: the requests, and the meaning of the responses.

Only `classify` interprets responses: by HTTP status and error_code, never by the presence of a key alone. Parsing is
lenient: numbers come as text, documented fields are absent, error bodies can contain only `error`.
Source: developer.vimeo.com (m3u8_playback of live events and videos, /oauth/verify, guidelines on rate limits).
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from livekeep.core.config import Stream
from livekeep.core.state import Cause
from livekeep.system.http import Client, Response, TransportError, outcome_of
from livekeep.system.vimeo import ACCEPT, Limits, error_code, limits_of, parsed

NOT_STARTED = 10008
NOTHING_TO_STREAM = (4020, 4021)
AVAILABLE_SOON = 7900
EVENT_FIELDS = "uri,title,status,next_occurrence_time,schedule,time_zone,streamable_clip.live.scheduled_start_time"
VIDEO_FIELDS = "uri,name,live.status,live.scheduled_start_time"
SCOPE = "private"

DOCTOR = "sudo livekeep doctor"
LOGIN_STATUS = 511
"""Network Authentication Required (RFC 6585): the response of a captive portal."""
LOGIN = "does this network ask for a login?"
SET_TOKEN = "sudo livekeep set-token"  # noqa: S105 - a command
CHECK_STREAM = "correct the number in /etc/livekeep/livekeep.toml, then run: sudo systemctl reload livekeep-poller"

Verdict = Literal["live", "offline", "starting", "refused", "rate-limited", "outage"]


@dataclass(frozen=True)
class Answer:
    """The result of one request to the API, or of one check of a plain URL, about the stream.

    `outcome` is one of core.state.REQUEST_OUTCOMES. `cause`, `reason` and `advice` are those of `core.state.PollerState`.
    """

    verdict: Verdict
    outcome: str
    cause: Cause = ""
    reason: str = ""
    advice: str = ""
    url: str = field(default="", repr=False)
    limits: Limits = Limits()
    status: int | None = None


def ask_path(stream: Stream) -> str:
    """The path of the request for the playlist's URL."""
    if stream.vimeo_event:
        return f"/me/live_events/{stream.vimeo_event}/m3u8_playback"
    return f"/me/videos/{stream.vimeo_video}/m3u8_playback"


def details_path(stream: Stream) -> str:
    """The path of the request for the schedule."""
    if stream.vimeo_event:
        return f"/me/live_events/{stream.vimeo_event}?fields={EVENT_FIELDS}"
    return f"/videos/{stream.vimeo_video}?fields={VIDEO_FIELDS}"


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """The meaning of a response of m3u8_playback. `headers` have lowercase names."""
    document = parsed(body)
    code = error_code(document)
    answer = judged(status, code, document)
    return replace(answer, limits=limits_of(headers), status=status)


def judged(status: int, code: int | None, document: Any) -> Answer:  # noqa: PLR0911 - the table, a row each
    outcome = outcome_of(status)
    if status == 200:
        return with_url(document)
    if status == 429:
        reason = "Vimeo asks us to wait: too many requests with this token"
        return Answer("rate-limited", outcome, "rate-limited", reason, DOCTOR)
    if (status == 400 and code == NOT_STARTED) or (status == 500 and code in NOTHING_TO_STREAM):
        return Answer("offline", outcome, reason="The event is not live")
    if status == 503 and code == AVAILABLE_SOON:
        return Answer("starting", outcome, reason="Vimeo says that the stream will be available soon")
    if 400 <= status < 500 and status != 408:
        return refusal(status, code)
    if status >= 400:
        return outage(outcome, f"HTTP {status}; {LOGIN}" if status == LOGIN_STATUS else f"it has a fault (HTTP {status})")
    return outage("invalid" if status < 300 else outcome, f"it answers HTTP {status}, which it should not")


def with_url(document: Any) -> Answer:
    """A 200: live only with a URL that is safe for a player."""
    url = document.get("m3u8_playback_url") if isinstance(document, dict) else None
    if document is None:
        return outage("invalid", f"its answer is not JSON; {LOGIN}")
    if not isinstance(url, str) or not url:
        return outage("invalid", "its answer holds no stream URL")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        good = False
    if not good:
        return outage("invalid", "the stream URL in its answer is no web address, so it is not handed on")
    return Answer("live", "2xx", url=url)


def refusal(status: int, code: int | None) -> Answer:
    """A 4xx that only a person can fix."""
    number = f"HTTP {status}" + (f", code {code}" if code is not None else "")
    outcome = outcome_of(status)
    if status == 401 and code == 3200:
        return Answer("refused", outcome, "refused", f"The Vimeo token may not see this event ({number})", SET_TOKEN)
    if status == 401:
        return Answer("refused", outcome, "refused", f"Vimeo does not accept the token ({number})", SET_TOKEN)
    if status == 403:
        reason = (
            f"Vimeo does not hand out this stream: the token lacks the scope {SCOPE}, or the plan does not allow it ({number})"
        )
        return Answer("refused", outcome, "refused", reason, SET_TOKEN)
    if status == 404:
        return Answer("refused", outcome, "refused", f"Vimeo knows no such event: check its number ({number})", CHECK_STREAM)
    return Answer(
        "refused", outcome, "bad-config", f"Vimeo does not accept the question for this stream ({number})", CHECK_STREAM
    )


def outage(outcome: str, text: str) -> Answer:
    """The API is not usable now; `text` ends the sentence."""
    return Answer("outage", outcome, "outage", f"Vimeo's API cannot be reached: {text}", DOCTOR)


def expiry_of(url: str) -> float | None:
    """When a signed URL expires, Unix seconds, if its signature shows it (`exp=`, `expires=`)."""
    match = re.search(r"\b(?:exp|expires|e)=([0-9]{10})\b", url)
    return float(match[1]) if match else None


def scope_problem(status: int, document: Any) -> tuple[str, str] | None:
    """The token's fault according to /oauth/verify: a sentence, and its scopes. None if it is valid or unknown."""
    if status == 401:
        return "Vimeo does not accept the token", ""
    scope = document.get("scope") if isinstance(document, dict) else None
    if status != 200 or not isinstance(scope, str) or SCOPE in scope.split():
        return None
    scopes = scope if re.fullmatch(r"[a-z_ ]{1,200}", scope) else "none that is known"
    return f"The Vimeo token lacks the scope {SCOPE}: make one with it at developer.vimeo.com/apps", scopes


class Api:
    """Sends requests to the API; each call is one bounded request, made in a thread."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base = base_url.rstrip("/")
        self._secret = {"Authorization": f"bearer {token}"}

    def get(self, client: Client, path: str, deadline: float) -> Response:
        """Raises `TransportError`. `deadline` is in monotonic seconds."""
        return client.get(self._base + path, deadline, {"Accept": ACCEPT}, self._secret)

    def ask(self, client: Client, stream: Stream, deadline: float) -> Answer:
        """Whether the stream is live, and its URL; every fault is an answer too."""
        try:
            response = self.get(client, ask_path(stream), deadline)
            answer = classify(response.status, response.headers, response.body)
            if stream.vimeo_video and answer.status == 404:
                return self._missing_video(client, stream, deadline, answer)
        except TransportError as error:
            return outage(error.outcome, str(error))
        return answer

    def _missing_video(self, client: Client, stream: Stream, deadline: float, answer: Answer) -> Answer:
        """A video has no code for "not started": if it exists without a playlist, it is off air, not wrong."""
        response = self.get(client, details_path(stream), deadline)
        if response.status == 200 and isinstance(parsed(response.body), dict):
            limits = limits_of(response.headers)
            return Answer("offline", answer.outcome, reason="The event is not live", limits=limits, status=404)
        details = classify(response.status, response.headers, response.body)
        return details if details.verdict in ("outage", "rate-limited") else answer


@dataclass(frozen=True)
class Exchange:
    """A request's result for the counters: a member of core.state.REQUEST_OUTCOMES, and its seconds."""

    outcome: str
    seconds: float


@dataclass(frozen=True)
class DocumentResponse:
    """The response to an additional request: the status (0 without a response) and the JSON document."""

    exchange: Exchange
    status: int = 0
    document: Any = field(default=None, repr=False)


def fetch_document(api: Api, client: Client, path: str, deadline: float) -> DocumentResponse:
    """GET a JSON document; a fault gives a `DocumentResponse` without one."""
    began = time.monotonic()
    try:
        response = api.get(client, path, deadline)
    except TransportError as error:
        return DocumentResponse(Exchange(error.outcome, time.monotonic() - began))
    exchange = Exchange(outcome_of(response.status), time.monotonic() - began)
    return DocumentResponse(exchange, response.status, parsed(response.body))
