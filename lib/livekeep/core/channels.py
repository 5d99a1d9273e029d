"""Channels: which are meant to be on air, and which are. States as in core/state.py, one folder for each channel.

| file                                      | written by                    |
|-------------------------------------------|-------------------------------|
| /run/livekeep/worker@CHANNEL/state.json   | livekeep-worker@CHANNEL       |
| /run/livekeep/worker@CHANNEL/end.json     | livekeep-worker-ended (hook)  |
| /var/lib/livekeep/channels/CHANNEL.json   | livekeep-controller (its API) |
| /var/lib/livekeep/channels/CHANNEL.on-air | livekeep-controller, command  |

state.json exists only while the worker runs: when the worker ends for any reason, the hook removes the file.
CHANNEL.on-air is empty; while it exists, the channel is meant to be on air, after a reboot too.
"""

import dataclasses
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from livekeep.core import config, files, paths, state
from livekeep.core.config import CHANNEL_NAME, Channel, Config
from livekeep.core.config.loader import build
from livekeep.core.config.schema import INGEST_URL, Controller
from livekeep.core.errors import EXIT_CONFIG, TemporaryError
from livekeep.core.state import Signed, State
from livekeep.core.text import shown

DIRECTORY = paths.KEPT_DIRECTORY / "channels"
NEW_FILE = paths.DROP_IN_DIRECTORY / "50-channel.toml"
"""Where the documentation puts a channel."""
LARGEST_BYTES = 64 * 1024
ON_AIR_SECONDS = 5.0
"""A channel is on air if the ingest acknowledged bytes within this time."""
STALE_SECONDS = 10.0
"""A worker writes its state at least every two seconds."""

EXIT_GIVEN_UP = 69
"""EX_UNAVAILABLE of sysexits.h: the worker's exit code after repeated refusals by the ingest."""
EXIT_MEANINGS = {
    str(EXIT_CONFIG): "its configuration or its stream key is missing or wrong",
    str(EXIT_GIVEN_UP): "the ingest refused the stream three times; it is started again after two minutes",
}

Publishing = Literal["preparing", "connecting", "on-air", "stalled", "unreachable", "refused", "stopping"]
"""unreachable: the ingest doesn't answer; refused: it answers and rejects the stream. Both are retried."""
Mode = Literal["", "copy", "normalise"]
Outcome = Literal["playing", "played", "short", "failed", "skipped"]


@dataclass(frozen=True)
class Played:
    """A current, past or coming item of the playlist. `name` is its path below the channel's media."""

    name: str = ""
    mode: Mode = ""
    """copy: neither picture nor sound is transcoded. "" until the file is read."""
    duration_seconds: float | None = None
    """As its file declares."""
    started_at: float | None = None
    played_seconds: float = 0.0
    outcome: Outcome = "playing"
    problem: str = ""
    """One sentence about its problem, without a URL."""


@dataclass(frozen=True)
class ChannelState(State):
    """The state of livekeep-worker@CHANNEL. Counters since the worker started; times in Unix seconds."""

    FILE: ClassVar[str] = "state.json"

    channel: str = ""
    pid: int = 0
    started_at: float = 0.0
    publishing: Publishing = "preparing"
    since: float = 0.0
    reason: str = ""
    advice: str = ""
    error_type: str = ""
    """Of the last failure to publish, such as "refused", "unreachable", "dropped", "stalled"; "" once on air again."""
    retry_count: int = 0
    """Failures to publish in a row."""
    next_retry: float | None = None
    last_health_check: float = 0.0
    """When the worker last checked whether the ingest acknowledges bytes."""
    ingest: str = ""
    """The server's host and port, never the whole URL."""
    is_backup: bool = False
    connected_since: float | None = None
    acknowledged_bytes: int = 0
    last_acknowledged_monotonic: float | None = None
    picture: Literal["item", "slate"] = "slate"
    slate_reason: str = ""
    slate_problem: str = ""
    """Why the channel's own slate is not in use, or is not cached."""
    now: Played | None = None
    next: Played | None = None
    last: tuple[Played, ...] = ()
    """Newest first, at most ten."""
    items_known: int = 0
    storage_problem: str = ""
    items_played: int = 0
    items_short: int = 0
    items_failed: int = 0
    items_skipped: int = 0
    slates: int = 0
    slate_seconds: float = 0.0
    connections: int = 0
    """Connections that reached on air: the number of reconnects plus one."""
    refusals: int = 0
    timeline_seconds: float = 0.0
    """The media time played so far, items and slate."""
    drift_seconds: Signed = 0.0
    """How far the timeline is behind the clock; negative if ahead."""
    speed: Signed | None = None
    """Media seconds per clock second over the last ten seconds; None before that."""


@dataclass(frozen=True)
class ChannelEnd(State):
    """How the worker of a channel last ended, as systemd passed it to the hook."""

    FILE: ClassVar[str] = "end.json"

    channel: str = ""
    pid: int = 0
    result: str = ""
    """systemd's term: success, exit-code, signal, watchdog, timeout, …"""
    exit_code: str = ""
    """exited, killed or dumped."""
    exit_status: str = ""
    """The number, or the signal's name."""
    ended_at: float = 0.0

    def meaning(self) -> str:
        """The meaning of its exit code; "" if the code has none, or the worker did not exit by itself."""
        return EXIT_MEANINGS.get(self.exit_status, "") if self.exit_code == "exited" else ""


def worker_unit(channel: str) -> str:
    """The unit that keeps `channel` on air."""
    return f"livekeep-worker@{channel}.service"


def retry_timer(channel: str) -> str:
    """The unit that starts the worker again after it gave up."""
    return f"livekeep-worker-retry@{channel}.timer"


def folder_of(channel: str, root: Path = paths.STATE_DIRECTORY) -> Path:
    """The folder that the worker of `channel` and its hook write to: the `root` for `state.read` and `state.write`."""
    return root / f"worker@{channel}"


def cache_of(channel: str) -> Path:
    """The worker's folder for data that it can recreate: the unit's CacheDirectory=."""
    return Path(os.environ.get("CACHE_DIRECTORY") or paths.ROOT / f"var/cache/livekeep/worker@{channel}")


def is_on_air(worker: ChannelState, now_monotonic: float) -> bool:
    """Whether the ingest accepts the stream: a live worker reports bytes acknowledged within the last seconds."""
    acknowledged = worker.last_acknowledged_monotonic
    return (
        worker.publishing == "on-air"
        and now_monotonic - worker.written_monotonic < STALE_SECONDS
        and acknowledged is not None
        and now_monotonic - acknowledged < ON_AIR_SECONDS + (now_monotonic - worker.written_monotonic)
    )


def running(root: Path = paths.STATE_DIRECTORY) -> tuple[str, ...]:
    """The names of the channels whose worker runs. Raises `PermissionError` without access."""
    try:
        folders = [folder for folder in root.iterdir() if folder.name.startswith("worker@")]
    except FileNotFoundError:
        return ()
    names = (folder.name.removeprefix("worker@") for folder in folders if (folder / ChannelState.FILE).exists())
    return tuple(sorted(name for name in names if CHANNEL_NAME.fullmatch(name)))


def intended(directory: Path = DIRECTORY) -> tuple[str, ...]:
    """The names of the channels that are meant to be on air. Raises `TemporaryError` when they cannot be read."""
    return tuple(name for name, _file in names(".on-air", directory))


def intend(channel: str, directory: Path = DIRECTORY) -> None:
    """Record that `channel` is meant to be on air. Raises `TemporaryError`."""
    replace(directory / f"{channel}.on-air", b"")


def intend_not(channel: str, directory: Path = DIRECTORY) -> None:
    """Record that `channel` is not meant to be on air. Raises `TemporaryError`."""
    remove(directory / f"{channel}.on-air")


def load(settings: Config, directory: Path = DIRECTORY) -> tuple[dict[str, Channel], tuple[str, ...]]:
    """All channels by name, from livekeep.toml and from the API, and the problems in the API's files.

    A channel in livekeep.toml overrides one of the same name. A channel of the API that exceeds the limits in [controller] is
    left out: the program that wrote it may have only a token. Raises `TemporaryError` when the folder cannot be read.
    """
    all_channels, problems = dict(settings.channels), []
    for name, file in names(".json", directory):
        if name in settings.channels:
            problems.append(f"{file}: livekeep.toml has a channel of that name, which is used; remove one of the two")
            continue
        try:
            channel = decode(json.loads(files.read(file, LARGEST_BYTES)))
            if faults := not_allowed(channel, settings.controller):
                problems.append(f"{file}: {'; '.join(faults)}")
                continue
            all_channels[name] = channel
        except OSError as error:
            problems.append(f"{file}: cannot be read ({error.strerror})")
        except (ValueError, RecursionError) as error:
            problems.append(f"{file}: is not a channel ({shown(str(error))}); remove the file, or add the channel again")
    return all_channels, tuple(problems)


def place_of(channel: str, directory: Path = DIRECTORY) -> Path:
    """The file that configures a channel, or the file to create when no channel has that name."""
    file = directory / f"{channel}.json"
    return config.place_of("channels", channel) or (file if file.exists() else NEW_FILE)


def not_allowed(channel: Channel, controller: Controller) -> list[str]:
    """The values of a channel of the API that exceed `controller`'s limits, each message beginning with the key."""
    faults = []
    if controller.allowed_ingests and (others := ingest_hosts(channel) - lowered(controller.allowed_ingests)):
        faults.append(f"ingest_urls: {', '.join(sorted(others))}: must be one of controller.allowed_ingests")
    if controller.allowed_media and channel.media and not any(is_below(channel.media, one) for one in controller.allowed_media):
        faults.append("media: must be in one of controller.allowed_media")
    return faults


def ingest_hosts(channel: Channel) -> frozenset[str]:
    """The hosts of the channel's ingests, in lower case."""
    return frozenset(filter(None, map(INGEST_URL.host, channel.ingest_urls)))


def lowered(hosts: Iterable[str]) -> frozenset[str]:
    return frozenset(host.lower() for host in hosts)


def is_below(media: str, limit: str) -> bool:
    """Whether `media` is the folder or bucket prefix `limit`, or is in it. A path that leaves it by ".." is not."""
    is_bucket = media.startswith("s3://")
    if is_bucket != limit.startswith("s3://") or ".." in media.split("/"):
        return False
    inner, outer = (posixpath.normpath(one.removeprefix("s3:/")).strip("/").split("/") for one in (media, limit))
    return outer == [""] or inner[: len(outer)] == outer


def key_fault(name: str, channel: Channel, settings: Config, stored_for: str) -> str:
    """Why the stored stream key must not go to the channel's ingests, and what to do; "" if it may.

    A channel in livekeep.toml may send it to any ingest, because root wrote that file. A channel of the API may send it only to
    the hosts that it was stored for (`stored_for`, separated by blanks) and to controller.allowed_ingests. Otherwise a holder of
    the API's token could redirect it to another server.
    """
    if name in settings.channels:
        return ""
    others = ingest_hosts(channel) - lowered(stored_for.split()) - lowered(settings.controller.allowed_ingests)
    if not others:
        return ""
    hosts = ", ".join(sorted(others))
    return f"the stream key was not stored for {hosts}; if that is the right server, run: sudo livekeep air bind-key {name}"


def decode(document: Any) -> Channel:
    """A channel from JSON, each key checked as in livekeep.toml. Raises `ValueError`, which names the errors."""
    if not isinstance(document, dict):
        raise ValueError("no object with a channel's keys")
    problems: list[str] = []
    built: Channel = build(Channel, (), {(str(name),): (Path(), value) for name, value in document.items()}, problems)
    # Each begins with the file, which is none here.
    faults = [problem.partition(": ")[2] for problem in problems] + built.faults()
    if faults:
        raise ValueError("; ".join(faults))
    return built


def save(name: str, document: Mapping[str, Any], directory: Path = DIRECTORY) -> None:
    """Save a channel of the API. Raises `ValueError` for an invalid one and `TemporaryError` when it cannot be written."""
    if not CHANNEL_NAME.fullmatch(name):
        raise ValueError("channel: must be named with small letters, digits, - and _, 32 at most")
    decode(dict(document))
    replace(directory / f"{name}.json", json.dumps(document, indent=2).encode() + b"\n")


def delete(name: str, directory: Path = DIRECTORY) -> None:
    """Delete a channel of the API. Raises `TemporaryError`."""
    remove(directory / f"{name}.json")


def as_document(channel: Channel) -> dict[str, Any]:
    """A channel's keys as in JSON and TOML."""
    keys = dataclasses.asdict(channel)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in keys.items()}


def names(suffix: str, directory: Path) -> Iterator[tuple[str, Path]]:
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise TemporaryError(f"{directory}: cannot be read ({error.strerror}); run as root or group livekeep") from error
    for file in entries:
        if file.suffix == suffix and CHANNEL_NAME.fullmatch(file.stem):
            yield file.stem, file


def replace(file: Path, content: bytes) -> None:
    """Replace `file` with `content`. As root, the new file belongs to the folder's owner: the controller."""
    try:
        files.replace(file, content)
    except OSError as error:
        raise TemporaryError(f"{file}: cannot be written ({error.strerror})") from error


def remove(file: Path) -> None:
    try:
        files.remove(file)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TemporaryError(f"{file}: cannot be removed ({error.strerror})") from error


def read_state(channel: str, root: Path = paths.STATE_DIRECTORY) -> ChannelState:
    """The state of the worker of `channel`. Raises `StateAbsentError` if it doesn't run, or `StateBrokenError`."""
    return state.read(ChannelState, folder_of(channel, root))


def read_end(channel: str, root: Path = paths.STATE_DIRECTORY) -> ChannelEnd:
    """How it last ended. Raises `StateAbsentError` if it has not ended since boot, or `StateBrokenError`."""
    return state.read(ChannelEnd, folder_of(channel, root))
