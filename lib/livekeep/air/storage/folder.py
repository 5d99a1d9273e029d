"""A folder of media, with all its subfolders. Only reads.

Skips hidden files, so that an upload under a hidden name (as rsync does it) is not played before it is complete.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote

from livekeep.air.storage.media import MOST_FILES, MediaFile, StorageError, is_playable, nothing_in, usable, warn_once


def list_media(folder: Path, extensions: Iterable[str]) -> tuple[MediaFile, ...]:
    """The files to play; each folder's once, even if several links lead to it. Raises `StorageError`."""
    endings = tuple(extensions)
    files: list[MediaFile] = []
    others = 0
    for name, entry in entries_below(folder):
        status = None
        if is_playable(name, endings):
            # It may have been deleted meanwhile.
            with contextlib.suppress(OSError):
                status = entry.stat()
        if status is None or not stat.S_ISREG(status.st_mode) or not status.st_size:
            others += 1
            continue
        if len(files) == MOST_FILES:
            warn_once(f"{folder}: holds more than {MOST_FILES} files; only so many are played")
            break
        files.append(MediaFile(name, status.st_size, status.st_mtime))
    if not files:
        raise nothing_in(str(folder), others, endings)
    return usable(files, str(folder))


def entries_below(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All entries except folders, with paths below `folder`. Raises `StorageError` if `folder` itself cannot be read."""
    entered: set[tuple[int, int]] = set()
    waiting = [("", os.fspath(folder))]
    while waiting:
        prefix, path = waiting.pop()
        try:
            status = Path(path).stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(path) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            advice = f"sudo chmod -R o+rX {quote(path)}, and o+x the folders above it"
            text = f"cannot be read ({error.strerror}); the user livekeep-worker must be able to: {advice}"
            if prefix:
                warn_once(f"{path}: is left out, for it {text}")
                continue
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                text = "there is no such folder; make it, mount it, or set the channel's media to another one"
                raise StorageError("no-folder", f"{folder}: {text}") from error
            raise StorageError("unreadable", f"{folder}: {text}") from error
        # Folders come before links to them, so that a file's name does not depend on links.
        folders = [entry for entry in entries if not entry.name.startswith(".") and is_folder(entry)]
        waiting += [(f"{prefix}{entry.name}/", entry.path) for entry in folders if entry.is_symlink()]
        waiting += [(f"{prefix}{entry.name}/", entry.path) for entry in reversed(folders) if not entry.is_symlink()]
        yield from ((f"{prefix}{entry.name}", entry) for entry in entries if entry not in folders)


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
