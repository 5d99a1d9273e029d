"""What the poller says, for the TV, while the Wi-Fi fails: real NetworkManager and wpa_supplicant on simulated radios.

One of the two radios is the access point's (hostapd), the other the box's. The cable is out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from livekeep.command.card import wifi
from livekeep.core.probe_results import PROBES
from tests.machine import root
from tests.machine.vimeo import VimeoStandIn

from . import VM, build
from .box import API_PORT, LIVE_PORT, MORE_PACKAGES, Box, put, put_key
from .image import Recipe
from .stream import SmallStream

pytestmark = pytest.mark.nightly

SUITES = os.environ.get("LIVEKEEP_VM_SUITES", "trixie").split(",")
PACKAGES = ("network-manager", "wpasupplicant", "hostapd", "dnsmasq-base", "iw", "rfkill", "wireless-regdb")
SSID, PASSWORD = "Pfarré 😀", "right 'password'"
ACCESS_POINT = f"""\
interface=wlan0
ssid2="{SSID}"
utf8_ssid=1
hw_mode=g
channel=1
wpa=2
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP
wpa_passphrase={PASSWORD}
"""
# The cable's card and the access point's radio are not NetworkManager's.
UNMANAGED = "[keyfile]\nunmanaged-devices=interface-name:eth0;interface-name:wlan0\n"
SERVER = (
    "dnsmasq --conf-file=/dev/null --port=0 --interface=wlan0 --bind-interfaces --dhcp-range=10.9.0.10,10.9.0.20 "
    "--pid-file=/run/dhcp.pid"
)
NOT_NEEDED = (
    "livekeep.target",
    "livekeep-exporter.service",
    "systemd-networkd-wait-online.service",
    "NetworkManager-wait-online.service",
    *(f"livekeep-probe-{name}.timer" for name in PROBES),
)
# NetworkManager gives up a wrong password after some attempts.
LONG_SECONDS = 400.0


@pytest.fixture(scope="module", params=SUITES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """A machine that has booted, without a cable, with an access point in range."""
    recipe = Recipe(request.param, (*root.packages_of(request.param), *MORE_PACKAGES, *PACKAGES), put, put_key())
    with VimeoStandIn() as vimeo, SmallStream() as live, contextlib.ExitStack() as stack:
        machine = VM(build(recipe), serve={API_PORT: vimeo.port, LIVE_PORT: live.port})
        # The poller is all that is needed here: the emulated processor is slow.
        machine.kernel_options = " ".join(["net.ifnames=0", *(f"systemd.mask={unit}" for unit in NOT_NEEDED)])
        stack.enter_context(machine)
        box = Box(machine, vimeo, live)
        write(box, "/etc/NetworkManager/conf.d/test.conf", UNMANAGED)
        write(box, "/run/hostapd.conf", ACCESS_POINT)
        machine.run("modprobe mac80211_hwsim radios=2 && systemctl restart NetworkManager", timeout=120)
        machine.run("systemctl stop systemd-networkd.socket systemd-networkd.service; ip link set eth0 down")
        machine.run("rfkill unblock wifi; nmcli radio wifi on; hostapd -B /run/hostapd.conf", timeout=120)
        machine.run(f"ip address add 10.9.0.1/24 dev wlan0 && {SERVER}")
        machine.run("systemctl start --no-block livekeep-poller.service", timeout=240)
        yield box


def write(box: Box, path: str, text: str) -> None:
    box.machine.run(f"mkdir -p $(dirname {path}) && cat >{path} <<'END'\n{text}END\n")


def set_up(box: Box, ssid: str, password: str) -> None:
    """As cloud-init does with the user-data of `livekeep card`."""
    write(box, "/run/wifi", wifi.script(ssid, password, "DE"))
    box.machine.run("sh /run/wifi", timeout=120)


def says(box: Box, words: str) -> dict[str, Any]:
    """Wait until the poller gives this reason, which the player writes onto the error picture."""
    try:
        box.machine.wait_for(lambda: words in str(box.state("poller").get("reason", "")), LONG_SECONDS, pause=2)
    except TimeoutError as error:
        known = box.machine.run("nmcli device; nmcli connection; journalctl -b -n 60 -u NetworkManager -u wpa_supplicant").stdout
        said = box.journal("livekeep-poller")[-2000:]
        raise AssertionError(f"the poller does not say {words!r}; {error}\n{box.state('poller')}\n{said}\n{known}") from error
    return box.state("poller")


def test_no_wifi_is_set_up(box: Box) -> None:
    assert says(box, "No network: no cable is plugged in, and no Wi-Fi is set up")["cause"] == "outage"


def test_a_network_that_is_not_there(box: Box) -> None:
    set_up(box, "Parish", PASSWORD)
    says(box, 'No network: the Wi-Fi "Parish" is not in range')


def test_a_wrong_password(box: Box) -> None:
    set_up(box, SSID, "wrong password")
    known = says(box, f'No network: the Wi-Fi "{SSID}" refuses the password')
    assert known["advice"] == "Correct the password on the card: livekeep card, or plug in a cable"
    status = box.machine.run("systemctl show -P StatusText livekeep-poller.service").stdout
    assert f'"{SSID}" refuses the password' in status


def test_the_right_password(box: Box) -> None:
    """There is a network, which only does not lead to Vimeo."""
    set_up(box, SSID, PASSWORD)
    says(box, "Vimeo's API cannot be reached")
    assert "10.9.0." in box.machine.run("ip -brief address show wlan1").stdout


def test_the_cable_is_plugged_in(box: Box) -> None:
    box.machine.run("ip link set eth0 up; systemctl start systemd-networkd.service", timeout=120)
    box.machine.wait_for(lambda: box.state("poller").get("state") == "offline", LONG_SECONDS, pause=1)
