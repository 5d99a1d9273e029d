"""Files in folders that another user may write to: read without blocking, written without following links.

A compromised unit can replace its files with anything: a link to a file of root's, a FIFO without a writer, a device,
gigabytes. This module reads only regular files of a limited size, and writes only new files.
Sources: open(2), openat(2), path_resolution(7); the rule for links is systemd's for unsafe path transitions.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

MOST_LINKS = 40
"""In one path; the kernel's limit."""


class UnfitFileError(OSError):
    """The path is not a regular file, or the file is too large; `strerror` says which."""


def open_plain(path: Path | str, within: int | None = None) -> tuple[int, os.stat_result]:
    """Open a regular file for reading, without blocking; returns its descriptor and status.

    `within` is the descriptor of the folder that a relative path starts in. Raises `OSError`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=within)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UnfitFileError(errno.ELOOP, "a symbolic link", str(path)) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UnfitFileError(errno.EINVAL, "not a plain file", str(path))
    return descriptor, status


def read(path: Path | str, largest_bytes: int, within: int | None = None) -> bytes:
    """The content of a regular file, opened by `open_plain`. Raises `OSError`; a larger file is not read."""
    descriptor, status = open_plain(path, within)
    try:
        # One more byte reveals a file that grows.
        content = os.read(descriptor, status.st_size + 1) if status.st_size <= largest_bytes else None
    finally:
        os.close(descriptor)
    if content is None or len(content) > largest_bytes:
        raise UnfitFileError(errno.EFBIG, f"larger than {largest_bytes} bytes", str(path))
    return content


def replace(
    path: Path, content: bytes, mode: int | None = 0o640, owner: tuple[int, int] | None = None, is_durable: bool = True
) -> None:
    """Replace `path` with `content` atomically: a reader, or a crash at any time, sees the whole old or the whole new file.

    `owner` is uid and gid; -1 leaves either at its default. Without `owner`, root gives the file to the folder's owner. Without
    `mode`, the umask decides. A link at `path` is replaced, not followed. Raises `OSError`.
    """
    with folder(path.parent) as (descriptor, status):
        if owner is None:
            owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else (-1, -1)
        temporary = f".{os.urandom(8).hex()}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(temporary, flags, 0o666 if mode is None else 0o600, dir_fd=descriptor)
        try:
            with os.fdopen(file, "wb") as stream:
                own(file, mode, *owner)
                stream.write(content)
                stream.flush()
                if is_durable:
                    os.fsync(file)
            os.rename(temporary, path.name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=descriptor)
            raise
        if is_durable:
            os.fsync(descriptor)


def own(descriptor: int, mode: int | None, uid: int, gid: int) -> None:
    """Set owner and mode where they differ: the boot partition's file system rejects both calls."""
    found = os.fstat(descriptor)
    uid, gid = (found.st_uid if uid == -1 else uid), (found.st_gid if gid == -1 else gid)
    if (uid, gid) != (found.st_uid, found.st_gid):
        os.fchown(descriptor, uid, gid)
    if mode is not None and found.st_mode & 0o7777 != mode:
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, mode)


def remove(path: Path) -> None:
    """Remove `path`, a link rather than its target; no error if it is absent. Raises `OSError`."""
    with folder(path.parent) as (descriptor, _status):
        try:
            os.unlink(path.name, dir_fd=descriptor)
        except FileNotFoundError:
            return
        os.fsync(descriptor)


@contextlib.contextmanager
def folder(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor of the folder at `path`, and its status. Links in the path are followed if root or this user made them.

    Raises `OSError`: `ELOOP` for a link that another user made.
    """
    descriptor = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names, links = list(reversed(path.absolute().parts[1:])), 0
        while names:
            name = names.pop()
            # fsync(2) rejects an O_PATH descriptor.
            access = os.O_PATH if names else os.O_RDONLY
            try:
                entered = os.open(name, access | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            except NotADirectoryError:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                links += 1
                if not stat.S_ISLNK(status.st_mode) or links > MOST_LINKS:
                    raise
                if status.st_uid not in (0, os.geteuid()):
                    raise OSError(errno.ELOOP, f'"{name}" on the way is a symbolic link of another user', str(path)) from None
                target = os.readlink(name, dir_fd=descriptor)
                names += reversed([part for part in target.split("/") if part])
                if not target.startswith("/"):
                    continue
                entered = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            os.close(descriptor)
            descriptor = entered
        yield descriptor, os.fstat(descriptor)
    finally:
        os.close(descriptor)
