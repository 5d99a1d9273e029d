"""livekeep-storage: lists buckets and signs URLs of their objects, for the workers. Only this program has the storage keys.

Only root and the socket's owner, livekeep-worker, can send requests, and only for configured channels' media and extensions.
So even if the keys cover a whole account, another compromised program can't reach its other objects.

Unit: livekeep-storage.service, started by livekeep-storage.socket, ends when idle. systemd keeps the socket, so that a request
that comes as it ends starts it again. A changed configuration or key takes effect at the next start.
Reads: the configuration, the credentials livekeep.storage-key-id and livekeep.storage-secret. Writes nothing.

Each line of a connection is a JSON request; the response is one line:
    {"list": {"media": "s3://bucket/prefix", "extensions": [".mp4"]}}  →  {"files": [[name, size_bytes, modified], …]}
    {"sign": {"media": "s3://bucket/prefix", "name": "clip.mp4"}}      →  {"url": "https://…"}
    {"identify": {"media": "s3://bucket/prefix", "name": "clip.mp4"}}  →  {"version": "its ETag and size"}, "" for none
    any request that fails                                             →  {"error_type": "wrong-keys", "message": "…"}
"""

import contextlib
import json
import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from livekeep.air.storage.bucket import MOST_CONNECTIONS, SET_KEYS, Bucket
from livekeep.air.storage.media import (
    MisconfiguredError,
    NoKeysError,
    StorageError,
    WrongKeysError,
    is_bucket,
    is_playable,
    split_bucket,
)
from livekeep.core import channels, config, log
from livekeep.core.config import Channel
from livekeep.core.errors import TemporaryError
from livekeep.system import credentials

IDLE_SECONDS = 20.0
SILENCE_SECONDS = 20.0
"""How long a connection can stay open without a request."""
LONGEST_LINE_BYTES = 64 * 1024
FIRST_DESCRIPTOR = 3
"""The first descriptor of systemd's sockets, sd_listen_fds(3)."""
KEY_ID_NAME = "livekeep.storage-key-id"
SECRET_NAME = "livekeep.storage-secret"  # noqa: S105 – a file's name

logger = logging.getLogger("livekeep.storage")


class Answerer:
    """Makes the response to each request."""

    def __init__(self, bucket: Bucket | StorageError, url_seconds: int, channels_now: Callable[[], Iterable[Channel]]) -> None:
        """`bucket`: an error here is the response to every request. `channels_now` returns the channels that are configured at
        that moment.
        """
        self._bucket, self._url_seconds, self._channels_now = bucket, url_seconds, channels_now

    def answer(self, line: bytes) -> dict[str, Any]:
        began = time.monotonic()
        try:
            answer, said = self._decide(line)
        except StorageError as error:
            answer, said = refusal(error.error_type, str(error)), error.error_type
        except Exception:
            logger.exception("a question failed by a fault of this program")
            answer, said = refusal("server-fault", "livekeep-storage fails; see: journalctl -u livekeep-storage"), "a bug"
        logger.debug("answered in %.3f s: %s", time.monotonic() - began, said)
        return answer

    def _decide(self, line: bytes) -> tuple[dict[str, Any], str]:
        """The response, and its log text. Raises `StorageError`."""
        if isinstance(self._bucket, StorageError):
            raise self._bucket
        match parsed(line):
            case {"list": {"media": str(media), "extensions": [*extensions]}} if is_bucket(media):
                self._check_media(media, [str(extension) for extension in extensions])
                bucket, prefix = split_bucket(media)
                files = self._bucket.list_media(bucket, prefix, [str(extension) for extension in extensions])
                listed = [[file.name, file.size_bytes, file.modified] for file in files]
                return {"files": listed}, f"{len(files)} files in bucket {bucket}"
            case {"sign": {"media": str(media), "name": str(name)}} if is_bucket(media):
                self._check_name(media, name)
                bucket, prefix = split_bucket(media)
                return {"url": self._bucket.sign(bucket, prefix + name, self._url_seconds)}, f"signed {name!a} in bucket {bucket}"
            case {"identify": {"media": str(media), "name": str(name)}} if is_bucket(media):
                self._check_name(media, name)
                bucket, prefix = split_bucket(media)
                return {"version": self._bucket.identify(bucket, prefix + name)}, f"identified {name!a} in bucket {bucket}"
        return refusal(
            "bad-request", "livekeep-storage does not know that question; see its program's description"
        ), "bad request"

    def _extensions_of(self, media: str) -> set[str]:
        """The extensions of all channels that play `media`. Raises `MisconfiguredError` if none does."""
        wanted = split_bucket(media)
        played = [
            channel.extensions
            for channel in self._channels_now()
            if is_bucket(channel.media) and split_bucket(channel.media) == wanted
        ]
        if not played:
            raise MisconfiguredError(f"{media}: no configured channel plays it, and livekeep-storage gives nothing else")
        return {extension for extensions in played for extension in extensions}

    def _check_media(self, media: str, extensions: Collection[str]) -> None:
        """Raises `MisconfiguredError` if no channel plays such files there."""
        if others := set(extensions) - self._extensions_of(media):
            raise MisconfiguredError(f"{media}: no configured channel plays {', '.join(sorted(others))} there")

    def _check_name(self, media: str, name: str) -> None:
        if not is_playable(name, self._extensions_of(media)):
            raise MisconfiguredError(f"{media}: no configured channel plays a file of that name there")


def configured_channels() -> Iterable[Channel]:
    """The channels of the configuration and of the API, read again; without the API's if they can't be read."""
    settings, _problems = config.load_leniently()
    with contextlib.suppress(TemporaryError):
        return channels.load(settings)[0].values()
    return settings.channels.values()


def parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def refusal(error_type: str, message: str) -> dict[str, Any]:
    return {"error_type": error_type, "message": message}


def read_keys() -> tuple[str, str]:
    """The key id and the secret from the unit's credentials. Raises `NoKeysError` or `WrongKeysError`."""
    key_id, secret = read_key(KEY_ID_NAME), read_key(SECRET_NAME)
    if not key_id or not secret:
        missing = " and ".join(name for name, value in ((KEY_ID_NAME, key_id), (SECRET_NAME, secret)) if not value)
        raise NoKeysError(f"storage keys: {missing}: not set; set both: {SET_KEYS}")
    return key_id, secret


def read_key(name: str) -> str:
    try:
        return credentials.read_key(name)
    except (OSError, UnicodeDecodeError) as error:
        raise WrongKeysError(f"storage keys: {name}: cannot be read, or is not text; set both: {SET_KEYS}") from error
    except ValueError as error:
        raise WrongKeysError(f"storage keys: {name}: holds more than a key: {error}; set both: {SET_KEYS}") from error


def open_bucket() -> tuple[Bucket | StorageError, config.Config]:
    """The buckets' server, or an error: the request that started this program must get a response either way."""
    settings, problems = config.load_leniently()
    problems = tuple(problem for problem in problems if config.concerns(problem, "storage"))
    try:
        if problems:
            raise MisconfiguredError("; ".join(problems))
        return Bucket(settings.storage, *read_keys()), settings
    except StorageError as error:
        return error, settings


class Server:
    """Serves connections, each in a thread, until idle."""

    def __init__(self, listener: socket.socket, answerer: Answerer, idle_seconds: float) -> None:
        self._listener, self._answerer, self._idle_seconds = listener, answerer, idle_seconds
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._connections = 0
        self._last_used = time.monotonic()
        # systemd makes the permitted user the socket's owner.
        self._users = {0, Path(listener.getsockname()).stat().st_uid}
        listener.setblocking(False)

    def run(self) -> None:
        """Return when idle. A connection not accepted by then waits in the socket for the next start."""
        while (wait_seconds := self._idle_left()) > 0:
            readable, _, _ = select.select([self._listener], [], [], wait_seconds)
            if readable:
                self._accept()

    def _idle_left(self) -> float:
        with self._lock:
            return self._idle_seconds if self._connections else self._last_used + self._idle_seconds - time.monotonic()

    def _accept(self) -> None:
        # Connections beyond the limit wait in the socket.
        self._free.acquire()
        try:
            connection, _ = self._listener.accept()
        except OSError:
            self._free.release()
            return
        with self._lock:
            self._connections += 1
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                if (user := peer_uid(connection)) not in self._users:
                    logger.warning("user %d asked, who is neither root nor the socket's owner: refused", user)
                    return
                connection.settimeout(SILENCE_SECONDS)
                while (line := lines.readline(LONGEST_LINE_BYTES)).endswith(b"\n"):
                    connection.sendall(json.dumps(self._answerer.answer(line)).encode() + b"\n")
        except OSError as error:
            logger.debug("a connection ended early (%s)", error.strerror or "nothing came")
        finally:
            with self._lock:
                self._connections -= 1
                self._last_used = time.monotonic()
            self._free.release()


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process that connected, unix(7)."""
    _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)


def inherited_listener() -> socket.socket:
    """The socket from systemd. Raises `TemporaryError` when there is none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise TemporaryError("livekeep-storage: is started by its socket: sudo systemctl enable --now livekeep-storage.socket")
    return socket.socket(fileno=FIRST_DESCRIPTOR)


def end(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until idle or SIGTERM. Raises `TemporaryError` when it was not started by its socket."""
    if list(sys.argv[1:] if argv is None else argv):
        print("usage: livekeep-storage (without arguments; livekeep-storage.socket starts it)", file=sys.stderr)
        return 2
    # Waiting clients repeat their request.
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    listener = inherited_listener()
    bucket, settings = open_bucket()
    log.set_up(settings.log.level)
    if isinstance(bucket, StorageError):
        logger.error("%s", bucket)
    Server(listener, Answerer(bucket, settings.storage.url_seconds, configured_channels), IDLE_SECONDS).run()
    return 0
