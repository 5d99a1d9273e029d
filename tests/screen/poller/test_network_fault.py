"""What the TV says when there is no network: from NetworkManager on a bus of the test's own, as its D-Bus API is documented."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jeepney import HeaderFields, Message, new_error, new_method_return

from livekeep.screen.poller.network_fault import judge, judge_carriers
from livekeep.system.network_manager import (
    ACTIVATED,
    DISCONNECTED,
    ETHERNET,
    NEED_AUTH,
    PREPARE,
    ROOT,
    SERVICE,
    UNAVAILABLE,
    UNMANAGED,
    WIFI,
    Device,
    Network,
    WifiNetwork,
)
from tests.outside import reserved
from tests.screen.poller.running_poller import STREAM, RunningPoller
from tests.system.systembus import BusService, SystemBus, system_bus

CABLE = Device("eth0", ETHERNET, 20)
RADIO = Device("wlan0", WIFI, DISCONNECTED)
PARISH = WifiNetwork("/1", "Parish", has_password=True)
GUESTS = WifiNetwork("/2", "Guests", has_password=False)
SEEN = replace(RADIO, available=("/1",))


@pytest.mark.parametrize(
    ("devices", "networks", "reason"),
    [
        ((CABLE,), (), "No network: no cable is plugged in, and the box has no Wi-Fi"),
        ((CABLE, RADIO), (), "No network: no cable is plugged in, and no Wi-Fi is set up"),
        ((CABLE, RADIO), (PARISH,), 'No network: the Wi-Fi "Parish" is not in range'),
        ((CABLE, SEEN), (PARISH,), 'No network: the Wi-Fi "Parish" refuses the password'),
        ((CABLE, SEEN), (GUESTS, PARISH), 'No network: the Wi-Fi "Parish" refuses the password'),
        ((replace(SEEN, state=NEED_AUTH),), (PARISH,), 'No network: the Wi-Fi "Parish" refuses the password'),
        ((replace(SEEN, state=PREPARE),), (PARISH,), 'No network yet: connecting to the Wi-Fi "Parish"'),
        ((replace(RADIO, available=("/2",)),), (GUESTS,), 'No network: the Wi-Fi "Guests" asks for a password'),
        (
            (replace(CABLE, has_carrier=True), SEEN),
            (PARISH,),
            "No network: the cable is plugged in, but the router gives no address",
        ),
    ],
)
def test_the_reason(devices: tuple[Device, ...], networks: tuple[WifiNetwork, ...], reason: str) -> None:
    fault = judge(Network(False, True, devices, networks))
    assert fault
    assert fault.reason == reason
    assert "cable" in fault.advice or "router" in fault.advice


def test_a_wifi_that_is_switched_off() -> None:
    fault = judge(Network(False, False, (RADIO,), (PARISH,)))
    assert fault and fault.reason == "No network: the Wi-Fi is switched off"
    assert judge(Network(False, True, (replace(RADIO, state=UNAVAILABLE),), (PARISH,))) == fault


def test_with_a_network_there_is_nothing_to_say() -> None:
    assert judge(Network(True, True, (replace(CABLE, state=ACTIVATED, has_carrier=True),), ())) is None
    unmanaged = replace(CABLE, state=UNMANAGED, has_carrier=True)
    assert judge(Network(False, True, (unmanaged, RADIO), (PARISH,))) is None


def test_without_networkmanager_the_carriers_count() -> None:
    assert judge_carriers([False, True]) is None
    assert judge_carriers([]) is None, "a machine without hardware"
    fault = judge_carriers([False, False])
    assert fault and fault.reason.startswith("No network: no cable is plugged in")


class NetworkManager(BusService):
    """A machine without a cable, whose Wi-Fi does not get in."""

    def __init__(self, bus: SystemBus) -> None:
        super().__init__(bus, SERVICE)
        device = f"{SERVICE}.Device"
        self.properties: dict[tuple[str, str], dict[str, Any]] = {
            (ROOT, SERVICE): {
                "AllDevices": ("ao", [f"{ROOT}/Devices/{number}" for number in (1, 2, 3, 4)]),
                "PrimaryConnection": ("o", "/"),
                "WirelessEnabled": ("b", True),
                "WirelessHardwareEnabled": ("b", True),
            },
            # Number 3 has just been unplugged; 4 is a bridge.
            (f"{ROOT}/Devices/1", device): {"Interface": ("s", "eth0"), "DeviceType": ("u", ETHERNET), "State": ("u", 20)},
            (f"{ROOT}/Devices/1", f"{device}.Wired"): {"Carrier": ("b", False)},
            (f"{ROOT}/Devices/2", device): {
                "Interface": ("s", "wlan0"),
                "DeviceType": ("u", WIFI),
                "State": ("u", DISCONNECTED),
                "AvailableConnections": ("ao", [f"{ROOT}/Settings/7"]),
            },
            (f"{ROOT}/Devices/4", device): {"Interface": ("s", "br0"), "DeviceType": ("u", 13), "State": ("u", 10)},
        }
        security = {"key-mgmt": ("s", "wpa-psk")}
        wifi = {"ssid": ("ay", "Pfärré\n".encode()), "mode": ("s", "infrastructure")}
        self.profiles: dict[str, dict[str, Any]] = {
            f"{ROOT}/Settings/6": {"connection": {"type": ("s", "802-3-ethernet")}},
            f"{ROOT}/Settings/7": {"802-11-wireless": wifi, "802-11-wireless-security": security},
        }

    def reply(self, call: Message) -> Message:
        path, member = call.header.fields[HeaderFields.path], call.header.fields[HeaderFields.member]
        if member == "ListConnections":
            return new_method_return(call, "ao", (list(self.profiles),))
        if member == "GetSettings":
            return new_method_return(call, "a{sa{sv}}", (self.profiles[path],))
        values = self.properties.get((path, call.body[0]))
        if values is None:
            return new_error(call, "org.freedesktop.DBus.Error.UnknownMethod", "s", ("no such object",))
        return new_method_return(call, "a{sv}", (values,))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[NetworkManager]:
    with system_bus(tmp_path) as bus:
        manager = NetworkManager(bus)
        manager.start()
        yield manager
        manager.stop()


def settings() -> str:
    """A server that is not there: nothing listens on the port."""
    with reserved() as port:
        address = f"http://127.0.0.1:{port.getsockname()[1]}"
    return f'{STREAM}[vimeo]\napi_url = "{address}"\n[poller]\ninterval_seconds = 1.0\nfailures_before_error = 3\n'


def test_the_poller_says_that_no_cable_is_plugged_in(tmp_path: Path) -> None:
    """Where NetworkManager does not run."""
    carrier = tmp_path / "sys/class/net/eth0/carrier"
    carrier.parent.mkdir(parents=True)
    carrier.write_text("0\n")
    with RunningPoller(tmp_path, settings()) as poller:
        known = poller.until_state("error")
        assert known.reason == "No network: no cable is plugged in, and no Wi-Fi is connected"
        carrier.write_text("1\n")
        poller.until(lambda known: "Vimeo's API cannot be reached" in known.reason)


def test_the_poller_says_what_the_network_lacks(tmp_path: Path, manager: NetworkManager) -> None:
    """And no more of it once the network is up, though the requests still fail."""
    with RunningPoller(tmp_path, settings()) as poller:
        known = poller.until_state("error")
        assert known.reason == 'No network: the Wi-Fi "Pfärré\n" refuses the password'
        assert known.advice == "Correct the password on the card: livekeep card, or plug in a cable"
        manager.properties[(ROOT, SERVICE)]["PrimaryConnection"] = ("o", "/org/freedesktop/NetworkManager/ActiveConnection/1")
        poller.until(lambda known: "Vimeo's API cannot be reached" in known.reason)
