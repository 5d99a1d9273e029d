"""Pings with fping(8): many addresses at once; parses round-trip times, loss and jitter from its output.

fping needs a raw socket (CAP_NET_RAW): with the alternative, the kernel's ping socket, fping 5.1 receives no replies. It does
not report why a packet could not be sent, so the route is checked first with a UDP socket, which sends nothing.
"""

import contextlib
import errno
import re
import socket
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from livekeep.core.probe_results import Family, Ping
from livekeep.system import process

SPACING_SECONDS = 0.2
"""Between two packets to the same address."""
GRACE_SECONDS = 10.0
"""fping's time in addition to the packets and the wait for the last replies."""
PROTOCOLS_FILE = Path("/etc/protocols")
NO_ROUTE = "there is no route to it"
NOT_ALLOWED = "pinging is not allowed here"
NOT_INSTALLED = "fping is not installed"
NO_PROTOCOLS = "fping needs /etc/protocols"
CANNOT_PING: dict[str, str] = {
    NOT_ALLOWED: "run it as its unit: sudo systemctl start livekeep-probe-network",
    NOT_INSTALLED: "sudo apt install fping",
    NO_PROTOCOLS: "sudo apt install netbase",
}
"""Why no host can be pinged, and what to do."""

FAMILIES: dict[Family, socket.AddressFamily] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
LINE = re.compile(r"(\S+)\s+:((?: (?:-|[0-9.]+))+)")


class Destination(NamedTuple):
    target: str
    """As configured."""
    family: Family
    address: str


def measure(destinations: Iterable[Destination], packets: int, timeout_seconds: float) -> tuple[Ping, ...]:
    """Ping all destinations at once with `packets` packets each; wait at most `timeout_seconds` for the last replies."""
    problems = {destination: route_problem(destination) for destination in destinations}
    addresses = list(dict.fromkeys(destination.address for destination, problem in problems.items() if not problem))
    output, run_problem = fping(addresses, packets, timeout_seconds) if addresses else ("", "")
    round_trips = round_trips_in(output)
    return tuple(
        summary(destination, round_trips.get(destination.address), problem or run_problem or "it cannot be pinged")
        for destination, problem in problems.items()
    )


def fping(addresses: Sequence[str], packets: int, timeout_seconds: float) -> tuple[str, str]:
    """fping's output, or why it cannot ping at all."""
    if not may_ping():
        return "", NOT_ALLOWED
    # Without it, fping exits with 4 and no message.
    if not PROTOCOLS_FILE.exists():
        return "", NO_PROTOCOLS
    spacing, timeout = f"{SPACING_SECONDS * 1000:.0f}", f"{timeout_seconds * 1000:.0f}"
    # One millisecond between packets to different addresses: the default of 10 would stretch the spacing from 20 addresses on.
    command = ["fping", "-q", "-C", str(packets), "-p", spacing, "-t", timeout, "-i", "1", "--", *addresses]
    seconds = packets * SPACING_SECONDS + timeout_seconds + GRACE_SECONDS
    try:
        ended = process.run(command, seconds, process.environment(), with_errors=True)
    except process.NotStartedError:
        return "", NOT_INSTALLED
    except process.ChildError as error:
        return "", str(error)
    output = ended.errors.decode("utf-8", "replace")
    # 0: all respond; 1: some don't.
    return (output, "") if ended.exit_code in (0, 1) else ("", f"fping ended with {ended.exit_code}")


def may_ping() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except PermissionError:
        return False
    return True


def round_trips_in(output: str) -> dict[str, list[float | None]]:
    """Seconds for each packet by address, None for a lost one."""
    found: dict[str, list[float | None]] = {}
    for line in output.splitlines():
        if match := LINE.fullmatch(line.strip()):
            with contextlib.suppress(ValueError):
                found[match[1]] = [None if text == "-" else float(text) / 1000 for text in match[2].split()]
    return found


def mean(values: Sequence[float]) -> float | None:
    # The module statistics takes long to import.
    return sum(values) / len(values) if values else None


def summary(destination: Destination, packets: Sequence[float | None] | None, problem: str) -> Ping:
    """This run's result, without the totals. `packets` is None if none was sent; `problem` says why."""
    round_trips = [round_trip for round_trip in packets or () if round_trip is not None]
    differences = [abs(later - earlier) for earlier, later in pairwise(round_trips)]
    return Ping(
        destination.target,
        destination.family,
        sent=len(packets or ()),
        received=len(round_trips),
        rtt_seconds=mean(round_trips),
        rtt_max_seconds=max(round_trips, default=None),
        jitter_seconds=mean(differences),
        problem="" if packets else problem,
    )


def route_problem(destination: Destination) -> str:
    """Why no packet can be sent: no route, or only a link-local address on this machine; "" if one can."""
    try:
        with socket.socket(FAMILIES[destination.family], socket.SOCK_DGRAM) as trial:
            trial.connect((destination.address, 9))
            source = str(trial.getsockname()[0])
    except OSError as error:
        return NO_ROUTE if error.errno in UNREACHABLE else f"it cannot be pinged ({error.strerror})"
    return NO_ROUTE if is_link_local(source) and not is_link_local(destination.address) else ""


def is_link_local(address: str) -> bool:
    return address.lower().startswith("fe80:")
