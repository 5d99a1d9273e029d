"""The pictures for the screen: which is next, what replaces one that can't be shown, and which changed.

A file that is being written is not used until it is at rest; the display, which decodes it, reports whether it is complete.
"""

import os
import stat
import time
from pathlib import Path

from livekeep.core import paths

REST_SECONDS = 1.0
"""A file whose size and times stay the same for this long counts as completely written."""

BLACK = str(paths.PICTURE_DIRECTORY / "black.png")
"""The picture of a TV that is off on purpose. mpv's own empty screen is not black on purpose."""
MPV_OPTIONS = {"loop-file": "inf", "vd-lavc-o": "err_detect=explode"}
"""mpv's options for a picture: loop it if it is a video, and reject it entirely if it is truncated."""

Stamp = tuple[int, int, int, int]
"""Inode, size in bytes, and the file's mtime and ctime in nanoseconds: any change of the file changes one of them."""


def mpv_options(path: str) -> dict[str, str]:
    """mpv's options for the picture at `path`."""
    # Bars beside it would have the colour of the empty screen.
    return {**MPV_OPTIONS, "keepaspect": "no"} if path == BLACK else MPV_OPTIONS


class Slides:
    """The holding pictures in turn. Skips pictures that can't be shown; the shipped one replaces them if none is left."""

    def __init__(self, holding: tuple[str, ...], seconds: float) -> None:
        self._holding, self._seconds = holding, seconds
        self._rejected: dict[str, Stamp] = {}
        self._index = 0
        self._shown_since: float | None = None
        self._files: dict[str, tuple[Stamp, float]] = {}
        """Each file's stamp, and since when (monotonic) it is unchanged."""
        self.given = ""
        """The picture last given to the display."""
        self._given_stamp: Stamp | None = None
        """The stamp of that file; None if unknown."""

    def present(self) -> str:
        """The path of the current picture; "" if there is none at all."""
        usable = self._usable()
        if usable:
            return usable[self._index % len(usable)]
        return self.shipped(is_error=False)

    def error_picture(self, wanted: str) -> str:
        """The path of the error picture: `wanted`, else the shipped one, else ""."""
        return wanted if self._is_usable(wanted) else self.shipped(is_error=True)

    def advance(self, now: float, visible: bool) -> None:
        """Go to the next picture when the current one has been visible for its time."""
        if not visible:
            self._shown_since = None
        elif self._shown_since is None:
            self._shown_since = now
        elif now - self._shown_since >= self._seconds - 0.01 and len(self._usable()) > 1:
            self._index += 1
            self._shown_since = now

    def next_change(self) -> float:
        """When (monotonic) the next picture is due, or a changed file can be at rest; infinity when neither is pending."""
        resting = [since + REST_SECONDS for path, (_stamp, since) in self._files.items() if not self._is_at_rest(path)]
        if self._shown_since is not None and len(self._usable()) > 1:
            resting.append(self._shown_since + self._seconds)
        return min(resting, default=float("inf"))

    def give(self, path: str, older_than: float | None = None) -> None:
        """The display has the picture at `path`, from now on, or since before `older_than` (Unix seconds)."""
        stamp = self._stamp(path)
        if stamp and older_than is not None and max(stamp[2:]) > older_than * 1e9:
            stamp = None
        self.given, self._given_stamp = path, stamp

    def is_outdated(self, path: str) -> bool:
        """Whether the display has an older version of that file, and the new one is at rest."""
        stamp = self._stamp(path)
        return path == self.given and stamp not in (None, self._given_stamp) and self._is_at_rest(path)

    def reject(self, path: str) -> None:
        """The display can't show that picture; it is not retried until its file changes."""
        if stamp := self._stamp(path):
            self._rejected[path] = stamp

    def problem(self, path: str) -> str:
        """Why the owner's picture at `path` is not shown, and what to do; "" if it is usable, or soon will be."""
        stamp = self._stamp(path)
        return "" if stamp and not self._is_at_rest(path) else self._fault(path, stamp)

    def _fault(self, path: str, stamp: Stamp | None) -> str:
        if stamp is None:
            return f"{path}: is missing, or no file; copy it there"
        if not stamp[1]:
            return f"{path}: is empty; copy it again"
        if not os.access(path, os.R_OK):
            return f"{path}: may not be read; run: chmod o+r, and see: namei -l"
        if self._rejected.get(path) == stamp:
            return f"{path}: cannot be shown; is it a picture, and whole? Copy it again"
        return ""

    def _usable(self) -> list[str]:
        return [path for path in self._holding if self._is_usable(path)]

    def black(self) -> str:
        """The path of the black picture; "" if it is missing."""
        return BLACK if self._is_usable(BLACK) else ""

    def shipped(self, is_error: bool) -> str:
        """The path of the picture shipped with livekeep; "" if it is missing."""
        path = str(paths.PICTURE_DIRECTORY / ("error.png" if is_error else "holding.png"))
        return path if self._is_usable(path) else ""

    def _is_usable(self, path: str) -> bool:
        stamp = self._stamp(path)
        if stamp and not self._is_at_rest(path):
            if path == self.given:
                # It stays on the screen while its file is replaced.
                return True
            # The shipped ones are always complete.
            if not Path(path).is_relative_to(paths.PICTURE_DIRECTORY):
                return False
        return not self._fault(path, stamp)

    def _is_at_rest(self, path: str) -> bool:
        return time.monotonic() - self._files[path][1] >= REST_SECONDS

    def _stamp(self, path: str) -> Stamp | None:
        """The file's current stamp; None if it is not a regular file."""
        try:
            status = Path(path).stat()
        except (OSError, ValueError):
            self._files.pop(path, None)
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        seen = self._files.get(path)
        if seen is None:
            # Another program may have just written it; a future time means that the clock was changed.
            age = time.time() - status.st_mtime
            self._files[path] = stamp, time.monotonic() - max(age, 0.0)
        elif seen[0] != stamp:
            self._files[path] = stamp, time.monotonic()
        return stamp
