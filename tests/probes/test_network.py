"""livekeep-probe-network's name server, network devices and program, without root; with pings see tests/machine."""

import json
import time
from pathlib import Path

import pytest

from livekeep.core.probe_results import Interface, NetworkResult
from livekeep.probes.network import dns, interfaces
from livekeep.probes.network.dns import Addresses
from tests.probes.name_server import SLOW_SECONDS, NameServer
from tests.probes.running_probe import Probe

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
        ("failing", "the resolver has a failure"),
        ("odd", "the resolver returns error 9"),
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
    assert dns.ask(["api.example"], "127.0.0.1", PATIENCE_SECONDS, 1)[0].problem == "no resolver runs at its address"
    assert dns.ask(["api.example"], "router", 2)[0].problem == "the nameserver in /etc/resolv.conf is not an address"
    assert dns.ask(["api.example"], "", 2)[0].problem == "no resolver configured"
    assert dns.ask(["api.example"], "127.255.255.255", 2)[0].problem == "the resolver cannot be queried (Permission denied)"


@pytest.mark.parametrize(
    ("content", "server"),
    [
        (b"nameserver 192.0.2.1\nnameserver 192.0.2.2\n", "192.0.2.1"),
        (b"# nameserver 192.0.2.9\nsearch example\n\tnameserver\t2001:db8::1 # the router\n", "2001:db8::1"),
        (b"\xff\xfe\nnameserver 192.0.2.1\n", "192.0.2.1"),
        (b"nameserver\nnameservers 192.0.2.1\n\0", ""),
    ],
)
def test_the_first_name_server_counts(tmp_path: Path, content: bytes, server: str) -> None:
    file = tmp_path / "resolv.conf"
    assert dns.resolver(file) == ""
    file.write_bytes(content)
    assert dns.resolver(file) == server


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
    whole = {"carrier": "1\n", "statistics/rx_bytes": "1234567890123456789\n", "statistics/tx_bytes": "0\n"}
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
        Interface("eth0", True, ("192.0.2.7", "2001:db8::7"), 1234567890123456789, 0),
        Interface("odd0"),
        Interface("odd1"),
        Interface("wlan0", False),
    )
    assert interfaces.of_hardware(found, tmp_path) == (found[0],)
    assert interfaces.of_hardware(found[1:], tmp_path) == found[1:]


def test_absent_trees_have_no_devices(tmp_path: Path) -> None:
    assert interfaces.read({}, tmp_path / "absent") == ()
    (tmp_path / "bonding_masters").write_text("")
    assert interfaces.read({}, tmp_path) == ()


def test_this_machine_s_addresses_but_no_link_local_ones() -> None:
    found = interfaces.own_addresses()
    assert "127.0.0.1" in found["lo"]
    assert not [address for addresses in found.values() for address in addresses if address.startswith("fe80")]


# The program


@pytest.fixture
def probe(tmp_path: Path) -> Probe[NetworkResult]:
    return Probe("network", NetworkResult, tmp_path)


def test_the_program_writes_what_it_finds(probe: Probe[NetworkResult]) -> None:
    (probe.folder / "sys/class/net").mkdir(parents=True)
    tree(probe.folder / "sys/class/net", {"none7": {"carrier": "0", "statistics/rx_bytes": "5"}})
    probe.configure('[probes.network]\nhosts = ["nowhere.invalid"]\nnames = ["api.example"]\ninterval_seconds = 45\n')
    found = probe.run()
    assert found.interfaces == (Interface("none7", False, (), 5, None),)
    assert [(each.name, each.problem) for each in found.lookups] == [("api.example", "no resolver configured")]
    assert [(each.target, each.sent) for each in found.pings] == [("nowhere.invalid", 0)]
    assert found.pings[0].problem in dns.NAME_PROBLEMS
    assert (found.run.verdict, found.run.reason) == ("fail", "no network cable or Wi-Fi: none7 without a connection")
    assert found.run.interval_seconds == 45
    assert (probe.root / "probe-network/state.json").stat().st_mode & 0o777 == 0o640


def test_the_program_outlives_nonsense(probe: Probe[NetworkResult]) -> None:
    (probe.folder / "etc/resolv.conf").write_bytes(b"nameserver \xff\xfe\n")
    (probe.root / "probe-network").mkdir()
    document = {"file": NetworkResult.FILE, "version": 1, "pings": "many"}
    (probe.root / "probe-network/state.json").write_text(json.dumps(document))
    probe.configure('[probes.network]\nhosts = ["nowhere.invalid"]\nnames = ["nowhere.invalid"]\n')
    found = probe.run()
    assert (found.run.verdict, found.run.reason) == ("fail", "this machine has no network device")
    assert (found.run.failures, found.run.successes) == (1, 0)
