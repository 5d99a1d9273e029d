"""Measures the speed with our own transfers: a GET whose body is discarded, and POSTs of zeros. Nothing is stored."""

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from livekeep.system import background
from livekeep.system.http import USER_AGENT, Client, RefusedStatusError, TransportError, origin_of

WAIT_SECONDS = 10.0
"""For a connection, for a response, and between data."""
GRACE_SECONDS = 3 * WAIT_SECONDS
"""Of a whole transfer, in addition to the time that it measures."""
BLOCK_BYTES = 64 * 1024
BLOCK = bytes(BLOCK_BYTES)
HEADERS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Content-Type": "application/octet-stream"}
LARGEST_UPLOAD_BYTES = 1024 * 1024
"""The default limit of a web server for one body (nginx)."""
LEAST_BYTES = 1_000_000
LEAST_SECONDS = 1.0
"""A smaller file that arrives sooner is too short to measure bandwidth."""
CONNECTIONS_FOR_LATENCY = 3


@dataclass
class Used:
    """The bytes of a speed test, counted while it runs."""

    received_bytes: int = 0
    sent_bytes: int = 0


def download(url: str, proxy: str, seconds: float, used: Used) -> float:
    """Bytes per second of a GET that ends after `seconds`, or with a smaller file. Raises `TransportError`."""
    began = elapsed = 0.0
    total = 0

    def take(block: bytes) -> bool:
        nonlocal began, elapsed, total
        began = began or time.monotonic()
        elapsed = time.monotonic() - began
        total += len(block)
        used.received_bytes += len(block)
        return elapsed < seconds

    deadline = time.monotonic() + seconds + GRACE_SECONDS
    response = Client(proxy, WAIT_SECONDS).read(url, deadline, take, headers=HEADERS)
    if response.status != 200:
        raise RefusedStatusError(response.status)
    if elapsed < LEAST_SECONDS and total < LEAST_BYTES:
        raise TransportError("invalid", f"{total / 1000:.0f} kB is too little to measure; use a larger file")
    return total / max(elapsed, 1e-6)


def upload(url: str, proxy: str, seconds: float, used: Used) -> float:
    """Bytes per second of POSTs for `seconds`. Raises `TransportError`.

    They are of known length, one after the other: each response confirms that the whole body arrived.
    """
    began = time.monotonic()
    elapsed, total, size = 0.0, 0, BLOCK_BYTES
    with contextlib.closing(Client(proxy, WAIT_SECONDS)) as client:
        while elapsed < seconds:
            response = client.post(url, began + seconds + GRACE_SECONDS, HEADERS, Zeros(size, used))
            if not 200 <= response.status < 300:
                raise RefusedStatusError(response.status)
            total += size
            before, elapsed = elapsed, time.monotonic() - began
            if elapsed - before < seconds / 8:
                size = min(2 * size, LARGEST_UPLOAD_BYTES)
    return total / elapsed


@dataclass(frozen=True)
class Zeros:
    """A body of `size` bytes, counted as they are sent."""

    size: int
    used: Used

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.size // BLOCK_BYTES):
            self.used.sent_bytes += BLOCK_BYTES
            yield BLOCK


def latency(url: str) -> float | None:
    """The median seconds of a TCP handshake with the server of `url`, None if none succeeds."""
    try:
        return background.within(WAIT_SECONDS, lambda: handshake(url))
    except (OSError, ValueError):
        return None


def handshake(url: str) -> float:
    problem: OSError = OSError("no address")
    _scheme, host, port = origin_of(urlsplit(url))
    for family, kind, protocol, _name, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        durations = []
        try:
            for _ in range(CONNECTIONS_FOR_LATENCY):
                with socket.socket(family, kind, protocol) as connection:
                    connection.settimeout(WAIT_SECONDS / CONNECTIONS_FOR_LATENCY)
                    began = time.monotonic()
                    connection.connect(address)
                    durations.append(time.monotonic() - began)
        except OSError as error:
            problem = error
        else:
            return statistics.median(durations)
    raise problem
