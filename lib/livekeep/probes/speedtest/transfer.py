"""The speed of the line by transfers of our own: a GET that is thrown away as it comes, and POSTs of zero bytes.

A transfer runs in a thread, watched from outside; nothing of it is stored.
"""

import contextlib
import http.client
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from livekeep.probes import fetch
from livekeep.probes.process import SECONDS_BETWEEN_CHECKS, CalledOffError
from livekeep.system.http import TransportError, within

WAIT_SECONDS = 10.0
"""For a connection, for an answer, and for data in between."""
BLOCK_BYTES = 64 * 1024
BLOCK = bytes(BLOCK_BYTES)
LARGEST_UPLOAD_BYTES = 1024 * 1024
"""What a web server takes in one piece unless it is told otherwise (nginx)."""
LEAST_BYTES = 1_000_000
LEAST_SECONDS = 1.0
"""A file that has less and is there sooner says nothing of the line."""
CONNECTIONS_FOR_LATENCY = 3


@dataclass
class Used:
    """The bytes of a speed test, counted while it runs."""

    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass
class Transfer:
    """One transfer: what is wanted, and, after its end, its speed or its problem."""

    url: str
    proxy: str
    seconds: float
    used: Used
    bytes_per_second: float | None = None
    problem: Exception | None = None

    def run(self, work: Callable[["Transfer"], float]) -> None:
        try:
            self.bytes_per_second = work(self)
        except Exception as error:
            self.problem = error


def download(url: str, proxy: str, seconds: float, used: Used, reason_to_stop: Callable[[], str]) -> float:
    """Bytes per second of a GET that is broken off after `seconds`. Raises `FetchError`, `CalledOffError`."""
    return watched(Transfer(url, proxy, seconds, used), receive, reason_to_stop)


def upload(url: str, proxy: str, seconds: float, used: Used, reason_to_stop: Callable[[], str]) -> float:
    """Bytes per second of POSTs for as long. Raises `FetchError`, `CalledOffError`."""
    return watched(Transfer(url, proxy, seconds, used), send, reason_to_stop)


def watched(transfer: Transfer, work: Callable[[Transfer], float], reason_to_stop: Callable[[], str]) -> float:
    """Run a transfer until it ends, is called off, or takes much longer than it should."""
    thread = threading.Thread(target=transfer.run, args=(work,), daemon=True)
    thread.start()
    longest = transfer.seconds + 3 * WAIT_SECONDS
    deadline = time.monotonic() + longest
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(SECONDS_BETWEEN_CHECKS)
        if thread.is_alive() and (reason := reason_to_stop()):
            raise CalledOffError(reason)
    if transfer.bytes_per_second is not None:
        return transfer.bytes_per_second
    problem = transfer.problem
    if problem is None:
        raise fetch.FetchError(f"it did not end within {longest:g} s")
    if isinstance(problem, OSError | http.client.HTTPException | ValueError):
        raise fetch.FetchError(fetch.fault(problem, WAIT_SECONDS)) from problem
    raise problem


def receive(transfer: Transfer) -> float:
    """Read for the wanted seconds, or to the end of a smaller file."""
    with fetch.opened(transfer.url, transfer.proxy, WAIT_SECONDS) as (answer, _source):
        remaining = answer.length
        began = time.monotonic()
        seconds, total = 0.0, 0
        while seconds < transfer.seconds and remaining != 0:
            # As much as there is: a full block would be long in coming on a slow line.
            block = answer.read1(BLOCK_BYTES)
            seconds = time.monotonic() - began
            if not block:
                break
            total += len(block)
            transfer.used.received_bytes += len(block)
            remaining = None if remaining is None else remaining - len(block)
    if seconds < LEAST_SECONDS and total < LEAST_BYTES:
        raise fetch.FetchError(f"{total / 1000:.0f} kB are too few to measure by; name a larger file")
    return total / max(seconds, 1e-6)


def send(transfer: Transfer) -> float:
    """POST bodies of known length, one after the other: each answer says that the whole has arrived."""
    connection, target, headers = fetch.connection_to(transfer.url, transfer.proxy, WAIT_SECONDS)
    headers |= {"Content-Type": "application/octet-stream", "Connection": "keep-alive"}
    began = time.monotonic()
    seconds, total, size = 0.0, 0, BLOCK_BYTES
    with contextlib.closing(connection):
        while seconds < transfer.seconds:
            body = zeros(size, transfer.used)
            with refusal_heard(connection):
                connection.request("POST", target, body, {**headers, "Content-Length": str(size)})
            answer = connection.getresponse()
            check_status(answer)
            answer.read(BLOCK_BYTES)
            total += size
            before, seconds = seconds, time.monotonic() - began
            if seconds - before < transfer.seconds / 8:
                size = min(2 * size, LARGEST_UPLOAD_BYTES)
    return total / seconds


def zeros(size: int, used: Used) -> Iterator[bytes]:
    for _ in range(size // BLOCK_BYTES):
        used.sent_bytes += BLOCK_BYTES
        yield BLOCK


@contextlib.contextmanager
def refusal_heard(connection: http.client.HTTPConnection) -> Iterator[None]:
    """A server that does not want what is sent says so and hangs up: its word is better than the broken pipe."""
    try:
        yield
    except ConnectionError:
        with contextlib.suppress(OSError, http.client.HTTPException):
            check_status(connection.getresponse())
        raise


def check_status(answer: http.client.HTTPResponse) -> None:
    if not 200 <= answer.status < 300:
        raise fetch.RefusedStatusError(answer.status)


def latency(url: str) -> float | None:
    """The median seconds of a TCP handshake with the server of `url`, None when none succeeds."""
    try:
        return within(WAIT_SECONDS, lambda: handshake(url))
    except (OSError, ValueError, TransportError):
        return None


def handshake(url: str) -> float:
    problem: OSError = OSError("no address")
    host, port = fetch.address_of(urlsplit(url))
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
