"""Simulates the journal's native socket, so that a test sees what a job sends; and runs jobs with it."""

import array
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from livekeep.record import wire
from tests.outside import LIBRARY, PATIENCE_SECONDS

Entry = dict[str, str]


class JournalSocket:
    """Receives like systemd-journald: a datagram, or a sealed memory file with an empty datagram."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "socket"
        self.entries: list[Entry] = []
        self.by_file = 0
        self.open()

    def open(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        self._socket.bind(str(self.path))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def close(self) -> None:
        """Close it after everything sent before was received."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", str(self.path))
        self._reader.join()
        self._socket.close()
        self.path.unlink()

    def __enter__(self) -> "JournalSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._folder.cleanup()

    def _read(self) -> None:
        while True:
            content, ancillary, _flags, _address = self._socket.recvmsg(16 * 1024 * 1024, socket.CMSG_LEN(4))
            if content == b"end":
                return
            for _level, _kind, rights in ancillary:
                (descriptor,) = array.array("i", rights)
                content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
                os.close(descriptor)
                self.by_file += 1
            self.entries.append(parsed(content))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(LIBRARY),
            "PATH": os.environ["PATH"],
            "LIVEKEEP_JOURNAL_SOCKET": str(self.path),
            "XDG_STATE_HOME": self._folder.name,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def command(self, script: str, *arguments: str) -> list[str]:
        """A command for a script's text, which is in a file so that a child can import it."""
        file = Path(tempfile.mkdtemp(dir=self._folder.name)) / "job.py"
        file.write_text(textwrap.dedent(script), encoding="utf-8")
        return [sys.executable, str(file), *arguments]

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a job to its end."""
        return subprocess.run(
            self.command(script, *arguments),
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def start(self, script: str, *arguments: str, stdin: int | None = None) -> "subprocess.Popen[str]":
        command = self.command(script, *arguments)
        return subprocess.Popen(command, env=self.environment, stdin=stdin, stdout=subprocess.PIPE, text=True)


def ran(script: str, *arguments: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[Entry]]:
    """Run a job to its end; the entries that it sent."""
    with JournalSocket() as journal:
        return journal.run(script, *arguments, **environment), journal.entries


def parsed(content: bytes) -> Entry:
    """One entry of the native protocol."""
    entry: Entry = {}
    while content:
        name, _, rest = content.partition(b"\n")
        if b"=" in name:
            key, _, value = name.partition(b"=")
            content = rest
        else:
            (size,) = struct.unpack("<Q", rest[:8])
            key, value, content = name, rest[8 : 8 + size], rest[8 + size + 1 :]
        entry[key.decode()] = value.decode()
    return entry


def lines_of(entries: Iterable[Entry], *kinds: str) -> list[list[Any]]:
    return [line for entry in entries for line in wire.decode(entry.get(wire.RECORDS, "")) if line[0] in kinds]


def calls_of(entries: Iterable[Entry]) -> list[tuple[str, str, wire.Call]]:
    """Name and kind of the function, and the call."""
    result = []
    for entry in entries:
        functions: dict[int, tuple[str, str]] = {}
        for line in wire.decode(entry.get(wire.RECORDS, "")):
            if line[0] == "f":
                functions[line[1]] = (line[2], line[3])
            elif line[0] == "c":
                result.append((*functions[line[2]], wire.Call(*line[1:])))
    return result


def names_of(entries: Iterable[Entry]) -> Counter[str]:
    return Counter(name for name, _kind, _call in calls_of(entries))


def assert_complete(entries: Iterable[Entry]) -> None:
    """Each process's entries are numbered without a gap, each call appears once, and the counts agree."""
    processes: dict[str, list[Entry]] = {}
    for entry in entries:
        processes.setdefault(entry[wire.PROCESS], []).append(entry)
    for mine in processes.values():
        assert [int(entry[wire.SEQUENCE]) for entry in mine] == list(range(1, len(mine) + 1))
        sent = 0
        for entry in mine:
            assert int(entry[wire.SENT]) == sent
            calls = len(lines_of([entry], "c"))
            assert int(entry.get(wire.COUNT, "0")) == calls
            sent += calls
        numbers = [call.number for _name, _kind, call in calls_of(mine)]
        assert len(set(numbers)) == len(numbers)


def last_json(output: str) -> Any:
    return json.loads(output.strip().splitlines()[-1])
