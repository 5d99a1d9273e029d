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


def take(server: Path, picture: Path, is_portrait: bool = False) -> None:
    """Make the mpv at `server` save `picture` (a PNG by its name). Raises `LivekeepError`.

    `is_portrait`: the picture is turned for a portrait TV. Without a GPU, 0.40 would stretch it over the whole window.
    """
    complaint = ""
    with connect(server) as connection:
        modes: tuple[str, ...] = MODES
        if is_portrait and ask(connection, len(MODES) + 1, ["get_property", "current-vo"])[1] != "gpu":
            modes = MODES[1:]
        for number, mode in enumerate(modes, start=1):
            complaint, _data = ask(connection, number, ["screenshot-to-file", str(picture), mode])
            if complaint == "success":
                return
            if complaint == NO_ANSWER:
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


def ask(connection: socket.socket, number: int, command: list[str]) -> tuple[str, Any]:
    """Send a command; returns "error" and "data" of the reply; the error is "success" if it worked. Skips events in between."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        connection.sendall(json.dumps({"command": command, "request_id": number}).encode() + b"\n")
        pending = b""
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            received = connection.recv(65536)
            if not received:
                return "the connection ended", None
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                answer = parse(line)
                if answer.get("request_id") == number and "error" in answer:
                    return shown(str(answer["error"])), answer.get("data")
    except TimeoutError:
        pass
    except OSError as error:
        return f"the connection broke: {error.strerror}", None
    return NO_ANSWER, None


def parse(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
