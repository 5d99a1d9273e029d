"""livekeep-probe-network's name server, network devices and program, without root; with pings see tests/machine."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from livekeep.core import state
from livekeep.core.probe_results import Interface, NetworkResult
from livekeep.probes.network import dns, interfaces
from livekeep.probes.network.dns import Addresses
from tests.outside import PROJECT
from tests.probes.name_server import SLOW_SECONDS, NameServer

PROGRAM = PROJECT / "bin/livekeep-probe"
NAMES = {"api.example": ["192.0.2.1"], "www.example": ["192.0.2.2", "2001:db8::2"]}
PATIENCE_SECONDS = 20.0


# The name server


@pytest.mark.parametrize("mode", ["good", "truncated", "second-good"])
def test_a_good_answer_gives_its_time(mode: str) -> None:
    with NameServer(mode, NAMES) as server:
        found = dns.ask(["api.example", "www.example"], "127.0.0.1", PATIENCE_SECONDS, server.port)
    assert [(each.name, each.resolver, each.problem) for each in found] == [
        ("api.example", "127.0.0.1", ""),
        ("www.example", "127.0.0.1", ""),
    ]
    assert all(0 < (each.duration_seconds or 0) < PATIENCE_SECONDS for each in found)
    assert len({query[:2] for query in server.asked}) == 2


def test_a_slow_answer_gives_its_time() -> None:
    with NameServer("slow", NAMES) as server:
        found = dns.ask(["api.example"], "127.0.0.1", PATIENCE_SECONDS, server.port)[0]
    assert (found.duration_seconds or 0) >= SLOW_SECONDS


@pytest.mark.parametrize(
    ("mode", "problem"),
    [
        ("silent", "no answer within 1 s"),
        ("garbage", "no valid answer within 1 s"),
        ("wrong-id", "no valid answer within 1 s"),
        ("wrong-question", "no valid answer within 1 s"),
        ("headless", "no valid answer within 1 s"),
        ("no-such-name", "no such name"),
        ("refusing", "the resolver refuses"),
        ("bare-refusal", "the resolver refuses"),
        ("failing", "the resolver cannot find out"),
        ("odd", "the resolver answers with error 9"),
    ],
)
def test_a_bad_answer_gives_a_problem_and_no_time(mode: str, problem: str) -> None:
    with NameServer(mode, NAMES) as server:
        found = dns.ask(["api.example"], "127.0.0.1", 1.0 if "within" in problem else PATIENCE_SECONDS, server.port)[0]
    assert (found.duration_seconds, found.problem) == (None, problem)


def test_one_bad_name_does_not_harm_the_others() -> None:
    with NameServer("good", NAMES) as server:
        found = dns.ask(["api..example", "nowhere.example", "api.example"], "127.0.0.1", PATIENCE_SECONDS, server.port)
    assert [each.problem for each in found] == ["it is not a name", "no such name", ""]


def test_a_name_server_that_cannot_be_asked() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        unused = taken.getsockname()[1]
    assert dns.ask(["api.example"], "127.0.0.1", PATIENCE_SECONDS, unused)[0].problem == "no resolver runs at its address"
    assert dns.ask(["api.example"], "router", 2)[0].problem == "the nameserver in /etc/resolv.conf is not an address"
    assert dns.ask(["api.example"], "", 2)[0].problem == "no resolver configured"
    assert dns.ask(["api.example"], "127.255.255.255", 2)[0].problem == "the resolver cannot be asked (Permission denied)"


def test_the_resolver_s_file(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    assert dns.resolver(file) == ""
    file.write_bytes(b"\xff\xfe\nnameserver 192.0.2.1\n")
    assert dns.resolver(file) == "192.0.2.1"
    assert dns.resolver(tmp_path) == ""


# The hosts' names


def test_addresses_are_not_looked_up() -> None:
    hosts = ["192.0.2.1", "2001:db8::1", "192.0.2.1"]
    found = dns.Resolution(hosts).wait(time.monotonic())
    assert found == {"192.0.2.1": Addresses("192.0.2.1"), "2001:db8::1": Addresses(ipv6="2001:db8::1")}


def test_the_c_library_looks_up_the_others() -> None:
    found = dns.Resolution(["localhost"]).wait(time.monotonic() + PATIENCE_SECONDS)
    assert found["localhost"].problem == ""
    assert "127.0.0.1" in found["localhost"] or "::1" in found["localhost"]


@pytest.mark.parametrize("host", ["", "a..b", "a" * 300, "x" * 64 + ".example"])
def test_what_is_no_name_has_no_address(host: str) -> None:
    found = dns.resolve(host)
    assert (found.ipv4, found.ipv6) == ("", "")
    assert found.problem in dns.NAME_PROBLEMS


# The devices


def tree(folder: Path, devices: dict[str, dict[str, str]]) -> Path:
    for device, files in devices.items():
        (folder / device).mkdir()
        for name, text in files.items():
            (folder / device / name).parent.mkdir(exist_ok=True)
            (folder / device / name).write_bytes(text.encode("latin-1"))
    return folder


def test_devices_of_a_tree(tmp_path: Path) -> None:
    whole = {"carrier": "1\n", "statistics/rx_bytes": "18446744073709551615\n", "statistics/tx_bytes": "0\n"}
    found = interfaces.read(
        {"eth0": ["192.0.2.7", "2001:db8::7"], "gone0": ["192.0.2.8"]},
        tree(
            tmp_path,
            {
                "wlan0": {"carrier": "0\n"},
                "eth0": whole | {"device/vendor": ""},
                "lo": whole,
                "odd0": {"carrier": "2", "statistics/rx_bytes": "-5", "statistics/tx_bytes": "9" * 5000},
                "odd1": {"carrier": "", "statistics/rx_bytes": "12 apples", "statistics/tx_bytes": "1e3"},
            },
        ),
    )
    assert found == (
        Interface("eth0", True, ("192.0.2.7", "2001:db8::7"), 2**64 - 1, 0),
        Interface("odd0"),
        Interface("odd1"),
        Interface("wlan0", False),
    )
    assert interfaces.of_hardware(found, tmp_path) == (found[0],)
    assert interfaces.of_hardware(found[1:], tmp_path) == found[1:]


def test_the_devices_of_containers_stand_for_no_network(tmp_path: Path) -> None:
    """Their carrier would say that a cable is plugged in; and the state would grow with each container."""
    devices = {f"veth{number:07x}": {"carrier": "1\n"} for number in range(40)}
    found = interfaces.read({}, tree(tmp_path, {**devices, "docker0": {"carrier": "1\n"}, "wlan0": {"carrier": "0\n"}}))
    assert found == (Interface("wlan0", False),)


def test_absent_trees_have_no_devices(tmp_path: Path) -> None:
    assert interfaces.read({}, tmp_path / "absent") == ()
    (tmp_path / "bonding_masters").write_text("")
    assert interfaces.read({}, tmp_path) == ()


# The program


def look(folder: Path, toml: str) -> NetworkResult:
    (folder / "etc/livekeep").mkdir(parents=True, exist_ok=True)
    (folder / "etc/livekeep/livekeep.toml").write_text(toml)
    environment = {"LIVEKEEP_ROOT": str(folder), "PATH": os.environ["PATH"]}
    ran = subprocess.run([PROGRAM, "network"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return state.read(NetworkResult, folder / "run/livekeep")


def test_the_program_writes_what_it_finds(tmp_path: Path) -> None:
    (tmp_path / "sys/class/net").mkdir(parents=True)
    tree(tmp_path / "sys/class/net", {"none7": {"carrier": "0", "statistics/rx_bytes": "5"}})
    toml = '[probes.network]\nhosts = ["nowhere.invalid"]\nnames = ["api.example"]\ninterval_seconds = 45\n'
    found = look(tmp_path, toml)
    assert found.interfaces == (Interface("none7", False, (), 5, None),)
    assert [(each.name, each.problem) for each in found.lookups] == [("api.example", "no resolver configured")]
    assert [(each.target, each.sent) for each in found.pings] == [("nowhere.invalid", 0)]
    assert found.pings[0].problem in dns.NAME_PROBLEMS
    assert (found.run.verdict, found.run.reason) == ("fail", "no network cable or Wi-Fi: none7 without a connection")
    assert (found.run.failures, found.run.interval_seconds) == (1, 45)
    assert (tmp_path / "run/livekeep/probe-network/state.json").stat().st_mode & 0o777 == 0o640
    again = look(tmp_path, toml)
    assert (again.run.failures, again.run.since) == (2, found.run.since)


def test_the_program_outlives_nonsense(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_bytes(b"nameserver \xff\xfe\n")
    (tmp_path / "run/livekeep/probe-network").mkdir(parents=True)
    document = {"file": NetworkResult.FILE, "version": 1, "pings": "many"}
    (tmp_path / "run/livekeep/probe-network/state.json").write_text(json.dumps(document))
    found = look(tmp_path, '[probes.network]\nhosts = ["nowhere.invalid"]\nnames = ["nowhere.invalid"]\n')
    assert (found.run.verdict, found.run.reason) == ("fail", "this machine has no network device")
    assert (found.run.failures, found.run.successes) == (1, 0)
