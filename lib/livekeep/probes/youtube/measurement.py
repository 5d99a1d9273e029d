"""livekeep-probe-youtube.service: whether YouTube shows the broadcasts of the channels that are on air here.

Reads livekeep.toml ([probes.youtube]), the channels with their youtube_video and their workers' states, the API key (credential
livekeep.youtube-api-key) and its previous result. Sends a request to YouTube (api.py) if a channel sets its video and
there is a key; writes probe-youtube/state.json (core/probe_results.py).
"""

import dataclasses
import time
from collections.abc import Sequence

from livekeep.core import channels, paths
from livekeep.core.config import Config
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import NOT_SHOWN, YoutubeResult, YoutubeVideo
from livekeep.probes.runner import Judgement, listed
from livekeep.system import credentials

STORE_KEY = "sudo livekeep air set-youtube-key"
NOTHING_NAMED = "no channel sets youtube_video"
NO_KEY = "no request to YouTube: no API key is stored"
ODD_KEY = "the API key's file contains more than a key: a space, a line break or an invalid character"


def noted(video: YoutubeVideo, before: YoutubeVideo | None, is_on_air: bool, now: float) -> YoutubeVideo:
    """`video` with the time since when it has not been live although the channel is on air here.

    A failed request leaves that time unchanged; `before` is from the previous run, if that was for the same video.
    """
    since = before.unshown_since if before and before.video == video.video else None
    if not is_on_air or video.showing == "live":
        since = None
    elif video.showing:
        # In case the clock was set back.
        since = now if since is None else min(since, now)
    return dataclasses.replace(video, unshown_since=since)


def judge(videos: Sequence[YoutubeVideo], now: float) -> Judgement:
    """The verdict on the responses. A missing video is always a fault, because it is configured."""
    wrong = [video for video in videos if video.contradicts(now) or video.showing == "missing"]
    if not wrong:
        return Judgement("ok", listed([f"{video.channel}: {video.showing}" for video in videos], "; "))
    reasons = [f"channel {video.channel}: {NOT_SHOWN[video.showing][0]}" for video in wrong]
    return Judgement("warn", listed(reasons, "; "), NOT_SHOWN[wrong[0].showing][1])


def is_on_air(channel: str) -> bool:
    try:
        return channels.is_on_air(channels.read_state(channel), time.monotonic())
    except TemporaryError:
        return False


def measure(settings: Config, previous: YoutubeResult, now: float) -> tuple[YoutubeResult, Judgement]:
    """One run of the probe."""
    try:
        known = channels.load(settings)[0]
    except TemporaryError as error:
        return YoutubeResult(), Judgement("fail", str(error))
    named = {name: channel.youtube_video for name, channel in sorted(known.items()) if channel.youtube_video}
    if not named:
        return YoutubeResult(), Judgement("skipped", NOTHING_NAMED)
    try:
        key = credentials.read_key(paths.YOUTUBE_KEY_NAME)
    except (OSError, ValueError):
        return YoutubeResult(), Judgement("fail", ODD_KEY, STORE_KEY)
    if not key:
        return YoutubeResult(), Judgement("skipped", NO_KEY, STORE_KEY)
    # Most machines have none, and should not import the HTTP client every minute.
    from livekeep.probes.youtube import api  # noqa: PLC0415
    from livekeep.system.youtube import ApiError  # noqa: PLC0415

    fault, shown = None, {}
    try:
        shown = api.ask(settings.probes.youtube, settings.vimeo.proxy, key, sorted(set(named.values())))
    except ApiError as error:
        fault = Judgement("fail", f"YouTube cannot be asked: {error}", error.advice)
    before = {video.channel: video for video in previous.videos}
    videos = []
    for channel, video in named.items():
        found = shown.get(video) or YoutubeVideo("", video, "" if fault else "missing")
        videos.append(noted(dataclasses.replace(found, channel=channel), before.get(channel), is_on_air(channel), now))
    return YoutubeResult(videos=tuple(videos)), fault or judge(videos, now)
