"""A channel's media for its worker: a folder, or a bucket through livekeep-storage. Both block."""

import contextlib
import json
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from livekeep.air.storage import folder
from livekeep.air.storage.media import ERROR_TYPES, MediaFile, StorageError, is_bucket, usable
from livekeep.core import paths

SOCKET = paths.STATE_DIRECTORY / "storage.sock"
DEFAULT_TIMEOUT_SECONDS = 10.0
START_SECONDS = 15.0
"""Time for livekeep-storage to start on a slow, busy machine."""
REST_SECONDS = 5.0
"""A file of a folder is complete when it was not written for this long."""
LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
ADVICE = "sudo systemctl enable --now livekeep-storage.socket"


class Library(Protocol):
    is_remote: bool
    """Whether `locate` returns a URL instead of a path."""
    waiting: tuple[str, ...]
    """The files that the last listing left out because they are still being written."""

    def list_media(self) -> tuple[MediaFile, ...]:
        """The files to play; at least one, or one in `waiting`. Raises `StorageError`."""

    def locate(self, name: str) -> str:
        """The path of a file, or a newly signed URL, which is a secret. Raises `StorageError`."""

    def identify(self, name: str) -> str:
        """The file's current version; "" for none, or where open files can't change. Raises `StorageError`."""


class FolderLibrary:
    """A file is listed when its size no longer changes: one that is still being written would end early."""

    is_remote = False

    def __init__(self, path: Path, extensions: Iterable[str], rest_seconds: float = REST_SECONDS) -> None:
        self._folder, self._extensions, self._rest_seconds = path, tuple(extensions), rest_seconds
        self.waiting: tuple[str, ...] = ()
        self._changed: dict[MediaFile, float] = {}
        """Recently written files, and since when each is unchanged, by the monotonic clock."""

    def list_media(self) -> tuple[MediaFile, ...]:
        files = folder.list_media(self._folder, self._extensions)
        now, clock = time.time(), time.monotonic()
        lately = [file for file in files if file.modified > now - self._rest_seconds]
        # A server's or camera's wrong clock can date a file in the future, so its time alone proves nothing.
        self._changed = {file: self._changed.get(file, clock) for file in lately}
        waiting = {file for file, since in self._changed.items() if clock - since < self._rest_seconds}
        self.waiting = tuple(file.name for file in files if file in waiting)
        return tuple(file for file in files if file not in waiting)

    def locate(self, name: str) -> str:
        if ".." in name.split("/") or name.startswith("/") or "\0" in name:
            raise StorageError("unreadable", f"{self._folder}: a name that leads out of it is not read")
        return str(self._folder / name)

    def identify(self, name: str) -> str:
        # A reader with an open file continues with that file.
        return ""


class BucketLibrary:
    is_remote = True
    waiting: tuple[str, ...] = ()
    """An object exists only when it is complete."""

    def __init__(self, media: str, extensions: Iterable[str], timeout_seconds: float, path: Path = SOCKET) -> None:
        """`timeout_seconds`: storage.timeout_seconds; a request takes at most twice that, plus the unit's start."""
        self._media, self._extensions, self._path = media, tuple(extensions), path
        self._longest_seconds = 2 * timeout_seconds + START_SECONDS

    def list_media(self) -> tuple[MediaFile, ...]:
        response = self._ask({"list": {"media": self._media, "extensions": self._extensions}})
        try:
            files = [MediaFile(str(name), int(size), float(modified)) for name, size, modified in response["files"]]
        except (KeyError, TypeError, ValueError) as error:
            raise not_understood() from error
        return usable(files, self._media.partition("://")[2])

    def locate(self, name: str) -> str:
        return self._text({"sign": {"media": self._media, "name": name}}, "url")

    def identify(self, name: str) -> str:
        return self._text({"identify": {"media": self._media, "name": name}}, "version")

    def _text(self, request: dict[str, Any], key: str) -> str:
        text = self._ask(request).get(key)
        if not isinstance(text, str):
            raise not_understood()
        return text

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The response of livekeep-storage. Raises the `StorageError` that it reports, or one about itself."""
        line, deadline = json.dumps(request).encode() + b"\n", time.monotonic() + self._longest_seconds
        # It may have been stopping; requests can safely be repeated.
        raw = exchange(self._path, line, deadline) or exchange(self._path, line, deadline)
        if not raw:
            raise StorageError("server-fault", "livekeep-storage: ends without a response; see: journalctl -u livekeep-storage")
        response: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            response = json.loads(raw)
        if not isinstance(response, dict):
            raise not_understood()
        if "error_type" in response:
            known = [error_type for error_type in ERROR_TYPES if error_type == response["error_type"]]
            raise StorageError(known[0] if known else "other", str(response.get("message", "livekeep-storage refuses")))
        return response


def exchange(path: Path, line: bytes, deadline: float) -> bytes:
    """Send one line to the socket at `path` and return the response line by `deadline`; b"" when the server disconnects instead.

    Raises `StorageError`.
    """
    response = bytearray()
    is_connected = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(seconds_until(deadline))
            connection.connect(str(path))
            is_connected = True
            connection.sendall(line)
            while not response.endswith(b"\n"):
                connection.settimeout(seconds_until(deadline))
                received = connection.recv(256 * 1024)
                if not received:
                    return b""
                response += received
                if len(response) > LARGEST_ANSWER_BYTES:
                    text = "livekeep-storage: the listing is too long; give the channel a prefix with fewer files"
                    raise StorageError("server-fault", text)
        except TimeoutError as error:
            text = "livekeep-storage: does not respond in time; see: journalctl -u livekeep-storage"
            raise StorageError("timeout", text) from error
        except PermissionError as error:
            text = f"{path}: may not be used ({error.strerror}); run as root or group livekeep"
            raise StorageError("unreachable", text) from error
        except OSError as error:
            if is_connected:
                return b""
            raise StorageError("unreachable", f"{path}: nobody listens there ({error.strerror}); start it: {ADVICE}") from error
    return bytes(response)


def seconds_until(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def not_understood() -> StorageError:
    text = "livekeep-storage: responds with something that this version does not know; restart both units after an update"
    return StorageError("server-fault", text)


def open_library(media: str, extensions: Iterable[str], timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Library:
    """The library of a channel's `media`. Reads nothing yet. `timeout_seconds`: storage.timeout_seconds."""
    if is_bucket(media):
        return BucketLibrary(media, extensions, timeout_seconds)
    return FolderLibrary(Path(media), extensions)
