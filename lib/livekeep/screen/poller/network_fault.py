"""Why there is no network, and what to do at the box: the sentence for the TV when requests fail.

Read only while requests fail: NetworkManager over D-Bus and, where that does not run, the carriers in /sys. If the network
itself is up, the fault is elsewhere, and there is nothing to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from livekeep.core.errors import TemporaryError
from livekeep.system import network_devices, network_manager
from livekeep.system.network_manager import (
    ETHERNET,
    NEED_AUTH,
    PREPARE,
    UNAVAILABLE,
    UNMANAGED,
    WIFI,
    Device,
    Network,
    WifiNetwork,
)

PLUG_IN = "or plug in a cable"
SET_UP = "Plug in a cable, or set up the Wi-Fi on the card: livekeep card"


@dataclass(frozen=True)
class NetworkFault:
    """A sentence for people, and what to do."""

    reason: str
    advice: str


def find() -> NetworkFault | None:
    """The fault of this machine's network; None if it has a network."""
    try:
        return judge(network_manager.read())
    except TemporaryError:
        return judge_carriers([network_devices.has_carrier(name) for name in network_devices.names()])


def judge_carriers(carriers: Sequence[bool]) -> NetworkFault | None:
    if any(carriers) or not carriers:
        return None
    return NetworkFault("No network: no cable is plugged in, and no Wi-Fi is connected", "Plug in a cable")


def judge(network: Network) -> NetworkFault | None:
    """The fault as NetworkManager sees it, that of a plugged cable first."""
    # What another program manages, NetworkManager knows nothing of.
    if network.is_connected or any(device.state <= UNMANAGED and device.has_carrier for device in network.devices):
        return None
    if any(device.kind == ETHERNET and device.has_carrier for device in network.devices):
        return NetworkFault("No network: the cable is plugged in, but the router gives no address", "Check the router")
    radios = [device for device in network.devices if device.kind == WIFI]
    if not radios or not network.networks:
        missing = "no Wi-Fi is set up" if radios else "the box has no Wi-Fi"
        return NetworkFault(f"No network: no cable is plugged in, and {missing}", "Plug in a cable" if not radios else SET_UP)
    if not network.is_wifi_on or all(device.state <= UNAVAILABLE for device in radios):
        return NetworkFault("No network: the Wi-Fi is switched off", f"Give its country: livekeep card --country, {PLUG_IN}")
    return judge_wifi(radios, network.networks)


def judge_wifi(radios: Sequence[Device], networks: Sequence[WifiNetwork]) -> NetworkFault:
    """Of several networks, one that is in range."""
    in_range = {path for device in radios for path in device.available}
    wifi = next((network for network in networks if network.path in in_range), networks[0])
    name = f'the Wi-Fi "{wifi.ssid}"'
    if wifi.path not in in_range:
        return NetworkFault(f"No network: {name} is not in range", f"Check its name on the card, and its router, {PLUG_IN}")
    if any(device.state >= PREPARE and device.state != NEED_AUTH for device in radios):
        return NetworkFault(f"No network yet: connecting to {name}", f"Wait a minute, {PLUG_IN}")
    if not wifi.has_password:
        return NetworkFault(f"No network: {name} asks for a password", f"Write it to the card: livekeep card, {PLUG_IN}")
    return NetworkFault(f"No network: {name} refuses the password", f"Correct the password on the card: livekeep card, {PLUG_IN}")
