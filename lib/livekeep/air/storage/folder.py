"""A folder of media, with all its subfolders. Only reads.

Skips hidden files, so that an upload under a hidden name (as rsync does it) is not played before it is complete.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote

from livekeep.air.storage.media import (
    MOST_FILES,
    MediaFile,
    NoFolderError,
    UnreadableError,
    is_playable,
    nothing_in,
    usable,
    warn_once,
)


def list_media(folder: Path, extensions: Iterable[str]) -> tuple[MediaFile, ...]:
    """The files to play; each folder's once, even if several links lead to it.

    Raises `NoFolderError`, `UnreadableError` or, without a file to play, `NothingThereError`.
    """
    endings = tuple(extensions)
    files: list[MediaFile] = []
    others = 0
    for name, entry in entries_below(folder):
        file = media_file(name, entry) if is_playable(name, endings) else None
        if not file:
            others += 1
            continue
        if len(files) == MOST_FILES:
            warn_once(f"{folder}: holds more than {MOST_FILES} files; only so many are played")
            break
        files.append(file)
    if not files:
        raise nothing_in(str(folder), others, endings)
    return usable(files, str(folder))


def entries_below(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All entries except folders, with paths below `folder`. Raises the errors of `list_media`, for `folder` itself only."""
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
            if not prefix:
                raise complaint_of(folder, error) from error
            warn_once(f"{path}: is left out, for it cannot be read ({error.strerror}); {advice_for(Path(path))}")
            continue
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


def media_file(name: str, entry: os.DirEntry[str]) -> MediaFile | None:
    """None if it is empty, not a regular file, or was deleted meanwhile."""
    try:
        status = entry.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return None
    return MediaFile(name, status.st_size, status.st_mtime)


def complaint_of(folder: Path, error: OSError) -> NoFolderError | UnreadableError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NoFolderError(f"{folder}: there is no such folder; make it, mount it, or set the channel's media to another one")
    return UnreadableError(f"{folder}: cannot be read ({error.strerror}); {advice_for(folder)}")


def advice_for(folder: Path) -> str:
    return f"the user livekeep-worker must be able to: sudo chmod -R o+rX {quote(str(folder))}, and o+x the folders above it"
