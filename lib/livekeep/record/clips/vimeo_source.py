"""Clips of Vimeo: of the token's account, a user, a channel or a showcase.

Source: developer.vimeo.com (GET /me/videos and its like; `fields`; paging; rate limits). With `fields`, a request counts half
against the rate limit. A list continues at `paging.next`, which is followed only on the API's own server.
"""

import re
import time
from typing import Any
from urllib.parse import urljoin, urlsplit

from livekeep.record import track_performance
from livekeep.record.clips.clip import MOST_CLIPS, Clip, SourceError, count_of, link_of, name_of, seconds_of
from livekeep.system import vimeo
from livekeep.system.http import Client, Response, TransportError, origin_of

CLIPS_A_PAGE = 100
MOST_PAGES = MOST_CLIPS // CLIPS_A_PAGE
FIELDS = "uri,name,link,duration,created_time,stats.plays,metadata.connections.likes.total,metadata.connections.comments.total"
QUERY = f"fields={FIELDS}&per_page={CLIPS_A_PAGE}&sort=date&direction=desc"
PAST_THE_END = 2286
SPARE_REQUESTS = 5
"""This many of the account's requests a minute are left to other users of the limit, such as livekeep-poller."""
WINDOW_SECONDS = 60.0
"""The window of the rate limit."""
LONGEST_WAIT_SECONDS = 75.0
LONGEST_SECONDS = 300.0
"""For all pages of a source."""
RETRY_SECONDS = (0.3, 1.0)
"""Before the second and third attempt after a network or server error."""
SET_TOKEN = "sudo livekeep set-token"  # noqa: S105 - a command
DOCTOR = "sudo livekeep doctor"
ODD = "Vimeo's response is not as documented"


class VimeoSource:
    """Reads a source's whole list."""

    def __init__(self, api_url: str, proxy: str, token: str, timeout_seconds: float) -> None:
        self._base = api_url.rstrip("/")
        self._client = Client(proxy)
        self._secret = {"Authorization": f"bearer {token}"}
        self._timeout_seconds = timeout_seconds
        self._free_at = 0.0
        """When the rate limit allows the next request, monotonic seconds."""
        self._deadline = time.monotonic() + LONGEST_SECONDS

    def clips(self, of: str) -> list[Clip]:
        """The clips of "me", "users/ID", "channels/ID" or "albums/ID", the newest first. Raises `SourceError`."""
        clips: dict[str, Clip] = {}
        url = f"{self._base}/{of}/videos?{QUERY}"
        for page in range(MOST_PAGES):
            document = self._page(url, is_first=page == 0)
            # A clip published meanwhile shifts others to the next page, where they appear twice.
            for clip in clips_in(document):
                clips.setdefault(clip.id, clip)
            following = next_of(document)
            if not following:
                break
            try:
                target = urljoin(f"{self._base}/", following)
                is_same_server = origin_of(urlsplit(target)) == origin_of(urlsplit(url))
            except (ValueError, KeyError):
                is_same_server = False
            if not is_same_server:
                advice = "check vimeo.api_url and vimeo.proxy"
                raise SourceError("Vimeo's list continues at another server, which livekeep does not trust", advice)
            url = target
        return list(clips.values())

    def _page(self, url: str, is_first: bool) -> Any:
        """The document of one page, with retries. Raises `SourceError`."""
        problem = SourceError(ODD)
        for pause in (0.0, *RETRY_SECONDS):
            time.sleep(pause)
            try:
                response = self._served(url)
            except TransportError as error:
                problem = SourceError(f"Vimeo cannot be reached: {error}", DOCTOR)
                continue
            if response.status < 500:
                return document_of(response, is_first)
            problem = SourceError(f"Vimeo has a fault (HTTP {response.status})")
        raise problem

    def _served(self, url: str) -> Response:
        """The response, as soon as the rate limit allows a request. Raises `SourceError` or `TransportError`."""
        while True:
            now = time.monotonic()
            seconds = max(self._free_at - now, 0.0)
            if now > self._deadline:
                raise SourceError(f"Vimeo's list took longer than {LONGEST_SECONDS:.0f} s", DOCTOR)
            if seconds > LONGEST_WAIT_SECONDS or now + seconds > self._deadline:
                advice = "a longer analyzer.interval_seconds"
                raise SourceError("Vimeo asks us to wait: too many requests with this token", advice)
            time.sleep(seconds)
            response = self.get(url)
            limits = vimeo.limits_of(response.headers)
            is_refused = response.status == 429
            if is_refused or (limits.remaining is not None and limits.remaining <= SPARE_REQUESTS):
                self._free_at = time.monotonic() + wait_seconds(limits.reset, time.time())
            if not is_refused:
                return response

    @track_performance(kind="api")
    def get(self, url: str) -> Response:
        """One request. Raises `TransportError`."""
        deadline = time.monotonic() + self._timeout_seconds
        return self._client.get(url, deadline, {"Accept": vimeo.ACCEPT}, self._secret, most_redirects=0)


def wait_seconds(reset: float | None, now: float) -> float:
    """How long to wait for the rate limit, which resets at `reset` (Unix seconds) or, if None, in a minute."""
    return max((reset if reset is not None else now + WINDOW_SECONDS) - now, 0.0) + 0.5


def document_of(response: Response, is_first: bool) -> Any:
    """A page's document; None past the end. Raises `SourceError`."""
    document = vimeo.parsed(response.body)
    code = vimeo.error_code(document)
    if response.status == 404 and code == PAST_THE_END and not is_first:
        return None
    if response.status != 200:
        raise refusal(response.status, code)
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise SourceError(ODD, "does this network ask for a login?")
    return document


def refusal(status: int, code: int | None) -> SourceError:
    """The error that a response without a list means."""
    status_text = f"HTTP {status}" + (f", code {code}" if code is not None else "")
    if status == 401:
        return SourceError(f"Vimeo does not accept the token ({status_text})", SET_TOKEN)
    if status == 403:
        return SourceError(f"the Vimeo token may not see these clips ({status_text})", SET_TOKEN)
    if status == 404:
        return SourceError(f"Vimeo has no such user, channel or showcase ({status_text})", "correct it in [clips.NAME]")
    return SourceError(f"Vimeo's response is unexpected ({status_text})")


def next_of(document: Any) -> str:
    paging = document.get("paging") if isinstance(document, dict) else None
    following = paging.get("next") if isinstance(paging, dict) else None
    return following if isinstance(following, str) else ""


def clips_in(document: Any) -> list[Clip]:
    """The clips of a page; entries without an id are skipped."""
    entries = document["data"] if document else []
    return [clip for entry in entries if isinstance(entry, dict) and (clip := clip_of(entry))]


def clip_of(entry: dict[str, Any]) -> Clip | None:
    number = re.match(r"/videos/([0-9]{1,20})(?![0-9])", str(entry.get("uri")))
    if not number:
        return None
    connections = inner(entry, "metadata", "connections")
    return Clip(
        id=number[1],
        name=name_of(entry.get("name")),
        link=link_of(entry.get("link")),
        duration_seconds=seconds_of(entry.get("duration")),
        created=vimeo.moment(entry.get("created_time")),
        plays=count_of(inner(entry, "stats").get("plays")),
        likes=count_of(inner(connections, "likes").get("total")),
        comments=count_of(inner(connections, "comments").get("total")),
    )


def inner(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """A nested object; an empty one if it is null or absent."""
    for name in names:
        value = document.get(name)
        document = value if isinstance(value, dict) else {}
    return document
