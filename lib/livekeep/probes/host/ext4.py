"""Errors that the kernel has counted on each mounted ext4 file system: /sys/fs/ext4/DEVICE/errors_count.

The count is kept on the file system itself, until e2fsck(8) clears it.
"""

from collections.abc import Mapping
from pathlib import Path

from livekeep.system import sysfs

FOLDER = "sys/fs/ext4"


def read(root: Path) -> dict[str, int]:
    """By block device, such as "mmcblk0p2"; one that does not tell is left out."""
    counts = {folder.name: sysfs.read_count(folder / "errors_count") for folder in sorted((root / FOLDER).glob("*"))}
    return {device: count for device, count in counts.items() if count is not None}


def growth(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """The errors that came since, by block device. One that was not known before has its errors from earlier."""
    new = {device: count - before.get(device, count) for device, count in after.items()}
    return {device: count for device, count in new.items() if count > 0}
