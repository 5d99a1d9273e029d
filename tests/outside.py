"""The world outside of livekeep, for its tests: systemd's notify socket, a live HLS stream with its web server, waiting."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

PROJECT = Path(__file__).parents[1]
LIBRARY = PROJECT / "lib"
PATIENCE_SECONDS = 30.0
"""How long anything may take on a busy machine."""
UNPRIVILEGED = 65534


def wait_until(what: str, holds: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as `holds()`; raise `AssertionError` that names `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def run_python(script: str, *arguments: str, stderr: int = subprocess.PIPE, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script that can import livekeep."""
    command = [sys.executable, "-B", "-c", script, *arguments]
    environment = {"PYTHONPATH": str(LIBRARY), "PATH": os.environ["PATH"]}
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, check=False, **options)


def reserved(address: str = "127.0.0.1") -> socket.socket:
    """A socket bound to a free port: until it is closed, only a server that sets SO_REUSEADDR, as most do, gets the port."""
    reservation = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind((address, 0))
    return reservation


class NotifySocket:
    """Plays systemd: reads the socket of sd_notify(3) at `path` at all times, since a full one would block the sender."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[str] = []
        self._taken = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> "NotifySocket":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", str(self.path))
        self._reader.join()
        self._socket.close()

    def _read(self) -> None:
        while message := self._socket.recv(65536):
            self.messages.append(message.decode())

    def receive(self, seconds: float) -> bool:
        """Whether one more message comes in time."""
        deadline = time.monotonic() + seconds
        while len(self.messages) <= self._taken:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        self._taken += 1
        return True

    def wait_for(self, beginning: str, seconds: float = PATIENCE_SECONDS, after: int = 0) -> int:
        """The index of the first message from number `after` on that begins so; what came till then counts as received."""
        deadline = time.monotonic() + seconds
        while True:
            for index in range(after, len(self.messages)):
                if self.messages[index].startswith(beginning):
                    self._taken = max(self._taken, index + 1)
                    return index
            assert time.monotonic() < deadline, f"systemd was not told {beginning} but {self.messages[after:]}"
            time.sleep(0.01)


class LiveStream:
    """An HLS stream that ffmpeg writes as time goes by, served by HTTP. `url` is where."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        source = "testsrc=size=160x90:rate=10"
        encoding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "3", "-pix_fmt", "yuv420p"]
        form = ["-f", "hls", "-hls_time", "0.3", "-hls_list_size", "9", "-hls_flags", "delete_segments+temp_file"]
        self._encoder = subprocess.Popen(
            ["ffmpeg", "-loglevel", "error", "-re", "-f", "lavfi", "-i", source, *encoding, *form, folder / "live.m3u8"],
            stdin=subprocess.DEVNULL,
        )
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/live.m3u8?signature=made-up"

    def wait(self) -> None:
        wait_until("the live stream's playlist", lambda: len(list(self.folder.glob("*.ts"))) > 3)

    def stall(self) -> None:
        """The playlist stops growing."""
        self._encoder.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._encoder.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """The encoder ends: the playlist gets its ENDLIST."""
        self._encoder.send_signal(signal.SIGINT)
        self._encoder.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        if self._encoder.poll() is None:
            self._encoder.kill()
            self._encoder.wait()
        self._server.shutdown()
        self._server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 – the base class's own name
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        # A player that changes its mind hangs up.
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)


@contextlib.contextmanager
def live_stream(folder: Path) -> Iterator[LiveStream]:
    stream = LiveStream(folder)
    try:
        stream.wait()
        yield stream
    finally:
        stream.close()


@contextlib.contextmanager
def program(command: list[Any], as_nobody: bool = False, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards. `as_nobody`: without root's rights when the tests have them."""
    if as_nobody and os.geteuid() == 0:
        who = f"{UNPRIVILEGED}"
        command = ["setpriv", f"--reuid={who}", f"--regid={who}", "--clear-groups", "--", *command]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


def picture(path: Path, colour: str = "navy") -> Path:
    Image.new("RGB", (64, 36), colour).save(path)
    return path


@contextlib.contextmanager
def x_server(size: str = "1280x720x24", *options: str, name: str = "") -> Iterator[str]:
    """A virtual X server of that size and depth; its display, which is `name` if given."""
    place = [name] if name else ["-displayfd", "1"]
    command = ["Xvfb", *place, "-screen", "0", size, "-nolisten", "tcp", "-noreset", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout
        try:
            yield name or f":{server.stdout.readline().decode().strip()}"
        finally:
            server.terminate()


def x_screen(display: str) -> Image.Image:
    """What the X server shows."""
    from Xlib import X
    from Xlib.display import Display

    connection = Display(display)
    try:
        root = connection.screen().root
        shape = root.get_geometry()
        data = root.get_image(0, 0, shape.width, shape.height, X.ZPixmap, 0xFFFFFFFF).data
        return Image.frombytes("RGB", (shape.width, shape.height), data, "raw", "BGRX")
    finally:
        connection.close()
