"""NetworkManager over D-Bus: its devices and the Wi-Fi networks that are set up, without secrets. Any user may read both.

Sources: NetworkManager's D-Bus API (org.freedesktop.NetworkManager, .Device, .Settings.Connection), nm-dbus-types(5).
"""

import contextlib
from dataclasses import dataclass
from typing import Any

from livekeep.system.dbus import Bus, Call, CallError, get_all

SERVICE = "org.freedesktop.NetworkManager"
ROOT = "/org/freedesktop/NetworkManager"
ETHERNET, WIFI = 1, 2
"""NMDeviceType."""
UNMANAGED, UNAVAILABLE, DISCONNECTED, PREPARE, NEED_AUTH, ACTIVATED = 10, 20, 30, 40, 60, 100
"""NMDeviceState, in the order of an activation."""
CALL_SECONDS = 2.0
NO_OBJECT = "/"
WIFI_SETTINGS = "802-11-wireless"


@dataclass(frozen=True)
class Device:
    """A network device: its NMDeviceType and NMDeviceState, and the paths of the connections that it could use now."""

    name: str
    kind: int
    state: int
    available: tuple[str, ...] = ()
    has_carrier: bool = False


@dataclass(frozen=True)
class WifiNetwork:
    """A Wi-Fi that is set up; `path` identifies its connection."""

    path: str
    ssid: str
    has_password: bool


@dataclass(frozen=True)
class Network:
    """What NetworkManager knows now."""

    is_connected: bool
    """Whether a connection has the default route."""
    is_wifi_on: bool
    devices: tuple[Device, ...]
    networks: tuple[WifiNetwork, ...]


def read() -> Network:
    """The current state. Raises `BusError` if NetworkManager doesn't run or doesn't reply."""
    with contextlib.closing(Bus(seconds=CALL_SECONDS)) as bus:
        (manager,) = bus.call(get_all(SERVICE, ROOT, SERVICE))
        (profiles,) = bus.call(Call(SERVICE, f"{ROOT}/Settings", f"{SERVICE}.Settings", "ListConnections"))
        devices = [device for path in manager.get("AllDevices", ()) if (device := read_device(bus, path))]
        networks = [network for path in profiles if (network := read_profile(bus, path))]
    return Network(
        manager.get("PrimaryConnection", NO_OBJECT) != NO_OBJECT,
        bool(manager.get("WirelessEnabled", True) and manager.get("WirelessHardwareEnabled", True)),
        tuple(devices),
        tuple(networks),
    )


def read_device(bus: Bus, path: str) -> Device | None:
    """The device, or None for one that is gone by now, or of another kind."""
    try:
        (values,) = bus.call(get_all(SERVICE, path, f"{SERVICE}.Device"))
        kind = int(values.get("DeviceType", 0))
        if kind not in (ETHERNET, WIFI):
            return None
        wired = bus.call(get_all(SERVICE, path, f"{SERVICE}.Device.Wired"))[0] if kind == ETHERNET else {}
    except CallError:
        return None
    available = tuple(map(str, values.get("AvailableConnections", ())))
    return Device(str(values.get("Interface", "")), kind, int(values.get("State", 0)), available, bool(wired.get("Carrier")))


def read_profile(bus: Bus, path: str) -> WifiNetwork | None:
    """The Wi-Fi of a connection, or None for another kind, an access point of our own, or one that is gone by now."""
    try:
        (settings,) = bus.call(Call(SERVICE, path, f"{SERVICE}.Settings.Connection", "GetSettings"))
    except CallError:
        return None
    wifi: dict[str, Any] = settings.get(WIFI_SETTINGS, {})
    if "ssid" not in wifi or wifi.get("mode", ("s", ""))[1] not in ("", "infrastructure"):
        return None
    return WifiNetwork(path, bytes(wifi["ssid"][1]).decode(errors="replace"), f"{WIFI_SETTINGS}-security" in settings)
