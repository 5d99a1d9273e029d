"""The bus client against Debian's dbus-daemon, and against servers that say what no bus would."""

import contextlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livekeep.exporter.bus import Bus, BusError, Reply, decode, encode_call, types_of
from tests.outside import PATIENCE_SECONDS
from tests.system.systembus import SystemBus, system_bus

NAME, PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
OK = b"OK 0123456789abcdef0123456789abcdef\r\n"


def call(member: str, *arguments: str | list[str]) -> bytes:
    return encode_call(NAME, PATH, NAME, member, *arguments)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[SystemBus]:
    with system_bus(tmp_path) as bus:
        yield bus


@contextlib.contextmanager
def connected(path: Path, seconds: float = PATIENCE_SECONDS) -> Iterator[Bus]:
    bus = Bus(str(path), seconds)
    try:
        yield bus
    finally:
        bus.close()


# Against the real bus


def test_many_questions_get_their_answers_in_order(real: SystemBus) -> None:
    with connected(real.socket) as bus:
        replies = bus.ask(
            [call("NameHasOwner", NAME), call("ListNames"), call("NameHasOwner", "org.example.Nobody"), call("GetId")]
        )
        owned, names, unowned, ident = [reply.values()[0] for reply in replies]
        assert (owned, unowned) == (True, False)
        assert NAME in names
        assert len(ident) == 32
        assert bus.ask([call("NameHasOwner", NAME)] * 40) == [replies[0]] * 40


def test_a_dictionary_of_variants_is_read(real: SystemBus) -> None:
    with connected(real.socket) as bus:
        (reply,) = bus.ask([call("GetConnectionCredentials", NAME)])
        assert reply.signature == "a{sv}"
        found = dict(reply.values()[0])
        assert found["ProcessID"] > 1
        assert found["UnixUserID"] == os.getuid()


def test_a_list_of_texts_arrives(real: SystemBus) -> None:
    """The bus itself checks what it is sent, and hangs up for a message that is not well formed."""
    texts = ["", "ä", "seven..", "eight..."]
    with connected(real.socket) as bus:
        (reply,) = bus.ask([encode_call(NAME, PATH, "org.freedesktop.DBus.Monitoring", "BecomeMonitor", ["type='signal'"])])
        assert reply.error.endswith("InvalidArgs"), "the signature asu was expected"
        (reply,) = bus.ask([call("ListNames", texts, "and a text", [])])
        assert reply.error == "org.freedesktop.DBus.Error.InvalidArgs"


def test_errors_are_answers(real: SystemBus) -> None:
    with connected(real.socket) as bus:
        unknown, good, nobody = bus.ask(
            [call("NoSuchMethod"), call("GetId"), encode_call("org.example.Nobody", "/", "org.example", "Ask", "x")]
        )
        assert unknown.error == "org.freedesktop.DBus.Error.UnknownMethod"
        assert good.error == ""
        assert nobody.error == "org.freedesktop.DBus.Error.ServiceUnknown"


def test_a_bus_that_restarts_is_found_again(real: SystemBus) -> None:
    with connected(real.socket) as bus:
        bus.ask([call("GetId")])
        real.stop()
        for _ in range(2):
            with pytest.raises(BusError, match=r"system_bus_socket: .*dbus\.service"):
                bus.ask([call("GetId")])
        real.start()
        assert bus.ask([call("GetId")])[0].error == ""


def test_no_bus_at_all(tmp_path: Path) -> None:
    with connected(tmp_path / "absent") as bus, pytest.raises(BusError, match=r"absent: .*No such file or directory"):
        bus.ask([call("GetId")])


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


def saying(*parts: bytes) -> Server:
    """Says a part when it is greeted, one when the client says Hello, one when it asks; then waits until the client hangs up."""

    def serve(client: socket.socket) -> None:
        say_to(client, *parts)
        while client.recv(4096):
            pass

    return serve


def say_to(client: socket.socket, *parts: bytes) -> None:
    told = b""
    for cue, part in zip((b"AUTH", b"Hello", b"GetId"), parts, strict=False):
        while cue not in told:
            told += client.recv(4096)
        client.sendall(part)


def message(kind: int, serial: int, signature: str = "", body: bytes = b"", order: bytes = b"l") -> bytes:
    """A reply to message number `serial`, made without the code under test."""
    fields = struct.pack("<BBBxI", 5, 1, ord("u"), serial)
    if signature:
        fields += struct.pack("<BBBxB", 8, 1, ord("g"), len(signature)) + signature.encode() + b"\0"
    header = order + struct.pack("<BBBIII", kind, 0, 1, len(body), 7, len(fields)) + fields
    return header + bytes(-len(header) % 8) + body


HELLO = message(2, 1, "s", b"\4\0\0\0:1.9\0")
SIGNAL = b"l" + struct.pack("<BBBIII", 4, 0, 1, 0, 2, 0)


def test_signals_and_foreign_answers_are_passed_over(tmp_path: Path) -> None:
    answer = SIGNAL + message(2, 99, "u", b"\1\0\0\0") + message(2, 1, "u", b"\5\0\0\0")
    with served(tmp_path, saying(OK, SIGNAL + HELLO + SIGNAL, answer)) as path, connected(path) as bus:
        assert bus.ask([call("GetId")]) == [Reply("", "u", b"\5\0\0\0")]


def test_an_answer_in_single_bytes_is_put_together(tmp_path: Path) -> None:
    def serve(client: socket.socket) -> None:
        say_to(client, OK, HELLO)
        for byte in message(2, 1, "u", b"\5\0\0\0"):
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        while client.recv(4096):
            pass

    with served(tmp_path, serve) as path, connected(path) as bus:
        assert bus.ask([call("GetId")])[0].values() == [5]


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ((b"REJECTED EXTERNAL\r\n",), "refuses user"),
        ((b"A" * 4096,), "refuses user"),
        ((OK, message(3, 1)), r"refuses \(unnamed\)"),
        ((OK, HELLO + b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no message of ours"),
        ((OK, HELLO + message(2, 1, order=b"B")), "no message of ours"),
        ((OK, HELLO + b"l\2\0\1" + struct.pack("<III", 0, 7, 2**31)), "no message of ours"),
        ((OK, HELLO + b"l\2\0\1" + struct.pack("<III", 2**32 - 1, 7, 0)), "no message of ours"),
        ((OK, HELLO + b"l\2\0\1" + struct.pack("<III", 0, 7, 8) + b"\xff" * 8), "dbus.service"),
        ((OK, HELLO + b"l\2\0\1" + struct.pack("<III", 0, 7, 8) + b"\5\1s\0\0\0\0\0"), "dbus.service"),
    ],
)
def test_what_is_no_bus_is_told(tmp_path: Path, parts: tuple[bytes, ...], complaint: str) -> None:
    with served(tmp_path, saying(*parts)) as path, connected(path) as bus, pytest.raises(BusError, match=complaint):
        bus.ask([call("GetId")])


@pytest.mark.parametrize("parts", [(), (OK[:10],), (OK,), (OK, HELLO), (OK, HELLO + message(2, 1, "u", b"\5\0\0\0")[:-2])])
def test_silence_ends_in_time(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    began = time.monotonic()
    with served(tmp_path, saying(*parts)) as path, connected(path, 0.2) as bus:
        with pytest.raises(BusError, match="no answer within"):
            bus.ask([call("GetId")])
        assert 0.1 < time.monotonic() - began < PATIENCE_SECONDS


@pytest.mark.parametrize("parts", [(OK[:10],), (OK, HELLO), (OK, HELLO[:20])])
def test_a_bus_that_hangs_up_is_told(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    def serve(client: socket.socket) -> None:
        say_to(client, *parts)

    with served(tmp_path, serve) as path, connected(path) as bus, pytest.raises(BusError, match=r"dbus\.service"):
        bus.ask([call("GetId")])


def test_signals_without_end_end_in_time(tmp_path: Path) -> None:
    def serve(client: socket.socket) -> None:
        say_to(client, OK, HELLO)
        while True:
            client.sendall(SIGNAL)
            time.sleep(0.001)

    with served(tmp_path, serve) as path, connected(path, 0.3) as bus, pytest.raises(BusError, match=r"no answer within 0\.3 s"):
        bus.ask([call("GetId")])


# Values


@pytest.mark.parametrize(
    ("signature", "body", "values"),
    [
        ("", b"", []),
        ("y", b"\xff", [255]),
        ("yu", b"\1\0\0\0\2\0\0\0", [1, 2]),
        ("b", b"\1\0\0\0", [True]),
        ("nqixtd", struct.pack("<hHiqQd", -1, 2, -3, -4, 2**64 - 1, 0.5), [-1, 2, -3, -4, 2**64 - 1, 0.5]),
        ("s", b"\2\0\0\0\xc3\xa4\0", ["ä"]),
        ("s", b"\1\0\0\0\xff\0", ["�"]),
        ("o", b"\1\0\0\0/\0", ["/"]),
        ("g", b"\2as\0", ["as"]),
        ("v", b"\1t\0\0\0\0\0\0\7\0\0\0\0\0\0\0", [7]),
        ("as", b"\0\0\0\0", [[]]),
        ("as", b"\x0d\0\0\0\1\0\0\0a\0\0\0\0\0\0\0\0", [["a", ""]]),
        ("at", b"\0\0\0\0\0\0\0\0", [[]]),
        ("a(yu)", b"\x08\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0", [[(1, 2)]]),
        ("a{sv}", b"\x0a\0\0\0\0\0\0\0\1\0\0\0k\0\1y\0\5", [[("k", 5)]]),
    ],
)
def test_values_are_read(signature: str, body: bytes, values: list[object]) -> None:
    assert decode(signature, body) == values


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("u", b"\1\0\0"),
        ("u", b"\1\0\0\0\0"),
        ("s", b"\2\0\0\0ab"),
        ("s", b"\2\0\0\0abc"),
        ("s", b"\xff\xff\xff\xffab\0"),
        ("g", b"\xffas\0"),
        ("as", b"\xff\xff\xff\x7f\0\0\0\0"),
        ("au", b"\5\0\0\0\1\0\0\0\2\0\0\0"),
        ("a()", b"\1\0\0\0\0\0\0\0\0"),
        ("(u", b"\1\0\0\0"),
        ("a", b"\0\0\0\0"),
        ("Z", b"\0"),
        ("v", b"\2yy\0\1\1"),
        ("v", b"\0\0"),
        ("v", b"\1v\0" * 100 + b"\1y\0\1"),
        ("a" * 100 + "y", b"\0\0\0\0"),
        ("(" * 100 + "y" + ")" * 100, b"\0"),
    ],
)
def test_what_is_no_value_is_told(signature: str, body: bytes) -> None:
    with pytest.raises(BusError, match="an answer"):
        decode(signature, body)


def test_noise_is_refused_or_read_but_never_more() -> None:
    """Ten thousand bodies of noise and damaged answers, with a fixed seed."""
    noise = random.Random(1)
    good = struct.pack("<IxxxxI", 24, 2) + b"ab\0\0\0\0\0\0\0\0\0\0" + b"\1t\0\0" + b"\0" * 8
    for _ in range(10_000):
        body = bytearray(good if noise.random() < 0.5 else noise.randbytes(noise.randrange(64)))
        for _ in range(noise.randrange(4)):
            if body:
                body[noise.randrange(len(body))] = noise.randrange(256)
        signature = noise.choice(["v", "a(ssssssouso)", "a(yv)", "a{sv}", "as", "sv", "aav", "ag"])
        with contextlib.suppress(BusError):
            assert len(decode(signature, bytes(body))) == len(types_of(signature))
