"""What the YouTube probe's result means, as text for people; its metrics are among the channels' (exporter/channels.py)."""

from livekeep.core.probe_results import YoutubeResult, YoutubeVideo
from livekeep.probes import registry
from livekeep.probes.registry import Row
from livekeep.status.health import Clock
from livekeep.system import terminal


class Description(registry.Description[YoutubeResult]):
    title = "YouTube"

    def rows(self, result: YoutubeResult, clock: Clock) -> list[Row]:
        rows = []
        for video in result.videos:
            title = f' "{video.title}"' if video.title else ""
            rows.append((f"Channel {video.channel}", f"{video.video}{title}: {showing_text(video, clock.now)}"))
        return rows


def showing_text(video: YoutubeVideo, now: float) -> str:
    """What YouTube shows, in words."""
    if video.showing == "live":
        began = terminal.since(video.started_at or 0, now)
        viewers = f", {video.viewers} viewer{'' if video.viewers == 1 else 's'}" if video.viewers is not None else ""
        return f"live{f' since {began}' if began else ''}{viewers}"
    if video.showing == "ended":
        return f"ended{f' at {terminal.local_time(video.ended_at, now)}' if video.ended_at else ''}"
    if video.showing == "upcoming":
        start = video.scheduled_start
        return f"not live yet{f', announced for {terminal.local_time(start, now)}' if start else ''}"
    return {"none": "the video is no broadcast", "missing": "no such video: private, deleted or mistyped"}.get(
        video.showing, "not known"
    )
