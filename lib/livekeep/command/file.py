"""Writes the administrator's files: atomically, keeping owner and mode, with a backup beside them."""

import grp
import os
import time
from dataclasses import dataclass
from pathlib import Path

from livekeep.core import files
from livekeep.core.errors import LivekeepError

GROUP = "livekeep"
"""The group that may read the configuration."""


@dataclass(frozen=True)
class Ownership:
    """Mode bits, uid and gid of a file; -1 leaves uid or gid at its default."""

    mode: int
    uid: int = -1
    gid: int = -1


def replace(path: Path, content: bytes, ownership: Ownership, keep: bool = True) -> None:
    """Replace `path` with `content` atomically: a reader, or a power cut, sees the whole old or the whole new file.

    A new file gets `ownership`; an existing file keeps its own unless `keep` is false. A symbolic link is followed.
    Raises `LivekeepError`, which names the file.
    """
    target = path.resolve()
    try:
        wanted = (ownership_of(target) if keep else None) or ownership
        files.replace(target, content, wanted.mode, (wanted.uid, wanted.gid))
    except OSError as error:
        raise cannot("written", path, error) from error


def ownership_of(path: Path) -> Ownership | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return Ownership(found.st_mode & 0o7777, found.st_uid, found.st_gid)


def back_up(path: Path, now: float) -> Path:
    """Copy `path` to PATH.livekeep-TIME, a name that does not exist yet; returns that path."""
    stem = f"{path.name}.livekeep-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}"
    backup, number = path.with_name(stem), 1
    while backup.exists():
        number += 1
        backup = path.with_name(f"{stem}-{number}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from error
    replace(backup, content, ownership_of(path) or Ownership(0o640))
    return backup


def read_text(path: Path, largest_bytes: int = 1024 * 1024) -> str:
    """The text of an administrator's file. Raises `LivekeepError`, which names it: absent, unreadable, too large, not UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(largest_bytes + 1)
    except OSError as error:
        raise cannot("read", path, error) from error
    if len(raw) > largest_bytes:
        raise LivekeepError(f"{path}: is larger than {largest_bytes // 1024} KiB; is this the right file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LivekeepError(f"{path}: is not UTF-8 text; is this the right file?") from error


def make_folder(path: Path, mode: int) -> None:
    """Create a folder if it is absent, its parents with mode 755, regardless of the umask. Raises `LivekeepError`."""
    try:
        for folder in [folder for folder in (*reversed(path.parents), path) if not folder.exists()]:
            folder.mkdir(mode=0o700)
            folder.chmod(mode if folder == path else 0o755)
    except OSError as error:
        raise cannot("created", path, error) from error


def config_ownership() -> Ownership:
    """For a new configuration file: if root creates it and the group exists, owned by root and readable by group livekeep."""
    if os.geteuid() != 0:
        return Ownership(0o640)
    try:
        return Ownership(0o640, 0, grp.getgrnam(GROUP).gr_gid)
    except KeyError:
        return Ownership(0o640, 0, 0)


def cannot(verb: str, path: Path, error: OSError) -> LivekeepError:
    """The error for a file that cannot be read, written or created, with advice."""
    advice = "; run this with sudo" if isinstance(error, PermissionError) and os.geteuid() != 0 else ""
    return LivekeepError(f"{path}: cannot be {verb} ({error.strerror}){advice}")
