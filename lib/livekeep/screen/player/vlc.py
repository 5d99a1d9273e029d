"""VLC as the display, controlled over its old remote control socket (vlc --intf oldrc --rc-unix): plain lines without ids.

VLC's limits: a change of picture blackens the screen for a moment, the time is only in whole seconds, there is little data on
its cache, and its text comes from a file that it reads once a second.
"""

import re
import time
from pathlib import Path
from urllib.parse import unquote

from livekeep.core import paths
from livekeep.core.state import Playback
from livekeep.screen.player.decision import StreamReport
from livekeep.screen.player.driver import STREAM, Driver

OPENING_SECONDS = 3.0
"""If the queued picture is still in place of the stream after this time, the stream could not be opened."""
TEXT_FILE = paths.STATE_DIRECTORY / "player/line.txt"
"""Read by VLC's marquee; the display's unit is in the group with read access."""
INPUT = re.compile(r"status change: \( new input: (.*) \)")
STOPPED = re.compile(r"status change: \( stop state: \d+ \)")
DISPLAYED = re.compile(r"\| frames displayed :\s+([0-9]{1,11})\b")
LOST = re.compile(r"\| frames lost\s+:\s+([0-9]{1,11})\b")
BITRATE = re.compile(r"\| demux bitrate\s+:\s+([0-9]{1,8}) kb/s")


class Vlc(Driver):
    """A connection to one running VLC."""

    name = "vlc"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._frames = self._lost = self._kilobits = 0
        self._seen_input = self._address = self._left = ""
        self.send("status")

    def show_stream(self, url: str, then: str) -> None:
        self.stream = StreamReport("loading", time.monotonic())
        self.wanted = then
        self._frames = 0
        # Responses about the previous input can still arrive.
        self._left, self._seen_input = ("" if self._address == url else self._address), ""
        for line in ("clear", "repeat off", f"add {url}"):
            self.send(line)
        if then:
            self.send(f"enqueue {then}")

    def show_picture(self, path: str, instead: str = "") -> None:
        # VLC can't fall back to another one without a gap.
        del instead
        self.stream = StreamReport()
        self.wanted = path
        for line in ("clear", "repeat on", f"add {path}"):
            self.send(line)

    def show_nothing(self) -> None:
        self.stream = StreamReport()
        self.current = self.wanted = ""
        self.send("stop")

    def release(self, is_released: bool) -> None:
        """Not supported: VLC keeps its output as long as it plays."""

    def write(self, lines: tuple[str, ...]) -> None:
        text = "\n".join(lines)
        try:
            if not TEXT_FILE.exists() or TEXT_FILE.read_text(encoding="utf-8") != text:
                TEXT_FILE.write_text(text, encoding="utf-8")
        except OSError:
            # A full /run: the picture is more important than its text, and the writer of the state already reports it.
            return

    def ask(self, with_metrics: bool) -> None:
        # VLC always reports all of it.
        del with_metrics
        if self.waiting_since is None:
            self.waiting_since = time.monotonic()
        self.send("status")
        self.send("stats")

    def sample_picture(self) -> None:
        """Not supported: VLC would have to write a whole picture to a file."""

    def playback(self) -> Playback:
        if self.stream.phase != "playing":
            return Playback()
        return Playback(
            position_seconds=self.stream.position_seconds,
            dropped_by_output=self._lost,
            input_bytes_per_second=self._kilobits * 125.0,
        )

    def receive(self) -> None:
        for raw in self.lines():
            self.waiting_since = None
            self._take(raw.decode(errors="replace").strip())

    def _take(self, line: str) -> None:
        if match := INPUT.match(line):
            self._take_input(match[1])
        elif STOPPED.match(line):
            self.is_known = True
            if self.stream.phase in ("loading", "playing") and self._seen_input == STREAM:
                self.stream = StreamReport("ended", self.stream.loaded_monotonic)
                self.current = self.wanted = ""
        elif match := DISPLAYED.match(line):
            frames = int(match[1])
            if self._seen_input == STREAM and self.stream.phase in ("loading", "playing") and frames != self._frames:
                self._frames = frames
                if frames > 0:
                    self.current = STREAM
                    self.stream = StreamReport("playing", self.stream.loaded_monotonic, float(frames), time.monotonic())
        elif match := LOST.match(line):
            self._lost = int(match[1])
        elif match := BITRATE.match(line):
            self._kilobits = int(match[1])

    def _take_input(self, address: str) -> None:
        """A response to `status`: the address that is played now."""
        self.is_known = True
        self._address = address
        if self.stream.phase == "loading" and address == self._left and not address.startswith("file://"):
            return
        path = unquote(address.removeprefix("file://")) if address.startswith("file://") else address
        if path.startswith("/"):
            self.current = path
            self.wanted = self.wanted or path
            if self.stream.phase == "playing" or (
                self.stream.phase == "loading"
                and (self._seen_input == STREAM or time.monotonic() - self.stream.loaded_monotonic > OPENING_SECONDS)
            ):
                self.stream = StreamReport("ended", self.stream.loaded_monotonic)
            self._seen_input = path
            return
        self._seen_input = STREAM
        if self.stream.phase == "none" and not self.wanted:
            # Taken over from a player that ended.
            now = time.monotonic()
            self.current, self.stream = STREAM, StreamReport("playing", now, None, now)
