"""What the player needs of any display: `screen.mpv` and `screen.vlc` each speak their program's own language for it."""

from abc import ABC, abstractmethod
from pathlib import Path

from livekeep.core.state import Playback
from livekeep.screen.player.decision import StreamReport
from livekeep.screen.player.display_socket import DisplaySocket
from livekeep.screen.player.motion import Motion

STREAM = "stream"
EMPTY_SECONDS = 1.5
"""So long may the screen be without what was asked for; a change of picture may leave it so for a moment."""


class Driver(ABC):
    """A connection to one running player program; a new program needs a new object. All times are monotonic seconds.

    `stream`: what is known of the stream. `current`: what is on the screen, "stream", the path of a picture, or "" for neither.
    `wanted`: the picture last asked for, shown now or when the stream ends. `failed_picture`: one that could not be shown.
    `waiting_since`: since when an answer is due. `has_output`: whether there is a screen, None when it cannot say.
    `empty_since`: since when nothing is shown although something was asked for, None when that is not so or not known.
    `started`: when the program made its socket (Unix seconds).
    `has_picture`: whether the stream that plays has one, None when that is not known; without one its sound plays on beside the
    picture that follows it. `new_picture_at`: when to open the stream again for one that has come, None for not.
    `motion`: what was seen of the stream's picture.
    `is_known`: whether `current` is known; a program that plays already is taken over as it is.
    `run`: the same for all connections to one run of the program, and another for its next run.
    """

    name = ""

    def __init__(self, path: Path) -> None:
        """Connect to the socket at `path`. Raises `DisplayGoneError` when nobody listens there."""
        self._socket = DisplaySocket(path)
        self.started = started_at(path)
        self.run = run_of(path)
        self.stream = StreamReport()
        self.current = self.wanted = self.failed_picture = ""
        self.waiting_since: float | None = None
        self.empty_since: float | None = None
        self.has_output: bool | None = None
        self.has_picture: bool | None = None
        self.new_picture_at: float | None = None
        self.motion = Motion()
        self.is_known = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def is_empty(self, now: float) -> bool:
        """Whether the program has lost what it was to show, and will show nothing until it is asked again."""
        return self.empty_since is not None and now - self.empty_since >= EMPTY_SECONDS

    @abstractmethod
    def show_stream(self, url: str, then: str) -> None:
        """Open `url`; what is shown stays until its first frame, and the picture `then` follows when it ends."""

    @abstractmethod
    def show_picture(self, path: str, instead: str = "") -> None:
        """Show a still picture, or a video over and over; `instead` when it cannot be shown."""

    @abstractmethod
    def show_nothing(self) -> None:
        """Show the plain background, on which a text can still stand."""

    @abstractmethod
    def write(self, lines: tuple[str, ...]) -> None:
        """Write `lines` in the lower part of the picture; none removes them."""

    @abstractmethod
    def quit(self) -> None:
        """End the program, so that it is restarted."""

    @abstractmethod
    def ask(self, with_figures: bool) -> None:
        """Ask how far the stream is and whether there is a screen, and for the figures when wanted."""

    @abstractmethod
    def sample_picture(self) -> None:
        """Ask for a small copy of the stream's picture, for `motion`; a program that cannot give it does nothing."""

    @abstractmethod
    def figures(self) -> Playback:
        """The latest figures of the running stream, as far as the program gave them."""

    @abstractmethod
    def receive(self) -> None:
        """Take in all that the program sent. Raises `DisplayGoneError` when the connection is over."""


def started_at(socket: Path) -> float:
    """When the program made its socket (Unix seconds); 0 for a socket that is gone."""
    try:
        return socket.stat().st_mtime
    except OSError:
        return 0.0


def run_of(socket: Path) -> str:
    """Which run of the program listens at `socket`: each makes its own, and the launcher's chmod changes neither of the two."""
    try:
        status = socket.stat()
    except OSError:
        return ""
    return f"{status.st_ino}-{status.st_mtime_ns}"
