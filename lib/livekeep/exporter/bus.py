"""A client of the D-Bus system bus that can do one thing: ask services many questions in one go, and never wait long.

Part of livekeep-exporter. It sends method calls whose arguments are texts and lists of texts, reads what comes back, and knows
nothing else of D-Bus. python3-dbus asks one question at a time: it would take four times the processor time, and 2 MB.
Source: the D-Bus Specification 0.38, "Message Protocol" and "Authentication Protocol".
"""

import contextlib
import functools
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from livekeep.core.errors import TemporaryError

ANSWER_SECONDS = 0.5
"""So long may all the answers together take; systemd's take about a millisecond."""
LARGEST_BYTES = 1024 * 1024
LONGEST_LINE_BYTES = 512
"""Of the authentication."""
DEEPEST = 16
METHOD_CALL, METHOD_RETURN, ERROR = 1, 2, 3
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SIGNATURE = 1, 2, 3, 4, 5, 6, 8
HEADER = struct.Struct("<4BIII")
"""Byte order, kind, flags, version; bytes of the body; serial; bytes of the fields that follow."""
FIXED = {
    code: struct.Struct(f"<{form}")
    for code, form in {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "h": "I"}.items()
}
ALIGNMENT = {"s": 4, "o": 4, "a": 4, "(": 8, "{": 8} | {code: form.size for code, form in FIXED.items()}


class BusError(TemporaryError):
    """The bus does not answer, or answers what cannot be read."""


class Reply(NamedTuple):
    """An answer, not yet decoded: two equal ones say the same. `error` is the error's name, "" for a good answer."""

    error: str
    signature: str
    body: bytes

    def values(self) -> list[Any]:
        """What the answer says. Raises `BusError` when that cannot be read."""
        return decode(self.signature, self.body)


class Fields(NamedTuple):
    """Of a message's header what a reader of replies needs."""

    reply_serial: int
    error: str
    signature: str


def encode_call(destination: str, path: str, interface: str, member: str, *arguments: str | Sequence[str]) -> bytes:
    """A method call with serial 0; a text is given as `s`, a sequence of texts as `as`."""
    body = bytearray()
    for argument in arguments:
        put_text(body, argument) if isinstance(argument, str) else put_texts(body, argument)
    signature = "".join("s" if isinstance(argument, str) else "as" for argument in arguments)
    fields = bytearray()
    for code, value in ((PATH, path), (INTERFACE, interface), (MEMBER, member), (DESTINATION, destination)):
        pad(fields, 8)
        fields += bytes((code, 1)) + (b"o\0" if code == PATH else b"s\0")
        put_text(fields, value)
    if signature:
        pad(fields, 8)
        fields += bytes((SIGNATURE, 1)) + b"g\0" + bytes((len(signature),)) + signature.encode() + b"\0"
    header = bytearray(HEADER.pack(ord("l"), METHOD_CALL, 0, 1, len(body), 0, len(fields))) + fields
    pad(header, 8)
    return bytes(header + body)


def with_serial(call: bytes, serial: int) -> bytes:
    return call[:8] + serial.to_bytes(4, "little") + call[12:]


def pad(data: bytearray, alignment: int) -> None:
    data.extend(bytes(-len(data) % alignment))


def put_text(data: bytearray, text: str) -> None:
    pad(data, 4)
    raw = text.encode()
    data += len(raw).to_bytes(4, "little") + raw + b"\0"


def put_texts(data: bytearray, texts: Sequence[str]) -> None:
    pad(data, 4)
    content = bytearray()
    for text in texts:
        put_text(content, text)
    data += len(content).to_bytes(4, "little") + content


def decode(signature: str, data: bytes) -> list[Any]:
    """The values of a message's body. Raises `BusError` for anything but exactly what `signature` announces."""
    decoder = Decoder(data)
    try:
        values = [decoder.value(kind) for kind in types_of(signature)]
    except (ValueError, IndexError, struct.error) as error:
        raise BusError(f"system bus: an answer cannot be read ({error})") from error
    if decoder.position != len(data):
        raise BusError("system bus: an answer is longer than it says")
    return values


@functools.lru_cache(64)
def types_of(signature: str) -> tuple[str, ...]:
    """The complete types in a signature: "sa(ss)" → "s", "a(ss)". Raises `ValueError` for what is none."""

    def split() -> Iterator[str]:
        start = 0
        while start < len(signature):
            end = end_of_type(signature, start)
            yield signature[start:end]
            start = end

    return tuple(split())


def end_of_type(signature: str, start: int, depth: int = 0) -> int:
    """Where the complete type ends that begins at `start`. Raises `ValueError`, or `IndexError` at the signature's end."""
    code = signature[start]
    if depth > DEEPEST:
        raise ValueError("types within types without end")
    if code == "a":
        return end_of_type(signature, start + 1, depth + 1)
    if code in "({":
        closing, end = ")" if code == "(" else "}", start + 1
        while signature[end] != closing:
            end = end_of_type(signature, end, depth + 1)
        if end == start + 1:
            raise ValueError("a structure of nothing")
        return end + 1
    if code not in "gv" and code not in ALIGNMENT:
        raise ValueError(f"no type {code!r}")
    return start + 1


class Decoder:
    """Reads values from `data` one after the other. Raises `ValueError`, `IndexError` or `struct.error` for what is none."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def value(self, kind: str, depth: int = 0) -> Any:
        if depth > DEEPEST:
            raise ValueError("values within values without end")
        code = kind[0]
        self.align(ALIGNMENT.get(code, 1))
        if code in FIXED:
            value = FIXED[code].unpack_from(self.data, self.position)[0]
            self.position += FIXED[code].size
            return bool(value) if code == "b" else value
        if code in "so":
            return self.text(self.value("u"))
        if code == "g":
            return self.text(self.value("y"))
        if code == "a":
            return self.array(kind[1:], depth)
        if code == "v":
            (inner,) = types_of(self.value("g"))
            return self.value(inner, depth + 1)
        return tuple(self.value(inner, depth + 1) for inner in types_of(kind[1:-1]))

    def array(self, kind: str, depth: int) -> list[Any]:
        length = self.value("u")
        self.align(ALIGNMENT.get(kind[0], 1))
        end = self.position + length
        if end > len(self.data):
            raise ValueError("an array beyond the end")
        values = []
        while self.position < end:
            values.append(self.value(kind, depth + 1))
        if self.position != end:
            raise ValueError("an array's last value beyond its end")
        return values

    def text(self, length: int) -> str:
        end = self.position + length
        # An IndexError when the text ends beyond the data.
        if self.data[end]:
            raise ValueError("a text without an end")
        raw, self.position = self.data[self.position : end], end + 1
        return raw.decode("utf-8", "replace")

    def align(self, alignment: int) -> None:
        self.position += -self.position % alignment


@functools.lru_cache(64)
def fields_of(raw: bytes) -> Fields:
    """The header's fields, `raw` beginning with their length. The same question gets the same fields each time: they are kept.

    Raises `ValueError`, `IndexError` or `struct.error`.
    """
    # The fields lie behind 12 bytes in the message, and aligning counts from its start.
    found = dict(Decoder(bytes(12) + raw, 12).value("a(yv)"))
    reply_serial, error, signature = found.get(REPLY_SERIAL, 0), found.get(ERROR_NAME, ""), found.get(SIGNATURE, "")
    if not (isinstance(reply_serial, int) and isinstance(error, str) and isinstance(signature, str)):
        raise ValueError("a header's field of another type")
    return Fields(reply_serial, error, signature)


class Bus:
    """A connection to the bus at `path`, made at the first question and made anew after a failure."""

    def __init__(self, path: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._path = path
        self._answer_seconds = answer_seconds
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._deadline = 0.0
        self._asked = 0

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None
        self._received.clear()

    def ask(self, calls: Sequence[bytes]) -> list[Reply]:
        """The answers to `calls`, in their order. Raises `BusError` when not all of them come in time."""
        self.send(calls)
        return self.receive()

    def send(self, calls: Sequence[bytes]) -> None:
        """Put the questions; `receive` gives the answers. What is done in between costs no time. Raises `BusError`."""
        self._deadline = time.monotonic() + self._answer_seconds
        with self._closed_on_failure():
            if not self._socket:
                self._connect()
            self._put(calls)

    def receive(self) -> list[Reply]:
        """The answers to the questions sent last, in their order. Raises `BusError` when not all of them come in time."""
        with self._closed_on_failure():
            return self._take()

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BusError:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise self._late() from error
        except (OSError, ValueError, IndexError, struct.error) as error:
            self.close()
            raise BusError(f"{self._path}: {error}; is dbus.service running?") from error

    def _connect(self) -> None:
        self._received.clear()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(self._answer_seconds)
        self._socket.connect(self._path)
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        while not self._received.endswith(b"\r\n") and len(self._received) < LONGEST_LINE_BYTES:
            self._receive()
        if not self._received.startswith(b"OK "):
            raise BusError(f"{self._path}: refuses user {os.geteuid()}; see journalctl -u dbus.service")
        self._received.clear()
        self._socket.sendall(b"BEGIN\r\n")
        path, name = "/org/freedesktop/DBus", "org.freedesktop.DBus"
        self._put([encode_call(name, path, name, "Hello")])
        (hello,) = self._take()
        if hello.error:
            raise BusError(f"{self._path}: refuses ({hello.error}); see journalctl -u dbus.service")

    def _late(self) -> BusError:
        after = f"no answer within {self._answer_seconds:g} s"
        return BusError(f"{self._path}: {after}; does systemd reload just now? Else see systemctl status dbus.service")

    def _put(self, calls: Sequence[bytes]) -> None:
        """Serials are used again: what was not answered in time is never waited for, since its connection is closed."""
        self._asked = len(calls)
        connected = self._connected()
        connected.settimeout(self._answer_seconds)
        connected.sendall(b"".join([with_serial(call, serial) for serial, call in enumerate(calls, 1)]))

    def _take(self) -> list[Reply]:
        replies: dict[int, Reply] = {}
        while len(replies) < self._asked:
            kind, fields, body = self._next_message()
            # Anything else is a signal, such as that of the name the bus gave us.
            if kind in (METHOD_RETURN, ERROR) and 0 < fields.reply_serial <= self._asked:
                error = (fields.error or "unnamed") if kind == ERROR else ""
                replies[fields.reply_serial] = Reply(error, fields.signature, body)
        return [replies[serial] for serial in range(1, self._asked + 1)]

    def _connected(self) -> socket.socket:
        if not self._socket:
            raise BusError(f"{self._path}: not connected")
        return self._socket

    def _next_message(self) -> tuple[int, Fields, bytes]:
        while len(self._received) < HEADER.size:
            self._receive()
        order, kind, _, version, body_bytes, _, fields_bytes = HEADER.unpack_from(self._received)
        start = HEADER.size + fields_bytes
        body_start = start + -start % 8
        end = body_start + body_bytes
        if order != ord("l") or version != 1 or end > LARGEST_BYTES:
            raise BusError(f"{self._path}: sends what is no message of ours")
        while len(self._received) < end:
            self._receive()
        fields, body = fields_of(bytes(self._received[12:start])), bytes(self._received[body_start:end])
        del self._received[:end]
        return kind, fields, body

    def _receive(self) -> None:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise self._late()
        connected = self._connected()
        connected.settimeout(seconds)
        data = connected.recv(16 * 1024)
        if not data:
            raise BusError(f"{self._path}: the connection was closed; see journalctl -u dbus.service")
        self._received += data
