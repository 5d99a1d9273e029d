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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from livekeep.air.storage.bucket import MOST_CONNECTIONS, SET_KEYS, Bucket
from livekeep.air.storage.media import StorageError, is_bucket, is_playable, split_bucket
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
            logger.exception("a request failed because of a bug")
            answer, said = refusal("server-fault", "livekeep-storage fails; see: journalctl -u livekeep-storage"), "a bug"
        logger.debug("answered in %.3f s: %s", time.monotonic() - began, said)
        return answer

    def _decide(self, line: bytes) -> tuple[dict[str, Any], str]:
        """The response, and its log text. Raises `StorageError`."""
        if isinstance(self._bucket, StorageError):
            raise self._bucket
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        match request:
            case {"list": {"media": str(media), "extensions": [*extensions]}} if is_bucket(media):
                wanted = [str(extension) for extension in extensions]
                if others := set(wanted) - self._extensions_of(media):
                    text = f"{media}: no configured channel plays {', '.join(sorted(others))} there"
                    raise StorageError("bad-config", text)
                bucket, prefix = split_bucket(media)
                files = self._bucket.list_media(bucket, prefix, wanted)
                listed = [[file.name, file.size_bytes, file.modified] for file in files]
                return {"files": listed}, f"{len(files)} files in bucket {bucket}"
            case {"sign": {"media": str(media), "name": str(name)}} if is_bucket(media):
                bucket, key = self._object(media, name)
                return {"url": self._bucket.sign(bucket, key, self._url_seconds)}, f"signed {name!a} in bucket {bucket}"
            case {"identify": {"media": str(media), "name": str(name)}} if is_bucket(media):
                bucket, key = self._object(media, name)
                return {"version": self._bucket.identify(bucket, key)}, f"identified {name!a} in bucket {bucket}"
        text = "livekeep-storage does not know that request; see its program's description"
        return refusal("bad-request", text), "bad request"

    def _object(self, media: str, name: str) -> tuple[str, str]:
        """The bucket and the key of a file. Raises `StorageError` if no configured channel plays it."""
        if not is_playable(name, self._extensions_of(media)):
            raise StorageError("bad-config", f"{media}: no configured channel plays a file of that name there")
        bucket, prefix = split_bucket(media)
        return bucket, prefix + name

    def _extensions_of(self, media: str) -> set[str]:
        """The extensions of all channels that play `media`. Raises `StorageError` if none does."""
        wanted = split_bucket(media)
        played = [
            channel.extensions
            for channel in self._channels_now()
            if is_bucket(channel.media) and split_bucket(channel.media) == wanted
        ]
        if not played:
            text = f"{media}: no configured channel plays it, and livekeep-storage gives access to nothing else"
            raise StorageError("bad-config", text)
        return {extension for extensions in played for extension in extensions}


def configured_channels() -> Iterable[Channel]:
    """The channels of the configuration and of the API, read again; without the API's if they can't be read."""
    settings, _problems = config.load_leniently()
    with contextlib.suppress(TemporaryError):
        return channels.load(settings)[0].values()
    return settings.channels.values()


def refusal(error_type: str, message: str) -> dict[str, Any]:
    return {"error_type": error_type, "message": message}


def read_keys() -> tuple[str, str]:
    """The key id and the secret from the unit's credentials. Raises `StorageError`."""
    keys = {}
    for name in (KEY_ID_NAME, SECRET_NAME):
        try:
            keys[name] = credentials.read_key(name)
        except (OSError, UnicodeDecodeError) as error:
            text = f"storage keys: {name}: cannot be read, or is not text; set both: {SET_KEYS}"
            raise StorageError("wrong-keys", text) from error
        except ValueError as error:
            text = f"storage keys: {name}: holds more than a key: {error}; set both: {SET_KEYS}"
            raise StorageError("wrong-keys", text) from error
    if missing := " and ".join(name for name, key in keys.items() if not key):
        raise StorageError("no-keys", f"storage keys: {missing}: not set; set both: {SET_KEYS}")
    return keys[KEY_ID_NAME], keys[SECRET_NAME]


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
        while True:
            with self._lock:
                idle_until = time.monotonic() if self._connections else self._last_used
            wait_seconds = idle_until + self._idle_seconds - time.monotonic()
            if wait_seconds <= 0:
                return
            readable, _, _ = select.select([self._listener], [], [], wait_seconds)
            if not readable:
                continue
            # Connections beyond the limit wait in the socket.
            self._free.acquire()
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._free.release()
                continue
            with self._lock:
                self._connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                # unix(7): the process that connected.
                peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                _pid, user, _gid = struct.unpack("3i", peer)
                if user not in self._users:
                    logger.warning("user %d is neither root nor the socket's owner: refused", user)
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


def main() -> int:
    """Serve until idle or SIGTERM. Raises `TemporaryError` when it was not started by its socket."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise TemporaryError("livekeep-storage: is started by its socket: sudo systemctl enable --now livekeep-storage.socket")
    # Waiting clients repeat their request.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: sys.exit(0))
    settings, problems = config.load_leniently()
    log.set_up(settings.log.level)
    bucket: Bucket | StorageError
    # The request that started this program must get a response, also when the server cannot be used.
    try:
        faults = [problem for problem in problems if config.concerns(problem, "storage")]
        bucket = StorageError("bad-config", "; ".join(faults)) if faults else Bucket(settings.storage, *read_keys())
    except StorageError as error:
        bucket = error
    if isinstance(bucket, StorageError):
        logger.error("%s", bucket)
    answerer = Answerer(bucket, settings.storage.url_seconds, configured_channels)
    Server(socket.socket(fileno=FIRST_DESCRIPTOR), answerer, IDLE_SECONDS).run()
    return 0
