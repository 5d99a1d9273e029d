"""Acknowledged bytes as the kernel tells them, beside what `ss` shows, on real connections."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.air.worker.tcp_info import TcpInfo
from tests.outside import LIBRARY, UNPRIVILEGED, program, wait_until

SENT = b"x" * 12345
SCRIPT = """
import os, socket, time
from livekeep.air.worker.tcp_info import TcpInfo
listening = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(listening.getsockname())
other, _address = listening.accept()
found = TcpInfo(os.getpid())
connection.sendall(bytes(5000))
deadline = time.monotonic() + 10
while (sample := found.read()) is None or sample.acknowledged_bytes <= 5000:
    assert time.monotonic() < deadline, sample
print(sample.acknowledged_bytes)
"""


@pytest.fixture
def acknowledged() -> Iterator[TcpInfo]:
    """Of this very process, whose connections are the tests' own then."""
    found = TcpInfo(os.getpid())
    wait_until("no connection is left of a test before", lambda: end_connections() == 0 and found.read() is None)
    yield found
    found.close()


def descriptors() -> list[Path]:
    """Of this process, as they are now: a copy of one is one more."""
    return sorted(Path("/proc/self/fd").iterdir())


def end_connections() -> int:
    """End the TCP connections of this process, such as a server's thread of another module keeps; how many there were."""
    ended = 0
    for file in descriptors():
        if not file.is_socket():
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(file.name))) as kept:
            if kept.family in (socket.AF_INET, socket.AF_INET6) and kept.getpeername():
                kept.shutdown(socket.SHUT_RDWR)
                ended += 1
    return ended


@contextlib.contextmanager
def pair(address: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, the one that connected first."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.create_server((address, 0), family=family) as listening,
        socket.create_connection(listening.getsockname()[:2]) as connected,
    ):
        accepted, _address = listening.accept()
        with accepted:
            yield connected, accepted


def bytes_of(acknowledged: TcpInfo) -> int:
    sample = acknowledged.read()
    return sample.acknowledged_bytes if sample else 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_bytes_that_arrived(acknowledged: TcpInfo, address: str) -> None:
    with pair(address) as (connected, _accepted):
        connected.sendall(SENT)
        # The kernel counts the SYN too.
        wait_until("all is acknowledged", lambda: bytes_of(acknowledged) == len(SENT) + 1)
        connected.sendall(SENT)
        wait_until("more is acknowledged", lambda: bytes_of(acknowledged) == 2 * len(SENT) + 1)
        sample = acknowledged.read()
        assert sample
        assert (sample.unsent_bytes, sample.unacknowledged_segments, sample.is_window_shut) == (0, 0, False)


def test_as_ss_shows_it(acknowledged: TcpInfo) -> None:
    with pair() as (connected, accepted):
        connected.sendall(SENT)
        accepted.sendall(b"y" * 100)
        wait_until("all is acknowledged", lambda: bytes_of(acknowledged) == len(SENT) + 1)
        port = connected.getsockname()[1]
        shown = subprocess.run(["ss", "-tinH", f"sport = :{port}"], check=True, capture_output=True, text=True).stdout
        assert re.findall(r"bytes_acked:(\d+)", shown) == [str(bytes_of(acknowledged))]


def test_receiver_that_does_not_read(acknowledged: TcpInfo) -> None:
    with pair() as (connected, _accepted):
        connected.setblocking(False)

        def window_is_shut() -> bool:
            with contextlib.suppress(BlockingIOError):
                while connected.send(SENT):
                    pass
            sample = acknowledged.read()
            return bool(sample and sample.is_window_shut)

        wait_until("the window is shut", window_is_shut)
        before = bytes_of(acknowledged)
        assert window_is_shut()
        assert bytes_of(acknowledged) == before


def test_no_connection(acknowledged: TcpInfo) -> None:
    assert acknowledged.read() is None
    with socket.create_server(("127.0.0.1", 0)):
        assert acknowledged.read() is None


def test_next_connection_is_found(acknowledged: TcpInfo) -> None:
    with pair() as (connected, _accepted):
        connected.sendall(SENT)
        wait_until("all is acknowledged", lambda: bytes_of(acknowledged) == len(SENT) + 1)
    assert acknowledged.read() is None
    with pair() as (connected, _accepted):
        connected.sendall(b"abc")
        wait_until("the new one is found", lambda: bytes_of(acknowledged) == 4)


def test_others_connections_are_not_taken_for_its_own() -> None:
    with program(["sleep", "60"]) as process, pair() as (connected, _accepted):
        connected.sendall(SENT)
        found = TcpInfo(process.pid)
        assert found.read() is None
        found.close()


def test_process_that_is_gone() -> None:
    with program(["true"]) as process:
        process.wait()
        found = TcpInfo(process.pid)
        assert found.read() is None
        found.close()


def test_without_privilege_in_a_namespace_of_users() -> None:
    """As PrivateUsers= of the unit makes one."""
    who = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", "--"] if os.geteuid() == 0 else []
    inside = [*who, "unshare", "--user", "--", sys.executable]
    assert shutil.which("unshare")
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run([*inside, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.stdout, ended.stderr) == ("5001\n", "")
