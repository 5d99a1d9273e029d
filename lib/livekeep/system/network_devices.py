"""The machine's network devices from /sys/class/net, for the network probe and the exporter.

A container host has hundreds of virtual devices, whose names change at each start.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from livekeep.core import paths

FOLDER = paths.ROOT / "sys/class/net"
LOOPBACK = "lo"
OF_A_CONTAINER = re.compile(
    r"veth.*|v[eb]-.*|docker.*|br-[0-9a-f]{12}|podman[0-9]+|lxc.*|lxdbr[0-9]+|cni.*|cali.*|flannel.*|cilium.*|virbr.*|vnet[0-9]+"
)
"""Devices of Docker, podman, LXC, nspawn, Kubernetes and libvirt on their host; a container's own device has another name."""


def names(folder: Path = FOLDER) -> list[str]:
    """The devices of real networks, in the order of `of_networks`; none if /sys has no such folder."""
    try:
        return of_networks((entry.name for entry in os.scandir(folder) if entry.is_dir()), folder)
    except OSError:
        return []


def of_networks(names: Iterable[str], folder: Path = FOLDER) -> list[str]:
    """The devices of real networks, those with hardware first, then by name."""
    devices = [name for name in names if name != LOOPBACK]
    real = {name for name in devices if has_hardware(name, folder)}
    wanted = [name for name in devices if name in real or not OF_A_CONTAINER.fullmatch(name)]
    return sorted(wanted, key=lambda name: (name not in real, len(name), name))


def has_hardware(name: str, folder: Path = FOLDER) -> bool:
    """Whether the device has hardware: a tunnel or a bridge always has carrier."""
    return os.access(folder / name / "device", os.F_OK)


def has_carrier(name: str, folder: Path = FOLDER) -> bool:
    """Whether a cable, or a Wi-Fi, is connected. A device that is switched off has none."""
    try:
        return (folder / name / "carrier").read_text().strip() == "1"
    except OSError:
        return False
