"""Each channel's status (whether it is meant to be on air, its worker's state, the last worker's end) and its verdict.

Reads the files that core/channels.py lists.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from livekeep.core import channels, paths, state
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.config import CHANNEL_NAME
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import NOT_SHOWN, YoutubeResult, YoutubeVideo
from livekeep.core.state import ReadState, StateAbsentError, StateBrokenError
from livekeep.status.health import Clock, Health, sentence
from livekeep.status.probe_status import is_silent
from livekeep.system import terminal

OFF_AIR_SECONDS = 60.0
"""A channel that is off air or starts for longer than this is down."""
RESTART_SECONDS = 10.0
"""systemd restarts an ended worker within this time, unless it has given up for a while."""


@dataclass(frozen=True)
class ChannelStatus:
    """The status of one channel."""

    channel: str
    meant_since: float | None = None
    """Since when it is meant to be on air (Unix seconds); None if it is not."""
    worker: ChannelState | StateAbsentError | StateBrokenError = field(default_factory=StateAbsentError)
    end: ChannelEnd | None = None
    """How its worker last ended since boot."""
    youtube: YoutubeResult | None = None
    """The last result of livekeep-probe-youtube, for all channels."""

    def counts(self) -> bool:
        """Whether it is meant to be on air, or runs anyway. A channel that is being stopped on purpose does not count."""
        is_stopping = isinstance(self.worker, ChannelState) and self.worker.publishing == "stopping"
        return self.meant_since is not None or not (is_stopping or isinstance(self.worker, StateAbsentError))


def read(
    root: Path = paths.STATE_DIRECTORY, directory: Path = channels.DIRECTORY, read_state: ReadState = state.read_or_error
) -> dict[str, ChannelStatus]:
    """The channels that are meant to be on air, and those whose worker has written a state, by name.

    Raises `PermissionError` or `TemporaryError` when they cannot be read.
    """
    meant = {}
    for name, file in channels.names(".on-air", directory):
        try:
            meant[name] = file.stat().st_mtime
        except FileNotFoundError:
            # Stopped just now.
            continue
        except OSError as error:
            raise TemporaryError(f"{file}: cannot be read ({error.strerror})") from error
    try:
        folders = os.listdir(root)  # noqa: PTH208 – at each scrape: Path.iterdir takes three times as long
    except (FileNotFoundError, NotADirectoryError):
        folders = []
    have_run = {name.removeprefix("worker@") for name in folders if name.startswith("worker@")}
    names = sorted({*meant, *filter(CHANNEL_NAME.fullmatch, have_run)})
    statuses = {}
    youtube = read_state(YoutubeResult, root) if names else None
    shown = youtube if isinstance(youtube, YoutubeResult) else None
    for name in names:
        folder = channels.folder_of(name, root)
        worker, end = read_state(ChannelState, folder), read_state(ChannelEnd, folder)
        if name in meant or not isinstance(worker, StateAbsentError):
            statuses[name] = ChannelStatus(name, meant.get(name), worker, end if isinstance(end, ChannelEnd) else None, shown)
    return statuses


def showing_text(video: YoutubeVideo, now: float) -> str:
    """YouTube's view in words."""
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


# The verdict


def verdicts(statuses: Mapping[str, ChannelStatus], clock: Clock) -> dict[str, Health]:
    """The health of each channel that counts."""
    return {name: verdict(it, clock) for name, it in statuses.items() if it.counts()}


def verdict(it: ChannelStatus, clock: Clock) -> Health:
    worker, name = it.worker, f"channel {it.channel}"
    if isinstance(worker, StateAbsentError):
        return without_worker(it, clock)
    if isinstance(worker, StateBrokenError):
        return Health("down", f"{name}: {worker}")
    silent = clock.now_monotonic - worker.written_monotonic
    if silent > channels.STALE_SECONDS:
        return Health("down", f"{name}: its worker is stuck: its state is {silent:.0f} s old")
    if channels.is_on_air(worker, clock.now_monotonic):
        concern = trouble_on_air(worker) or not_shown(it, clock)
        return Health("degraded", f"{name} is on air, but {concern}") if concern else Health("ok", f"{name} is on air")
    if worker.publishing == "refused":
        return Health("down", sentence(f"{name}: the ingest refuses it", worker.reason))
    acknowledged = worker.last_acknowledged_monotonic
    if acknowledged is not None:
        seconds = max(clock.now_monotonic - acknowledged, 0.0)
    else:
        # At most since this worker started.
        seconds = min(max(clock.now - worker.started_at, 0.0), clock.now_monotonic)
    text = sentence(f"{name} has been off air for {seconds:.0f} s", worker.reason)
    return Health("down" if seconds > OFF_AIR_SECONDS else "degraded", text)


def without_worker(it: ChannelStatus, clock: Clock) -> Health:
    """The health of a channel that is meant to be on air and has no worker."""
    name, end, meant_since = f"channel {it.channel}", it.end, it.meant_since or 0.0
    if end and end.meaning() and end.ended_at >= meant_since:
        return Health("down", f"{name} is off air: {end.meaning()}")
    # A time in the future was recorded while the clock was wrong.
    meant_seconds = clock.now - meant_since if clock.now >= meant_since else clock.now_monotonic
    if min(meant_seconds, clock.now_monotonic) <= OFF_AIR_SECONDS:
        return Health("degraded", f"{name} is being started")
    ended = f"its worker ended ({ending(end)})" if end else ""
    if end and 0 <= clock.now - end.ended_at <= RESTART_SECONDS:
        return Health("degraded", f"{name} is being started again: {ended}")
    return Health("down", sentence(f"{name} is meant to be on air, but its worker does not run", ended))


def ending(end: ChannelEnd) -> str:
    """How a worker ended in systemd's terms, such as "exit-code 1"."""
    return " ".join(filter(None, (end.result, end.exit_status))) or "it is not known how"


def trouble_on_air(worker: ChannelState) -> str:
    """The problem of a channel that is on air, or ""."""
    if worker.picture == "slate":
        return sentence("it shows the slate", worker.slate_reason)
    return sentence("its media cannot be listed", worker.storage_problem) if worker.storage_problem else ""


def youtube_of(it: ChannelStatus, clock: Clock) -> YoutubeVideo | None:
    """YouTube's view of a channel's broadcast; None without a recent, definite response."""
    if it.youtube is None or is_silent(it.youtube, clock):
        return None
    return next((video for video in it.youtube.videos if video.channel == it.channel and video.showing), None)


def not_shown(it: ChannelStatus, clock: Clock) -> str:
    """Why a channel that is on air is not visible at YouTube, or ""."""
    video = youtube_of(it, clock)
    return NOT_SHOWN[video.showing][0] if video and video.contradicts(clock.now) else ""
