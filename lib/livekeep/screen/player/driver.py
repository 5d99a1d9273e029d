"""The player's interface to any display; `mpv` and `vlc` implement it for their program's protocol."""

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path

from livekeep.core.state import Playback
from livekeep.screen.player.decision import StreamReport
from livekeep.screen.player.display_socket import DisplaySocket
from livekeep.screen.player.motion import Motion

STREAM = "stream"
EMPTY_SECONDS = 1.5
"""How long the screen can be without the requested picture; a change of picture can leave it so briefly."""


class Driver(DisplaySocket, ABC):
    """A connection to one running player program; a new program needs a new object. All times are monotonic seconds.

    `stream`: the stream's state. `current`: what is on the screen, "stream", the path of a picture, or "" for neither.
    `wanted`: the picture last requested, shown now or when the stream ends. `failed_picture`: one that could not be shown.
    `waiting_since`: since when a response is due. `has_output`: whether there is a screen, None if unknown.
    `empty_since`: since when nothing is shown despite a request, None if something is shown or that is unknown.
    `started`: when the program created its socket (Unix seconds), 0 if the socket is gone.
    `has_picture`: whether the playing stream has video, None if unknown; without video its sound continues beside the
    picture that follows it. `new_picture_at`: when to reopen the stream for video that appeared, None for never.
    `motion`: the observed motion of the stream's picture.
    `is_released`: whether the program has given up the screen's device, see `release`.
    `is_known`: whether `current` is known; a program that already plays is taken over as it is.
    `run`: the same for all connections to one run of the program, different for its next run.
    """

    name = ""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.started, self.run = 0.0, ""
        with contextlib.suppress(OSError):
            # Each run creates a new socket, and the launcher's chmod doesn't change these.
            status = path.stat()
            self.started, self.run = status.st_mtime, f"{status.st_ino}-{status.st_mtime_ns}"
        self.stream = StreamReport()
        self.current = self.wanted = self.failed_picture = ""
        self.waiting_since: float | None = None
        self.empty_since: float | None = None
        self.has_output: bool | None = None
        self.has_picture: bool | None = None
        self.new_picture_at: float | None = None
        self.motion = Motion()
        self.is_known = self.is_released = False

    def is_empty(self, now: float) -> bool:
        """Whether the program has lost what it should show, and shows nothing until the next request."""
        return self.empty_since is not None and now - self.empty_since >= EMPTY_SECONDS

    @abstractmethod
    def show_stream(self, url: str, then: str) -> None:
        """Open `url`; the current picture stays until its first frame, and the picture `then` follows at its end."""

    @abstractmethod
    def show_picture(self, path: str, instead: str = "") -> None:
        """Show a still picture, or a looped video; `instead` if it can't be shown."""

    @abstractmethod
    def show_nothing(self) -> None:
        """Show the plain background, which can still have text on it."""

    @abstractmethod
    def release(self, is_released: bool) -> None:
        """Give up the screen's device, so that the kernel can switch its output off, or take it again."""

    @abstractmethod
    def write(self, lines: tuple[str, ...]) -> None:
        """Write `lines` in the lower part of the picture; an empty sequence removes them."""

    @abstractmethod
    def ask(self, with_metrics: bool) -> None:
        """Request the stream's position and whether there is a screen, and optionally the metrics."""

    @abstractmethod
    def sample_picture(self) -> None:
        """Request a small copy of the stream's picture for `motion`; a program that can't provide it does nothing."""

    @abstractmethod
    def playback(self) -> Playback:
        """The latest metrics of the running stream, as far as the program reports them."""

    @abstractmethod
    def receive(self) -> None:
        """Process all messages from the program. Raises `DisplayGoneError` when the connection is closed."""
