"""Takes a picture of VLC's output through its rc interface: the line `snapshot` makes VLC save one to its snapshot folder.

The rc interface reports neither the file's name nor success, so this module waits for a new file in the folder.
"""

import os
import time
from pathlib import Path

from livekeep.command.screenshot import mpv_camera
from livekeep.core import files
from livekeep.core.errors import LivekeepError

TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.05
LAST_CHUNK = b"IEND\xaeB`\x82"
"""The end of every PNG: VLC writes the file in place, so it may be incomplete."""


def take(server: Path, folder: Path, largest_bytes: int) -> bytes:
    """Make the VLC at `server` save its picture; returns the picture and removes the file. Raises `LivekeepError`."""
    before = names(folder, server)
    with mpv_camera.connect(server) as connection:
        try:
            connection.sendall(b"snapshot\n")
        except OSError as error:
            raise mpv_camera.no_display(server, error) from error
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            for name in sorted(names(folder, server) - before):
                if picture := picture_in(folder, name, largest_bytes):
                    return picture
            time.sleep(POLL_SECONDS)
    raise LivekeepError(
        f"{folder}: VLC saved no picture within {TIMEOUT_SECONDS:g} s; it can only while a video or picture is shown"
    )


def names(folder: Path, server: Path) -> set[str]:
    try:
        with files.folder(folder) as (descriptor, _status):
            return set(os.listdir(descriptor))  # noqa: PTH208 – no path, so that nobody swaps the folder
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise mpv_camera.no_display(server, error) from error


def picture_in(folder: Path, name: str, largest_bytes: int) -> bytes:
    """The picture, whose file is removed; b"" while it is incomplete. The display's unit could put anything there."""
    try:
        with files.folder(folder) as (descriptor, _status):
            picture = files.read(name, largest_bytes, descriptor)
            if not picture.endswith(LAST_CHUNK):
                return b""
            os.unlink(name, dir_fd=descriptor)
            return picture
    except OSError:
        return b""
