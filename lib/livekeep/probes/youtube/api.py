"""YouTube's public data about videos; part of livekeep-probe-youtube.

The health of the ingest (liveStreams) is available only to the channel's owner, with OAuth, and is not requested.
Source: https://developers.google.com/youtube/v3/docs/videos
"""

import time
from collections.abc import Sequence
from typing import Any

from livekeep.core.config import YoutubeProbe
from livekeep.core.probe_results import Showing, YoutubeVideo
from livekeep.system import youtube
from livekeep.system.http import Client
from livekeep.system.youtube import ABSURD, VIDEOS_A_REQUEST, ApiError, count, moment, text

LONGEST_TITLE = 100


def video_of(item: Any) -> YoutubeVideo:
    """A video of a response, without its channel."""
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


def ask(settings: YoutubeProbe, proxy: str, key: str, videos: Sequence[str]) -> dict[str, YoutubeVideo]:
    """YouTube's public data about these videos, by id; unknown videos are left out. Raises `ApiError`."""
    api_url = settings.api_url.rstrip("/")
    client = Client(youtube.proxy_for(api_url, proxy))
    found: dict[str, YoutubeVideo] = {}
    deadline = time.monotonic() + settings.timeout_seconds
    for start in range(0, len(videos), VIDEOS_A_REQUEST):
        part = ",".join(videos[start : start + VIDEOS_A_REQUEST])
        url = f"{api_url}/videos?part=snippet,liveStreamingDetails&id={part}"
        document = youtube.request(client, url, key, deadline)
        try:
            answer = [video_of(item) for item in document["items"]]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ApiError(ABSURD) from error
        found |= {video.video: video for video in answer}
    return found
