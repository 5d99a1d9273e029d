"""Checks that the card stores data: writes 64 KiB of random bytes and reads them back, bypassing the page cache.

A failing card often doesn't respond at all. Then the probe hangs in the kernel, where even systemd's SIGKILL after
TimeoutStartSec= cannot end it; the symptom is a result that gets old. /sys/fs/ext4/DEVICE/errors_count has the kernel's count of
ext4 errors.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from livekeep.system import sysfs

FOLDER = "var/lib/livekeep/probe-host"
"""The unit's StateDirectory=."""
FILE = "card-check"
CHECK_BYTES = 64 * 1024
MOUNTS = "proc/self/mountinfo"
EXT4 = "sys/fs/ext4"
IN_MEMORY = ("overlay", "tmpfs", "ramfs", "aufs")

READ_ONLY = "the card is mounted read-only: nothing can be saved"
FULL = "the card is full: nothing can be saved"
UNREADABLE = "the card cannot be written and read back (input/output error)"
DIFFERENT = "the card returned other data than was written"


@dataclass(frozen=True)
class CardCheck:
    """The result. `is_good` is None if unknown; `problem` says why it is not True."""

    is_good: bool | None = None
    checked_at: float | None = None
    problem: str = ""


def is_due(last: CardCheck, now: float, interval_seconds: float) -> bool:
    """Whether to check again: after the interval, and at every run while there is a problem."""
    if last.checked_at is None or last.problem:
        return True
    # A clock that was set back must not delay the check.
    return not 0 <= now - last.checked_at < interval_seconds


def check(root: Path, now: float) -> CardCheck:
    """Check the card below the file tree `root`."""
    folder = root / FOLDER
    path = folder / FILE
    try:
        is_in_memory = file_system(root, folder) in IN_MEMORY
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            is_same = comes_back(descriptor, os.urandom(CHECK_BYTES))
        finally:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
    except OSError as error:
        return judge(error, folder, now)
    if is_in_memory:
        return CardCheck(None, now, f"{folder} is in memory, not on a card")
    return CardCheck(is_same, now, "" if is_same else DIFFERENT)


def judge(error: OSError, folder: Path, now: float) -> CardCheck:
    """The meaning of an error in the check: the card fails, the card is full, or the error is not about the card."""
    if error.errno in (errno.EROFS, errno.EIO):
        return CardCheck(False, now, READ_ONLY if error.errno == errno.EROFS else UNREADABLE)
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return CardCheck(None, now, FULL if is_full else f"{folder} cannot be written ({error.strerror})")


def comes_back(descriptor: int, content: bytes) -> bool:
    """Whether the device returns `content` after it is written to an empty file. Raises `OSError`."""
    written = 0
    # A call may write only a part if the space runs out; the next call then raises the error.
    while written < len(content):
        written += os.write(descriptor, content[written:])
    os.fsync(descriptor)
    # Cached pages would be read from memory instead of the card.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(descriptor, len(content) + 1, 0) == content


def file_system(root: Path, folder: Path) -> str:
    """The file system type of `folder`, such as "ext4"; "" if unknown."""
    status = folder.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    for line in (sysfs.read(root / MOUNTS) or "").splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [device]:
            return source.partition(" ")[0]
    return ""


def ext4_errors(root: Path) -> dict[str, int]:
    """The kernel's error count of each mounted file system, by block device such as "mmcblk0p2".

    The file system itself stores the count until e2fsck(8) clears it. Devices without a count are left out.
    """
    counts = {folder.name: sysfs.read_count(folder / "errors_count") for folder in sorted((root / EXT4).glob("*"))}
    return {device: count for device, count in counts.items() if count is not None}
