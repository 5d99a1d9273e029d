"""The D-Bus system bus: method calls with a deadline, several in one round trip, and plain Python values as results.

jeepney builds and parses the messages. This module doesn't use its blocking connection, which waits forever for the bus's
greeting, sends without a deadline, makes one round trip for each call and sets no limit on what it receives. It uses only
what jeepney 0.8 and 0.9 share. Sources: the D-Bus Specification 0.38; jeepney's documentation, "I/O free".
"""

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jeepney import DBusAddress, HeaderFields, Message, MessageType, Parser, new_method_call
from jeepney.auth import BEGIN, AuthenticationError, Authenticator

from livekeep.core import paths
from livekeep.core.errors import TemporaryError

SYSTEM_BUS = paths.ROOT / "run/dbus/system_bus_socket"
CALL_SECONDS = 10.0
"""Services reply in milliseconds, except systemd while it reloads its units, and polkit, which starts at the first call."""
LARGEST_MESSAGE_BYTES = 1024 * 1024
RECEIVED_AT_ONCE_BYTES = 16 * 1024
LONGEST_ERROR = 200
NOT_ALLOWED = ("AccessDenied", "InteractiveAuthorizationRequired", "AuthFailed", "NotAuthorized")
PROPERTIES = "org.freedesktop.DBus.Properties"


class BusError(TemporaryError):
    """The bus or a service doesn't reply, or refuses."""


class CallError(BusError):
    """A service replies with an error. `name` is the D-Bus name, such as org.freedesktop.DBus.Error.UnknownMethod."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.name = name


class Call(NamedTuple):
    """A method call; `signature` gives the D-Bus types of `arguments`."""

    service: str
    path: str
    interface: str
    member: str
    signature: str = ""
    arguments: tuple[Any, ...] = ()

    def message(self) -> Message:
        to = DBusAddress(self.path, bus_name=self.service, interface=self.interface)
        return new_method_call(to, self.member, self.signature or None, self.arguments)


BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
"""Service, path and interface of the bus itself."""


def get(service: str, path: str, interface: str, name: str) -> Call:
    """The call for one property; its result is the value."""
    return Call(service, path, PROPERTIES, "Get", "ss", (interface, name))


def get_all(service: str, path: str, interface: str) -> Call:
    """The call for all properties of an interface; its result is one dictionary."""
    return Call(service, path, PROPERTIES, "GetAll", "s", (interface,))


def result_of(reply: Message, call: Call) -> tuple[Any, ...]:
    """What a method returns. A variant, or a dictionary of variants, is unwrapped if it is the whole result.

    Raises `CallError` for a service's error.
    """
    if reply.header.message_type == MessageType.error:
        name = str(reply.header.fields.get(HeaderFields.error_name, "an error without a name"))
        service = call.service.removeprefix("org.freedesktop.").rstrip("0123456789")
        if name.endswith(NOT_ALLOWED):
            advice = "does polkit.service run, and are livekeep's rules in /usr/share/polkit-1/rules.d? Else run install.sh again"
            raise CallError(name, f"{service}: polkit refuses {call.member}; {advice}")
        text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else ""
        first_line = (text.splitlines() or [""])[0][:LONGEST_ERROR] or name
        raise CallError(name, f"{service}: {call.member} is refused: {first_line}")
    signature = reply.header.fields.get(HeaderFields.signature, "")
    if signature == "v":
        return (reply.body[0][1],)
    if signature == "a{sv}":
        return ({name: value for name, (_type, value) in reply.body[0].items()},)
    return tuple(reply.body)


def replied_serial(message: Message) -> int:
    """The serial of the call that this message replies to; 0 for a signal, such as NameAcquired."""
    serial = message.header.fields.get(HeaderFields.reply_serial)
    is_reply = message.header.message_type in (MessageType.method_return, MessageType.error)
    return serial if is_reply and isinstance(serial, int) else 0


class Bus:
    """A connection to the bus at `path`, opened at the first call, and again after a failure. Threads must take turns.

    All calls of one round trip share `seconds`, connecting included.
    """

    def __init__(self, path: Path = SYSTEM_BUS, seconds: float = CALL_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._parser = Parser()
        self._serial = 0
        self._deadline = 0.0

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def call(self, call: Call) -> tuple[Any, ...]:
        """What a method returns. Raises `CallError` for a service's error, `BusError` if no reply comes in time."""
        (result,) = self.calls([call])
        if isinstance(result, CallError):
            raise result
        return result

    def calls(self, calls: Sequence[Call]) -> list[tuple[Any, ...] | CallError]:
        """What several methods return, in order, in one round trip. Raises `BusError` if a reply is missing or late."""
        self._deadline = time.monotonic() + self._seconds
        try:
            return self._exchange(self._socket or self._connect(), calls)
        except BaseException as error:
            # A late reply must not be matched to a later call.
            self.close()
            if isinstance(error, TimeoutError):
                advice = "is systemd reloading? Otherwise see systemctl status dbus.service"
                raise BusError(f"{self._path}: no reply within {self._seconds:g} s; {advice}") from error
            if isinstance(error, OSError):
                raise BusError(f"{self._path}: {error.strerror}; is dbus.service running?") from error
            raise

    def _connect(self) -> socket.socket:
        connected = self._socket = socket.socket(socket.AF_UNIX)
        self._parser = Parser()
        connected.settimeout(self._remaining_seconds())
        connected.connect(str(self._path))
        authenticator = Authenticator()
        try:
            for line in authenticator:
                self._send(connected, line)
                authenticator.feed(self._receive(connected))
        except AuthenticationError as error:
            raise BusError(f"{self._path}: refuses user {os.geteuid()}; see journalctl -u dbus.service") from error
        self._send(connected, BEGIN)
        (greeting,) = self._exchange(connected, [Call(*BUS, "Hello")])
        if isinstance(greeting, CallError):
            raise BusError(f"{self._path}: refuses ({greeting.name}); see journalctl -u dbus.service") from greeting
        return connected

    def _exchange(self, connected: socket.socket, calls: Sequence[Call]) -> list[tuple[Any, ...] | CallError]:
        waiting: dict[int, int] = {}
        sent = bytearray()
        for index, call in enumerate(calls):
            self._serial += 1
            waiting[self._serial] = index
            sent += call.message().serialise(serial=self._serial)
        self._send(connected, sent)
        results: dict[int, tuple[Any, ...] | CallError] = {}
        while waiting:
            # jeepney can raise any exception for a broken message.
            try:
                message = self._parser.get_next_message()
                is_too_large = message is None and self._parser.bytes_desired() > LARGEST_MESSAGE_BYTES
            except Exception as error:
                raise BusError(f"{self._path}: sends an invalid D-Bus message ({error or type(error).__name__})") from error
            if is_too_large:
                raise BusError(f"{self._path}: sends a message of more than {LARGEST_MESSAGE_BYTES // 1024} KiB")
            if message is None:
                self._parser.add_data(self._receive(connected))
                continue
            index = waiting.pop(replied_serial(message), -1)
            if index >= 0:
                try:
                    results[index] = result_of(message, calls[index])
                except CallError as error:
                    results[index] = error
        return [results[index] for index in range(len(calls))]

    def _send(self, connected: socket.socket, data: bytes | bytearray) -> None:
        connected.settimeout(self._remaining_seconds())
        connected.sendall(data)

    def _receive(self, connected: socket.socket) -> bytes:
        connected.settimeout(self._remaining_seconds())
        data = connected.recv(RECEIVED_AT_ONCE_BYTES)
        if not data:
            raise BusError(f"{self._path}: the connection was closed; see journalctl -u dbus.service")
        return data

    def _remaining_seconds(self) -> float:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


def call_once(call: Call, path: Path = SYSTEM_BUS) -> tuple[Any, ...]:
    """What a method returns, over a separate connection. Raises as `Bus.call` does."""
    with contextlib.closing(Bus(path)) as bus:
        return bus.call(call)
