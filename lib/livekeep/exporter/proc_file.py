"""Files of /proc, /sys and cgroups, read without waiting and without an error. Part of livekeep-exporter."""

import os
from pathlib import Path

LARGEST_BYTES = 64 * 1024


def read(path: str) -> bytes:
    """The present content; b"" when the file is absent or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    content = b""
    try:
        # The kernel gives some of its files a page at a time.
        while more := os.read(descriptor, LARGEST_BYTES - len(content)):
            content += more
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return content


def is_there(path: Path) -> bool:
    """Whether there is such a file, as far as this program may see."""
    # Not `Path.exists`, which raises an error for a folder that may not be read.
    return os.access(path, os.F_OK)


def count(word: bytes) -> int:
    """A whole number of the kernel's. Raises `ValueError` for a negative one, and for what no 64 bits hold."""
    value = int(word)
    if not 0 <= value < 1 << 64:
        raise ValueError("no count")
    return value


def figure_after(content: bytes, name: bytes) -> int:
    """The count that follows `name` in the content of a file. Raises `ValueError` or `IndexError` when there is none."""
    start = content.index(name) + len(name)
    return count(content[start : start + 64].split(None, 1)[0])
