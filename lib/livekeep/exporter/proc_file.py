"""A file of /proc, /sys or a cgroup, held open: reading it again costs a fifth of opening it again.

Part of livekeep-exporter. The kernel makes such a file's content anew at each read from its start (proc(5), sysfs(5)).
"""

import errno
import os
from pathlib import Path

LARGEST_BYTES = 64 * 1024
ALMOST_A_PAGE_BYTES = 3072
"""What is shorter than this, and its longest line, is whole."""


class HeldFile:
    """What is absent or cannot be read has the content b"", until `open` finds it."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self.open()

    def __del__(self) -> None:
        # Whoever forgets one gives its descriptor back.
        self.close()

    def open(self) -> None:
        """Open the file unless it is open; no error when it is absent."""
        if self._descriptor < 0:
            try:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                self._descriptor = -1

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self) -> bytes:
        """The present content; b"" when there is none."""
        if self._descriptor < 0:
            return b""
        try:
            return self._whole()
        except OSError as error:
            if error.errno != errno.ENODEV:
                return b""
        # Its device or cgroup is gone; another may have taken the name.
        self.close()
        self.open()
        try:
            return self._whole() if self._descriptor >= 0 else b""
        except OSError:
            return b""

    def _whole(self) -> bytes:
        """All of it: a single read of some of the kernel's files gives no more than about a page."""
        found = os.pread(self._descriptor, LARGEST_BYTES, 0)
        if len(found) < ALMOST_A_PAGE_BYTES:
            return found
        while more := os.pread(self._descriptor, LARGEST_BYTES - len(found), len(found)):
            found += more
        return found


def is_there(path: Path) -> bool:
    """Whether there is such a file, as far as this program may see: what it may not look into costs nobody else's figures."""
    # Not `Path.exists`, which raises an error then.
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
