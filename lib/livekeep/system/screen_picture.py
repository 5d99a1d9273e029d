"""Pictures of the TV's screen, for the programs that serve them: the exporter and the web pages.

A separate unit, livekeep-screen-picture.service, takes the picture and writes it to its runtime folder. This module starts the
unit over D-Bus, at most once in five seconds, and waits for the file. polkit lets these programs start that unit.
"""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from livekeep.core.errors import LivekeepError
from livekeep.system import dbus, systemd
from livekeep.system.background import Background

logger = logging.getLogger("livekeep.picture")

FILE = "screen-picture/screen.png"
"""Below the state directory; replaced atomically."""
UNIT = "livekeep-screen-picture.service"
AGAIN_SECONDS = 5.0
"""Between two pictures; until then all clients get the same one."""
PATIENCE_SECONDS = 30.0
CHECK_SECONDS = 0.05
"""Between two checks for the requested picture."""
NEVER = -math.inf


class Failure(NamedTuple):
    """Why there is no picture. `is_late`: it timed out."""

    is_late: bool
    sentence: str


def start_unit(bus: Path = dbus.SYSTEM_BUS) -> str:
    """Ask systemd to start the unit; returns the job's path. Raises `BusError`."""
    return str(dbus.call_once(systemd.job("start", UNIT), bus)[0])


class Camera:
    """Requests pictures. `start` starts the unit without waiting for its end; it runs in a thread."""

    def __init__(self, root: Path, start: Callable[[], str] = start_unit) -> None:
        self.file = root / FILE
        self.is_under_way = False
        self.failure: Failure | None = None
        """Of the newest request."""
        self._start = start
        self._asked = NEVER
        self._before: tuple[int, int] | None = None
        """The file's signature before the current request: an older picture doesn't satisfy it."""
        self._starting: Background[str] = Background(lambda: None, "picture")

    def ask(self) -> None:
        """Request a picture, unless one is requested already or was just taken."""
        now = time.monotonic()
        if self.is_under_way or self._starting.is_busy or now - self._asked < AGAIN_SECONDS:
            return
        self._asked, self.is_under_way, self.failure = now, True, None
        self._before = self._signature()
        self._starting.start(self._start)

    def one_pass(self, now: float) -> float:
        """Check for the requested picture; returns when (monotonic) to check again."""
        result = self._starting.take(now)
        if isinstance(result, LivekeepError):
            self._fail(Failure(False, f"{UNIT} cannot be started: {result}"))
        if self.is_under_way:
            signature = self._signature()
            if signature is not None and signature != self._before:
                self.is_under_way = False
            elif now - self._asked > PATIENCE_SECONDS:
                self._fail(Failure(True, f"no picture came within {PATIENCE_SECONDS:g} s: journalctl -u {UNIT}"))
        return now + CHECK_SECONDS if self.is_under_way or self._starting.is_busy else math.inf

    def _fail(self, failure: Failure) -> None:
        logger.warning("screen.png: %s", failure.sentence)
        self.is_under_way, self.failure = False, failure

    def _signature(self) -> tuple[int, int] | None:
        try:
            status = self.file.stat(follow_symlinks=False)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
