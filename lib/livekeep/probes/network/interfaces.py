"""The network devices of this machine: carrier, addresses, bytes. Values that the kernel doesn't give are None.

From /sys/class/net, and the addresses from psutil.
"""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from livekeep.core.probe_results import Interface
from livekeep.system import network_devices, sysfs


def read(addresses: Mapping[str, Sequence[str]], folder: Path = network_devices.FOLDER) -> tuple[Interface, ...]:
    """Every device of a real network, by name. `addresses` by device, as from `own_addresses`."""
    return tuple(
        Interface(
            device=device.name,
            # None also for a device that is down: the kernel then doesn't detect the carrier.
            carrier={"1": True, "0": False}.get(sysfs.read(device / "carrier") or ""),
            addresses=tuple(addresses.get(device.name, ())),
            receive_bytes=sysfs.read_count(device / "statistics/rx_bytes"),
            transmit_bytes=sysfs.read_count(device / "statistics/tx_bytes"),
        )
        for device in sorted(folder / name for name in network_devices.names(folder))
    )


def of_hardware(interfaces: tuple[Interface, ...], folder: Path = network_devices.FOLDER) -> tuple[Interface, ...]:
    """The devices with hardware; all if none has any, as in a container."""
    real = tuple(interface for interface in interfaces if network_devices.has_hardware(interface.device, folder))
    return real or interfaces


def own_addresses() -> dict[str, list[str]]:
    """The addresses of this machine by device, without link-local IPv6; empty if the kernel doesn't give them."""
    try:
        found = psutil.net_if_addrs()
    except OSError:
        return {}
    return {
        device: [
            entry.address
            for entry in entries
            if entry.family == socket.AF_INET or (entry.family == socket.AF_INET6 and not entry.address.startswith("fe80:"))
        ]
        for device, entries in found.items()
    }
