"""A test's own network: a namespace for the machine, and optionally a second one for the outside world.

Without `outside` the stand-ins listen on the machine's own loopback. With it they listen beyond a veth pair, so that the link can
be cut, silenced or slowed while the machine's loopback and screen stay as they are.
"""

from __future__ import annotations

import subprocess

from tests.machine.tidy import Disposable, unique

MACHINE_ADDRESS = "192.0.2.2"
OUTSIDE_ADDRESS = "192.0.2.1"


class Network(Disposable):
    """Network namespaces of the harness; the host's own network is never touched."""

    def __init__(self, *, outside: bool = False) -> None:
        """`outside`: servers are beyond a link at 192.0.2.1 instead of on the machine's loopback."""
        super().__init__()
        self.outside = outside
        self.name = unique()
        self.servers_name = f"{self.name}o" if outside else self.name

    @property
    def address(self) -> str:
        """The stand-ins' address, seen from the machine."""
        return OUTSIDE_ADDRESS if self.outside else "127.0.0.1"

    @property
    def path(self) -> str:
        """The machine's namespace as a file."""
        return f"/run/netns/{self.name}"

    def in_machine(self, command: list[str]) -> list[str]:
        """`command`, for the machine's namespace on the host's file system."""
        return ["nsenter", f"--net={self.path}", *command]

    def in_servers(self, command: list[str]) -> list[str]:
        """`command`, for the stand-ins' namespace."""
        return ["nsenter", f"--net=/run/netns/{self.servers_name}", *command]

    def cut(self) -> None:
        """Unplug the cable: the machine loses its carrier. Needs `outside`."""
        self._outside_link("down")

    def plug(self) -> None:
        """Plug the cable in again."""
        self._outside_link("up")

    def silence(self) -> None:
        """Drop every packet while the link stays up: connections hang. Needs `outside`."""
        self._shape("8bit", "1", "limit", "1")

    def slow(self, kilobits_per_second: int, latency_ms: int = 400) -> None:
        """Limit the rate of what the stand-ins send."""
        self._shape(f"{kilobits_per_second}kbit", "16kb", "latency", f"{latency_ms}ms")

    def restore(self) -> None:
        """End `silence()` or `slow()`."""
        for name, device in self._shaped():
            subprocess.run(["tc", "-n", name, "qdisc", "del", "dev", device, "root"], check=False, capture_output=True)

    def _make(self) -> None:
        self._add(self.name)
        if self.outside:
            self._add(self.servers_name)
            _ip(
                "link",
                "add",
                "uplink",
                "netns",
                self.name,
                "type",
                "veth",
                "peer",
                "name",
                "wire",
                "netns",
                self.servers_name,
            )
            _ip("-n", self.servers_name, "addr", "add", f"{OUTSIDE_ADDRESS}/24", "dev", "wire")
            _ip("-n", self.name, "addr", "add", f"{MACHINE_ADDRESS}/24", "dev", "uplink")
            _ip("-n", self.servers_name, "link", "set", "wire", "up")
            _ip("-n", self.name, "link", "set", "uplink", "up")
            self._default_route()

    def _add(self, name: str) -> None:
        _ip("netns", "add", name)
        self._stack.callback(_ip, "netns", "delete", name)
        _ip("-n", name, "link", "set", "lo", "up")

    def _default_route(self) -> None:
        _ip("-n", self.name, "route", "replace", "default", "via", OUTSIDE_ADDRESS)

    def _outside_link(self, state: str) -> None:
        if not self.outside:
            raise ValueError("only a Network(outside=True) has a link to cut")
        _ip("-n", self.servers_name, "link", "set", "wire", state)

    def _shaped(self) -> list[tuple[str, str]]:
        return [(self.servers_name, "wire"), (self.name, "uplink")] if self.outside else [(self.name, "lo")]

    def _shape(self, rate: str, burst: str, *rest: str) -> None:
        if rate == "8bit" and not self.outside:
            raise ValueError("only a Network(outside=True) can be silenced: the loopback is the machine's own")
        for name, device in self._shaped():
            command = ["tc", "-n", name, "qdisc", "replace", "dev", device, "root", "tbf"]
            subprocess.run([*command, "rate", rate, "burst", burst, *rest], check=True, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
