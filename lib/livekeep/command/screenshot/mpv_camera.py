"""Takes a picture of mpv's output through its JSON IPC (mpv(1), "JSON IPC"): one JSON object per line, replies by request_id.

mpv writes the file itself, in its own sandbox, and therefore to its runtime directory.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any

from livekeep.core.errors import LivekeepError
from livekeep.core.text import shown

TIMEOUT_SECONDS = 5.0
NO_ANSWER = f"no answer within {TIMEOUT_SECONDS:g} s"
MODES = ("window", "subtitles")
"""As the TV shows it, with text and scaling; if the output cannot be read back, the video's own picture."""


def take(server: Path, picture: Path) -> None:
    """Make the mpv at `server` save `picture` (a PNG by its name). Raises `LivekeepError`."""
    complaint = ""
    with connect(server) as connection:
        for number, mode in enumerate(MODES, start=1):
            answer = ask(connection, number, ["screenshot-to-file", str(picture), mode])
            if answer == "success":
                return
            complaint = answer
            if answer == NO_ANSWER:
                break
    raise LivekeepError(f"{server}: mpv could not save its picture ({complaint}); is anything shown? See livekeep status")


def connect(server: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT_SECONDS)
    try:
        connection.connect(str(server))
    except OSError as error:
        connection.close()
        raise no_display(server, error) from error
    return connection


def no_display(server: Path, error: OSError) -> LivekeepError:
    if isinstance(error, PermissionError):
        return LivekeepError(f"{server}: root alone may ask the display for its picture; run this with sudo")
    if isinstance(error, TimeoutError):
        return LivekeepError(f"{server}: the display does not answer; see livekeep status")
    return LivekeepError(
        f"{server}: the display cannot be reached ({error.strerror}); does livekeep-display run? See livekeep status"
    )


def ask(connection: socket.socket, number: int, command: list[str]) -> str:
    """Send a command; returns the "error" of the reply, which is "success" if it worked. Events in between are skipped."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        connection.sendall(json.dumps({"command": command, "request_id": number}).encode() + b"\n")
        pending = b""
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            received = connection.recv(65536)
            if not received:
                return "the connection ended"
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                answer = parse(line)
                if answer.get("request_id") == number and "error" in answer:
                    return shown(str(answer["error"]))
    except TimeoutError:
        pass
    except OSError as error:
        return f"the connection broke: {error.strerror}"
    return NO_ANSWER


def parse(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
