"""Reads files of /proc, /sys and cgroups without blocking and without errors.

Source of the cgroups: the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

import os
from pathlib import Path

LARGEST_BYTES = 64 * 1024
SLICE = "livekeep.slice"
"""The cgroup of all units."""


def read(path: str) -> bytes:
    """The current content; b"" if the file is absent or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    content = b""
    try:
        # The kernel returns some files one page at a time.
        while more := os.read(descriptor, LARGEST_BYTES - len(content)):
            content += more
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return content


def is_there(path: Path) -> bool:
    """Whether the file exists, as far as this program has access."""
    # Not `Path.exists`, which raises an error for a folder without access.
    return os.access(path, os.F_OK)


def count(word: bytes) -> int:
    """A whole number from the kernel. Raises `ValueError` if it is negative or exceeds 64 bits."""
    value = int(word)
    if not 0 <= value < 1 << 64:
        raise ValueError("no count")
    return value


def figure_after(content: bytes, name: bytes) -> int:
    """The count after `name` in a file's content. Raises `ValueError` or `IndexError` if there is none."""
    start = content.index(name) + len(name)
    return count(content[start : start + 64].split(None, 1)[0])


def cgroups(root: Path) -> Path:
    """The mount point of the cgroup v2 hierarchy: alone, or beside cgroup v1."""
    folder = root / "sys/fs/cgroup"
    unified = folder / "unified"
    return unified if is_there(unified / "cgroup.controllers") else folder
