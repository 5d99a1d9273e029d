"""The base of the stand-ins: a process in the machine's network, controlled by the test through a Unix socket.

A Unix socket in the file system works across network namespaces, so the test itself stays where it is. Each connection carries
one JSON request `{"do": NAME, ...}` and one JSON response `{"ok": VALUE}` or `{"error": TEXT}`. The process ends when its
standard input closes, hence with the test run, however that ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.machine.network import Network
from tests.machine.tidy import Disposable, directory, end, remove_directory, unique

PROJECT = Path(__file__).resolve().parents[2]
HANG_SECONDS = 600
START_TIMEOUT_SECONDS = 30
STOP_TIMEOUT_SECONDS = 5

Control = Callable[[str, dict[str, Any]], Any]


class StandIn(Disposable):
    """The test's client of a stand-in: starts the module as a process and sends requests."""

    module = ""

    def __init__(self, network: Network | None = None, *arguments: str) -> None:
        """`network` None means the host's loopback."""
        super().__init__()
        self.network = network
        self.port = 0
        self.name = unique()
        self._arguments = arguments
        self._dir = Path()

    @property
    def address(self) -> str:
        """`host:port` as seen from the machine."""
        return f"{self.network.address if self.network else '127.0.0.1'}:{self.port}"

    @property
    def base_url(self) -> str:
        """`http://host:port`."""
        return f"http://{self.address}"

    def log(self) -> str:
        """The process's output, for a failing test."""
        return (self._dir / "log").read_text(encoding="utf-8", errors="replace")

    def ask(self, do: str, **arguments: Any) -> Any:
        """One request over the control socket. Raises ValueError with the stand-in's error text."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self._dir / "control"))
            connection.sendall(json.dumps({"do": do} | arguments).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["ok"]

    def _make(self) -> None:
        self._dir = directory(self.name)
        self._stack.callback(remove_directory, self._dir)
        command = [sys.executable, "-m", self.module, "--control", str(self._dir / "control"), *self._arguments]
        if self.network:
            command = self.network.in_servers(command)
        with (self._dir / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=PROJECT)
        self._stack.callback(end_with_its_input, process)
        assert process.stdout
        line = process.stdout.readline() if select.select([process.stdout], [], [], START_TIMEOUT_SECONDS)[0] else b""
        if not line:
            raise RuntimeError(f"{self.module} did not start:\n{self.log()[-2000:]}")
        self.port = int(line)


def end_with_its_input(process: subprocess.Popen[bytes]) -> None:
    """Close a process's pipes and wait for its end: an immediate SIGTERM would interrupt its cleaning up."""
    if process.stdin:
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_SECONDS)
    end(process)
    if process.stdout:
        process.stdout.close()


class Handler(BaseHTTPRequestHandler):
    """An HTTP/1.1 handler that can also misbehave."""

    protocol_version = "HTTP/1.1"
    timeout = HANG_SECONDS

    def answer(self, status: int, body: bytes, media_type: str, headers: dict[str, str] | None = None) -> None:
        """One complete response."""
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang(self, still: Callable[[], bool]) -> None:
        """Send nothing while `still()`, or until the client leaves; then close."""
        self.close_connection = True
        deadline = time.monotonic() + HANG_SECONDS
        while still() and time.monotonic() < deadline:
            if select.select([self.connection], [], [], 0.1)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                return

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        self.close_connection = True
        # A linger time of zero makes close() send RST.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        # The server would flush and shut the socket down cleanly, which is no longer possible.
        self.wfile = open(os.devnull, "wb")  # noqa: SIM115, PTH123

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        """Quiet: the stand-in keeps its own log."""


class Server(ThreadingHTTPServer):
    """Does not wait for hanging requests and does not report clients that disconnect."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is normal; other errors belong in the log."""
        if not isinstance(sys.exc_info()[1], OSError | ValueError):
            super().handle_error(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a request's socket, which `reset()` may have closed already."""
        try:
            super().shutdown_request(request)
        except OSError:
            request.close()


def serve(handler: type[socketserver.StreamRequestHandler], control: Control, arguments: argparse.Namespace) -> int:
    """Serve the handler's protocol and the control socket until standard input closes; the port goes to standard output."""
    http = Server(("0.0.0.0", 0), handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()

    class Door(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(json.dumps(_asked(control, self.rfile.readline())).encode() + b"\n")

    door = socketserver.ThreadingUnixStreamServer(arguments.control, Door)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    sys.stdout.write(f"{http.server_address[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


def parse(argv: Sequence[str] | None, *extra: tuple[str, str]) -> argparse.Namespace:
    """The command line of a stand-in: --control and `extra` (name, default) options."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", required=True)
    for name, default in extra:
        parser.add_argument(name, default=default)
    return parser.parse_args(argv)


def _asked(control: Control, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return {"ok": control(request.pop("do"), request)}
    except (ValueError, KeyError, TypeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
