"""YouTube's Data API v3 with an API key: one request, the meaning of an error, numbers and times in responses.

The key goes in a header and is in no text. No redirect is followed: it would forward the key.
Sources: https://developers.google.com/youtube/v3/docs and https://developers.google.com/youtube/v3/docs/errors
"""

import contextlib
import json
import re
from datetime import datetime
from typing import Any

from livekeep.core.errors import TemporaryError
from livekeep.system.http import Client, TransportError

VIDEOS_A_REQUEST = 50
ABSURD = "its response is not as documented"
STORE_KEY = "check the key in Google's Cloud console; sudo livekeep air set-youtube-key"
NETWORK = "sudo livekeep probe network"
SPARE = "longer interval_seconds of [probes.youtube] or [analyzer]; a day has 10000 units, and each request takes one of them"
REFUSALS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"quotaExceeded", "dailyLimitExceeded"}),
        "the API key's quota of today is used up",
        f"it is renewed at midnight, Pacific time; {SPARE}",
    ),
    (frozenset({"rateLimitExceeded", "userRateLimitExceeded"}), "there were too many requests at once", SPARE),
    (
        frozenset({"accessNotConfigured", "SERVICE_DISABLED"}),
        "the YouTube Data API v3 is not enabled for the API key's project",
        "enable it in Google's Cloud console",
    ),
    (
        frozenset({"ipRefererBlocked", "API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_SERVICE_BLOCKED"}),
        "the API key's restrictions exclude this machine",
        "change them in Google's Cloud console: by IP address, or to the YouTube Data API v3 alone",
    ),
)
"""By YouTube's reason: what is wrong, and what to do."""


class ApiError(TemporaryError):
    """The request failed. The text ends a sentence such as "YouTube cannot be asked: …"."""

    def __init__(self, text: str, advice: str = "", is_passing: bool = False) -> None:
        super().__init__(text)
        self.advice = advice
        self.is_passing = is_passing
        """Whether a retry may succeed: the network or the server failed."""


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def count(value: Any) -> int | None:
    """A number, which comes as text."""
    if value is None:
        return None
    if not re.fullmatch("[0-9]{1,15}", text(value)):
        raise ValueError("no count")
    return int(value)


def moment(value: Any) -> float | None:
    """Unix seconds of a time such as "2026-11-21T10:02:00Z"."""
    return None if value is None else datetime.fromisoformat(text(value)).timestamp()


def refusal(status: int, body: bytes) -> ApiError:
    """The meaning of a response whose status is not 200."""
    reasons = set()
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        error = json.loads(body)["error"]
        # Google's older form and its newer one.
        entries = [*error.get("errors", []), *error.get("details", [])]
        reasons = {reason for entry in entries if isinstance(reason := entry.get("reason"), str)}
    for known, said, advice in REFUSALS:
        if known & reasons:
            return ApiError(said, advice)
    if status == 429:
        return ApiError(REFUSALS[1][1], SPARE)
    if status in (400, 401, 403):
        return ApiError(f"it does not accept the API key (HTTP {status})", STORE_KEY)
    if status >= 500:
        return ApiError(f"it has a fault (HTTP {status})", is_passing=True)
    return ApiError(f"it responds with HTTP {status}")


def proxy_for(api_url: str, proxy: str) -> str:
    """The proxy for the request; none for a server on this machine, which a proxy cannot reach."""
    return proxy if api_url.lower().startswith("https:") else ""


def request(client: Client, url: str, key: str, deadline: float) -> Any:
    """The JSON document at `url` of the API, requested until `deadline` (monotonic seconds). Raises `ApiError`."""
    try:
        response = client.get(url, deadline, {"Accept": "application/json"}, {"X-Goog-Api-Key": key}, most_redirects=0)
    except TransportError as error:
        raise ApiError(str(error), NETWORK, is_passing=True) from error
    if response.status != 200:
        raise refusal(response.status, response.body)
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise ApiError(ABSURD) from error
