"""The packets of livekeep-probe-network, nonsense included, and the figures made of them."""

import random
import socket
import struct
from collections.abc import Callable

import pytest

from livekeep.core.probe_results import Family
from livekeep.probes.network import dns, interfaces, ping
from livekeep.probes.network.ping import Destination
from tests.probes.name_server import NameServer

PAYLOAD = bytes(range(56))
QUERY = dns.question("api.example.", 0x1234)
GOOD = NameServer().good(QUERY)
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")


def noise(count: int = 2000) -> list[bytes]:
    """The same at every run."""
    made = random.Random(7)
    return [made.randbytes(made.randrange(120)) for _ in range(count)]


# Echo


def reply(family: Family, identifier: int = 7, sequence: int = 3, payload: bytes = PAYLOAD) -> bytes:
    packet = ping.request(family, identifier, sequence, payload)
    return bytes((ping.REPLIES[family],)) + packet[1:]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_echo_reply_gives_its_sequence_number(family: Family) -> None:
    assert ping.answered_sequence(reply(family), family, 7, PAYLOAD) == 3
    assert ping.answered_sequence(reply(family, sequence=65535), family, 7, PAYLOAD) == 65535


@pytest.mark.parametrize("family", FAMILIES)
def test_no_other_packet_answers(family: Family) -> None:
    good = reply(family)
    other: Family = "ipv4" if family == "ipv6" else "ipv6"
    wrong = [ping.request(family, 7, 3, PAYLOAD), reply(other), reply(family, identifier=8), reply(family, payload=PAYLOAD[::-1])]
    wrong += [good[:1] + b"\1" + good[2:], good + b"\0", *(good[:length] for length in range(len(good))), *noise()]
    assert [packet for packet in wrong if ping.answered_sequence(packet, family, 7, PAYLOAD) is not None] == []


def test_a_request_carries_the_checksum_that_receivers_verify() -> None:
    for payload in (PAYLOAD, PAYLOAD[:-1], b"", b"\xff" * 99):
        packet = ping.request("ipv4", 0xFFFE, 0xFFFF, payload)
        padded = packet + b"\0" * (len(packet) % 2)
        total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert total == 0xFFFF
        assert packet[:2] == b"\x08\0"


def test_the_ip_header_goes_whatever_its_length() -> None:
    assert ping.without_ip_header(b"\x45" + bytes(19) + b"icmp") == b"icmp"
    assert ping.without_ip_header(b"\x46" + bytes(23) + b"icmp") == b"icmp"
    assert ping.without_ip_header(b"\x4f" + bytes(5)) == b""
    assert ping.without_ip_header(b"") == b""


def test_round_trips_come_to_mean_maximum_and_jitter() -> None:
    found = ping.summary(Destination("a.example", "ipv4", "192.0.2.1"), 5, [0.010, 0.030, 0.020])
    assert (found.target, found.family, found.sent, found.received) == ("a.example", "ipv4", 5, 3)
    assert found.rtt_seconds == pytest.approx(0.020)
    assert found.rtt_max_seconds == 0.030
    assert found.jitter_seconds == pytest.approx(0.015)
    assert (found.sent_total, found.received_total) == (0, 0)


def test_without_answers_there_is_no_figure() -> None:
    destination = Destination("a.example", "ipv4", "192.0.2.1")
    silent = ping.summary(destination, 5, [])
    assert (silent.received, silent.rtt_seconds, silent.rtt_max_seconds, silent.jitter_seconds) == (0, None, None, None)
    once = ping.summary(destination, 5, [0.01])
    assert (once.rtt_seconds, once.jitter_seconds) == (0.01, None)
    assert ping.summary(destination, 0, [], ping.NO_ROUTE).problem == ping.NO_ROUTE


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


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (1, "the resolver does not understand the question"),
        (2, "the resolver cannot find out"),
        (3, "no such name"),
        (5, "the resolver refuses"),
        (9, "the resolver answers with error 9"),
    ],
)
def test_errors_are_told_in_words(code: int, problem: str) -> None:
    assert dns.problem_in(QUERY[:2] + bytes((0x81, 0x80 | code)) + QUERY[4:], QUERY) == problem
    assert dns.problem_in(QUERY[:2] + bytes((0x81, 0x80 | code)) + bytes(8), QUERY) == problem


def test_what_does_not_answer_the_question_is_left_alone() -> None:
    wrong = [
        QUERY,
        answer_with(lambda packet: packet.__setitem__(0, 0x13)),
        answer_with(lambda packet: packet.__setitem__(2, 0x91)),
        answer_with(lambda packet: packet.__setitem__(5, 2)),
        answer_with(lambda packet: packet.__setitem__(13, ord("b"))),
        # An answer is announced that is not there.
        QUERY[:2] + b"\x81\x80\0\1\0\1" + QUERY[8:],
        *(QUERY[:2] + packet[2:] for packet in noise()),
        *(GOOD[:length] for length in range(12)),
    ]
    assert [packet for packet in wrong if dns.problem_in(packet, QUERY) is not None] == []


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("nameserver 192.0.2.1\nnameserver 192.0.2.2\n", "192.0.2.1"),
        ("# nameserver 192.0.2.9\nsearch example\n\tnameserver\t2001:db8::1 # the router\n", "2001:db8::1"),
        ("", ""),
        ("nameserver\nnameservers 192.0.2.1\n\0\ufffd", ""),
    ],
)
def test_the_first_name_server_counts(text: str, server: str) -> None:
    assert dns.first_resolver(text) == server


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


def test_nonsense_gives_no_address() -> None:
    for raw in noise():
        assert list(interfaces.addresses_in(raw)) == []
        for kind in (20, 3):
            body = raw + bytes(-len(raw) % 4)
            for _index, address in interfaces.addresses_in(message(kind, body)):
                assert socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def test_the_kernel_s_answer_is_understood() -> None:
    assert "127.0.0.1" in interfaces.own_addresses()["lo"]
