"""mpv as the display, controlled over its JSON IPC socket (mpv(1), "JSON IPC").

Implemented here because python-mpv runs mpv within its own process, and here mpv is a separate unit.

mpv is one long-lived process: changing the file in it changes the picture without a black frame. The holding picture is queued
after the stream, so that mpv shows it by itself when the stream ends, even without the player. An mpv with an empty queue
is *idle*, and its screen is empty: black, or the plain background.
"""

import contextlib
import json
import time
from pathlib import Path
from typing import Any, TypeGuard

from livekeep.core.state import LARGEST_FLOAT, Playback
from livekeep.screen.display.outputs import NO_OUTPUT
from livekeep.screen.display.pictures import mpv_options
from livekeep.screen.player.decision import StreamReport
from livekeep.screen.player.display_socket import DisplayGoneError
from livekeep.screen.player.driver import STREAM, Driver
from livekeep.screen.player.motion import Motion

OVERLAY = 1
OVERLAY_PLACES = {0: (960, 885), 90: (346, 540), 180: (960, 195), 270: (1574, 540)}
"""By mpv's `video-rotate`: the centre of the text on a screen of 1920×1080, in the lower fifth as a viewer sees it."""
MOST_ENTRIES = 100_000
"""Of a list of files; a playlist of an event that can be rewound has about ten thousand."""
METRICS: dict[str, tuple[str, type]] = {
    "cache_duration_seconds": ("demuxer-cache-duration", float),
    "frame_rate_hertz": ("estimated-vf-fps", float),
    "av_offset_seconds": ("avsync", float),
    "width_pixels": ("width", int),
    "height_pixels": ("height", int),
    "video_codec": ("video-codec", str),
    "hwdec": ("hwdec-current", str),
    "dropped_by_decoder": ("decoder-frame-drop-count", int),
    "dropped_by_output": ("frame-drop-count", int),
}
"""Field of `core.state.Playback` → mpv's property and its required type."""
OF_PICTURES = ("frame_rate_hertz", "av_offset_seconds", "width_pixels", "height_pixels", "video_codec", "hwdec")
"""Those that describe the holding picture if the stream has no video."""


class Mpv(Driver):
    """A connection to one running mpv."""

    name = "mpv"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._serial = self._stream_entry = 0
        self._asked: dict[int, str] = {}
        self._loading: dict[int, str] = {}
        self._entries: dict[int, str] = {}
        self._starting = self._overlay = self._outputs = ""
        self._rotation = 0
        self._buffering = self._is_picture_ahead = False
        self._metrics: dict[str, Any] = {}
        self._send(["observe_property", 1, "paused-for-cache"])
        self._send(["observe_property", 2, "idle-active"])
        # Tracks that appear and disappear in the stream: see `_take_tracks`.
        self._send(["observe_property", 3, "track-list/count"])
        self._send(["observe_property", 4, "vid"])
        self._get_outputs()
        # Before the playlist, after which text is written. mpv turns the picture, not the text.
        self._get("video-rotate")
        self._get("playlist")

    def show_stream(self, url: str, then: str) -> None:
        self.stream = StreamReport("loading", time.monotonic())
        self._stream_entry = 0
        self.wanted = then
        self._forget_stream()
        self._go_to((STREAM, url), then)

    def show_picture(self, path: str, instead: str = "") -> None:
        self.stream = StreamReport()
        self._forget_stream()
        self.wanted = path
        # Without `instead`, the screen would be black if the picture can't be shown.
        self._go_to((path, path), "" if instead == path else instead)

    def show_nothing(self) -> None:
        self.stream = StreamReport()
        self._forget_stream()
        self.current = self.wanted = ""
        self.empty_since = None
        self._send(["stop"])

    def release(self, is_released: bool) -> None:
        outputs = self._outputs.removeprefix(NO_OUTPUT)
        wanted = NO_OUTPUT * is_released + outputs
        if not outputs or wanted == self._outputs:
            return
        self._outputs = wanted
        if wanted == NO_OUTPUT + "drm":
            # The software output never frees its buffers, 33 MB at 1080p each time. The next run starts without the screen.
            self._send(["quit"])
            return
        self._send(["set_property_string", "vo", wanted])
        # The answer comes when it is done.
        self._get_outputs()

    def write(self, lines: tuple[str, ...]) -> None:
        text = overlay_text(lines, self._rotation)
        if text != self._overlay:
            self._overlay = text
            kind = "ass-events" if text else "none"
            self._send({"name": "osd-overlay", "id": OVERLAY, "format": kind, "data": text, "res_x": 1920, "res_y": 1080})

    def ask(self, with_metrics: bool) -> None:
        if self.waiting_since is None:
            self.waiting_since = time.monotonic()
        self._get("vo-configured")
        self._get("idle-active")
        self._get("time-pos")
        if with_metrics:
            self._get("demuxer-cache-state")
            for name, _kind in METRICS.values():
                self._get(name)

    def sample_picture(self) -> None:
        # livekeep.lua responds in a separate message.
        self._send(["script-message", "livekeep-look"])

    def playback(self) -> Playback:
        if self.stream.phase != "playing":
            return Playback()
        values: dict[str, Any] = {}
        for field, (name, kind) in METRICS.items():
            if self.has_picture is False and field in OF_PICTURES:
                continue
            value = self._metrics.get(name)
            if isinstance(value, str) if kind is str else is_number(value, is_signed=name == "avsync"):
                values[field] = kind(value)
        cache = self._metrics.get("demuxer-cache-state")
        if isinstance(cache, dict):
            ahead, rate = cache.get("fw-bytes"), cache.get("raw-input-rate")
            values["cache_bytes"] = int(ahead) if is_number(ahead) else 0
            values["input_bytes_per_second"] = float(rate) if is_number(rate) else 0.0
        return Playback(buffering=self._buffering, position_seconds=self.stream.position_seconds, **values)

    def receive(self) -> None:
        for line in self.lines():
            try:
                message = json.loads(line)
                if "event" in message:
                    self._take_event(message)
                elif message.get("request_id"):
                    self._take_reply(message["request_id"], message.get("data"))
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                # Whatever a different or faulty program could send instead of a message.
                problem = f"{type(error).__name__}: {error!s:.100}"
                raise DisplayGoneError(f"mpv's socket does not speak as mpv does ({problem})") from error

    def _go_to(self, first: tuple[str, str], then: str) -> None:
        """Show `first`, what it is and where, and the picture `then` (if any) when that ends or fails.

        mpv leaves the current entry only when both are queued: `first` could fail before the next command arrives, and nothing
        would follow it.
        """
        self.empty_since = None
        if self.current and then:
            # All but the current entry.
            self._send(["playlist-clear"])
            self._load(*first, "append")
            self._load(then, then, "append")
            self._send(["playlist-play-index", 1])
            return
        self._load(*first, "replace")
        if then:
            self._load(then, then, "append-play")

    def _load(self, what: str, url: str, how: str) -> None:
        # By name: 0.35 rejects the index argument before the options, 0.38 and later require it.
        command: dict[str, Any] = {"name": "loadfile", "url": url, "flags": how}
        if what != STREAM:
            command["options"] = mpv_options(what)
        self._loading[self._send(command)] = what

    def _get(self, name: str) -> None:
        self._asked[self._send(["get_property", name])] = name

    def _get_outputs(self) -> None:
        self._outputs_asked = self._send(["get_property_string", "vo"])

    def _send(self, command: object) -> int:
        self._serial += 1
        self.send(json.dumps({"command": command, "request_id": self._serial}))
        return self._serial

    def _take_reply(self, serial: int, data: Any) -> None:
        self.waiting_since = None
        if serial == self._outputs_asked:
            self._outputs = str(data or "")
            self.is_released = self._outputs.startswith(NO_OUTPUT)
        elif serial in self._loading:
            what = self._loading.pop(serial)
            entry = int(data.get("playlist_entry_id", 0)) if isinstance(data, dict) else 0
            self._entries[entry] = what
            if what == STREAM:
                self._stream_entry = entry
        else:
            self._take_property(self._asked.pop(serial, ""), data)

    def _take_property(self, name: str, data: Any) -> None:
        if name == "playlist":
            self._take_over(data)
        elif name == "track-list":
            self._take_tracks(data)
        elif name == "time-pos":
            self._take_position(data)
        elif name == "vo-configured":
            self.has_output = bool(data)
        elif name == "idle-active":
            self._take_idle(data is True)
        elif name:
            self._take_value(name, data)

    def _take_value(self, name: str, data: Any) -> None:
        self._metrics[name] = data
        if name == "video-rotate":
            self._rotation = data if data in OVERLAY_PLACES else 0
        if name == "demuxer-cache-duration" and self._is_picture_ahead and self.new_picture_at is None:
            self.new_picture_at = time.monotonic() + (float(data) if is_number(data) else 0.0)

    def _take_over(self, playlist: object) -> None:
        """Read from mpv what it shows: `playlist` is its property, a list of entries with `id`, `filename` and `playing`."""
        self.is_known = True
        if self._loading or not isinstance(playlist, list):
            return
        for entry in playlist:
            number, name = int(entry.get("id", 0)), str(entry.get("filename", "")).encode().decode()
            what = STREAM if "://" in name else name
            self._entries[number] = what
            if entry.get("playing"):
                self.current = self._starting = what
            # Not an entry before the current one: it is not played again.
            if self.current and what != STREAM and not self.wanted:
                self.wanted = what
            if entry.get("playing") and what == STREAM:
                now = time.monotonic()
                self._stream_entry = number
                self.stream = StreamReport("playing", now, None, now)

    def _take_idle(self, is_idle: bool) -> None:
        now = time.monotonic()
        if not is_idle or not self.wanted:
            self.empty_since = None
            return
        self.current = ""
        self.empty_since = now if self.empty_since is None else self.empty_since
        if self.is_empty(now) and self.stream.phase in ("loading", "playing"):
            self.stream = StreamReport("ended", self.stream.loaded_monotonic)

    def _take_position(self, position: object) -> None:
        if self.stream.phase != "playing" or self._starting != STREAM or not is_number(position, is_signed=True):
            return
        # A position that jumps back has changed too: a stream that resumes after a stall can begin earlier.
        if position != self.stream.position_seconds:
            self.stream = StreamReport("playing", self.stream.loaded_monotonic, float(position), time.monotonic())

    def _forget_stream(self) -> None:
        self.has_picture, self.new_picture_at, self.motion = None, None, Motion()
        self._is_picture_ahead = False

    def _take_tracks(self, tracks: object) -> None:
        """Determine whether the stream has video: `tracks` is mpv's property. Tracks marked as albumart don't count.

        If video was missing from the beginning, livekeep.lua has inserted a cover, the only external track. mpv doesn't switch to
        video that appears later, and if forced to (vid), audio and video are seconds apart.
        """
        if self._starting != STREAM or self.stream.phase != "playing" or not isinstance(tracks, list):
            return
        videos = [track for track in tracks if isinstance(track, dict) and track.get("type") == "video"]
        pictures = [track for track in videos if not track.get("albumart")]
        self.has_picture = any(track.get("selected") for track in pictures)
        if self.has_picture:
            self.current = STREAM
            return
        self.current = self.wanted if any(track.get("selected") for track in videos) else ""
        if pictures and self.new_picture_at is None and any(track.get("external") for track in videos):
            # If reopened now, the stream would begin before its video.
            self._is_picture_ahead = True
            self._get("demuxer-cache-duration")

    def _take_event(self, message: dict[str, Any]) -> None:
        event, entry = message["event"], message.get("playlist_entry_id", 0)
        name, data = message.get("name"), message.get("data")
        if event == "start-file":
            self._starting = self._entries.get(entry, "")
        elif event == "playback-restart" and self._starting != STREAM:
            self.current = self._starting
        elif event == "playback-restart":
            if self.stream.phase == "loading":
                self._metrics.clear()
                self.stream = StreamReport("playing", self.stream.loaded_monotonic, None, time.monotonic())
            # Only the tracks show whether the first frame is video or audio.
            self._get("track-list")
        elif event == "client-message":
            self._take_copy(message.get("args"))
        elif event == "end-file":
            self._take_end(entry, message)
        elif event == "property-change" and name == "paused-for-cache":
            self._buffering = bool(data)
        elif event == "property-change" and name in ("track-list/count", "vid"):
            self._get("track-list")
        elif event == "property-change" and name == "idle-active" and data:
            # The event can arrive after the idle state has ended; a response is current.
            self._get("idle-active")

    def _take_copy(self, words: object) -> None:
        if isinstance(words, list) and len(words) == 3 and words[0] == "livekeep-seen" and self._starting == STREAM:
            with contextlib.suppress(ValueError, TypeError):
                self.motion.cost_seconds = float(words[2])
                self.motion.note(bytes.fromhex(words[1]), time.monotonic())

    def _take_end(self, entry: int, message: dict[str, Any]) -> None:
        what, reason = self._entries.pop(entry, ""), message.get("reason")
        if reason == "redirect":
            # A list of files replaces the entry: so mpv plays a playlist with a byte order mark, segment by segment.
            first, entries = message.get("playlist_insert_id"), message.get("playlist_insert_num_entries")
            if isinstance(first, int) and isinstance(entries, int) and 0 < entries <= MOST_ENTRIES:
                self._entries.update(dict.fromkeys(range(first, first + entries), what))
                if what == STREAM and entry == self._stream_entry:
                    self._stream_entry = first + entries - 1
        elif what == STREAM and entry == self._stream_entry and reason in ("eof", "error", "unknown"):
            self.stream = StreamReport("ended", self.stream.loaded_monotonic)
        elif what not in ("", STREAM) and reason == "error":
            self.failed_picture = what


def is_number(value: object, is_signed: bool = False) -> TypeGuard[int | float]:
    """Whether it is a number that a state can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (-LARGEST_FLOAT if is_signed else 0) <= value <= LARGEST_FLOAT


def overlay_text(lines: tuple[str, ...], rotation: int = 0) -> str:
    """ASS events (1920×1080) for `lines`: the first large, the others smaller, centred in the lowest fifth.

    `rotation`: degrees by which the text is turned clockwise, a key of `OVERLAY_PLACES`.
    """
    if not lines:
        return ""
    styles = (r"{\fs54\bord2\shad0\3c&H201810&\c&HF4EEE6&}", r"{\fs38\bord2\shad0\3c&H201810&\c&HD8CCC0&}")
    # ASS would interpret braces and backslashes.
    texts = [line.replace("\\", "\\\u2060").replace("{", r"\{").replace("\n", " ") for line in lines]
    rows = [styles[min(index, 1)] + text for index, text in enumerate(texts)]
    x, y = OVERLAY_PLACES[rotation]
    return rf"{{\an5\pos({x},{y})\frz{-rotation}\q0}}" + r"\N".join(rows)
