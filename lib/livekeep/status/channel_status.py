"""What is known of each channel, put together: is it meant to be on air, what does its worker say, how did the last one end.

Reads the files that core/channels.py tells of. How a state is read is the caller's: the exporter keeps what it has read.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from livekeep.core import channels, paths
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.config import CHANNEL_NAME
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import YoutubeResult, YoutubeVideo
from livekeep.core.state import AnyState, StateAbsentError, StateBrokenError
from livekeep.system import terminal


@dataclass(frozen=True)
class Broadcast:
    """What is known of one channel."""

    channel: str
    meant_since: float | None = None
    """Since when it is meant to be on air (Unix seconds); None when it is not."""
    worker: ChannelState | StateAbsentError | StateBrokenError = field(default_factory=StateAbsentError)
    end: ChannelEnd | None = None
    """How its worker last ended since boot."""
    youtube: YoutubeResult | None = None
    """What livekeep-probe-youtube last wrote, of all channels."""

    def counts(self) -> bool:
        """Whether it is meant to be on air, or runs all the same. One that is being stopped on purpose does not count."""
        is_stopping = isinstance(self.worker, ChannelState) and self.worker.publishing == "stopping"
        return self.meant_since is not None or not (is_stopping or isinstance(self.worker, StateAbsentError))


class Look(Protocol):
    """Gives a state, or the error that says why there is none."""

    def __call__(self, kind: type[AnyState], root: Path, /) -> AnyState | StateAbsentError | StateBrokenError: ...


def read(look: Look, root: Path = paths.STATE_DIRECTORY, directory: Path = channels.DIRECTORY) -> dict[str, Broadcast]:
    """The channels that are meant to be on air, and those whose worker has written a state, by name.

    Raises `PermissionError` or `TemporaryError` when that may not be read.
    """
    meant = meant_channels(directory)
    found = {}
    names = sorted({*meant, *with_folder(root)})
    youtube = look(YoutubeResult, root) if names else None
    shown = youtube if isinstance(youtube, YoutubeResult) else None
    for name in names:
        folder = channels.folder_of(name, root)
        worker, end = look(ChannelState, folder), look(ChannelEnd, folder)
        if name in meant or not isinstance(worker, StateAbsentError):
            found[name] = Broadcast(name, meant.get(name), worker, end if isinstance(end, ChannelEnd) else None, shown)
    return found


def meant_channels(directory: Path) -> dict[str, float]:
    """The channels that are meant to be on air, with the moment since when (Unix seconds). Raises `TemporaryError`."""
    found = {}
    for name, file in channels.names(".on-air", directory):
        try:
            found[name] = file.stat().st_mtime
        except FileNotFoundError:
            # Stopped just now.
            continue
        except OSError as error:
            raise TemporaryError(f"{file}: cannot be read ({error.strerror})") from error
    return found


def with_folder(root: Path) -> list[str]:
    """The channels whose worker has run since boot. Raises `PermissionError`."""
    try:
        names = os.listdir(root)  # noqa: PTH208 – at each scrape: Path.iterdir takes three times as long
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name.removeprefix("worker@") for name in names if name.startswith("worker@")]
    return [name for name in found if CHANNEL_NAME.fullmatch(name)]


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
