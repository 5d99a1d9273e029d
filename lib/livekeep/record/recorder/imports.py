"""Imports JSON lines, which jobs write where there is no journal (LIVEKEEP_EVENTS): each line has the fields of an entry.

The content is trusted, because only trusted users can write to the recorder's request folder. `journalctl -o json` writes such
lines, too.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livekeep.record.store.records import HALF
from livekeep.record.store.writer import Position

LONGEST_LINE = 8 * 1024 * 1024
"""Bytes."""


class Import:
    """A file being imported: the position after each line is committed with its rows."""

    def __init__(self, file: Path, begin: int) -> None:
        """Raises `OSError`."""
        self.key, self.file = f"import {file.name}", file
        self.is_at_end = False
        self.unreadable = 0
        """The number of lines up to here."""
        # It may be removed manually meanwhile.
        self._stream = file.open("rb")
        self._stream.seek(begin)
        self._file_time = os.fstat(self._stream.fileno()).st_mtime_ns // 1000

    def close(self) -> None:
        self._stream.close()

    def position(self) -> Position:
        return Position(str(self._stream.tell()), "", self._file_time)

    def entries(self) -> Iterator[dict[str, str]]:
        """The entries from the current position on."""
        while line := self._stream.readline(LONGEST_LINE + 1):
            entry = self._entry(line)
            if entry:
                yield entry
        self.is_at_end = True

    def _entry(self, line: bytes) -> dict[str, str] | None:
        if not line.strip():
            return None
        try:
            document = json.loads(line) if len(line) <= LONGEST_LINE else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self.unreadable += 1
            return None
        entry = {HALF.sub("\ufffd", name): text for name, value in document.items() if (text := field(value)) is not None}
        entry.setdefault("__REALTIME_TIMESTAMP", entry.get("_SOURCE_REALTIME_TIMESTAMP", str(self._file_time)))
        return entry


def field(value: Any) -> str | None:
    """journalctl writes a non-text field as a list of bytes, and a repeated field as a list."""
    if isinstance(value, str):
        return HALF.sub("\ufffd", value)
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and value:
        if all(isinstance(item, int) and 0 <= item < 256 for item in value):
            return bytes(value).decode(errors="replace")
        return field(value[0])
    return None
