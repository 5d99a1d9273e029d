"""/screen.png: the TV's picture, for clients with the token in the credential livekeep.screen-token.

system/screen_picture.py takes the picture. A request waits for it in one of the server's worker threads.
"""

import hmac
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from livekeep.core import files
from livekeep.exporter.pages import Environ, Response, line
from livekeep.exporter.server import THREADS
from livekeep.system import credentials
from livekeep.system.screen_picture import CHECK_SECONDS, UNIT, Camera, start_unit

TOKEN_NAME = "livekeep.screen-token"  # noqa: S105 – a file's name
TOKEN_ADVICE = "put one into /etc/credstore/livekeep.screen-token and restart livekeep-exporter"  # noqa: S105
MOST_WAITING = THREADS - 1
"""One thread always remains for the other pages."""


def read_token() -> bytes:
    """From the unit's credentials; b"" if there is none."""
    try:
        return credentials.read_text(TOKEN_NAME).strip().encode()
    except (OSError, ValueError):
        return b""


def refusal(environ: Environ, token: bytes) -> Response | None:
    """The response to a client without the right token."""
    if not token:
        return line(503, f"no token is set: {TOKEN_ADVICE}")
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1", "replace"), token):
        challenge = ("WWW-Authenticate", 'Bearer realm="livekeep"')
        return line(401, "the picture requires the token: Authorization: Bearer TOKEN", challenge)
    return None


class PicturePage:
    """Requests pictures, and serves the newest. `start` is the command that starts the unit."""

    def __init__(
        self,
        root: Path,
        is_enabled: bool,
        start: Callable[[], str] = start_unit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_enabled, self._clock = is_enabled, clock
        self._camera = Camera(root, start)
        self._lock = threading.Lock()
        """Of the camera."""
        self._places = threading.Semaphore(MOST_WAITING)

    def __call__(self, environ: Environ) -> Response:
        if not self._is_enabled:
            return line(404, "the picture is switched off: set exporter.screen_picture = true, then: sudo livekeep apply")
        refused = refusal(environ, read_token())
        if refused:
            return refused
        if not self._places.acquire(blocking=False):
            return line(503, f"{MOST_WAITING} clients are already waiting for the picture; try again", ("Retry-After", "5"))
        try:
            return self._take()
        finally:
            self._places.release()

    def _take(self) -> Response:
        """Wait for a recent picture."""
        with self._lock:
            self._camera.ask()
        while True:
            with self._lock:
                is_done = self._camera.one_pass(self._clock()) == math.inf
                failure = self._camera.failure
            if is_done:
                break
            time.sleep(CHECK_SECONDS)
        if failure:
            return line(504 if failure.is_late else 502, failure.sentence)
        path = self._camera.file
        try:
            descriptor, status = files.open_plain(path)
        except OSError as error:
            return line(502, f"{path}: cannot be read ({error.strerror})")
        if status.st_size:
            return Response(200, content_type="image/png", file=os.fdopen(descriptor, "rb"), size=status.st_size)
        os.close(descriptor)
        return line(502, f"{path}: is no picture: journalctl -u {UNIT}")
