"""livekeep-probe-network in a simulated world with known loss and delay; like its unit: no root, the one capability."""

import os
import subprocess
from collections.abc import Sequence

import pytest

from livekeep.core import state
from livekeep.core.probe_results import NetworkResult, Ping
from tests.machine.tun import DEVICE, Host, Plan, World
from tests.outside import PROJECT, UNPRIVILEGED

PROGRAM = PROJECT / "bin/livekeep-probe"
CAPABILITY = ("--inh-caps=+net_raw", "--ambient-caps=+net_raw")
TRUTH = 0.1
"""The largest deviation of a measured value from the true one."""
NEAR, NEAR_6, FAR, AWAY = "198.18.0.10", "fd18::10", "198.18.0.20", "203.0.113.7"
BROADCAST = "127.255.255.255"
NAMES = {"near.example": [NEAR, NEAR_6], "four.example": [FAR], "six.example": [NEAR_6], "api.example": ["192.0.2.1"]}
DELAY = Host(delay_seconds=0.2)


def settings(hosts: Sequence[str], packets: int = 3, names: Sequence[str] = ("api.example",), timeout: float = 1.0) -> str:
    lists = f"hosts = {list(hosts)}\nnames = {list(names)}".replace("'", '"')
    return f"[probes.network]\n{lists}\npackets = {packets}\ntimeout_seconds = {timeout}\n"


def look(world: World, toml: str, rights: Sequence[str] = CAPABILITY, resolver: str = "127.0.0.1") -> NetworkResult:
    """Run the program once in the world, with the world's own /sys and resolv.conf; return its output."""
    folder = world.folder
    (folder / "etc/livekeep").mkdir(parents=True, exist_ok=True)
    (folder / "run/livekeep/probe-network").mkdir(parents=True, exist_ok=True)
    if not (folder / "sys").is_symlink():
        (folder / "sys").symlink_to("/sys")
    (folder / "etc/livekeep/livekeep.toml").write_text(toml)
    (folder / "etc/resolv.conf").write_text(f"nameserver {resolver}\n")
    (folder / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    os.chown(folder / "run/livekeep/probe-network", UNPRIVILEGED, UNPRIVILEGED)
    inside = "mount -t sysfs sysfs /sys && for f in resolv nsswitch; do mount --bind $0/etc/$f.conf /etc/$f.conf; done && exec $@"
    who = [f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", "--no-new-privs"]
    rights = ["--bounding-set=-all,+net_raw", *rights]
    program = ["setpriv", *who, *rights, "--", str(PROGRAM), "network"]
    command = world.network.in_machine(["unshare", "--mount", "sh", "-c", inside, str(folder), *program])
    environment = {"LIVEKEEP_ROOT": str(folder), "PATH": os.environ["PATH"], "RES_OPTIONS": "timeout:1 attempts:1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return state.read(NetworkResult, folder / "run/livekeep")


def pings_of(findings: NetworkResult) -> dict[tuple[str, str], Ping]:
    return {(entry.target, entry.family): entry for entry in findings.pings}


def test_a_known_loss_and_delay_is_reported_within_a_tenth() -> None:
    hosts = {NEAR: DELAY, NEAR_6: Host(loses_every=5, delay_seconds=0.3), FAR: Host(loses_every=4, delay_seconds=0.4)}
    with World(Plan(hosts, NAMES)) as world:
        toml = settings(["near.example", FAR], packets=40, timeout=3)
        first = look(world, toml)
        found = pings_of(first)
        assert set(found) == {("near.example", "ipv4"), ("near.example", "ipv6"), (FAR, "ipv4")}
        truth = {("near.example", "ipv4"): (40, 0.2), ("near.example", "ipv6"): (32, 0.3), (FAR, "ipv4"): (30, 0.4)}
        for key, (received, delay) in truth.items():
            entry = found[key]
            assert entry.sent == 40
            assert abs(entry.received - received) <= TRUTH * (40 - received), key
            assert entry.rtt_seconds is not None
            assert entry.rtt_max_seconds is not None
            assert entry.jitter_seconds is not None
            assert delay <= entry.rtt_seconds <= delay * (1 + TRUTH), key
            assert entry.rtt_seconds <= entry.rtt_max_seconds
            assert 0 < entry.jitter_seconds < delay
        assert (first.run.verdict, first.lookups[0].problem) == ("warn", "")
        assert first.run.reason == f"22% of the packets to near.example, {FAR} are lost"
        assert first.lookups[0].resolver == "127.0.0.1"
        assert first.lookups[0].duration_seconds is not None
        assert {device.device: device.addresses for device in first.interfaces} == {DEVICE: ("198.18.0.1", "fd18::1")}
        assert (first.interfaces[0].receive_bytes or 0) > 40 * 84
        assert first.interfaces[0].carrier is True
        second = look(world, settings(["near.example"], packets=10, timeout=3))
        totals = [(entry.family, entry.sent_total, entry.received_total) for entry in second.pings]
        assert totals == [("ipv4", 50, 50), ("ipv6", 50, 40)]
        assert (second.run.successes, second.run.failures) == (2, 0)


def test_an_answer_that_comes_too_late_does_not_count() -> None:
    with World(Plan({NEAR: Host(delay_seconds=3), FAR: Host()}, NAMES)) as world:
        found = pings_of(look(world, settings([NEAR, FAR], packets=6, timeout=2)))
    late, prompt = found[NEAR, "ipv4"], found[FAR, "ipv4"]
    assert (late.sent, late.received, late.rtt_seconds, late.problem) == (6, 0, None, "")
    assert (prompt.sent, prompt.received) == (6, 6)


def test_hosts_that_cannot_be_pinged_say_why() -> None:
    """Unknown names, no route, and a silent host, besides one that answers; IPv6 only if there is a route."""
    hosts = {NEAR: Host(), NEAR_6: Host(), FAR: Host()}
    names = NAMES | {"away.example": [NEAR, "2001:db8::1"], "far-six.example": ["2001:db8::1"]}
    with World(Plan(hosts, names)) as world:
        targets = ["four.example", "nowhere.example", AWAY, "198.18.0.99", "away.example", "far-six.example", "six.example"]
        targets += [BROADCAST]
        found = look(world, settings(targets))
    entries = {(entry.target, entry.family): (entry.sent, entry.received, entry.problem) for entry in found.pings}
    assert entries == {
        ("four.example", "ipv4"): (3, 3, ""),
        ("nowhere.example", "ipv4"): (0, 0, "its name is not known"),
        (AWAY, "ipv4"): (0, 0, "there is no route to it"),
        ("198.18.0.99", "ipv4"): (3, 0, ""),
        (BROADCAST, "ipv4"): (0, 0, "it cannot be pinged (Permission denied)"),
        ("away.example", "ipv4"): (3, 3, ""),
        ("far-six.example", "ipv6"): (0, 0, "there is no route to it"),
        ("six.example", "ipv6"): (3, 3, ""),
    }
    assert found.run.verdict == "warn"
    assert found.run.reason == f"no answer from nowhere.example, {AWAY}, 198.18.0.99 and 2 more: its name is not known"


def test_all_is_well() -> None:
    with World(Plan({NEAR: DELAY, NEAR_6: DELAY, FAR: DELAY}, NAMES)) as world:
        found = look(world, settings([FAR, "near.example"]))
    assert (found.run.verdict, found.run.advice) == ("ok", "")
    assert found.run.reason.startswith("all 2 hosts answer, 2")
    assert found.run.reason.endswith(" ms to near.example")
    assert found.run.interval_seconds == 30


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("silent", "the name server 127.0.0.1 does not answer, though 1 host can be reached by address"),
        ("absent", "no name can be looked up: no resolver runs at its address, though 1 host can be reached by address"),
    ],
)
def test_without_names_the_network_is_of_no_use(mode: str, reason: str) -> None:
    with World(Plan({NEAR: Host()}, NAMES, mode)) as world:
        found = look(world, settings([NEAR, "four.example"], timeout=0.5))
    assert (found.run.verdict, found.run.reason) == ("fail", reason)
    assert "/etc/resolv.conf" in found.run.advice
    problems = {entry.target: entry.problem for entry in found.pings}
    assert problems[NEAR] == ""
    assert problems["four.example"].startswith("its name")
    assert found.lookups[0].duration_seconds is None


def test_a_first_name_server_that_is_dead_is_named() -> None:
    """The second one works, and the C library uses it."""
    with World(Plan({NEAR: Host(), NEAR_6: Host()}, NAMES)) as world:
        found = look(world, settings(["near.example"], timeout=4), resolver=f"{FAR}\nnameserver 127.0.0.1")
    reason = f"the name server {FAR} is of no use (no answer within 4 s); another one responds instead"
    assert (found.run.verdict, found.run.reason) == ("warn", reason)
    assert found.run.advice.startswith(f"take {FAR} out of /etc/resolv.conf")


def test_the_cable_is_out() -> None:
    """A pair of devices whose other end is down has no carrier."""
    with World(Plan({}, {}, "silent")) as world:
        world.ip("link", "delete", DEVICE)
        world.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        world.ip("address", "add", "198.18.0.1/15", "dev", "eth0")
        world.ip("link", "set", "eth0", "up")
        found = look(world, settings([NEAR, "four.example"], timeout=0.5))
    assert [(device.device, device.carrier) for device in found.interfaces] == [("eth0", False), ("eth1", None)]
    assert (found.run.verdict, found.run.reason) == ("fail", "no network cable or Wi-Fi: eth0, eth1 without a connection")
    assert "cable" in found.run.advice
    assert found.run.last_success is None


def test_nothing_answers() -> None:
    with World(Plan({}, NAMES, "silent")) as world:
        found = look(world, settings([NEAR, FAR], timeout=0.5))
    assert (found.run.verdict, found.run.reason) == ("fail", "nothing answers: none of 2 hosts, nor the name server")
    assert found.run.failures == 1


def test_without_the_capability_nothing_is_pinged() -> None:
    """The kernel's ping socket exists, but fping gets no answer on it."""
    with World(Plan({NEAR: Host(), NEAR_6: Host()}, NAMES)) as world:
        setting = "/proc/sys/net/ipv4/ping_group_range"
        subprocess.run(world.network.in_machine(["sh", "-c", f"echo 0 {UNPRIVILEGED} >{setting}"]), check=True, timeout=30)
        found = look(world, settings(["near.example"]), rights=())
    assert found.run.verdict == "warn"
    assert {(entry.problem, entry.received) for entry in found.pings} == {("pinging is not allowed here", 0)}
