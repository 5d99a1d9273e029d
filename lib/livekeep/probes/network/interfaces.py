"""The network devices of this machine: carrier, addresses, bytes. Values that the kernel doesn't give are None.

From /sys/class/net, and the addresses from rtnetlink(7): psutil prints a traceback where the sandbox hides /proc/stat.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from livekeep.core.probe_results import Interface
from livekeep.system import network_devices, sysfs

# linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
MESSAGE_HEADER = struct.Struct("=IHHII")
ADDRESS_HEADER = struct.Struct("=BBBBI")
ATTRIBUTE_HEADER = struct.Struct("=HH")
GET_ADDRESSES, NEW_ADDRESS, DONE, ERROR = 22, 20, 3, 2
REQUEST_DUMP = 0x301
LARGEST_BYTES = 65536
ADDRESS, LOCAL_ADDRESS = 1, 2
LINK_SCOPE = 253
PATIENCE_SECONDS = 1.0


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
    """The addresses of this machine by device; empty if the kernel doesn't give them."""
    received = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(PATIENCE_SECONDS)
        kernel.bind((0, 0))
        body = ADDRESS_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        kernel.send(MESSAGE_HEADER.pack(MESSAGE_HEADER.size + len(body), GET_ADDRESSES, REQUEST_DUMP, 1, 0) + body)
        while not any(kind in (DONE, ERROR) for kind, _body in parts(received, MESSAGE_HEADER)):
            received += kernel.recv(LARGEST_BYTES)
    found: dict[str, list[str]] = {}
    for index, address in addresses_in(received):
        # A device that has just disappeared has no name.
        with contextlib.suppress(OSError):
            found.setdefault(socket.if_indextoname(index), []).append(address)
    return found


def addresses_in(raw: bytes) -> Iterator[tuple[int, str]]:
    """Device index and address, for each address except link-local IPv6."""
    for kind, body in parts(raw, MESSAGE_HEADER):
        if kind != NEW_ADDRESS or len(body) < ADDRESS_HEADER.size:
            continue
        family, _prefix, _flags, scope, index = ADDRESS_HEADER.unpack_from(body)
        attributes = dict(parts(body[ADDRESS_HEADER.size :], ATTRIBUTE_HEADER))
        # For a point-to-point device, ADDRESS is the peer's.
        value = attributes.get(LOCAL_ADDRESS) or attributes.get(ADDRESS, b"")
        if family == socket.AF_INET6 and scope == LINK_SCOPE:
            continue
        with contextlib.suppress(OSError, ValueError):
            yield index, socket.inet_ntop(family, value)


def parts(raw: bytes, header: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message or attribute, up to the first incomplete one."""
    while len(raw) >= header.size:
        size, kind = header.unpack_from(raw)[:2]
        if not header.size <= size <= len(raw):
            return
        yield kind, raw[header.size : size]
        raw = raw[(size + 3) & ~3 :]
