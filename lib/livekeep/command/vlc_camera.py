"""A picture of what VLC shows, asked of its rc interface: the line `snapshot` has it save one into its snapshot folder.

The rc interface tells neither the file's name nor success, so the newest file of the folder is waited for.
"""

import contextlib
import time
from pathlib import Path

from livekeep.command import mpv_camera
from livekeep.core.errors import LivekeepError

TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.05
LAST_CHUNK = b"IEND\xaeB`\x82"
"""The end of every PNG: VLC writes the file in place, so it may be there but not whole."""


def take(server: Path, folder: Path) -> Path:
    """Have the VLC at `server` save its picture; give the file. Raises `LivekeepError`."""
    before = names(folder, server)
    with mpv_camera.connect(server) as connection:
        try:
            connection.sendall(b"snapshot\n")
        except OSError as error:
            raise mpv_camera.no_display(server, error) from error
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            for name in sorted(names(folder, server) - before):
                if is_whole(folder / name):
                    return folder / name
            time.sleep(POLL_SECONDS)
    raise LivekeepError(
        f"{folder}: VLC saved no picture within {TIMEOUT_SECONDS:g} s; it can only while a video or picture is shown"
    )


def names(folder: Path, server: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise mpv_camera.no_display(server, error) from error


def is_whole(picture: Path) -> bool:
    with contextlib.suppress(OSError), picture.open("rb") as file:
        file.seek(-len(LAST_CHUNK), 2)
        return file.read() == LAST_CHUNK
    return False
