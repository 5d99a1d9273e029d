"""A bucket in the room's network: rclone, which checks signatures, behind a proxy that can be stopped and can respond with 503.

`AirStore` is the test's client. The bucket "media" holds two clips below clips/ and one long item below long/.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.machine.channel_clips import SECONDS, clips
from tests.machine.machine import wait_for
from tests.machine.standin import Handler, StandIn, parse, serve

BUCKET, KEY_ID, SECRET = "media", "AKIDINTHEROOM", "made/up+secret-of-the-store"
CLIPS = ("1-fits.mp4", "5-vp8.webm")
LONG_SECONDS = 300
"""Of an item that must not end before its test does. Defined here, because a separate program knows nothing of livekeep."""
BLOCK_BYTES = 64 * 1024
BLOCK_SECONDS = 0.06
"""Between two blocks, of which the proxy buffers few: otherwise the network's buffers would hold half a minute of an item."""
START_SECONDS = 20.0


class AirStore(StandIn):
    """The store, which runs from the start.

    `ask("end")` kills it with everything that it is sending, and "start" starts it again; "stall" stops it within what it is
    sending (SIGSTOP), until "go_on"; "fail" aborts transfers and answers 503, until "recover".
    """

    module = "tests.machine.air_store"


class Store:
    """rclone as a process, on the same port after every start."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder.with_name("rclone.log")
        self.port = 0
        self.is_failing = False
        self.open: set[DoorHandler] = set()
        self.lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["rclone", "serve", "s3", "--config", "/dev/null", "--auth-key", f"{KEY_ID},{SECRET}"]
        command += ["--addr", f"127.0.0.1:{self.port}", "--dir-cache-time", "1ms", str(self.folder)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        found = wait_for(lambda: re.search(r"127\.0\.0\.1:([1-9][0-9]*)", self.log.read_text()), START_SECONDS)
        self.port = int(found[1]) if found else 0

    def end(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self.break_off()

    def stall(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    def break_off(self) -> None:
        with self.lock:
            for handler in self.open:
                with contextlib.suppress(OSError):
                    handler.connection.shutdown(socket.SHUT_RDWR)


class DoorHandler(Handler):
    """Forwards requests to rclone, and its responses."""

    store: Store

    def setup(self) -> None:
        """A connection."""
        super().setup()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BLOCK_BYTES)

    def do_GET(self) -> None:  # noqa: N802 – http.server's name
        store = self.store
        if store.is_failing:
            self.answer(503, b"<Error><Code>ServiceUnavailable</Code></Error>", "application/xml")
            return
        with store.lock:
            store.open.add(self)
        try:
            self._pass_on(http.client.HTTPConnection("127.0.0.1", store.port, timeout=60))
        except (OSError, http.client.HTTPException):
            self.reset()
        finally:
            with store.lock:
                store.open.discard(self)

    def do_HEAD(self) -> None:  # noqa: N802 – http.server's name
        self.do_GET()

    def _pass_on(self, upstream: http.client.HTTPConnection) -> None:
        with contextlib.closing(upstream):
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            found = upstream.getresponse()
            self.send_response_only(found.status)
            for name, value in found.getheaders():
                # A chunked body is whole here; it ends with the connection.
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            while block := found.read(BLOCK_BYTES):
                self.wfile.write(block)
                time.sleep(BLOCK_SECONDS)


def fill(folder: Path) -> None:
    """Create the bucket's objects."""
    for name in ("clips", "long"):
        (folder / BUCKET / name).mkdir(parents=True)
    for name in CLIPS:
        shutil.copy(clips() / name, folder / BUCKET / "clips" / name)
    command = ["ffmpeg", "-loglevel", "error", "-stream_loop", str(LONG_SECONDS // SECONDS - 1), "-i", str(clips() / CLIPS[0])]
    subprocess.run([*command, "-c", "copy", str(folder / BUCKET / "long/long.mp4")], check=True, timeout=60)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it until standard input closes."""
    arguments = parse(argv)
    folder = Path(arguments.control).with_name("store")
    fill(folder)
    store = DoorHandler.store = Store(folder)
    store.start()

    def control(do: str, _arguments: dict[str, Any]) -> Any:
        if do in ("fail", "recover"):
            store.is_failing = do == "fail"
            return store.break_off()
        if do not in ("start", "end", "stall", "go_on"):
            raise ValueError(f"cannot {do}")
        return getattr(store, do)()

    try:
        return serve(DoorHandler, control, arguments)
    finally:
        store.end()


if __name__ == "__main__":
    sys.exit(main())
