"""Destinations of entries: the journal's native socket, or a file of JSON lines.

Sources: systemd's "Native Journal Protocol" (what is too large for a datagram travels as a sealed memory file) and "Journal
Export Formats" (the JSON form).
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import struct
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

JOURNAL_SOCKET = "/run/systemd/journal/socket"
SOCKET_VARIABLE = "LIVEKEEP_JOURNAL_SOCKET"
"""The socket to use instead, for tests."""
FILE_VARIABLE = "LIVEKEEP_EVENTS"
SEND_SECONDS = 1.0
BUFFER_BYTES = 8 * 1024 * 1024
TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)


class Sink(Protocol):
    def is_there(self) -> bool:
        """Whether sending is possible at all."""

    def send(self, fields: Mapping[str, str]) -> None:
        """Send one entry. Raises `OSError`, after which it may be retried."""

    def close(self) -> None: ...


def chosen(environment: Mapping[str, str] = os.environ) -> Sink:
    if file := environment.get(FILE_VARIABLE):
        return EventFile(Path(file))
    return Journal(environment.get(SOCKET_VARIABLE) or JOURNAL_SOCKET)


class Journal:
    def __init__(self, path: str = JOURNAL_SOCKET, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.path = path
        self.buffer_bytes = buffer_bytes
        self._socket: socket.socket | None = None

    def is_there(self) -> bool:
        return Path(self.path).exists()

    def send(self, fields: Mapping[str, str]) -> None:
        datagram = native(fields)
        channel = self._socket or self._open()
        try:
            channel.sendto(datagram, self.path)
        except OSError as error:
            if error.errno not in TOO_LARGE or not hasattr(os, "memfd_create"):
                raise
            self._send_as_file(channel, datagram)

    def _open(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
        channel.settimeout(SEND_SECONDS)
        with contextlib.suppress(OSError):
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffer_bytes)
        self._socket = channel
        return channel

    def _send_as_file(self, channel: socket.socket, content: bytes) -> None:
        descriptor = os.memfd_create("livekeep-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as stream:
                stream.write(content)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
            channel.sendmsg([b""], rights, 0, self.path)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


def native(fields: Mapping[str, str]) -> bytes:
    parts = bytearray()
    for name, value in fields.items():
        content = value.encode("utf-8", "backslashreplace")
        if b"\n" in content:
            parts += name.encode() + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"
        else:
            parts += name.encode() + b"=" + content + b"\n"
    return bytes(parts)


class EventFile:
    """JSON lines in the form of `journalctl -o json`, with the fields that the journal would add."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._descriptor: int | None = None
        self._is_torn = False
        """Whether the last line was written only in part."""
        self._trusted: dict[str, str] | None = None

    def is_there(self) -> bool:
        return True

    def send(self, fields: Mapping[str, str]) -> None:
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
            self._descriptor = os.open(self.path, flags, 0o600)
        if self._trusted is None:
            self._trusted = trusted_fields()
        line = json.dumps({"__REALTIME_TIMESTAMP": str(time.time_ns() // 1000), **self._trusted, **fields}, ensure_ascii=False)
        content = (b"\n" if self._is_torn else b"") + line.encode("utf-8", "backslashreplace") + b"\n"
        written = os.write(self._descriptor, content)
        self._is_torn = (self._is_torn and written == 0) or 0 < written < len(content)
        if written < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def close(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor, self._trusted = None, None


def trusted_fields() -> dict[str, str]:
    """The fields that the journal itself adds about a writer."""
    hostname = socket.gethostname()
    made_up = uuid.uuid5(uuid.NAMESPACE_DNS, hostname).hex
    return {
        "_BOOT_ID": (first_line("/proc/sys/kernel/random/boot_id") or made_up).replace("-", ""),
        "_MACHINE_ID": first_line("/etc/machine-id") or first_line("/var/lib/dbus/machine-id") or made_up,
        "_HOSTNAME": hostname,
        "_PID": str(os.getpid()),
        "_UID": str(os.getuid()),
    }


def first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip().partition("\n")[0]
    except (OSError, ValueError):
        return ""
