"""mpv as the display, driven over its JSON IPC socket (mpv(1), "JSON IPC").

By hand: python-mpv runs mpv within its own process, and here mpv is a unit of its own.

One long-lived mpv: going to another file in it changes the picture without a black frame, and the holding picture is queued
behind the stream, so that mpv goes to it by itself when the stream ends, even with the player gone. An mpv that has nothing
left to go to is *idle*, and its screen empty: black, or the plain background.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from livekeep.core.state import LARGEST_FLOAT, Playback
from livekeep.screen.display.pictures import MPV_OPTIONS
from livekeep.screen.player.decision import StreamReport
from livekeep.screen.player.display_socket import DisplayGoneError
from livekeep.screen.player.driver import STREAM, Driver
from livekeep.screen.player.motion import Motion

OVERLAY = 1
MOST_ENTRIES = 100_000
"""Of a list of files; a playlist of an event that can be rewound has some ten thousand."""
FIGURES: dict[str, tuple[str, type]] = {
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
"""Field of `core.state.Playback` → mpv's property, and the type that it must have."""
OF_PICTURES = ("frame_rate_hertz", "av_offset_seconds", "width_pixels", "height_pixels", "video_codec", "hwdec")
"""Those that are of the holding picture where a stream has none."""


class Mpv(Driver):
    """A connection to one running mpv."""

    name = "mpv"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._serial = self._stream_entry = 0
        self._asked: dict[int, str] = {}
        self._loading: dict[int, str] = {}
        self._entries: dict[int, str] = {}
        self._starting = self._overlay = ""
        self._buffering = self._is_picture_ahead = False
        self._figures: dict[str, Any] = {}
        self._send(["observe_property", 1, "paused-for-cache"])
        self._send(["observe_property", 2, "idle-active"])
        # What comes and goes in the stream: see `_take_tracks`.
        self._send(["observe_property", 3, "track-list/count"])
        self._send(["observe_property", 4, "vid"])
        self._get("playlist")

    def show_stream(self, url: str, then: str) -> None:
        """Open `url`; what is shown stays until its first frame, and the picture `then` follows when it ends."""
        self.stream = StreamReport("loading", time.monotonic())
        self._stream_entry = 0
        self.wanted = then
        self._forget_stream()
        self._go_to((STREAM, url), then)

    def show_picture(self, path: str, instead: str = "") -> None:
        """Show a still picture, or a video over and over; `instead` at once when it cannot be shown, or the screen went black."""
        self.stream = StreamReport()
        self._forget_stream()
        self.wanted = path
        self._go_to((path, path), "" if instead == path else instead)

    def show_nothing(self) -> None:
        """Show the plain background, on which a text can still stand."""
        self.stream = StreamReport()
        self._forget_stream()
        self.current = self.wanted = ""
        self.empty_since = None
        self._send(["stop"])

    def write(self, lines: tuple[str, ...]) -> None:
        """Write `lines` in the lower part of the picture; none removes them."""
        text = overlay_text(lines)
        if text != self._overlay:
            self._overlay = text
            kind = "ass-events" if text else "none"
            self._send({"name": "osd-overlay", "id": OVERLAY, "format": kind, "data": text, "res_x": 1920, "res_y": 1080})

    def quit(self) -> None:
        """End mpv with an error, so that it is restarted."""
        self._send(["quit", 1])

    def ask(self, with_figures: bool) -> None:
        """Ask for the position and whether there is an output and a picture, and for the rest of the figures when wanted."""
        if self.waiting_since is None:
            self.waiting_since = time.monotonic()
        self._get("vo-configured")
        self._get("idle-active")
        self._get("time-pos")
        if with_figures:
            self._get("demuxer-cache-state")
            for name, _kind in FIGURES.values():
                self._get(name)

    def sample_picture(self) -> None:
        """Ask livekeep.lua for a small copy of the picture; it answers by a message of its own."""
        self._send(["script-message", "livekeep-look"])

    def figures(self) -> Playback:
        """The latest figures of the running stream, as far as mpv gave them."""
        if self.stream.stage != "running":
            return Playback()
        values: dict[str, Any] = {}
        for field, (name, kind) in FIGURES.items():
            if self.has_picture is False and field in OF_PICTURES:
                continue
            value = self._figures.get(name)
            if isinstance(value, str) if kind is str else is_figure(value, is_signed=name == "avsync"):
                values[field] = kind(value)
        cache = self._figures.get("demuxer-cache-state")
        if isinstance(cache, dict):
            ahead, rate = cache.get("fw-bytes"), cache.get("raw-input-rate")
            values["cache_bytes"] = int(ahead) if is_figure(ahead) else 0
            values["input_bytes_per_second"] = float(rate) if is_figure(rate) else 0.0
        return Playback(buffering=self._buffering, position_seconds=self.stream.position_seconds, **values)

    def receive(self) -> None:
        """Take in all that mpv sent. Raises `DisplayGoneError` when the connection is over, or does not speak as mpv does."""
        for line in self._socket.lines():
            with as_mpv_speaks():
                message = json.loads(line)
                if "event" in message:
                    self._take_event(message)
                elif message.get("request_id"):
                    self._take_reply(message["request_id"], message.get("data"))

    def _go_to(self, first: tuple[str, str], then: str) -> None:
        """Show `first`, what it is and where, and the picture `then` (if any) when that ends or fails.

        mpv leaves what it shows only when both are queued: `first` may have failed before another command comes, and nothing
        would follow it.
        """
        self.empty_since = None
        if self.current and then:
            # All but the one that is shown.
            self._send(["playlist-clear"])
            self._load(*first, "append")
            self._load(then, then, "append")
            self._send(["playlist-play-index", 1])
            return
        self._load(*first, "replace")
        if then:
            self._load(then, then, "append-play")

    def _load(self, what: str, url: str, how: str) -> None:
        # By name: the index argument before the options is refused by 0.35 and wanted by 0.38 and later.
        command: dict[str, Any] = {"name": "loadfile", "url": url, "flags": how}
        if what != STREAM:
            command["options"] = MPV_OPTIONS
        self._loading[self._send(command)] = what

    def _get(self, name: str) -> None:
        self._asked[self._send(["get_property", name])] = name

    def _send(self, command: object) -> int:
        self._serial += 1
        self._socket.send(json.dumps({"command": command, "request_id": self._serial}))
        return self._serial

    def _take_reply(self, serial: int, data: Any) -> None:
        self.waiting_since = None
        if serial in self._loading:
            what = self._loading.pop(serial)
            entry = int(data.get("playlist_entry_id", 0)) if isinstance(data, dict) else 0
            self._entries[entry] = what
            if what == STREAM:
                self._stream_entry = entry
            return
        name = self._asked.pop(serial, "")
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
            self._figures[name] = data
        if name == "demuxer-cache-duration" and self._is_picture_ahead and self.new_picture_at is None:
            self.new_picture_at = time.monotonic() + (float(data) if is_figure(data) else 0.0)

    def _take_over(self, playlist: object) -> None:
        """Learn what mpv shows: `playlist` is its property, a list of entries with `id`, `filename` and `playing`."""
        self.is_known = True
        if self._loading or not isinstance(playlist, list):
            return
        for entry in playlist:
            number, name = int(entry.get("id", 0)), str(entry.get("filename", "")).encode().decode()
            what = STREAM if "://" in name else name
            self._entries[number] = what
            if entry.get("playing"):
                self.current = self._starting = what
            # Not one that lies behind: it does not come any more.
            if self.current and what != STREAM and not self.wanted:
                self.wanted = what
            if entry.get("playing") and what == STREAM:
                now = time.monotonic()
                self._stream_entry = number
                self.stream = StreamReport("running", now, None, now)

    def _take_idle(self, is_idle: bool) -> None:
        now = time.monotonic()
        if not is_idle or not self.wanted:
            self.empty_since = None
            return
        self.current = ""
        self.empty_since = now if self.empty_since is None else self.empty_since
        if self.is_empty(now) and self.stream.stage in ("loading", "running"):
            self.stream = StreamReport("ended", self.stream.loaded_monotonic)

    def _take_position(self, position: object) -> None:
        if self.stream.stage != "running" or self._starting != STREAM or not is_figure(position, is_signed=True):
            return
        # A position that jumps back has changed too: a stream that goes on after a stall may begin earlier.
        if position != self.stream.position_seconds:
            self.stream = StreamReport("running", self.stream.loaded_monotonic, float(position), time.monotonic())

    def _forget_stream(self) -> None:
        self.has_picture, self.new_picture_at, self.motion = None, None, Motion()
        self._is_picture_ahead = False

    def _take_tracks(self, tracks: object) -> None:
        """Learn whether the stream has a picture: `tracks` is mpv's property. What is marked as albumart is none.

        In place of one that was missing from the beginning livekeep.lua has put a cover, the only external track. mpv does not go
        to a picture that comes later, and when it is made to (vid), sound and picture are seconds apart.
        """
        if self._starting != STREAM or self.stream.stage != "running" or not isinstance(tracks, list):
            return
        videos = [track for track in tracks if isinstance(track, dict) and track.get("type") == "video"]
        pictures = [track for track in videos if not track.get("albumart")]
        self.has_picture = any(track.get("selected") for track in pictures)
        if self.has_picture:
            self.current = STREAM
            return
        self.current = self.wanted if any(track.get("selected") for track in videos) else ""
        if pictures and self.new_picture_at is None and any(track.get("external") for track in videos):
            # Opened now, it would begin before it.
            self._is_picture_ahead = True
            self._get("demuxer-cache-duration")

    def _take_event(self, message: dict[str, Any]) -> None:
        event, entry = message["event"], message.get("playlist_entry_id", 0)
        if event == "start-file":
            self._starting = self._entries.get(entry, "")
        elif event == "playback-restart":
            self._take_first_frame()
        elif event == "client-message":
            self._take_message(message.get("args"))
        elif event == "end-file" and message.get("reason") == "redirect":
            self._take_list(entry, message.get("playlist_insert_id"), message.get("playlist_insert_num_entries"))
        elif event == "end-file":
            self._take_end(entry, str(message.get("reason", "")))
        elif event == "property-change" and message.get("name") == "paused-for-cache":
            self._buffering = bool(message.get("data"))
        elif event == "property-change" and message.get("name") in ("track-list/count", "vid"):
            self._get("track-list")
        elif event == "property-change" and message.get("name") == "idle-active" and message.get("data"):
            # This may come after what has ended it; an answer is true when it is given.
            self._get("idle-active")

    def _take_first_frame(self) -> None:
        if self._starting != STREAM:
            self.current = self._starting
            return
        if self.stream.stage == "loading":
            self._figures.clear()
            self.stream = StreamReport("running", self.stream.loaded_monotonic, None, time.monotonic())
        # Only they tell whether it is a frame, or sound.
        self._get("track-list")

    def _take_message(self, words: object) -> None:
        if isinstance(words, list) and len(words) == 3 and words[0] == "livekeep-seen" and self._starting == STREAM:
            with contextlib.suppress(ValueError, TypeError):
                self.motion.cost_seconds = float(words[2])
                self.motion.note(bytes.fromhex(words[1]), time.monotonic())

    def _take_list(self, entry: int, first: object, entries: object) -> None:
        """The entry was a list of files, which take its place: a playlist with a byte order mark, whose segments mpv plays so."""
        what = self._entries.pop(entry, "")
        if not isinstance(first, int) or not isinstance(entries, int) or not 0 < entries <= MOST_ENTRIES:
            return
        self._entries.update(dict.fromkeys(range(first, first + entries), what))
        if what == STREAM and entry == self._stream_entry:
            self._stream_entry = first + entries - 1

    def _take_end(self, entry: int, reason: str) -> None:
        what = self._entries.pop(entry, "")
        if what == STREAM and entry == self._stream_entry and reason in ("eof", "error", "unknown"):
            self.stream = StreamReport("ended", self.stream.loaded_monotonic)
        elif what not in ("", STREAM) and reason == "error":
            self.failed_picture = what


@contextlib.contextmanager
def as_mpv_speaks() -> Iterator[None]:
    """Raises `DisplayGoneError` for whatever a program that is not mpv, or not well, may send in the place of a message."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DisplayGoneError(f"mpv's socket does not speak as mpv does ({type(error).__name__}: {error!s:.100})") from error


def is_figure(value: object, is_signed: bool = False) -> TypeGuard[int | float]:
    """Whether it is a number that a state may hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (-LARGEST_FLOAT if is_signed else 0) <= value <= LARGEST_FLOAT


def overlay_text(lines: tuple[str, ...]) -> str:
    """ASS events (1920×1080) for `lines`: the first large, the others smaller, centred in the lowest fifth."""
    if not lines:
        return ""
    styles = (r"{\fs54\bord2\shad0\3c&H201810&\c&HF4EEE6&}", r"{\fs38\bord2\shad0\3c&H201810&\c&HD8CCC0&}")
    rows = [styles[min(index, 1)] + escaped(line) for index, line in enumerate(lines)]
    return r"{\an5\pos(960,885)\q0}" + r"\N".join(rows)


def escaped(text: str) -> str:
    """Text as it is: ASS would take braces and backslashes as its own."""
    return text.replace("\\", "\\\u2060").replace("{", r"\{").replace("\n", " ")
