"""Echo requests (ICMP, RFC 792 and RFC 4443) to many addresses at once, and what their answers say of the way there.

A packet's answer counts when it comes from the pinged address, in time, for the first time, and with the same identifier,
sequence number and payload. The kernel's own ping socket is used where it lets us (net.ipv4.ping_group_range), else a raw one,
for which CAP_NET_RAW is needed.
"""

import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from livekeep.core.probe_results import Family, Ping

SPACING_SECONDS = 0.2
"""Between two packets to the same address."""
PAYLOAD_BYTES = 56
"""As ping(8) sends."""
LARGEST_BYTES = 2048
NOT_ALLOWED = "pinging is not allowed here"
NO_ROUTE = "there is no route to it"

FAMILIES: dict[Family, socket.AddressFamily] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
PROTOCOLS: dict[Family, int] = {"ipv4": socket.IPPROTO_ICMP, "ipv6": socket.IPPROTO_ICMPV6}
REQUESTS: dict[Family, int] = {"ipv4": 8, "ipv6": 128}
REPLIES: dict[Family, int] = {"ipv4": 0, "ipv6": 129}


class NotAllowedError(PermissionError):
    """This process may not ping."""


class Destination(NamedTuple):
    target: str
    """As configured."""
    family: Family
    address: str


# The packets


def request(family: Family, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An echo request. The kernel fills in the checksum of IPv6, and identifier and checksum of a ping socket."""
    rest = identifier.to_bytes(2) + sequence.to_bytes(2) + payload
    head = bytes((REQUESTS[family], 0))
    return head + checksum(head + b"\0\0" + rest).to_bytes(2) + rest


def checksum(packet: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(packet[::2]) * 256 + sum(packet[1::2])
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def answered_sequence(packet: bytes, family: Family, identifier: int, payload: bytes) -> int | None:
    """The sequence number that an echo reply answers; None for any other packet."""
    if packet[:2] != bytes((REPLIES[family], 0)) or packet[4:6] != identifier.to_bytes(2) or packet[8:] != payload:
        return None
    return int.from_bytes(packet[6:8])


def without_ip_header(packet: bytes) -> bytes:
    """What a raw IPv4 socket gives, from the ICMP header on."""
    return packet[(packet[0] & 15) * 4 :] if packet else b""


# What they come to


def jitter(round_trips: Sequence[float]) -> float | None:
    """The mean difference of two round trips that follow each other."""
    differences = [abs(later - earlier) for earlier, later in pairwise(round_trips)]
    return sum(differences) / len(differences) if differences else None


def summary(destination: Destination, sent: int, round_trips: Sequence[float], problem: str = "") -> Ping:
    """This run's findings, without the totals. `round_trips`: seconds, in the order in which the packets were sent."""
    return Ping(
        destination.target,
        destination.family,
        sent=sent,
        received=len(round_trips),
        rtt_seconds=sum(round_trips) / len(round_trips) if round_trips else None,
        rtt_max_seconds=max(round_trips, default=None),
        jitter_seconds=jitter(round_trips),
        problem="" if sent else problem,
    )


# Sending and receiving


class Echoes:
    """The packets to one address: a connected socket, so that the kernel passes on packets of that address alone.

    Raises `OSError` when there is no way to it, `NotAllowedError` when this process may not ping.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.family = destination.family
        self.socket, self._is_raw = ping_socket(self.family)
        self._payload = os.urandom(16) + bytes(PAYLOAD_BYTES - 16)
        self._sent_monotonic: list[float] = []
        self._round_trips: dict[int, float] = {}
        self._refused = 0
        self.problem = ""
        try:
            self.socket.setblocking(False)
            connect(self.socket, destination)
            # The kernel chooses that of a ping socket: its "port".
            self._identifier = int.from_bytes(os.urandom(2)) if self._is_raw else int(self.socket.getsockname()[1])
        except OSError:
            self.socket.close()
            raise

    def send(self) -> None:
        """Send the next packet. One that the kernel refuses to send counts as lost."""
        sequence = len(self._sent_monotonic)
        packet = request(self.family, self._identifier, sequence, self._payload)
        self._sent_monotonic.append(time.monotonic())
        try:
            try:
                self.socket.send(packet)
            except OSError:
                # It may have been the report of an earlier packet that a router sent back.
                self.socket.send(packet)
        except OSError as error:
            self._refused += 1
            self.problem = why(error)

    def receive(self, timeout_seconds: float) -> None:
        """Take what waits at the socket; an answer counts once, and not when it comes later than `timeout_seconds`."""
        try:
            packet = self.socket.recv(LARGEST_BYTES)
        except OSError:
            # A router's report that it did not get there: the answer is missing anyhow.
            return
        now = time.monotonic()
        if self._is_raw and self.family == "ipv4":
            packet = without_ip_header(packet)
        sequence = answered_sequence(packet, self.family, self._identifier, self._payload)
        if sequence is None or sequence >= len(self._sent_monotonic):
            return
        round_trip = now - self._sent_monotonic[sequence]
        if round_trip <= timeout_seconds:
            self._round_trips.setdefault(sequence, round_trip)

    def is_complete(self) -> bool:
        return len(self._round_trips) + self._refused >= len(self._sent_monotonic)

    def findings(self) -> Ping:
        tried = len(self._sent_monotonic)
        sent = 0 if self._refused == tried else tried
        return summary(self.destination, sent, [self._round_trips[number] for number in sorted(self._round_trips)], self.problem)


def ping_socket(family: Family) -> tuple[socket.socket, bool]:
    """A socket for echo packets, and whether it is a raw one. Raises `NotAllowedError` when this process may have neither."""
    for kind, is_raw in ((socket.SOCK_DGRAM, False), (socket.SOCK_RAW, True)):
        with contextlib.suppress(PermissionError):
            return socket.socket(FAMILIES[family], kind, PROTOCOLS[family]), is_raw
    raise NotAllowedError


def connect(pinging: socket.socket, destination: Destination) -> None:
    """Fix the socket's destination. Raises `OSError` when there is no route, or none with an address of this machine's own."""
    pinging.connect((destination.address, 0))
    source = str(pinging.getsockname()[0])
    if is_link_local(source) and not is_link_local(destination.address):
        raise OSError(errno.ENETUNREACH, "no IPv6 address but that of the link")


def is_link_local(address: str) -> bool:
    return address.lower().startswith("fe80:")


def why(error: OSError) -> str:
    """Why nothing can be sent, for people."""
    if isinstance(error, NotAllowedError):
        return NOT_ALLOWED
    is_routeless = error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return NO_ROUTE if is_routeless else f"it cannot be pinged ({error.strerror})"


def measure(destinations: Iterable[Destination], packets: int, timeout_seconds: float) -> tuple[Ping, ...]:
    """Ping all destinations at once with `packets` packets each; wait at most `timeout_seconds` for the last answers."""
    found: list[Ping | Echoes] = []
    try:
        for destination in destinations:
            try:
                found.append(Echoes(destination))
            except OSError as error:
                found.append(summary(destination, 0, (), why(error)))
        exchange([echoes for echoes in found if isinstance(echoes, Echoes)], packets, timeout_seconds)
        return tuple(entry.findings() if isinstance(entry, Echoes) else entry for entry in found)
    finally:
        for entry in found:
            if isinstance(entry, Echoes):
                entry.socket.close()


def exchange(everyone: Sequence[Echoes], packets: int, timeout_seconds: float) -> None:
    if not everyone:
        return
    began_monotonic = time.monotonic()
    for number in range(packets):
        collect(everyone, began_monotonic + number * SPACING_SECONDS, timeout_seconds)
        for echoes in everyone:
            echoes.send()
    collect(everyone, time.monotonic() + timeout_seconds, timeout_seconds, until_complete=True)


def collect(everyone: Sequence[Echoes], until_monotonic: float, timeout_seconds: float, until_complete: bool = False) -> None:
    """Receive until then, or until every packet is answered."""
    by_descriptor = {echoes.socket.fileno(): echoes for echoes in everyone}
    waiting = select.poll()
    for descriptor in by_descriptor:
        waiting.register(descriptor, select.POLLIN)
    while (left_seconds := until_monotonic - time.monotonic()) > 0:
        if until_complete and all(echoes.is_complete() for echoes in everyone):
            return
        for descriptor, _event in waiting.poll(left_seconds * 1000):
            by_descriptor[descriptor].receive(timeout_seconds)
