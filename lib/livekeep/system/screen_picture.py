"""Pictures of what the TV shows, for the programs that hand them out: the exporter and the web pages.

A unit of its own, livekeep-screen-picture.service, takes the picture and puts it into its runtime folder; systemd is asked over
D-Bus to start it, at most once in five seconds, and its file is waited for. polkit lets these programs start that unit.
"""

import logging
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger("livekeep.picture")

FILE = "screen-picture/screen.png"
"""Below the state directory; replaced as a whole."""
UNIT = "livekeep-screen-picture.service"
MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
START = ("/usr/bin/busctl", "--quiet", "call", *MANAGER, "StartUnit", "ss", UNIT, "replace")
AGAIN_SECONDS = 5.0
"""Between two pictures; until then everybody gets the same one."""
PATIENCE_SECONDS = 30.0
CHECK_SECONDS = 0.05
"""Between two looks for the picture under way."""
NEVER = -math.inf


class Failure(NamedTuple):
    """Why there is no picture. `is_late`: it did not come in time."""

    is_late: bool
    sentence: str


class Camera:
    """Has pictures taken. `start` is the command that starts the unit; it need not wait for its end."""

    def __init__(self, root: Path, start: Sequence[str] = START) -> None:
        self.file = root / FILE
        self.is_under_way = False
        self.failure: Failure | None = None
        """Of the newest picture."""
        self._start = tuple(start)
        self._asked = NEVER
        self._before: tuple[int, int] | None = None
        """What the file was before the picture under way; that one was taken for nobody who asks now."""
        self._call = 0

    def ask(self) -> None:
        """Have a picture taken, unless one is under way or was just taken."""
        now = time.monotonic()
        if self.is_under_way or now - self._asked < AGAIN_SECONDS:
            return
        self._asked, self.is_under_way, self.failure = now, True, None
        self._before = self._signature()
        try:
            self._call = os.posix_spawn(self._start[0], self._start, os.environ)
        except OSError as error:
            self._fail(Failure(False, f"{self._start[0]}: cannot be run ({error.strerror})"))

    def one_pass(self, now: float) -> float:
        """See to the picture under way; gives when (monotonic) to do that again."""
        self._take_call_answer()
        if self.is_under_way:
            self._see(now)
        return now + CHECK_SECONDS if self.is_under_way or self._call else math.inf

    def _take_call_answer(self) -> None:
        if not self._call:
            return
        pid, status = os.waitpid(self._call, os.WNOHANG)
        if pid:
            self._call = 0
            if status:
                advice = "is polkit running? See /etc/polkit-1/rules.d/livekeep.rules"
                self._fail(Failure(False, f"{UNIT} cannot be started: {advice}"))

    def _see(self, now: float) -> None:
        found = self._signature()
        if found is not None and found != self._before:
            self.is_under_way = False
        elif now - self._asked > PATIENCE_SECONDS:
            self._fail(Failure(True, f"no picture came within {PATIENCE_SECONDS:g} s: journalctl -u {UNIT}"))

    def _fail(self, failure: Failure) -> None:
        logger.warning("screen.png: %s", failure.sentence)
        self.is_under_way, self.failure = False, failure

    def _signature(self) -> tuple[int, int] | None:
        try:
            found = self.file.stat(follow_symlinks=False)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
