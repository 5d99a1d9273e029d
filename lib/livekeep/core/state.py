"""State: what is true now. One JSON file for each writer, /run/livekeep/UNIT/state.json, replaced atomically.

| file                        | written by         |
|-----------------------------|--------------------|
| poller/state.json           | livekeep-poller    |
| poller/on_air.json          | livekeep-poller    |
| stream/stream.json (secret) | livekeep-poller    |
| player/state.json           | livekeep-player    |
| player/open.json            | livekeep-player    |
| tv/state.json               | livekeep-tv        |
| tv/by_hand.json             | livekeep-tv        |
| firstboot/state.json        | livekeep-firstboot |
| probe-NAME/state.json       | livekeep-probe-*   |

If the file is absent, its unit is not running; those of the probes, livekeep-tv and livekeep-firstboot stay between runs. If it
is old, its writer is stuck, but on_air.json, and those of livekeep-tv and livekeep-firstboot, are written only when something
changes. Each state has the time of writing, by the wall clock for people and by the monotonic clock (the same for all programs
since boot) for comparison.
docs/explanation/architecture.md lists the readers.
Times named `…_monotonic` are seconds of CLOCK_MONOTONIC; all other times are Unix seconds.
"""

import contextlib
import dataclasses
import functools
import json
import time
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from livekeep.core import files, paths
from livekeep.core.errors import TemporaryError

VERSION = 1
LARGEST_BYTES = 256 * 1024
LARGEST_FLOAT = 253_402_300_799.0
"""The end of the year 9999, the last Unix time that can be shown; no other value comes near it."""
LARGEST_INT = 2**63 - 1
Signed = Annotated[float, "may be negative"]
"""Every other number in a state is zero or more. `written_monotonic` can be negative in a time namespace."""

StreamState = Literal["live", "offline", "starting", "error", "unknown"]
Cause = Literal[
    "", "no-token", "no-stream", "refused", "bad-config", "outage", "rate-limited", "standing-still", "ended", "not-open"
]
"""The cause of the stream's state, where the state alone doesn't give it."""
Picture = Literal["stream", "holding", "error", "none"]
StreamPicture = Literal["", "moving", "frozen", "blank", "none"]
"""The picture of a playing stream: "blank" is one colour, such as black; "none" is sound only; "" is unknown."""
TvMethod = Literal["none", "cec", "blank", "black"]
"""How the TV was switched: its standby over HDMI-CEC, no signal, or a black picture; "none" if it never was."""
TvPower = Literal["unknown", "on", "off"]
TvEvent = Literal["none", "near", "live"]
"""Whether the stream is live, or was or will be within `schedule.around_events`; in ascending order."""
UrlRequestReason = Literal["start", "end", "stall"]
DURATION_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_OUTCOMES = ("2xx", "3xx", "4xx", "429", "5xx", "timeout", "dns", "tls", "connect", "invalid")


class StateAbsentError(TemporaryError):
    """The state doesn't exist: its unit is not running."""


class StateBrokenError(TemporaryError):
    """The file exists, but this version cannot read it as a state: half written, foreign, or unreadable."""


@dataclass(frozen=True, kw_only=True)
class State:
    """The base of all states: the file's path below the state directory, and the time of writing."""

    FILE: ClassVar[str]
    written_at: float = 0.0
    written_monotonic: Signed = 0.0


@dataclass(frozen=True)
class Requests:
    """Requests to the API since the poller started: counts by outcome; durations as a cumulative histogram."""

    by_outcome: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(REQUEST_OUTCOMES, 0))
    duration_buckets: tuple[int, ...] = (0,) * len(DURATION_BUCKETS_SECONDS)
    duration_count: int = 0
    duration_sum_seconds: float = 0.0


@dataclass(frozen=True)
class PollerState(State):
    """What livekeep-poller knows about the stream."""

    FILE = "poller/state.json"

    state: StreamState = "unknown"
    cause: Cause = ""
    reason: str = ""
    """One sentence for people, or ""."""
    advice: str = ""
    """What to run or do."""
    since: float = 0.0
    selected: str = ""
    source: str = ""
    """Identifies the stream's source whatever its name: a hash of the kind and the number or URL; "" if none is set up."""
    kind: str = ""
    next_start: float | None = None
    live_since: float | None = None
    consecutive_failures: int = 0
    last_success: float | None = None
    next_request_monotonic: float = 0.0
    url_obtained_monotonic: float | None = None
    url_expires: float | None = None
    ratelimit_limit: int | None = None
    ratelimit_remaining: int | None = None
    ratelimit_reset: float | None = None
    requests: Requests = Requests()


@dataclass(frozen=True)
class OnAir(State):
    """What livekeep-tv needs of `PollerState`. Written only when it changes, because a change starts livekeep-tv."""

    FILE = "poller/on_air.json"

    is_live: bool = False
    """Also during a stall or an outage of the API while the stream was live."""
    next_start: float | None = None
    source: str = ""
    """As in `PollerState`."""


@dataclass(frozen=True)
class StreamUrl(State):
    """The newest signed URL: a secret, in a separate file that only livekeep-player and livekeep-probe-stream may read."""

    FILE = "stream/stream.json"

    url: str = field(default="", repr=False)
    obtained_monotonic: float = 0.0
    source: str = ""
    """As in `PollerState`."""


@dataclass(frozen=True)
class UrlRequest:
    """The player requests a URL that is newer than `requested_monotonic`."""

    reason: UrlRequestReason = "start"
    requested_monotonic: float = 0.0


@dataclass(frozen=True)
class Playback:
    """The display's report on the running stream; None for unknown values. Counters since the player started."""

    position_seconds: Signed | None = None
    position_changed_at: float | None = None
    picture_changed_at: float | None = None
    """When the stream's picture last changed, as observed."""
    buffering: bool = False
    cache_duration_seconds: float | None = None
    cache_bytes: int | None = None
    input_bytes_per_second: float | None = None
    frame_rate_hertz: float | None = None
    av_offset_seconds: Signed | None = None
    width_pixels: int | None = None
    height_pixels: int | None = None
    video_codec: str = ""
    hwdec: str = ""
    dropped_by_decoder: int = 0
    dropped_by_output: int = 0
    stalls: int = 0
    stalled_seconds: float = 0.0
    last_stall_at: float | None = None
    starts: int = 0
    failed_starts: int = 0


@dataclass(frozen=True)
class PlayerState(State):
    """What livekeep-player shows, and why."""

    FILE = "player/state.json"

    picture: Picture = "none"
    since: float = 0.0
    reason: str = ""
    advice: str = ""
    line: str = ""
    """The text on the picture."""
    picture_file: str = ""
    stream_picture: StreamPicture = ""
    picture_problems: tuple[str, ...] = ()
    """Why configured pictures are not shown, one text each, with what to do."""
    display_up: bool = False
    display_released: bool = False
    """Whether the TV is off on purpose, with a black picture, and on the bare console the display has given up the screen."""
    display_restarts: int = 0
    url_request: UrlRequest | None = None
    playback: Playback = Playback()


@dataclass(frozen=True)
class OpenStream(State):
    """What livekeep-player last passed to the display. It outlives the player; the next run compares it with the selection."""

    FILE = "player/open.json"

    source: str = ""
    """As in `PollerState`."""
    display: str = ""
    """Identifies the run of the display: `Driver.run`."""


@dataclass(frozen=True)
class TvState(State):
    """Whether a picture is wanted on the TV now, and how that was done. Written by each run of livekeep-tv; never stale."""

    FILE = "tv/state.json"

    is_wanted: bool = True
    since: float = 0.0
    reason: str = ""
    """For people, such as "the plan (mon-fri 08:00-22:00)", "the stream is live", "switched by hand"."""
    until: float | None = None
    """The next change that is known."""
    method: TvMethod = "none"
    power: TvPower = "unknown"
    """As the TV reports it."""
    problem: str = ""
    """One sentence, or ""."""
    advice: str = ""
    by_hand: bool = False
    is_live: bool = False
    last_live: float | None = None
    is_clock_set: bool = False
    """Whether the clock has been synchronised since boot."""

    @property
    def is_dark(self) -> bool:
        """Whether livekeep itself keeps the TV dark now; a TV that is off over HDMI-CEC has its picture all the time."""
        return not self.is_wanted and self.method in ("blank", "black")


@dataclass(frozen=True)
class TvByHand(State):
    """What was last switched by hand: `livekeep tv on`, `livekeep tv off`. Absent if nothing was, or if it is over."""

    FILE = "tv/by_hand.json"

    is_on: bool = True
    at: float = 0.0
    is_on_anyway: bool = True
    """Whether a picture would have been wanted without that; a change of this ends it."""
    event: TvEvent = "none"
    """The event at the time, until that is over. A higher one (the stream goes live) ends what was switched by hand."""
    until: float | None = None


@dataclass(frozen=True)
class FirstbootState(State):
    """What livekeep-firstboot took over from the card when it last ran. It stays until the next boot."""

    FILE = "firstboot/state.json"

    notice: str = ""
    """What was taken over, for people; "" for nothing."""
    problems: tuple[str, ...] = ()
    """Why a file on the card was not taken over, one line each."""


AnyState = TypeVar("AnyState", bound=State)


def path_of(kind: type[State], root: Path = paths.STATE_DIRECTORY) -> Path:
    return root / kind.FILE


def stamped(state: AnyState) -> AnyState:
    """`state` with the current time of both clocks."""
    return dataclasses.replace(state, written_at=time.time(), written_monotonic=time.monotonic())


def write(state: State, root: Path = paths.STATE_DIRECTORY) -> None:
    """Replace the state's file atomically: a reader sees the whole old or the whole new state.

    Owner and group may read the file; the group is the writer's, or that of a set-group-id folder.
    Raises `TemporaryError` when the file cannot be written.
    """
    target = path_of(type(state), root)
    document = {"file": state.FILE, "version": VERSION, **dataclasses.asdict(state)}
    try:
        files.replace(target, json.dumps(document).encode(), is_durable=False)
    except OSError as error:
        raise TemporaryError(f"{target}: cannot be written ({error.strerror}); is /run full? See df /run") from error


def remove(kind: type[State], root: Path = paths.STATE_DIRECTORY) -> None:
    with contextlib.suppress(OSError):
        path_of(kind, root).unlink()


def read(kind: type[AnyState], root: Path = paths.STATE_DIRECTORY) -> AnyState:
    """Read a state. Raises `StateAbsentError` or `StateBrokenError`, whose texts name the file."""
    file = path_of(kind, root)
    try:
        return decode(kind, json.loads(files.read(file, LARGEST_BYTES)))
    except FileNotFoundError as error:
        raise StateAbsentError(f"{file}: absent; its unit is not running") from error
    except files.UnfitFileError as error:
        raise StateBrokenError(f"{file}: is not a state of this version ({error.strerror}); restart its unit") from error
    except OSError as error:
        raise StateBrokenError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise StateBrokenError(f"{file}: is not a state of this version ({error}); restart its unit") from error


class ReadState(Protocol):
    """A function that reads a state: `read_or_error`, or one with a cache."""

    def __call__(self, kind: type[AnyState], root: Path, /) -> AnyState | StateAbsentError | StateBrokenError: ...


def read_or_error(kind: type[AnyState], root: Path = paths.STATE_DIRECTORY) -> AnyState | StateAbsentError | StateBrokenError:
    """A state, or the error that says why there is none. Raises `PermissionError` without access."""
    try:
        return read(kind, root)
    except (StateAbsentError, StateBrokenError) as error:
        if isinstance(error.__cause__, PermissionError):
            raise error.__cause__ from None
        return error


def decode(kind: type[AnyState], document: Any) -> AnyState:
    """A state from its JSON document. Raises `ValueError`, which names the problem."""
    if not isinstance(document, dict):
        raise ValueError("no JSON object")
    if document.get("file") != kind.FILE or document.get("version") != VERSION:
        raise ValueError(f'not "{kind.FILE}" of version {VERSION}')
    content = {name: value for name, value in document.items() if name not in ("file", "version")}
    return typing.cast(AnyState, convert(kind, content))


def convert(kind: Any, value: Any) -> Any:
    """`value` from JSON as the annotated type `kind`: a dataclass, a union with None, a mapping, a tuple, or plain."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{value!r:.40} is not an object")
        hints = hints_of(kind)
        if unknown := set(value) - set(hints):
            raise ValueError(f"unknown field {sorted(unknown)[0]!r:.40}")
        if missing := set(hints) - set(value):
            raise ValueError(f"missing field {sorted(missing)[0]}")
        return kind(**{name: convert(hints[name], value[name]) for name in hints})
    if origin in (types.UnionType, typing.Union):
        return None if value is None else convert(arguments[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(convert(arguments[0], item) for item in value)
    if origin is Mapping and isinstance(value, dict):
        return {str(name): convert(arguments[1], item) for name, item in value.items()}
    return convert_plain(kind, value)


def convert_plain(kind: Any, value: Any) -> Any:
    if typing.get_origin(kind) is Literal and value in typing.get_args(kind):
        return value
    if kind in (float, Signed) and isinstance(value, int | float) and not isinstance(value, bool):
        if not (-LARGEST_FLOAT if kind is Signed else 0) <= value <= LARGEST_FLOAT:
            raise ValueError(f"{value!r:.40} is out of range")
        return float(value)
    if kind is int and type(value) is int and not 0 <= value <= LARGEST_INT:
        raise ValueError(f"{value!r:.40} is out of range")
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{value!r:.40} is not of type {getattr(kind, '__name__', kind)}")


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {entry.name: hints[entry.name] for entry in dataclasses.fields(kind)}
