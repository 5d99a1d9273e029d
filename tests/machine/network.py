"""A test's own network: a namespace for the machine, and optionally a second one for the outside world.

Without `outside` the stand-ins listen on the machine's own loopback. With it they listen beyond a veth pair, so that the link can
be cut or silenced while the machine's loopback and screen stay as they are.
"""

from __future__ import annotations

import subprocess

from tests.machine.tidy import Disposable, unique

TOO_SLOW = ("root", "tbf", "rate", "8bit", "burst", "1", "limit", "1")
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
        _ip("-n", self.servers_name, "link", "set", "wire", "down")

    def plug(self) -> None:
        """Plug the cable in again."""
        _ip("-n", self.servers_name, "link", "set", "wire", "up")

    def silence(self) -> None:
        """Drop every packet while the link stays up: connections hang. Needs `outside`."""
        for name, device in ((self.servers_name, "wire"), (self.name, "uplink")):
            _run("tc", "-n", name, "qdisc", "replace", "dev", device, *TOO_SLOW)

    def restore(self) -> None:
        """End `silence()`."""
        for name, device in ((self.servers_name, "wire"), (self.name, "uplink")):
            _run("tc", "-n", name, "qdisc", "del", "dev", device, "root")

    def _make(self) -> None:
        for name in dict.fromkeys((self.name, self.servers_name)):
            _ip("netns", "add", name)
            self._stack.callback(_ip, "netns", "delete", name)
            _ip("-n", name, "link", "set", "lo", "up")
        if self.outside:
            _ip(*f"link add uplink netns {self.name} type veth peer name wire netns {self.servers_name}".split())
            for name, device, address in ((self.servers_name, "wire", OUTSIDE_ADDRESS), (self.name, "uplink", MACHINE_ADDRESS)):
                _ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
                _ip("-n", name, "link", "set", device, "up")
            _ip("-n", self.name, "route", "replace", "default", "via", OUTSIDE_ADDRESS)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
