"""YouTube's Data API, as far as an API key goes: what it tells the public of some videos, and why it tells nothing.

Part of livekeep-probe-youtube. The key goes in a header and stands in no text. How well the ingest receives the stream
(liveStreams) is told to the channel's owner alone, by OAuth, and is not asked.
Sources: https://developers.google.com/youtube/v3/docs/videos and https://developers.google.com/youtube/v3/docs/errors
"""

import contextlib
import http.client
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from livekeep.core.config import YoutubeProbe
from livekeep.core.errors import TemporaryError
from livekeep.core.findings import Showing, YoutubeVideo
from livekeep.probes import fetch

VIDEOS_A_REQUEST = 50
LARGEST_BODY_BYTES = 2 * 1024 * 1024
LONGEST_TITLE = 100
ABSURD = "its answer is not what its documents promise"
STORE_KEY = "look at the key in Google's Cloud console; sudo livekeep air set-youtube-key"
SPARE = "a longer probes.youtube.interval_seconds; a day has 10000 units, and each question takes one of them"
REFUSALS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"quotaExceeded", "dailyLimitExceeded"}),
        "the API key's quota of today is used up",
        f"it is renewed at midnight, Pacific time; {SPARE}",
    ),
    (frozenset({"rateLimitExceeded", "userRateLimitExceeded"}), "there were too many questions at once", SPARE),
    (
        frozenset({"accessNotConfigured", "SERVICE_DISABLED"}),
        "the YouTube Data API v3 is not enabled for the API key's project",
        "enable it in Google's Cloud console",
    ),
    (
        frozenset({"ipRefererBlocked", "API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_SERVICE_BLOCKED"}),
        "the API key's restrictions do not let this machine ask",
        "change them in Google's Cloud console: by IP address, or to the YouTube Data API v3 alone",
    ),
)
"""By the reason that YouTube gives: what is wrong, and what to do."""


class ApiError(TemporaryError):
    """Nothing was told. The text ends a sentence such as "YouTube cannot be asked: …"."""

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.advice = advice


# Answers


def videos_in(body: bytes) -> dict[str, YoutubeVideo]:
    """The videos of an answer by their id, without their channel. Raises `ApiError` when it is not as documented."""
    try:
        found = [video_of(item) for item in json.loads(body)["items"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ApiError(ABSURD) from error
    return {video.video: video for video in found}


def video_of(item: Any) -> YoutubeVideo:
    snippet, live = item["snippet"], item.get("liveStreamingDetails", {})
    ended_at = moment(live.get("actualEndTime"))
    showing: dict[str, Showing] = {"live": "live", "upcoming": "upcoming", "none": "none"}
    return YoutubeVideo(
        channel="",
        video=text(item["id"]),
        showing="ended" if ended_at is not None else showing[text(snippet["liveBroadcastContent"])],
        title="".join(filter(str.isprintable, text(snippet["title"])))[:LONGEST_TITLE],
        scheduled_start=moment(live.get("scheduledStartTime")),
        started_at=moment(live.get("actualStartTime")),
        ended_at=ended_at,
        viewers=count(live.get("concurrentViewers")),
    )


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def count(value: Any) -> int | None:
    """A number, which comes as a text."""
    if value is None:
        return None
    if not re.fullmatch("[0-9]{1,15}", text(value)):
        raise ValueError("no count")
    return int(value)


def moment(value: Any) -> float | None:
    """Unix seconds of a time such as "2026-11-21T10:02:00Z"."""
    return None if value is None else datetime.fromisoformat(text(value)).timestamp()


def refusal(status: int, body: bytes) -> ApiError:
    """What an answer of another status than 200 means."""
    reasons = reasons_in(body)
    for known, said, advice in REFUSALS:
        if known & reasons:
            return ApiError(said, advice)
    if status == 429:
        return ApiError(REFUSALS[1][1], SPARE)
    if status in (400, 401, 403):
        return ApiError(f"it does not accept the API key (HTTP {status})", STORE_KEY)
    return ApiError(f"it has a fault (HTTP {status})" if status >= 500 else f"its answer is HTTP {status}")


def reasons_in(body: bytes) -> set[str]:
    """The words for programs in an error of Google's, of its older form and of its newer one."""
    try:
        error = json.loads(body)["error"]
        entries = [*error.get("errors", []), *error.get("details", [])]
        return {reason for entry in entries if isinstance(reason := entry.get("reason"), str)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()


# Asking


def ask(settings: YoutubeProbe, proxy: str, key: str, videos: Sequence[str]) -> dict[str, YoutubeVideo]:
    """What YouTube tells the public of these videos, by id; those that it does not know are left out. Raises `ApiError`."""
    seconds = settings.timeout_seconds
    # A server on this machine is none that a proxy could reach.
    proxy = proxy if settings.api_url.lower().startswith("https:") else ""
    parts = [videos[start : start + VIDEOS_A_REQUEST] for start in range(0, len(videos), VIDEOS_A_REQUEST)]

    def ask_all() -> dict[str, YoutubeVideo]:
        found: dict[str, YoutubeVideo] = {}
        for part in parts:
            found |= ask_once(settings.api_url, proxy, key, part, seconds)
        return found

    try:
        return fetch.within(seconds, ask_all)
    except fetch.FetchError as error:
        raise ApiError(str(error), "sudo livekeep probe network") from error


def ask_once(api_url: str, proxy: str, key: str, videos: Sequence[str], seconds: float) -> dict[str, YoutubeVideo]:
    url = f"{api_url.rstrip('/')}/videos?part=snippet,liveStreamingDetails&id={','.join(videos)}"
    try:
        connection, target, headers = fetch.connection_to(url, proxy, seconds)
        with contextlib.closing(connection):
            # No redirect is followed: the key would go along.
            connection.request("GET", target, headers=headers | {"Accept": "application/json", "X-Goog-Api-Key": key})
            with connection.getresponse() as answer:
                status, body = answer.status, answer.read(LARGEST_BODY_BYTES + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise fetch.FetchError(fetch.fault(error, seconds)) from error
    if len(body) > LARGEST_BODY_BYTES:
        raise ApiError(ABSURD)
    if status != 200:
        raise refusal(status, body)
    return videos_in(body)
