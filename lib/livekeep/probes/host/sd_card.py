"""Whether the card still takes and gives back what is written to it: 64 KiB of random bytes, past the page cache and back.

A card that dies often answers nothing at all. Then the probe hangs in the kernel, where even systemd's SIGKILL does not reach it
when TimeoutStartSec= is over; what is seen is that its result gets old. The errors on ext4 that the kernel has counted are read
from /sys/fs/ext4/DEVICE/errors_count.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
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
UNREADABLE = "the card cannot be written and read again (input/output error)"
DIFFERENT = "the card gave back other bytes than were written"


@dataclass(frozen=True)
class CardCheck:
    """The outcome. `is_good` is None when it cannot be said; `problem` says why it is not True."""

    is_good: bool | None = None
    checked_at: float | None = None
    problem: str = ""


def is_due(last: CardCheck, now: float, interval_seconds: float) -> bool:
    """Whether to check again: after the interval, and at every run while there is a problem."""
    if last.checked_at is None or last.problem:
        return True
    # A clock that was set back must not put the check off.
    return not 0 <= now - last.checked_at < interval_seconds


def check(root: Path, now: float) -> CardCheck:
    """Check the card below the file tree `root`."""
    folder = root / FOLDER
    try:
        is_same = write_and_read(folder / FILE, os.urandom(CHECK_BYTES))
        is_in_memory = file_system(root, folder) in IN_MEMORY
    except OSError as error:
        return judge(error, folder, now)
    if is_in_memory:
        return CardCheck(None, now, f"{folder} lies in memory, not on a card")
    return CardCheck(is_same, now, "" if is_same else DIFFERENT)


def judge(error: OSError, folder: Path, now: float) -> CardCheck:
    """What an error of the check says: a card that fails, one that is full, or nothing of the card."""
    if error.errno == errno.EROFS:
        return CardCheck(False, now, READ_ONLY)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CardCheck(None, now, FULL)
    if error.errno == errno.EIO:
        return CardCheck(False, now, UNREADABLE)
    return CardCheck(None, now, f"{folder} cannot be written ({error.strerror})")


def write_and_read(path: Path, content: bytes) -> bool:
    """Whether `content` comes back from the card itself; the file is gone afterwards. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        return comes_back(descriptor, content)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()


def comes_back(descriptor: int, content: bytes) -> bool:
    """Whether `content`, written to an empty file, is what its device then gives. Raises `OSError`."""
    written = 0
    # One call may write less than all when the space runs out; the next then says so.
    while written < len(content):
        written += os.write(descriptor, content[written:])
    os.fsync(descriptor)
    # What stays in memory would be read from there, whatever the card holds.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(descriptor, len(content) + 1, 0) == content


def file_system(root: Path, folder: Path) -> str:
    """The type of the file system that `folder` lies on, such as "ext4"; "" when it is not known."""
    status = folder.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    for line in (sysfs.read(root / MOUNTS) or "").splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2:3] == [device]:
            return source.partition(" ")[0]
    return ""


# Errors on ext4


def ext4_errors(root: Path) -> dict[str, int]:
    """The errors that the kernel counted on each mounted file system, by block device such as "mmcblk0p2".

    The count is kept on the file system itself until e2fsck(8) clears it. A device that does not tell is left out.
    """
    counts = {folder.name: sysfs.read_count(folder / "errors_count") for folder in sorted((root / EXT4).glob("*"))}
    return {device: count for device, count in counts.items() if count is not None}


def new_errors(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """The errors that came since, by block device. One that was not known before has its errors from earlier."""
    new = {device: count - before.get(device, count) for device, count in after.items()}
    return {device: count for device, count in new.items() if count > 0}
