"""A channel's media for its worker: a folder, or a bucket through livekeep-storage. Both block."""

import contextlib
import json
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from livekeep.air.storage import folder
from livekeep.air.storage.media import (
    KINDS,
    MediaFile,
    NothingThereError,
    ServerFaultError,
    StorageError,
    StorageTimeoutError,
    StorageUnreachableError,
    UnreadableError,
    is_bucket,
    usable,
)
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
            raise UnreadableError(f"{self._folder}: a name that leads out of it is not read")
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
        answer = self._ask({"list": {"media": self._media, "extensions": self._extensions}})
        try:
            files = tuple(MediaFile(str(name), int(size), float(modified)) for name, size, modified in answer["files"])
        except (KeyError, TypeError, ValueError) as error:
            raise not_understood() from error
        where = self._media.partition("://")[2]
        if not files:
            raise NothingThereError(f"{where}: is empty; upload files")
        return usable(files, where)

    def locate(self, name: str) -> str:
        url = self._ask({"sign": {"media": self._media, "name": name}}).get("url")
        if not isinstance(url, str):
            raise not_understood()
        return url

    def identify(self, name: str) -> str:
        version = self._ask({"identify": {"media": self._media, "name": name}}).get("version")
        if not isinstance(version, str):
            raise not_understood()
        return version

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The response of livekeep-storage. Raises the `StorageError` that it reports, or one about itself."""
        line, deadline = json.dumps(question).encode() + b"\n", time.monotonic() + self._longest_seconds
        # It may have been stopping; requests can safely be repeated.
        raw = exchange(self._path, line, deadline) or exchange(self._path, line, deadline)
        if not raw:
            raise ServerFaultError("livekeep-storage: ends without an answer; see: journalctl -u livekeep-storage")
        answer: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(raw)
        if not isinstance(answer, dict):
            raise not_understood()
        if "error_type" in answer:
            raise KINDS.get(str(answer["error_type"]), StorageError)(str(answer.get("message", "livekeep-storage refuses")))
        return answer


def exchange(path: Path, line: bytes, deadline: float) -> bytes:
    """Send one line to the socket at `path` and return the response line by `deadline`; b"" when the server disconnects instead.

    Raises `StorageUnreachableError` or `StorageTimeoutError`.
    """
    answer = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(seconds_until(deadline))
            connection.connect(str(path))
        except TimeoutError as error:
            raise timed_out() from error
        except OSError as error:
            raise unreachable(path, error) from error
        try:
            connection.sendall(line)
            while not answer.endswith(b"\n"):
                connection.settimeout(seconds_until(deadline))
                received = connection.recv(256 * 1024)
                if not received:
                    return b""
                answer += received
                if len(answer) > LARGEST_ANSWER_BYTES:
                    raise ServerFaultError(
                        "livekeep-storage: the listing is too long; give the channel a prefix with fewer files"
                    )
        except TimeoutError as error:
            raise timed_out() from error
        except OSError:
            return b""
    return bytes(answer)


def seconds_until(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def timed_out() -> StorageTimeoutError:
    return StorageTimeoutError("livekeep-storage: gives no answer in time; see: journalctl -u livekeep-storage")


def unreachable(path: Path, error: OSError) -> StorageUnreachableError:
    if isinstance(error, PermissionError):
        return StorageUnreachableError(f"{path}: may not be used ({error.strerror}); run as root or group livekeep")
    return StorageUnreachableError(f"{path}: nobody listens there ({error.strerror}); start it: {ADVICE}")


def not_understood() -> ServerFaultError:
    return ServerFaultError("livekeep-storage: answers what this version does not know; restart both units after an update")


def open_library(media: str, extensions: Iterable[str], timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Library:
    """The library of a channel's `media`. Reads nothing yet. `timeout_seconds`: storage.timeout_seconds."""
    if is_bucket(media):
        return BucketLibrary(media, extensions, timeout_seconds)
    return FolderLibrary(Path(media), extensions)
