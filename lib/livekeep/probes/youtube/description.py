"""The YouTube probe's result as text for people; its metrics are among the channels' (exporter/channels.py)."""

from livekeep.core.probe_results import YoutubeResult
from livekeep.status import probe_descriptions
from livekeep.status.channel_status import showing_text
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import Row


class Description(probe_descriptions.Description[YoutubeResult]):
    def rows(self, result: YoutubeResult, clock: Clock) -> list[Row]:
        rows = []
        for video in result.videos:
            title = f' "{video.title}"' if video.title else ""
            rows.append((f"Channel {video.channel}", f"{video.video}{title}: {showing_text(video, clock.now)}"))
        return rows
