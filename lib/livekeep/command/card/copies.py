"""Copies of a secret that cloud-init made of the card's user-data: overwritten in place with the same length.

cloud-init keeps the user-data, the settings made of it and its pickled objects below /var/lib/cloud for good; the original is on
the card. The same length keeps them readable for cloud-init, which loads them at each boot.
"""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from livekeep.command.card.boot_partition import FOLDERS
from livekeep.core import files, paths

PLACES = (
    *(folder / "user-data" for folder in FOLDERS),
    paths.ROOT / "var/lib/cloud",
    paths.ROOT / "run/cloud-init",
    paths.ROOT / "var/log/cloud-init.log",
    paths.ROOT / "var/log/cloud-init-output.log",
)
FILLER = b"x"
LARGEST_BYTES = 64 * 1024 * 1024


def overwrite(secret: str) -> None:
    """Overwrite each copy of `secret`. Raises `OSError` for the first file that could not be written, after all others."""
    failed: OSError | None = None
    for path in (file for place in PLACES for file in plain_files(place)):
        try:
            for form in dict.fromkeys((secret, json.dumps(secret)[1:-1])):
                overwrite_in(path, form.encode())
        except OSError as error:
            failed = failed or error
    if failed:
        raise failed


def overwrite_in(path: Path, secret: bytes) -> None:
    content = files.read(path, LARGEST_BYTES)
    if secret not in content:
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    # One of them is read-only even for its owner, and in the sandbox root is no more than that.
    path.chmod(mode | stat.S_IWUSR)
    try:
        with path.open("r+b") as file:
            file.write(content.replace(secret, FILLER * len(secret)))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.chmod(mode)


def plain_files(place: Path) -> Iterator[Path]:
    """`place` itself, or the files below it, without following links."""
    try:
        mode = place.lstat().st_mode
    except OSError:
        return
    if stat.S_ISREG(mode):
        yield place
    elif stat.S_ISDIR(mode):
        for entry in sorted(place.iterdir()):
            yield from plain_files(entry)
