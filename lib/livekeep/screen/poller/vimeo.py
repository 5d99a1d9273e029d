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
from livekeep.system.hls import Media
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
    """Whether the stream is on air, from one request to the API or one check of its URL.

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
    media: Media | None = None
    """The stream's media playlist; None if it was not read, is not HLS or can't be judged."""
    seconds: float = 0.0
    """How long the request took."""


def details_path(stream: Stream) -> str:
    """The path of the request for the schedule."""
    if stream.vimeo_event:
        return f"/me/live_events/{stream.vimeo_event}?fields={EVENT_FIELDS}"
    return f"/videos/{stream.vimeo_video}?fields={VIDEO_FIELDS}"


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """The meaning of a response of m3u8_playback. `headers` have lowercase names."""
    document, outcome = parsed(body), outcome_of(status)
    code = error_code(document)
    if status == 200:
        answer = with_url(document)
    elif status == 429:
        reason = "Vimeo asks us to wait: too many requests with this token"
        answer = Answer("rate-limited", outcome, "rate-limited", reason, DOCTOR)
    elif (status == 400 and code == NOT_STARTED) or (status == 500 and code in NOTHING_TO_STREAM):
        answer = Answer("offline", outcome, reason="The event is not live")
    elif status == 503 and code == AVAILABLE_SOON:
        answer = Answer("starting", outcome, reason="Vimeo says that the stream will be available soon")
    elif 400 <= status < 500 and status != 408:
        answer = refusal(status, code)
    elif status >= 400:
        answer = outage(outcome, f"HTTP {status}; {LOGIN}" if status == LOGIN_STATUS else f"it has a fault (HTTP {status})")
    else:
        answer = outage("invalid" if status < 300 else outcome, f"it answers HTTP {status}, which is unexpected")
    return replace(answer, limits=limits_of(headers), status=status)


def with_url(document: Any) -> Answer:
    """A 200: live only with a URL that is safe for a player."""
    url = document.get("m3u8_playback_url") if isinstance(document, dict) else None
    if document is None:
        return outage("invalid", f"its response is not JSON; {LOGIN}")
    if not isinstance(url, str) or not url:
        return outage("invalid", "its response contains no stream URL")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        good = False
    if not good:
        return outage("invalid", "the stream URL in its response is not a web address")
    return Answer("live", "2xx", url=url)


def refusal(status: int, code: int | None) -> Answer:
    """A 4xx that only a person can fix."""
    cause: Cause = "refused" if status in (401, 403, 404) else "bad-config"
    if status == 401:
        reason = "The Vimeo token may not see this event" if code == 3200 else "Vimeo does not accept the token"
    elif status == 403:
        reason = f"Vimeo does not provide this stream: the token lacks the scope {SCOPE}, or the plan does not allow it"
    elif status == 404:
        reason = "Vimeo has no such event: check its number"
    else:
        reason = "Vimeo rejects the request for this stream"
    number = f"HTTP {status}" + (f", code {code}" if code is not None else "")
    advice = SET_TOKEN if status in (401, 403) else CHECK_STREAM
    return Answer("refused", outcome_of(status), cause, f"{reason} ({number})", advice)


def outage(outcome: str, text: str, server: str = "Vimeo's API", status: int | None = None) -> Answer:
    """The server is not usable now; `text` ends the sentence."""
    return Answer("outage", outcome, "outage", f"{server} cannot be reached: {text}", DOCTOR, status=status)


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
        kind, number = ("live_events", stream.vimeo_event) if stream.vimeo_event else ("videos", stream.vimeo_video)
        try:
            response = self.get(client, f"/me/{kind}/{number}/m3u8_playback", deadline)
            answer = classify(response.status, response.headers, response.body)
            if not stream.vimeo_video or answer.status != 404:
                return answer
            # A video has no code for "not started": if it exists without a playlist, it is off air, not wrong.
            response = self.get(client, details_path(stream), deadline)
        except TransportError as error:
            return outage(error.outcome, str(error))
        if response.status == 200 and isinstance(parsed(response.body), dict):
            limits = limits_of(response.headers)
            return Answer("offline", answer.outcome, reason="The event is not live", limits=limits, status=404)
        details = classify(response.status, response.headers, response.body)
        return details if details.verdict in ("outage", "rate-limited") else answer


@dataclass(frozen=True)
class DocumentResponse:
    """The response to an additional request: `outcome` as in `Answer`, the status (0 without a response), the JSON document."""

    outcome: str
    seconds: float
    status: int = 0
    document: Any = field(default=None, repr=False)


def fetch_document(api: Api, client: Client, path: str, deadline: float) -> DocumentResponse:
    """GET a JSON document; a fault gives a `DocumentResponse` without one."""
    began = time.monotonic()
    try:
        response = api.get(client, path, deadline)
    except TransportError as error:
        return DocumentResponse(error.outcome, time.monotonic() - began)
    return DocumentResponse(outcome_of(response.status), time.monotonic() - began, response.status, parsed(response.body))
