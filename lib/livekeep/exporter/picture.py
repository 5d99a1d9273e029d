"""/screen.png: what the TV shows, for who knows the token in the credential livekeep.screen-token.

How the picture is taken: system/screen_picture.py. It goes from its file to the client without passing through this program's
memory.
"""

import os
from _operator import _compare_digest as is_equal  # hmac, which tells it, costs 2 MB
from collections.abc import Callable
from pathlib import Path

from livekeep.core import files
from livekeep.exporter.request import Request
from livekeep.exporter.web import Answer, Later, line
from livekeep.system import screen_picture
from livekeep.system.screen_picture import UNIT, start_unit

TOKEN_NAME = "livekeep.screen-token"  # noqa: S105 – a file's name
TOKEN_ADVICE = "put one into /etc/credstore/livekeep.screen-token and restart livekeep-exporter"  # noqa: S105


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


class Camera(screen_picture.Camera):
    """Has pictures taken, and hands the newest out."""

    def __init__(self, root: Path, is_enabled: bool, start: Callable[[], str] = start_unit) -> None:
        super().__init__(root, start)
        self._is_enabled = is_enabled

    def answer(self, request: Request) -> Answer | Later:
        if not self._is_enabled:
            return line(404, "the picture is switched off: set exporter.screen_picture = true, then: sudo livekeep apply")
        refused = refusal(request, read_token())
        if refused:
            return refused
        self.ask()
        return self._look

    def _look(self) -> Answer | None:
        """The answer, once the picture under way has come or failed."""
        if self.is_under_way:
            return None
        return line(504 if self.failure.is_late else 502, self.failure.sentence) if self.failure else self._open()

    def _open(self) -> Answer:
        try:
            descriptor, found = files.open_plain(self.file)
        except OSError as error:
            return line(502, f"{self.file}: cannot be read ({error.strerror})")
        if found.st_size:
            return Answer(200, content_type="image/png", file=descriptor, size=found.st_size)
        os.close(descriptor)
        return line(502, f"{self.file}: is no picture: journalctl -u {UNIT}")
