#!/usr/bin/env python3
"""Runs the tests' commands inside the machine, as root.

Reads one JSON object a line from a virtio-serial port: {"id", "command", "stdin" (base64), "timeout" (seconds)}.
Answers, in the order in which the commands end, with one JSON line each:
{"id", "code", "stdout" (base64), "stderr" (base64)}; `code` is 124 for a command that ran out of time.
It says {"ready": true} once when it starts. Standard library only: it is copied into the machine as it is.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PORT = Path("/dev/virtio-ports/livekeep.agent")
TIMED_OUT = 124


def execute(command: str, stdin: bytes, timeout: float) -> tuple[int, bytes, bytes]:
    """Run a bash command; (exit code, stdout, stderr). What it leaves in the background keeps running."""
    with subprocess.Popen(
        ["/bin/bash", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            return TIMED_OUT, stdout, stderr
    return process.returncode, stdout, stderr


def answer(request: dict[str, Any], port: int, lock: threading.Lock) -> None:
    """Run one request and write its answer whole, whatever else is being answered."""
    code, stdout, stderr = execute(request["command"], base64.b64decode(request["stdin"]), float(request["timeout"]))
    reply = {
        "id": request["id"],
        "code": code,
        "stdout": base64.b64encode(stdout).decode(),
        "stderr": base64.b64encode(stderr).decode(),
    }
    write(port, reply, lock)


def write(port: int, reply: dict[str, Any], lock: threading.Lock) -> None:
    """Write one JSON line to the port, in as many pieces as it takes."""
    data = memoryview(json.dumps(reply).encode() + b"\n")
    with lock:
        while data:
            data = data[os.write(port, data) :]


def main() -> int:
    """Serve until the machine goes down."""
    while not PORT.exists():
        time.sleep(0.05)
    port = os.open(PORT, os.O_RDWR)
    lock = threading.Lock()
    write(port, {"ready": True}, lock)
    pending = b""
    while True:
        data = os.read(port, 65536)
        if not data:  # nobody at the other end: the port reads as ended until somebody is
            time.sleep(0.1)
            continue
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            threading.Thread(target=answer, args=(request, port, lock), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
