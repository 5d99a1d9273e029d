"""Waiting for files by inotify(7), through libc: the packaged bindings cost 3 to 4 MB of memory, this 0.2 MB."""

import contextlib
import ctypes
import os
import struct
from pathlib import Path

from livekeep.core.errors import TemporaryError

IN_MODIFY = 0x00000002
IN_ATTRIB = 0x00000004
IN_CLOSE_WRITE = 0x00000008
IN_MOVED_FROM = 0x00000040
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE = 0x00000200
HEADER = struct.Struct("iIII")


class FolderWatch:
    """Reports when a state file below `root` is replaced, a socket in one of `socket_folders` becomes usable, or a folder appears
    or disappears.

    systemd removes a unit's runtime directory when the unit stops and creates it again later, so `root` is watched too. The
    create event comes before the change of owner, so the watch is retried at each change of the folder's attributes.
    """

    def __init__(self, root: Path, folders: tuple[str, ...], socket_folders: tuple[str, ...] = ()) -> None:
        """Raises `TemporaryError` when the kernel gives no inotify instance or `root` cannot be watched."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._root = root
        # Only the rename: other events of a temporary file would wake the program too. A socket is usable once its mode is set.
        self._masks = {**dict.fromkeys(folders, IN_MOVED_TO), **dict.fromkeys(socket_folders, IN_ATTRIB)}
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0 or not self._add(root, IN_CREATE | IN_ATTRIB | IN_DELETE):
            reason = os.strerror(ctypes.get_errno())
            if self._descriptor >= 0:
                os.close(self._descriptor)
            raise TemporaryError(f"{root}: cannot be watched ({reason})")
        self._watch_folders()

    def fileno(self) -> int:
        return int(self._descriptor)

    def drain(self) -> None:
        """Read all pending events; afterwards all existing folders are watched."""
        is_of_root = False
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, 65536):
                offset = 0
                while offset < len(data):
                    _watch, mask, _cookie, length = HEADER.unpack_from(data, offset)
                    is_of_root = is_of_root or not mask & (IN_MOVED_TO | IN_CLOSE_WRITE)
                    offset += HEADER.size + length
        if is_of_root:
            self._watch_folders()

    def watch_contents(self, folder: Path) -> bool:
        """Also report files in `folder` that are closed after writing or moved there. Returns whether it can be watched."""
        return self._add(folder, IN_CLOSE_WRITE | IN_MOVED_TO)

    def watch_all(self, folder: Path) -> bool:
        """Report each write to or change of a file in `folder`, and new and removed files. Returns whether it can be watched."""
        return self._add(folder, IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE)

    def close(self) -> None:
        os.close(self._descriptor)

    def _watch_folders(self) -> None:
        for folder, mask in self._masks.items():
            self._add(self._root / folder, mask)

    def _add(self, path: Path, mask: int) -> bool:
        return bool(self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask) >= 0)
