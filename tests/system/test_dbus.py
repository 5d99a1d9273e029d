"""The D-Bus client against Debian's dbus-daemon, and against servers that send what no bus would."""

import contextlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livekeep.system import dbus
from livekeep.system.dbus import Bus, BusError, Call, CallError
from tests.outside import PATIENCE_SECONDS
from tests.system.systembus import SystemBus, system_bus

NAME, PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
OK = b"OK 0123456789abcdef0123456789abcdef\r\n"


def call(member: str, signature: str = "", *arguments: Any) -> Call:
    return Call(NAME, PATH, NAME, member, signature, arguments)


GET_ID = call("GetId")


@pytest.fixture
def real(tmp_path: Path) -> Iterator[SystemBus]:
    with system_bus(tmp_path) as bus:
        yield bus


@contextlib.contextmanager
def connected(path: Path, seconds: float = PATIENCE_SECONDS) -> Iterator[Bus]:
    bus = Bus(path, seconds)
    try:
        yield bus
    finally:
        bus.close()


# Against the real bus


def test_many_calls_get_their_results_in_order(real: SystemBus) -> None:
    with connected(real.socket) as bus:
        owns_name = call("NameHasOwner", "s", NAME)
        owned, names, unowned, ident = bus.calls(
            [owns_name, call("ListNames"), call("NameHasOwner", "s", "org.example.Nobody"), GET_ID]
        )
        assert (owned, unowned) == ((True,), (False,))
        assert not isinstance(names, CallError)
        assert NAME in names[0]
        assert bus.call(GET_ID) == ident
        assert bus.calls([owns_name] * 40) == [(True,)] * 40


def test_variants_are_unwrapped(real: SystemBus) -> None:
    with connected(real.socket) as bus:
        (credentials,) = bus.call(call("GetConnectionCredentials", "s", NAME))
        assert credentials["ProcessID"] > 1
        assert credentials["UnixUserID"] == os.getuid()
        (features,) = bus.call(dbus.get(NAME, PATH, NAME, "Features"))
        assert all(isinstance(feature, str) for feature in features)
        assert bus.call(dbus.get_all(NAME, PATH, NAME))[0]["Features"] == features


def test_an_error_is_the_result_of_its_call_alone(real: SystemBus) -> None:
    with connected(real.socket) as bus:
        unknown, good, nobody = bus.calls([call("NoSuchMethod"), GET_ID, Call("org.example.Nobody", "/", "org.example", "Ask")])
        assert isinstance(unknown, CallError)
        assert isinstance(nobody, CallError)
        assert (unknown.name, nobody.name) == (f"{NAME}.Error.UnknownMethod", f"{NAME}.Error.ServiceUnknown")
        assert not isinstance(good, CallError)
        with pytest.raises(CallError, match=r"^DBus: NoSuchMethod is refused: .*NoSuchMethod"):
            bus.call(call("NoSuchMethod"))


def test_a_bus_that_restarts_is_connected_to_again(real: SystemBus) -> None:
    with connected(real.socket) as bus:
        bus.call(GET_ID)
        real.stop()
        for _ in range(2):
            with pytest.raises(BusError, match=r"system_bus_socket: .*dbus\.service"):
                bus.call(GET_ID)
        real.start()
        assert len(bus.call(GET_ID)[0]) == 32


def test_no_bus_at_all(tmp_path: Path) -> None:
    with connected(tmp_path / "absent") as bus, pytest.raises(BusError, match=r"absent: No such file or directory; is dbus"):
        bus.call(GET_ID)


# Against servers that misbehave

Server = Callable[[socket.socket], None]


@contextlib.contextmanager
def served(folder: Path, serve: Server) -> Iterator[Path]:
    """A socket whose first client is served so, in a thread."""
    path = folder / "bus"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                serve(client)

        thread = threading.Thread(target=accept)
        thread.start()
        yield path
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def sending(*parts: bytes) -> Server:
    """Sends a part when it is greeted, one when the client says Hello, one at its call; then waits until the client hangs up."""

    def serve(client: socket.socket) -> None:
        send_to(client, *parts)
        while client.recv(4096):
            pass

    return serve


def send_to(client: socket.socket, *parts: bytes) -> None:
    received = b""
    for cue, part in zip((b"AUTH", b"Hello", b"GetId"), parts, strict=False):
        while cue not in received:
            received += client.recv(4096)
        client.sendall(part)


def message(kind: int, serial: int, signature: str = "", body: bytes = b"", order: bytes = b"l", field: bytes = b"") -> bytes:
    """A reply to message number `serial`, made without the code under test."""
    fields = field or struct.pack("<BBBxI", 5, 1, ord("u"), serial)
    if signature:
        fields += struct.pack("<BBBxB", 8, 1, ord("g"), len(signature)) + signature.encode() + b"\0"
    header = order + struct.pack("<BBBIII", kind, 0, 1, len(body), 7, len(fields)) + fields
    return header + bytes(-len(header) % 8) + body


HELLO = message(2, 1, "s", b"\4\0\0\0:1.9\0")
FIVE = message(2, 2, "u", b"\5\0\0\0")
SIGNAL = b"l" + struct.pack("<BBBIII", 4, 0, 1, 0, 2, 0)


def test_signals_and_replies_to_others_are_passed_over(tmp_path: Path) -> None:
    of_text = message(2, 0, field=struct.pack("<BBBxI", 5, 1, ord("s"), 1) + b"2\0")
    reply = SIGNAL + message(2, 99, "u", b"\1\0\0\0") + of_text + FIVE
    with served(tmp_path, sending(OK, SIGNAL + HELLO + SIGNAL, reply)) as path, connected(path) as bus:
        assert bus.call(GET_ID) == (5,)


def test_a_reply_in_single_bytes_is_put_together(tmp_path: Path) -> None:
    def serve(client: socket.socket) -> None:
        send_to(client, OK, HELLO)
        for byte in FIVE:
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        while client.recv(4096):
            pass

    with served(tmp_path, serve) as path, connected(path) as bus:
        assert bus.call(GET_ID) == (5,)


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ((b"REJECTED EXTERNAL\r\n",), "refuses user"),
        ((b"A" * 16384,), "refuses user"),
        ((OK, message(3, 1)), r"refuses \(an error without a name\)"),
        ((OK, HELLO + b"HTTP/1.1 400 Bad Request\r\n\r\n"), "invalid D-Bus message"),
        ((OK, HELLO + b"l\2\0\1" + struct.pack("<III", 0, 7, 2**31)), "more than 1024 KiB"),
        ((OK, HELLO + b"l\2\0\1" + struct.pack("<III", 2**32 - 1, 7, 0)), "more than 1024 KiB"),
        ((OK, HELLO + b"l\2\0\1" + struct.pack("<III", 0, 7, 8) + b"\xff" * 8), "invalid D-Bus message"),
        ((OK, HELLO + message(2, 2, "u", b"\5")), "invalid D-Bus message"),
        ((OK, HELLO + message(2, 2, "s", b"\2\0\0\0ab")), "invalid D-Bus message"),
        ((OK, HELLO + message(2, 2, "v" * 200 + "(", b"\1v\0" * 200)), "invalid D-Bus message"),
    ],
)
def test_what_is_no_bus_is_reported(tmp_path: Path, parts: tuple[bytes, ...], complaint: str) -> None:
    with served(tmp_path, sending(*parts)) as path, connected(path) as bus, pytest.raises(BusError, match=complaint):
        bus.call(GET_ID)


@pytest.mark.parametrize("parts", [(), (OK[:10],), (OK,), (OK, HELLO), (OK, HELLO + FIVE[:-2])])
def test_silence_ends_in_time(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    began = time.monotonic()
    with served(tmp_path, sending(*parts)) as path, connected(path, 0.2) as bus:
        with pytest.raises(BusError, match="no reply within"):
            bus.call(GET_ID)
        assert 0.1 < time.monotonic() - began < PATIENCE_SECONDS


@pytest.mark.parametrize("parts", [(OK[:10],), (OK, HELLO), (OK, HELLO[:20])])
def test_a_bus_that_hangs_up_is_reported(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    def serve(client: socket.socket) -> None:
        send_to(client, *parts)

    with served(tmp_path, serve) as path, connected(path) as bus, pytest.raises(BusError, match=r"dbus\.service"):
        bus.call(GET_ID)


def test_signals_without_end_end_in_time(tmp_path: Path) -> None:
    def serve(client: socket.socket) -> None:
        send_to(client, OK, HELLO)
        while True:
            client.sendall(SIGNAL)
            time.sleep(0.001)

    with served(tmp_path, serve) as path, connected(path, 0.3) as bus, pytest.raises(BusError, match=r"no reply within 0\.3 s"):
        bus.call(GET_ID)


def test_a_bus_that_does_not_read_ends_in_time(tmp_path: Path) -> None:
    ended = threading.Event()

    def serve(client: socket.socket) -> None:
        send_to(client, OK, HELLO)
        ended.wait(PATIENCE_SECONDS)

    with served(tmp_path, serve) as path, connected(path, 0.5) as bus:
        with pytest.raises(BusError, match="no reply within"):
            bus.calls([call("GetId", "s", "x" * 1024)] * 4096)
        ended.set()


@pytest.mark.parametrize("name", ["org.freedesktop.DBus.Error.AccessDenied", "org.example.Odd"])
def test_a_refusal_says_who_refuses(tmp_path: Path, name: str) -> None:
    error_name = struct.pack("<BBBxI", 4, 1, ord("s"), len(name)) + name.encode() + b"\0"
    fields = struct.pack("<BBBxI", 5, 1, ord("u"), 2) + error_name
    refusal = message(3, 2, field=fields)
    with served(tmp_path, sending(OK, HELLO, refusal)) as path, connected(path) as bus, pytest.raises(CallError) as refused:
        bus.call(GET_ID)
    assert refused.value.name == name
    assert ("polkit refuses GetId" in str(refused.value)) == name.endswith("AccessDenied")


def test_random_bytes_never_end_the_caller(tmp_path: Path) -> None:
    chance = random.Random(7)
    for number in range(60):
        folder = tmp_path / str(number)
        folder.mkdir()
        body = bytearray(FIVE)
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        with served(folder, sending(OK, HELLO, bytes(body))) as path, connected(path, 0.05) as bus, contextlib.suppress(BusError):
            bus.call(GET_ID)
