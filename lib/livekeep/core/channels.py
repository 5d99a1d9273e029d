"""Channels: what is meant to be on air, and what is. States like the others (core/state.py), one folder a channel.

| file                                      | written by                    |
|-------------------------------------------|-------------------------------|
| /run/livekeep/worker@CHANNEL/state.json   | livekeep-worker@CHANNEL       |
| /run/livekeep/worker@CHANNEL/end.json     | livekeep-worker-ended (hook)  |
| /var/lib/livekeep/channels/CHANNEL.json   | livekeep-controller (its API) |
| /var/lib/livekeep/channels/CHANNEL.on-air | livekeep-controller, command  |

state.json is there only while the worker runs: the hook takes it away when the worker has ended, however it ended.
CHANNEL.on-air is empty; it says that the channel is meant to be on air, after a reboot too.
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
from livekeep.core.config import CHANNEL_NAME, Channel, Config, Controller
from livekeep.core.errors import EXIT_CONFIG, TemporaryError
from livekeep.core.state import Signed, State
from livekeep.core.text import shown

DIRECTORY = paths.KEPT_DIRECTORY / "channels"
NEW_FILE = paths.DROP_IN_DIRECTORY / "50-channel.toml"
"""Where the documents put a channel."""
LARGEST_BYTES = 64 * 1024
ON_AIR_SECONDS = 5.0
"""On air means that the ingest acknowledged bytes within so many seconds."""
STALE_SECONDS = 10.0
"""A worker writes its state at least every two seconds."""

EXIT_GIVEN_UP = 69
"""EX_UNAVAILABLE of sysexits.h: how a worker ends that the ingest has refused again and again."""
EXIT_MEANINGS = {
    str(EXIT_CONFIG): "its configuration or its stream key is missing or wrong",
    str(EXIT_GIVEN_UP): "the ingest refused the stream three times; it is started again after two minutes",
}

Publishing = Literal["preparing", "connecting", "on-air", "stalled", "unreachable", "refused", "stopping"]
"""unreachable: nobody answers there; refused: the ingest answers and does not take the stream; both are tried again."""
Mode = Literal["", "copy", "normalise"]
Outcome = Literal["playing", "played", "short", "failed", "skipped"]


@dataclass(frozen=True)
class Played:
    """An item of the playlist, as it is, was or will be played. `name` is its path below the channel's media."""

    name: str = ""
    mode: Mode = ""
    """copy: neither picture nor sound is transcoded. "" before its file was read."""
    duration_seconds: float | None = None
    """As its file says."""
    started_at: float | None = None
    played_seconds: float = 0.0
    outcome: Outcome = "playing"
    problem: str = ""
    """What was wrong with it, in one sentence; it holds no URL."""


@dataclass(frozen=True)
class ChannelState(State):
    """What livekeep-worker@CHANNEL does. Counters since the worker started; moments are Unix seconds."""

    FILE: ClassVar[str] = "state.json"

    channel: str = ""
    pid: int = 0
    started_at: float = 0.0
    publishing: Publishing = "preparing"
    since: float = 0.0
    reason: str = ""
    advice: str = ""
    error_type: str = ""
    """Of the last failure to publish, such as "refused", "unreachable", "dropped", "stalled"; "" since it is on air again."""
    retry_count: int = 0
    """Failures to publish in a row."""
    next_retry: float | None = None
    last_health_check: float = 0.0
    """When the worker last looked whether the ingest acknowledges bytes."""
    ingest: str = ""
    """The server's host and port: never the whole URL."""
    is_backup: bool = False
    connected_since: float | None = None
    acknowledged_bytes: int = 0
    last_acknowledged_monotonic: float | None = None
    picture: Literal["item", "slate"] = "slate"
    slate_reason: str = ""
    slate_problem: str = ""
    """Why the slate is not the channel's own, or is not kept in the cache."""
    now: Played | None = None
    next: Played | None = None
    last: tuple[Played, ...] = ()
    """The newest first, ten at most."""
    items_known: int = 0
    storage_problem: str = ""
    items_played: int = 0
    items_short: int = 0
    items_failed: int = 0
    items_skipped: int = 0
    slates: int = 0
    slate_seconds: float = 0.0
    connections: int = 0
    """Connections that came on air; one less is the number of reconnects."""
    refusals: int = 0
    timeline_seconds: float = 0.0
    """How much has been played out, items and slate, in media time."""
    drift_seconds: Signed = 0.0
    """How far the timeline is behind the clock (ahead of it: less than 0)."""
    speed: Signed | None = None
    """Media time a second of the clock over the last ten seconds; None before."""


@dataclass(frozen=True)
class ChannelEnd(State):
    """How the worker of a channel last ended, as systemd said to its hook."""

    FILE: ClassVar[str] = "end.json"

    channel: str = ""
    pid: int = 0
    result: str = ""
    """systemd's word: success, exit-code, signal, watchdog, timeout, …"""
    exit_code: str = ""
    """exited, killed or dumped."""
    exit_status: str = ""
    """The number, or the signal's name."""
    ended_at: float = 0.0

    def meaning(self) -> str:
        """What its exit code says; "" when it says nothing, or the worker did not exit by itself."""
        return EXIT_MEANINGS.get(self.exit_status, "") if self.exit_code == "exited" else ""


def worker_unit(channel: str) -> str:
    """The unit that keeps `channel` on air."""
    return f"livekeep-worker@{channel}.service"


def retry_timer(channel: str) -> str:
    """The unit that starts the worker again after it gave up."""
    return f"livekeep-worker-retry@{channel}.timer"


def folder_of(channel: str, root: Path = paths.STATE_DIRECTORY) -> Path:
    """Where the worker of `channel` and its hook write: the `root` for `state.read` and `state.write`."""
    return root / f"worker@{channel}"


def cache_of(channel: str) -> Path:
    """Where its worker keeps what it can make again: the folder that its unit gives it."""
    return Path(os.environ.get("CACHE_DIRECTORY") or paths.ROOT / f"var/cache/livekeep/worker@{channel}")


def is_on_air(worker: ChannelState, now_monotonic: float) -> bool:
    """Whether the ingest takes the stream: bytes acknowledged within the last seconds, as a living worker saw."""
    acknowledged = worker.last_acknowledged_monotonic
    return (
        worker.publishing == "on-air"
        and now_monotonic - worker.written_monotonic < STALE_SECONDS
        and acknowledged is not None
        and now_monotonic - acknowledged < ON_AIR_SECONDS + (now_monotonic - worker.written_monotonic)
    )


def running(root: Path = paths.STATE_DIRECTORY) -> tuple[str, ...]:
    """The channels whose worker runs, by name. Raises `PermissionError` when that may not be read."""
    try:
        folders = [folder for folder in root.iterdir() if folder.name.startswith("worker@")]
    except FileNotFoundError:
        return ()
    names = (folder.name.removeprefix("worker@") for folder in folders if (folder / ChannelState.FILE).exists())
    return tuple(sorted(name for name in names if CHANNEL_NAME.fullmatch(name)))


def intended(directory: Path = DIRECTORY) -> tuple[str, ...]:
    """The channels that are meant to be on air, by name. Raises `TemporaryError` when that cannot be read."""
    return tuple(name for name, _file in names(".on-air", directory))


def intend(channel: str, directory: Path = DIRECTORY) -> None:
    """Note that `channel` is meant to be on air. Raises `TemporaryError`."""
    replace(directory / f"{channel}.on-air", b"")


def intend_not(channel: str, directory: Path = DIRECTORY) -> None:
    """Note that `channel` is not meant to be on air. Raises `TemporaryError`."""
    remove(directory / f"{channel}.on-air")


def load(settings: Config, directory: Path = DIRECTORY) -> tuple[dict[str, Channel], tuple[str, ...]]:
    """All channels by name, those of livekeep.toml and those of the API, and what is wrong with files of the latter.

    A channel of livekeep.toml wins over one of the same name. One of the API that goes beyond what [controller] allows is left
    out: a program that writes there may hold no more than a token. Raises `TemporaryError` when the folder cannot be read.
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
    """The file that a channel is configured in, or where to put it when there is none of that name."""
    file = directory / f"{channel}.json"
    return config.place_of("channels", channel) or (file if file.exists() else NEW_FILE)


def not_allowed(channel: Channel, controller: Controller) -> list[str]:
    """What a channel of the API asks for beyond `controller`'s limits, each beginning with the key."""
    faults = []
    if controller.allowed_ingests and (others := ingest_hosts(channel) - lowered(controller.allowed_ingests)):
        faults.append(f"ingest_urls: {', '.join(sorted(others))}: must be one of controller.allowed_ingests")
    if controller.allowed_media and channel.media and not any(is_below(channel.media, one) for one in controller.allowed_media):
        faults.append("media: must be in one of controller.allowed_media")
    return faults


def ingest_hosts(channel: Channel) -> frozenset[str]:
    """The hosts of the channel's ingests, in small letters."""
    return frozenset(filter(None, map(config.INGEST_URL.host, channel.ingest_urls)))


def lowered(hosts: Iterable[str]) -> frozenset[str]:
    return frozenset(host.lower() for host in hosts)


def is_below(media: str, limit: str) -> bool:
    """Whether `media` is the folder or the bucket's prefix `limit`, or lies in it; what leads out by ".." does not."""
    is_bucket = media.startswith("s3://")
    if is_bucket != limit.startswith("s3://") or ".." in media.split("/"):
        return False
    inner, outer = (posixpath.normpath(one.removeprefix("s3:/")).strip("/").split("/") for one in (media, limit))
    return outer == [""] or inner[: len(outer)] == outer


def key_fault(name: str, channel: Channel, settings: Config, stored_for: str) -> str:
    """Why the stored stream key may not go to the channel's ingests, and what to do; "" when it may.

    A channel of livekeep.toml may send it where it says, for root wrote that. One of the API may send it to the hosts that it was
    stored for (`stored_for`, with blanks between), and to controller.allowed_ingests: else a holder of the API's token could have
    it sent to a server of his own.
    """
    if name in settings.channels:
        return ""
    others = ingest_hosts(channel) - lowered(stored_for.split()) - lowered(settings.controller.allowed_ingests)
    if not others:
        return ""
    hosts = ", ".join(sorted(others))
    return f"the stream key was not stored for {hosts}; if that is the right server, run: sudo livekeep air bind-key {name}"


def decode(document: Any) -> Channel:
    """A channel from the JSON of its keys, each checked as in livekeep.toml. Raises `ValueError` that names the faults."""
    if not isinstance(document, dict):
        raise ValueError("no object with a channel's keys")
    problems: list[str] = []
    values: dict[tuple[str, ...], tuple[Path, Any]] = {
        ("channels", "it", str(name)): (Path(), value) for name, value in document.items()
    }
    built: Channel = config.build(Channel, ("channels", "it"), values, problems)
    faults = [problem.partition("channels.it.")[2] for problem in problems] + config.faults_of_channel(built)
    if faults:
        raise ValueError("; ".join(faults))
    return built


def save(name: str, document: Mapping[str, Any], directory: Path = DIRECTORY) -> None:
    """Keep a channel of the API. Raises `ValueError` for a wrong one and `TemporaryError` when it cannot be written."""
    if not CHANNEL_NAME.fullmatch(name):
        raise ValueError("channel: must be named with small letters, digits, - and _, 32 at most")
    decode(dict(document))
    replace(directory / f"{name}.json", json.dumps(document, indent=2).encode() + b"\n")


def delete(name: str, directory: Path = DIRECTORY) -> None:
    """Forget a channel of the API. Raises `TemporaryError`."""
    remove(directory / f"{name}.json")


def as_document(channel: Channel) -> dict[str, Any]:
    """A channel's keys, as JSON and TOML have them."""
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
    """Put `content` in the place of `file`; root does so for the folder's owner, whom the controller's folder belongs to."""
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
    """What the worker of `channel` does. Raises `StateAbsentError` when it does not run, or `StateBrokenError`."""
    return state.read(ChannelState, folder_of(channel, root))


def read_end(channel: str, root: Path = paths.STATE_DIRECTORY) -> ChannelEnd:
    """How it last ended. Raises `StateAbsentError` when it never did since boot, or `StateBrokenError`."""
    return state.read(ChannelEnd, folder_of(channel, root))
