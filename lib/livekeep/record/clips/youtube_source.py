"""Clips of a YouTube channel, by an API key: its list of uploads, and the counters of 50 clips at a time.

Source: https://developers.google.com/youtube/v3/docs (channels, playlistItems, videos). Each request costs one of a key's 10,000
units a day; `fields` omits long values, such as descriptions.
"""

import re
import time
from typing import Any

from livekeep.record import track_performance
from livekeep.record.clips.clip import Clip, SourceError, count_of, link_of, name_of
from livekeep.system import vimeo, youtube
from livekeep.system.http import Client
from livekeep.system.youtube import VIDEOS_A_REQUEST, ApiError

MOST_VIDEOS = 2000
"""The newest ones: 81 units a run, 7,776 a day at the shipped interval."""
MOST_PAGES = MOST_VIDEOS // VIDEOS_A_REQUEST
RETRY_SECONDS = (0.3, 1.0)
UNKNOWN_CHANNEL = "YouTube has no such channel"
FIELDS = "items(id,snippet(title,publishedAt),statistics(viewCount,likeCount,commentCount),contentDetails(duration))"
DURATION = re.compile(r"P(?:([0-9]{1,4})D)?(?:T(?:([0-9]{1,4})H)?(?:([0-9]{1,4})M)?(?:([0-9]{1,5})S)?)?")


class YoutubeSource:
    """Reads the clips of one channel."""

    def __init__(self, api_url: str, proxy: str, key: str, timeout_seconds: float) -> None:
        self._base = api_url.rstrip("/")
        self._client = Client(youtube.proxy_for(api_url, proxy))
        self._key = key
        self._timeout_seconds = timeout_seconds

    def clips(self, channel: str) -> list[Clip]:
        """The clips of the channel with that id, the newest first. Raises `SourceError`."""
        try:
            ids = self._uploads(self._uploads_playlist(channel))
            clips: list[Clip] = []
            for start in range(0, len(ids), VIDEOS_A_REQUEST):
                part = ",".join(ids[start : start + VIDEOS_A_REQUEST])
                document = self._document(f"videos?part=snippet,statistics,contentDetails&fields={FIELDS}&id={part}")
                clips += [clip_of(item) for item in document["items"]]
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise SourceError(f"YouTube cannot be asked: {youtube.ABSURD}") from error
        return clips

    def _uploads_playlist(self, channel: str) -> str:
        fields = "items(contentDetails(relatedPlaylists(uploads)))"
        document = self._document(f"channels?part=contentDetails&fields={fields}&id={channel}")
        items = document.get("items") or []
        if not items:
            raise SourceError(UNKNOWN_CHANNEL, "correct youtube_channel in [clips.NAME]")
        return id_of(items[0]["contentDetails"]["relatedPlaylists"]["uploads"])

    def _uploads(self, playlist: str) -> list[str]:
        ids: dict[str, None] = {}
        token = ""
        for _ in range(MOST_PAGES):
            after = f"&pageToken={token}" if token else ""
            fields = "nextPageToken,items(contentDetails(videoId))"
            document = self._document(
                f"playlistItems?part=contentDetails&maxResults={VIDEOS_A_REQUEST}&fields={fields}&playlistId={playlist}{after}"
            )
            ids |= dict.fromkeys(id_of(item["contentDetails"]["videoId"]) for item in document["items"])
            token = document.get("nextPageToken") or ""
            if not token:
                break
            token = id_of(token)
        return list(ids)

    def _document(self, call: str) -> Any:
        """The API's response, with retries. Raises `SourceError`."""
        problem = ApiError("")
        for pause in (0.0, *RETRY_SECONDS):
            time.sleep(pause)
            try:
                return self.get(f"{self._base}/{call}")
            except ApiError as error:
                problem = error
                if not error.is_passing:
                    break
        raise SourceError(f"YouTube cannot be asked: {problem}", problem.advice)

    @track_performance(kind="api")
    def get(self, url: str) -> Any:
        """One request. Raises `ApiError`."""
        return youtube.request(self._client, url, self._key, time.monotonic() + self._timeout_seconds)


def id_of(value: Any) -> str:
    """Check an id before it goes into a URL. Raises `ValueError`."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,200}=*", value):
        raise ValueError("no id")
    return value


def clip_of(item: Any) -> Clip:
    number, snippet, figures = id_of(item["id"]), item.get("snippet") or {}, item.get("statistics") or {}
    return Clip(
        id=number,
        name=name_of(snippet.get("title")),
        link=link_of(f"https://www.youtube.com/watch?v={number}"),
        duration_seconds=duration_of((item.get("contentDetails") or {}).get("duration")),
        created=vimeo.moment(snippet.get("publishedAt")),
        plays=count_of(figures.get("viewCount")),
        likes=count_of(figures.get("likeCount")),
        comments=count_of(figures.get("commentCount")),
    )


def duration_of(value: Any) -> float | None:
    """Seconds of an ISO 8601 duration such as "PT1H2M3S"; None when invalid, and for a broadcast without a length yet."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(days * 86400 + hours * 3600 + minutes * 60 + seconds) or None
