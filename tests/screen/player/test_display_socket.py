"""A display's control socket and the ways in which it ends."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.screen.player.display_socket import LARGEST_LINE_BYTES, DisplayGoneError, DisplaySocket


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[DisplaySocket, socket.socket]]:
    """Ours, and the display's."""
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        wire = DisplaySocket(path)
        display, _address = server.accept()
    with display:
        yield wire, display
    wire.close()


def test_lines_come_whole_and_in_order(ends: tuple[DisplaySocket, socket.socket]) -> None:
    wire, display = ends
    assert list(wire.lines()) == []
    display.sendall(b"one\ntw")
    assert list(wire.lines()) == [b"one"]
    display.sendall(b"o\n\nthree\n")
    assert list(wire.lines()) == [b"two", b"", b"three"]
    wire.send("hello")
    assert display.recv(100) == b"hello\n"


def test_what_came_before_the_end_is_still_given(ends: tuple[DisplaySocket, socket.socket]) -> None:
    wire, display = ends
    display.sendall(b"last\n")
    display.close()
    lines = wire.lines()
    assert next(lines) == b"last"
    with pytest.raises(DisplayGoneError, match=r"closed by the display$"):
        next(lines)
    with pytest.raises(DisplayGoneError, match=r"Broken pipe$"):
        wire.send("hello")


def test_a_display_that_ends_without_reading(ends: tuple[DisplaySocket, socket.socket]) -> None:
    wire, display = ends
    wire.send("hello")
    display.close()
    with pytest.raises(DisplayGoneError, match=r"Connection reset by peer$"):
        list(wire.lines())


def test_a_display_that_reads_nothing_holds_up_nobody(ends: tuple[DisplaySocket, socket.socket]) -> None:
    """Its silence tells; when it reads again it gets whole lines from the beginning."""
    wire, display = ends
    for _ in range(100):
        wire.send("x" * 9999)
    assert display.recv(10_000, socket.MSG_WAITALL) == b"x" * 9999 + b"\n"


def test_a_stream_without_lines_is_not_kept_for_ever(ends: tuple[DisplaySocket, socket.socket]) -> None:
    wire, display = ends
    display.setblocking(False)
    sent = 0
    with pytest.raises(DisplayGoneError, match=r"sends no lines$"):
        while sent < 4 * LARGEST_LINE_BYTES:
            sent += display.send(b"x" * 65536)
            list(wire.lines())
    assert sent > LARGEST_LINE_BYTES


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DisplayGoneError, match=r"cannot be opened \(No such file or directory\)$"):
        DisplaySocket(tmp_path / "absent")
