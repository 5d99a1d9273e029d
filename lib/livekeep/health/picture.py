"""/screen.png: what the TV shows, for who knows the token in the credential livekeep.screen-token.

A unit of its own, livekeep-screen-picture.service, takes the picture and puts it into its runtime folder; systemd is asked over
D-Bus to start it, at most once in five seconds, and its file is waited for. The picture goes from that file to the client without
passing through this program's memory.
"""

import logging
import math
import os
import time
from _operator import _compare_digest as is_equal  # hmac, which tells it, costs 2 MB
from collections.abc import Sequence
from pathlib import Path

from livekeep.core import files
from livekeep.health.request import Request
from livekeep.health.web import LATER_SECONDS, Answer, Later, line

logger = logging.getLogger("livekeep.exporter")

FILE = "screen-picture/screen.png"
"""Below the state directory; replaced as a whole."""
UNIT = "livekeep-screen-picture.service"
"""The one unit that polkit lets this program start."""
MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
START = ("/usr/bin/busctl", "--quiet", "call", *MANAGER, "StartUnit", "ss", UNIT, "replace")
TOKEN_NAME = "livekeep.screen-token"  # noqa: S105 – a file's name
TOKEN_ADVICE = "put one into /etc/credstore/livekeep.screen-token and restart livekeep-exporter"  # noqa: S105
AGAIN_SECONDS = 5.0
"""Between two pictures; until then everybody gets the same one."""
PATIENCE_SECONDS = 30.0
NEVER = -math.inf


def read_token() -> bytes:
    """From the unit's credentials; b"" when there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    try:
        return (Path(folder) / TOKEN_NAME).read_bytes().strip() if folder else b""
    except OSError:
        return b""


def refusal(request: Request, token: bytes) -> Answer | None:
    """What an asker without the right token is told."""
    if not token:
        return line(503, f"no token is set: {TOKEN_ADVICE}")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not is_equal(given.strip().encode("latin-1", "replace"), token):
        challenge = ("WWW-Authenticate", 'Bearer realm="livekeep"')
        return line(401, "the picture is for who knows the token: Authorization: Bearer TOKEN", challenge)
    return None


class Camera:
    """Has pictures taken, and hands the newest out. `start` is the command that starts the unit; it need not wait for its end."""

    def __init__(self, root: Path, is_enabled: bool, start: Sequence[str] = START) -> None:
        self._file, self._is_enabled, self._start = root / FILE, is_enabled, tuple(start)
        self._asked = NEVER
        self._before: tuple[int, int] | None = None
        """What the file was before the picture under way; that one was taken for nobody who asks now."""
        self._is_under_way = False
        self._call = 0
        self._failure: Answer | None = None

    def answer(self, request: Request) -> Answer | Later:
        if not self._is_enabled:
            return line(404, "the picture is switched off: set exporter.screen_picture = true, then: sudo livekeep apply")
        refused = refusal(request, read_token())
        if refused:
            return refused
        now = time.monotonic()
        if not self._is_under_way and now - self._asked >= AGAIN_SECONDS:
            self._ask(now)
        return self._look

    def one_pass(self, now: float) -> float:
        """See to the picture under way; gives when (monotonic) to do that again."""
        self._take_call_answer()
        if self._is_under_way:
            self._see(now)
        return now + LATER_SECONDS if self._is_under_way or self._call else math.inf

    def _ask(self, now: float) -> None:
        self._asked, self._is_under_way, self._failure = now, True, None
        self._before = self._signature()
        try:
            self._call = os.posix_spawn(self._start[0], self._start, os.environ)
        except OSError as error:
            self._fail(502, f"{self._start[0]}: cannot be run ({error.strerror})")

    def _take_call_answer(self) -> None:
        if not self._call:
            return
        pid, status = os.waitpid(self._call, os.WNOHANG)
        if pid:
            self._call = 0
            if status:
                self._fail(502, f"{UNIT} cannot be started: is polkit running? See /etc/polkit-1/rules.d/livekeep.rules")

    def _see(self, now: float) -> None:
        found = self._signature()
        if found is not None and found != self._before:
            self._is_under_way = False
        elif now - self._asked > PATIENCE_SECONDS:
            self._fail(504, f"no picture came within {PATIENCE_SECONDS:g} s: journalctl -u {UNIT}")

    def _fail(self, status: int, sentence: str) -> None:
        logger.warning("screen.png: %s", sentence)
        self._is_under_way, self._failure = False, line(status, sentence)

    def _look(self) -> Answer | None:
        """The answer, once the picture under way has come or failed."""
        if self._is_under_way:
            return None
        return self._failure or self._open()

    def _open(self) -> Answer:
        try:
            descriptor, found = files.open_plain(self._file)
        except OSError as error:
            return line(502, f"{self._file}: cannot be read ({error.strerror})")
        if found.st_size:
            return Answer(200, content_type="image/png", file=descriptor, size=found.st_size)
        os.close(descriptor)
        return line(502, f"{self._file}: is no picture: journalctl -u {UNIT}")

    def _signature(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat(follow_symlinks=False)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
