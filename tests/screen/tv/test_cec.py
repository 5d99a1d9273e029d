"""What cec-ctl prints, as recorded with both releases (see cec/README.md), and the choice of the device."""

from pathlib import Path

import pytest

from livekeep.system import cec
from livekeep.system.cec import Adapter, CecError, Transmission

RECORDED = Path(__file__).parent / "cec"
DEVICE = "/dev/cec1"
DRM_CONNECTOR = "\tDRM Connector Info         : card 1, connector 43\n"
"""vivid has no connector; a Raspberry Pi's line, as cec-info.cpp prints it."""

each_release = pytest.mark.parametrize("release", ["1.22", "1.30"])


def recorded(release: str, name: str) -> str:
    return (RECORDED / release / f"{name}.txt").read_text(encoding="utf-8")


def connectors(folder: Path, **numbers: int) -> Path:
    for name, number in numbers.items():
        (folder / name.replace("_", "-")).mkdir(parents=True)
        (folder / name.replace("_", "-") / "connector_id").write_text(f"{number}\n")
    return folder


@each_release
def test_an_adapter_is_claimed_or_not_and_knows_its_address(release: str) -> None:
    address = {"1.22": "1.0.0.0", "1.30": "1.1.0.0"}[release]
    assert cec.parse_adapter(DEVICE, recorded(release, "unclaimed")) == Adapter(DEVICE, address)
    assert cec.parse_adapter(DEVICE, recorded(release, "claimed")) == Adapter(DEVICE, address, is_claimed=True)


@each_release
def test_a_claim_lasts_while_the_cable_is_pulled(release: str) -> None:
    assert cec.parse_adapter(DEVICE, recorded(release, "unplugged")) == Adapter(DEVICE, "", is_claimed=True)


@each_release
def test_an_address_that_could_not_be_claimed_is_claimed_again(release: str) -> None:
    text = recorded(release, "claimed").replace("0x0010", "0x0000").replace("4 (Playback Device 1)", "Not Allocated")
    assert not cec.parse_adapter(DEVICE, text).is_claimed


@each_release
def test_an_adapter_knows_its_connector_by_number(tmp_path: Path, release: str) -> None:
    folder = connectors(tmp_path, card0_HDMI_A_9=43, card1_HDMI_A_1=33, card1_HDMI_A_2=43)
    text = recorded(release, "claimed").replace("\tConnector Info             : None\n", DRM_CONNECTOR)
    assert cec.parse_adapter(DEVICE, text, folder).connector == "HDMI-A-2"
    assert cec.parse_adapter(DEVICE, text.replace("43", "44"), folder).connector == ""
    assert cec.parse_adapter(DEVICE, recorded(release, "claimed"), folder).connector == ""


@each_release
@pytest.mark.parametrize(
    ("name", "count"), [("on", 1), ("standby", 1), ("active-source", 2), ("silent", 1), ("no-power-status", 1), ("power-on", 1)]
)
def test_what_the_tv_acknowledges_is_sent(release: str, name: str, count: int) -> None:
    results = cec.parse_transmissions(recorded(release, name))
    assert [result.is_acknowledged() for result in results] == [True] * count


@each_release
@pytest.mark.parametrize("name", ["not-acknowledged", "aborted", "not-sent"])
def test_what_no_tv_acknowledges_is_not_although_cec_ctl_exits_with_0(release: str, name: str) -> None:
    (result,) = cec.parse_transmissions(recorded(release, name))
    assert not result.is_acknowledged()
    assert result.is_sent == (name != "not-sent")


def test_a_lost_arbitration_before_the_success_does_no_harm() -> None:
    assert Transmission(True, "Tx, OK, Arbitration Lost (1), Rx, Timeout").is_acknowledged()
    assert not Transmission(True, "Tx, Arbitration Lost (4), Max Retries").is_acknowledged()
    assert not Transmission(True, "Tx, Not Acknowledged (4), Max Retries, Rx, OK").is_acknowledged()


@each_release
@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("power-on", "on"),
        ("power-to-on", "to-on"),
        ("power-standby", "standby"),
        ("power-to-standby", "to-standby"),
        ("silent", ""),
        ("no-power-status", ""),
    ],
)
def test_the_reported_power(release: str, name: str, state: str) -> None:
    (result,) = cec.parse_transmissions(recorded(release, name))
    assert cec.power_state(result) == state


def test_a_tv_that_is_on_its_way_counts_as_there() -> None:
    assert cec.POWER_STATES == {"on": "on", "to-on": "on", "standby": "off", "to-standby": "off"}


@pytest.mark.parametrize(
    ("connector", "device"), [("HDMI-A-1", "/dev/cec0"), ("HDMI-A-2", "/dev/cec1"), ("", "/dev/cec1"), ("DP-1", "/dev/cec1")]
)
def test_the_device_of_the_output_in_use_is_preferred_to_one_with_a_tv(connector: str, device: str) -> None:
    first, second = Adapter("/dev/cec0", connector="HDMI-A-1"), Adapter("/dev/cec1", "1.0.0.0", connector="HDMI-A-2")
    chosen = cec.choose([first, second], connector)
    assert chosen
    assert chosen.device == device


def test_without_any_tv_the_first_device_is_chosen_for_a_tv_in_standby_may_hide() -> None:
    assert cec.choose([Adapter("/dev/cec0"), Adapter("/dev/cec1")], "") == Adapter("/dev/cec0")
    assert cec.choose([], "HDMI-A-1") is None


def test_an_hdmi_input_is_no_output() -> None:
    assert cec.choose([Adapter("/dev/cec0", "0.0.0.0"), Adapter("/dev/cec1")], "") == Adapter("/dev/cec1")


def test_a_missing_cec_ctl_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CecError, match=r"^cec-ctl is missing, .*; run: sudo apt install v4l-utils$"):
        cec.find("/dev/cec0")
