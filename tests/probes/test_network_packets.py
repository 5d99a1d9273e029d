"""The packets of livekeep-probe-network, nonsense included, and the figures made of them."""

import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from livekeep.core.probe_results import Ping
from livekeep.probes.network import dns, interfaces, ping
from livekeep.probes.network.ping import Destination
from tests.probes.name_server import NameServer

QUERY = dns.question("api.example.", 0x1234)
GOOD = NameServer().good(QUERY)


# Echo

NEAR = Destination("a.example", "ipv4", "192.0.2.1")


def test_each_packet_of_fping_is_read() -> None:
    # Printed by fping 5.1 with -q -C.
    output = (
        "198.18.1.2 : duplicate for [0], 64 bytes, 0.615 ms\n"
        "198.18.1.1      : 0.798 1.52 12 340\n198.18.1.3      : - - - -\nfd18::10        : 301 302 - 300\n"
    )
    assert ping.round_trips_in(output) == {
        "198.18.1.1": pytest.approx([0.000798, 0.00152, 0.012, 0.34]),
        "198.18.1.3": [None, None, None, None],
        "fd18::10": [0.301, 0.302, None, 0.3],
    }


def test_nonsense_of_fping_is_no_packet() -> None:
    lines = ["", "fping: can't create socket", "192.0.2.1 :", "192.0.2.1 : a b", "192.0.2.1 : 1.2.3 -", "\0 \ufffd"]
    assert ping.round_trips_in("\n".join(lines)) == {}


def test_round_trips_come_to_mean_maximum_and_jitter() -> None:
    result = ping.summary(NEAR, [0.010, None, 0.030, 0.020, None], "")
    assert (result.target, result.family, result.sent, result.received) == ("a.example", "ipv4", 5, 3)
    assert result.rtt_seconds == pytest.approx(0.020)
    assert result.rtt_max_seconds == 0.030
    assert result.jitter_seconds == pytest.approx(0.015)
    assert (result.sent_total, result.received_total) == (0, 0)


def test_without_answers_there_is_no_figure() -> None:
    assert ping.summary(NEAR, [None] * 5, "") == Ping("a.example", "ipv4", sent=5)
    once = ping.summary(NEAR, [None, 0.01], "")
    assert (once.rtt_seconds, once.jitter_seconds) == (0.01, None)
    assert ping.summary(NEAR, None, ping.NO_ROUTE) == Ping("a.example", "ipv4", problem=ping.NO_ROUTE)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("", "fping is not installed"),
        ("exit 4", "fping ended with 4"),
        ("echo 'no such line' >&2", "it cannot be pinged"),
        ("echo '127.0.0.1 : - -' >&2; exit 1", ""),
    ],
)
def test_a_fping_that_cannot_ping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if script:
        (tmp_path / "fping").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "fping").chmod(0o755)
    if not ping.may_ping():
        problem = ping.NOT_ALLOWED
    here, away = ping.measure([Destination("here", "ipv4", "127.0.0.1"), Destination("all", "ipv4", "255.255.255.255")], 2, 1.0)
    assert (here.problem, here.sent, here.received) == (problem, 0 if problem else 2, 0)
    assert (away.sent, away.problem) == (0, "it cannot be pinged (Permission denied)")


# Names


def answer_with(change: Callable[[bytearray], object]) -> bytes:
    changed = bytearray(GOOD)
    change(changed)
    return bytes(changed)


def test_the_question_is_one_that_name_servers_understand() -> None:
    assert QUERY == b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3api\7example\0\0\1\0\1"
    assert dns.question("api.example", 0x1234) == QUERY


@pytest.mark.parametrize("name", ["", ".", "api..example", ".example", "a" * 64 + ".example"])
def test_what_is_no_name_is_not_asked(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        dns.question(name, 1)


def test_good_answers() -> None:
    known = NameServer(names={"api.example": ["192.0.2.1"]})
    assert dns.problem_in(known.good(QUERY), QUERY) == ""
    assert dns.problem_in(known.good(QUERY).replace(b"api", b"API"), QUERY) == ""
    # A name without an address of this kind; truncated.
    assert dns.problem_in(QUERY[:2] + b"\x81\x80" + QUERY[4:], QUERY) == ""
    assert dns.problem_in(QUERY[:2] + b"\x83\x80\0\1\0\1" + QUERY[8:], QUERY) == ""


def test_what_does_not_answer_the_question_is_left_alone() -> None:
    wrong = [
        QUERY,
        answer_with(lambda packet: packet.__setitem__(0, 0x13)),
        answer_with(lambda packet: packet.__setitem__(2, 0x91)),
        answer_with(lambda packet: packet.__setitem__(5, 2)),
        answer_with(lambda packet: packet.__setitem__(13, ord("b"))),
        # An answer is announced that is not there.
        QUERY[:2] + b"\x81\x80\0\1\0\1" + QUERY[8:],
        *(QUERY[:2] + random.Random(seed).randbytes(seed % 120) for seed in range(2000)),
        *(GOOD[:length] for length in range(12)),
    ]
    assert [packet for packet in wrong if dns.problem_in(packet, QUERY) is not None] == []


# The kernel's addresses


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body + bytes(-len(body) % 4)


def address_message(family: int, scope: int, index: int, attributes: dict[int, str]) -> bytes:
    body = struct.pack("=BBBBI", family, 24, 0, scope, index)
    for kind, text in attributes.items():
        value = socket.inet_pton(family, text)
        body += struct.pack("=HH", 4 + len(value), kind) + value
    return message(20, body)


def test_addresses_are_this_machine_s_own() -> None:
    raw = b"".join(
        [
            address_message(socket.AF_INET, 0, 2, {1: "192.0.2.1", 2: "192.0.2.2"}),
            address_message(socket.AF_INET, 0, 2, {1: "192.0.2.3"}),
            address_message(socket.AF_INET6, 0, 3, {1: "2001:db8::1"}),
            address_message(socket.AF_INET6, interfaces.LINK_SCOPE, 3, {1: "fe80::1"}),
            message(3, bytes(4)),
        ]
    )
    assert list(interfaces.addresses_in(raw)) == [(2, "192.0.2.2"), (2, "192.0.2.3"), (3, "2001:db8::1")]
    for length in range(len(raw)):
        assert len(list(interfaces.addresses_in(raw[:length]))) <= 3


def test_nonsense_of_the_kernel_gives_no_address() -> None:
    for seed in range(2000):
        raw = random.Random(seed).randbytes(seed % 120)
        assert list(interfaces.addresses_in(raw)) == []
        for _index, address in interfaces.addresses_in(message(20, raw)):
            assert socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
