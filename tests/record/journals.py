"""Real journal files, written by systemd-journal-remote from the journal's export format. Source: "Journal Export Formats"."""

import struct
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

WRITER = "/lib/systemd/systemd-journal-remote"


def exported(entry: Mapping[str, str]) -> bytes:
    parts = []
    for name, value in entry.items():
        content = value.encode()
        if b"\n" in content:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(content)) + content + b"\n")
        else:
            parts.append(name.encode() + b"=" + content + b"\n")
    return b"".join(parts) + b"\n"


class JournalWriter:
    """Appends entries to one journal file, in a process that runs until `close`."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        command = [WRITER, f"--output={file}", "-"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def append(self, entries: Iterable[Mapping[str, str]]) -> None:
        assert self.process.stdin
        for entry in entries:
            self.process.stdin.write(exported(with_clock(entry)))
        self.process.stdin.flush()

    def close(self) -> None:
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors


def with_clock(entry: Mapping[str, str]) -> dict[str, str]:
    """An exported entry has its monotonic time in a separate field."""
    fields = dict(entry)
    cursor = dict(part.partition("=")[::2] for part in fields.pop("__CURSOR", "").split(";"))
    fields.setdefault("__MONOTONIC_TIMESTAMP", str(int(cursor.get("m", "1"), 16)))
    order = ("__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "_BOOT_ID")
    return {**{name: fields.pop(name) for name in order}, **fields}


def write(file: Path, entries: Iterable[Mapping[str, str]]) -> None:
    """Append to `file`, and close it."""
    writer = JournalWriter(file)
    writer.append(entries)
    writer.close()
