"""A simulated world beyond a TUN device: hosts that answer pings with a known loss, delay or fault, and a name server.

`World` is the test's client. The process owns the device in a separate network namespace, answers for the configured addresses
and is silent for all others, and ends when its standard input closes.
"""

from __future__ import annotations

import dataclasses
import fcntl
import heapq
import ipaddress
import json
import os
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.machine.network import Network
from tests.machine.standin import PROJECT, end_with_its_input
from tests.machine.tidy import Disposable, directory, remove_directory
from tests.probes.name_server import NameServer

DEVICE = "world"
IPV4, IPV6 = "198.18.0.1/15", "fd18::1/64"
START_TIMEOUT_SECONDS = 30

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x1, 0x1000
ICMP, ICMPV6 = 1, 58


@dataclass(frozen=True)
class Host:
    """How an address answers. `loses_every` N: every N-th request."""

    loses_every: int = 0
    delay_seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    hosts: dict[str, Host] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    """Addresses by name, for the name server at 127.0.0.1."""
    mode: str = "good"
    """The name server's, see tests/probes/name_server.py; "absent" for none."""


class World(Disposable):
    """A network namespace with the device in it; `network.in_machine(command)` runs a command there."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.network = Network()
        self._plan = plan
        self.folder = Path()
        """A folder for the test that any user can reach."""

    def ip(self, *arguments: str) -> None:
        subprocess.run(["ip", "-n", self.network.name, *arguments], check=True, capture_output=True, timeout=30)

    def _make(self) -> None:
        self._stack.enter_context(self.network)
        self.folder = directory(self.network.name)
        self._stack.callback(remove_directory, self.folder)
        plan = json.dumps(dataclasses.asdict(self._plan))
        command = self.network.in_machine([sys.executable, "-m", __name__, plan])
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT)
        self._stack.callback(end_with_its_input, process)
        assert process.stdout
        ready = select.select([process.stdout], [], [], START_TIMEOUT_SECONDS)[0] and process.stdout.readline()
        assert ready == b"ready\n", "the world does not start"


# The process


def checksum(packet: bytes) -> int:
    packet += bytes(len(packet) % 2)
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def parted(packet: bytes) -> tuple[str, str, bytes] | None:
    """Source, destination and ICMP part of an echo request; None for any other packet."""
    if packet[0] >> 4 == 4 and packet[9] == ICMP:
        icmp, source, destination = packet[(packet[0] & 15) * 4 :], packet[12:16], packet[16:20]
    elif packet[0] >> 4 == 6 and packet[6] == ICMPV6:
        icmp, source, destination = packet[40:], packet[8:24], packet[24:40]
    else:
        return None
    return (str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination)), icmp) if icmp[0] in (8, 128) else None


def wrapped(source: str, destination: str, icmp: bytes) -> bytes:
    """An IP packet; computes the ICMP part's checksum."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if len(ends) == 8:
        icmp = icmp[:2] + checksum(icmp[:2] + b"\0\0" + icmp[4:]).to_bytes(2) + icmp[4:]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 0, 0, 64, ICMP, 0) + ends
        return head[:10] + checksum(head).to_bytes(2) + head[12:] + icmp
    pseudo = ends + struct.pack("!IxxxB", len(icmp), ICMPV6)
    icmp = icmp[:2] + checksum(pseudo + icmp[:2] + b"\0\0" + icmp[4:]).to_bytes(2) + icmp[4:]
    return struct.pack("!IHBB", 6 << 28, len(icmp), ICMPV6, 64) + ends + icmp


def serve(device: int, hosts: dict[str, Host]) -> None:
    """Answer until standard input closes."""
    waiting: list[tuple[float, int, bytes]] = []
    requests: dict[str, int] = {}
    number = 0
    while True:
        pause = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
        readable = select.select([device, sys.stdin], [], [], pause)[0]
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            os.write(device, heapq.heappop(waiting)[2])
        if sys.stdin in readable:
            return
        parts = parted(os.read(device, 65536)) if device in readable else None
        host = hosts.get(parts[1]) if parts else None
        if not parts or not host:
            continue
        count = requests[parts[1]] = requests.get(parts[1], 0) + 1
        if host.loses_every and count % host.loses_every == 0:
            continue
        source, destination, request = parts
        reply = bytes([0 if request[0] == 8 else 129]) + request[1:]
        number += 1
        heapq.heappush(waiting, (now + host.delay_seconds, number, wrapped(destination, source, reply)))


def main() -> None:
    plan: dict[str, Any] = json.loads(sys.argv[1])
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    for address in (IPV4, IPV6):
        subprocess.run(["ip", "address", "add", address, "dev", DEVICE, *(["nodad"] if ":" in address else [])], check=True)
    for name in ("lo", DEVICE):
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    if plan["mode"] != "absent":
        NameServer(plan["mode"], plan["names"], ("127.0.0.1", 53))
    print("ready", flush=True)
    serve(device, {address: Host(**host) for address, host in plan["hosts"].items()})


if __name__ == "__main__":
    main()
