"""Servers of buckets for the tests: rclone and s3rver, which are real ones, and a stand-in for what those do not do on demand."""

import contextlib
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from livekeep.air.storage.bucket import make_client
from livekeep.core.config import Storage
from tests.outside import PATIENCE_SECONDS, PROJECT, program, wait_until

KEY_ID, SECRET = "AKIDFORTESTS", "made/up+secret"
S3RVER_KEY = "S3RVER"
"""Both of s3rver's keys; it takes no others."""
BUCKET = "media"
UNSEEN = "\u202f\u00a0\u200d\u200c\u00ad"
"""Letters of good names that cannot be seen: spaces as macOS writes them, joiners of emoji and of Persian, a soft hyphen."""
TEMPORARY_NAME = f"a b'c\"d#e?f%25&g+h;i=j é ü 日本{UNSEEN}.mp4"
"""A name with everything that a URL or a log may spoil."""


@dataclass(frozen=True)
class Store:
    endpoint_url: str
    key_id: str
    secret: str

    @property
    def host(self) -> str:
        return self.endpoint_url.partition("://")[2]

    def settings(self, **changes: Any) -> Storage:
        return Storage(**{"endpoint_url": self.endpoint_url, "timeout_seconds": 5.0, **changes})

    def put(self, key: str, content: bytes) -> None:
        client = make_client(self.settings(), "us-east-1", self.key_id, self.secret)
        client.put_object(Bucket=BUCKET, Key=key, Body=content)


def installed(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed: tests/run installs what the tests need"
    return found


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[Store]:
    """A store whose bucket is `folder`/media; it checks signatures and their expiry."""
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    command = [installed("rclone"), "serve", "s3", "--config", "/dev/null", "--auth-key", f"{KEY_ID},{SECRET}"]
    command += ["--addr", "127.0.0.1:0", "--dir-cache-time", "1ms", str(folder)]
    with log.open("wb") as said, program(command, stderr=said) as process:
        yield Store(address_in(log, process), KEY_ID, SECRET)


@contextlib.contextmanager
def s3rver(folder: Path) -> Iterator[Store]:
    """A store with a bucket; it answers ranges by 206, and an expired signature by 403."""
    log = folder.with_name(f"{folder.name}.log")
    command = [installed("s3rver"), "-d", str(folder), "-a", "127.0.0.1", "-p", "0", "--silent", "--configure-bucket", BUCKET]
    with log.open("wb") as said, program(command, stdout=said) as process:
        yield Store(address_in(log, process), S3RVER_KEY, S3RVER_KEY)


def address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Where a store says that it listens."""
    found: list[str] = []

    def is_told() -> bool:
        assert process.poll() is None, log.read_text()
        found.extend(re.findall(r"127\.0\.0\.1:[1-9][0-9]*", log.read_text()))
        return bool(found)

    wait_until("the store's address", is_told)
    return f"http://{found[0]}"


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stall_seconds: float = 0.0
    cut_after_bytes: int | None = None
    """Hang up after so many bytes of the body; `stall_seconds` go by before."""


class StandIn:
    """A server that answers each request as `decide(target, headers)` says; `requests` are the targets asked for."""

    def __init__(self, decide: Callable[[str, dict[str, str]], Reply]) -> None:
        outer = self
        self.decide = decide
        self.requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                reply = outer.decide(self.path, {name.lower(): value for name, value in self.headers.items()})
                with contextlib.suppress(OSError):
                    # The client may have hung up.
                    answer(self, reply)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 – the base class's own name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.store = Store(f"http://127.0.0.1:{self._server.server_port}", KEY_ID, SECRET)

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    if reply.cut_after_bytes is None:
        time.sleep(reply.stall_seconds)
    handler.send_response(reply.status)
    for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(reply.body[: reply.cut_after_bytes])
    handler.wfile.flush()
    if reply.cut_after_bytes is not None:
        time.sleep(reply.stall_seconds)
        handler.connection.shutdown(socket.SHUT_RDWR)


def s3_error(status: int, code: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>In other words.</Message></Error>'
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})


def listing(*names: str) -> Reply:
    """What S3 answers to the question for a bucket's objects."""
    items = "".join(
        f"<Contents><Key>{name}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><Size>9</Size></Contents>"
        for name in names
    )
    head = '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    body = f"{head}<Name>{BUCKET}</Name><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
    return Reply(200, body.encode(), {"Content-Type": "application/xml"})


class Activator:
    """Plays systemd for livekeep-storage: keeps its socket, and starts the program whenever somebody waits there.

    `root` is LIVEKEEP_ROOT with a configuration for `store`; `keys`: the credentials, id and secret.
    """

    def __init__(self, root: Path, store: Store, keys: tuple[str, str] | None = None, extra: str = "") -> None:
        self.path = root / "run/livekeep/storage.sock"
        self.log = root / "storage.log"
        self._root = root
        for folder in ("etc/livekeep", "run/livekeep", "credentials"):
            (root / folder).mkdir(parents=True)
        played = "".join(f'[channels.{name}]\nmedia = "s3://{BUCKET}/{name}"\n' for name in ("p", "absent"))
        text = f'{played}[log]\nlevel = "debug"\n[storage]\nendpoint_url = "{store.endpoint_url}"\ntimeout_seconds = 5\n{extra}\n'
        (root / "etc/livekeep/livekeep.toml").write_text(text)
        for name, key in zip(("id", "secret"), keys or (store.key_id, store.secret), strict=True):
            (root / f"credentials/livekeep.storage-{'key-' if name == 'id' else ''}{name}").write_text(key)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(64)
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._is_over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> "Activator":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        # Whoever waits in accept or poll sees it.
        self.listener.shutdown(socket.SHUT_RDWR)
        if self.process and self.process.poll() is None:
            self.process.kill()
        self._thread.join(PATIENCE_SECONDS)
        self.listener.close()

    def _run(self) -> None:
        import select

        while True:
            select.select([self.listener], [], [])
            if self._is_over:
                return
            self.starts += 1
            with self.log.open("ab") as said:
                self.process = subprocess.Popen(
                    # Bash, for the descriptor may have two digits.
                    [
                        "bash",
                        "-c",
                        'exec 3<&"$0"; LISTEN_PID=$$ exec "$@"',
                        str(self.listener.fileno()),
                        PROJECT / "bin/livekeep-storage",
                    ],
                    env={
                        "PATH": "/usr/bin:/bin",
                        "LISTEN_FDS": "1",
                        "LIVEKEEP_ROOT": str(self._root),
                        "CREDENTIALS_DIRECTORY": str(self._root / "credentials"),
                    },
                    stdin=subprocess.DEVNULL,
                    stderr=said,
                    pass_fds=[self.listener.fileno()],
                )
            self.process.wait()
