"""What livekeep-probe-network makes of its measurements: the judgement, the plan of whom to ping, the totals."""

import pytest

from livekeep.core.probe_results import Family, Interface, Lookup, Ping
from livekeep.probes.network import dns, measurement, ping
from livekeep.probes.network.dns import Addresses
from livekeep.probes.network.ping import Destination

PLUGGED = (Interface("eth0", True, ("192.0.2.7",)),)
GOOD_LOOKUP = Lookup("api.example", "192.0.2.1", 0.02)
SILENT_LOOKUP = Lookup("api.example", "192.0.2.1", problem="no answer within 2 s")


def entry(
    target: str, received: int = 5, sent: int = 5, family: Family = "ipv4", problem: str = "", rtt_seconds: float = 0.012
) -> Ping:
    sent = 0 if problem else sent
    received = min(received, sent)
    return Ping(target, family, sent, received, rtt_seconds=rtt_seconds if received else None, problem=problem)


MISSPELT = Lookup("api.exmaple", "192.0.2.1", problem=dns.NO_SUCH_NAME)
LOST = Lookup("api.vimeo.example", "192.0.2.1", problem="the resolver has a failure")
ADDRESS, NAME = entry("192.0.2.8"), entry("vimeo.example")
UNKNOWN = entry("vimeo.example", problem=dns.NAME_SILENT)
FORBIDDEN = entry("192.0.2.8", problem=ping.NOT_ALLOWED)
UNPLUGGED, WLAN = Interface("eth0", False), Interface("wlan0")
REACHABLE = ", though 1 host can be reached by address"


def found(pings: list[Ping], lookups: list[Lookup], devices: tuple[Interface, ...] = PLUGGED) -> tuple[str, str, str]:
    judgement = measurement.judge(pings, lookups, devices)
    return judgement.verdict, judgement.reason, judgement.advice


@pytest.mark.parametrize(
    ("pings", "lookups", "reason"),
    [
        (
            [ADDRESS, entry("192.0.2.9"), NAME, entry("vimeo.example", family="ipv6")],
            GOOD_LOOKUP,
            "all 3 hosts answer, 12 ms to vimeo.example",
        ),
        ([entry("192.0.2.8", rtt_seconds=0.0004)], GOOD_LOOKUP, "192.0.2.8 answers in less than 1 ms"),
        ([], GOOD_LOOKUP, "the name server answers in 20 ms"),
        ([ADDRESS], Lookup("api.example", "192.0.2.1", 0.5), "192.0.2.8 answers in 12 ms"),
        ([entry("a.example", 96, 100)], GOOD_LOOKUP, "a.example answers in 12 ms"),
        ([entry("a.example", 4)], GOOD_LOOKUP, "a.example answers in 12 ms"),
        (
            [entry(f"{number}.example", 4 if number < 2 else 5) for number in range(20)],
            GOOD_LOOKUP,
            "all 20 hosts answer, 12 ms to 0.example",
        ),
    ],
)
def test_all_is_well(pings: list[Ping], lookups: Lookup, reason: str) -> None:
    """One packet lost is chance."""
    assert found(pings, [lookups]) == ("ok", reason, "")


@pytest.mark.parametrize(
    ("pings", "lookup", "devices", "reason", "advice"),
    [
        ([entry("192.0.2.8", 0), UNKNOWN], SILENT_LOOKUP, (), "this machine has no network device", measurement.CHECK_DEVICE),
        ([], SILENT_LOOKUP, (), "this machine has no network device", measurement.CHECK_DEVICE),
        (
            [entry("192.0.2.8", 0)], SILENT_LOOKUP, (UNPLUGGED, WLAN),
            "no network cable or Wi-Fi: eth0, wlan0 without a connection", measurement.CHECK_CABLE,
        ),
        (
            [entry("192.0.2.8", 0)], SILENT_LOOKUP, (Interface("eth0", True), WLAN),
            "the network gives no address: eth0, wlan0 without one", measurement.CHECK_ADDRESS,
        ),
        (
            [entry("192.0.2.8", 0), UNKNOWN], SILENT_LOOKUP, PLUGGED,
            "nothing answers: none of 2 hosts, nor the name server", measurement.CHECK_LINE,
        ),
        (
            [entry("192.0.2.8", 0)], GOOD_LOOKUP, PLUGGED,
            "none of 1 host answers, though the name server does", measurement.CHECK_PINGS,
        ),
        ([], SILENT_LOOKUP, PLUGGED, "the name server 192.0.2.1 does not answer", measurement.CHECK_NAME_SERVER),
        (
            [ADDRESS], SILENT_LOOKUP, PLUGGED,
            f"the name server 192.0.2.1 does not answer{REACHABLE}", measurement.CHECK_NAME_SERVER,
        ),
        (
            [ADDRESS, UNKNOWN], LOST, PLUGGED,
            f"no name can be looked up: the resolver has a failure{REACHABLE}", measurement.CHECK_NAME_SERVER,
        ),
        ([FORBIDDEN], SILENT_LOOKUP, PLUGGED, "the name server 192.0.2.1 does not answer", measurement.CHECK_NAME_SERVER),
    ],
)  # fmt: skip
def test_an_outage_says_where_it_begins(
    pings: list[Ping], lookup: Lookup, devices: tuple[Interface, ...], reason: str, advice: str
) -> None:
    assert found(pings, [lookup], devices) == ("fail", reason, advice)


SILENT = entry("vimeo.example", 0)
OF_NO_USE = "the name server 192.0.2.1 is of no use (no answer within 2 s); another one responds instead"
WEAKNESSES: list[tuple[list[Ping], list[Lookup], str, str]] = [
    ([NAME], [SILENT_LOOKUP], OF_NO_USE, measurement.CHECK_THAT_NAME_SERVER.format("192.0.2.1")),
    (
        [NAME], [Lookup("api.example", "", problem=dns.NO_RESOLVER)],
        "no name server is used: no resolver configured", measurement.CHECK_NAME_SERVER,
    ),
    ([ADDRESS], [MISSPELT], "api.exmaple cannot be looked up: no such name", measurement.CHECK_NAMES),
    ([NAME], [GOOD_LOOKUP, MISSPELT], "api.exmaple cannot be looked up: no such name", measurement.CHECK_NAMES),
    (
        [NAME], [GOOD_LOOKUP, LOST],
        "api.vimeo.example cannot be looked up: the resolver has a failure", measurement.CHECK_NAME_SERVER,
    ),
    ([ADDRESS], [Lookup("api.example", "192.0.2.1", 0.84)], "looking up api.example takes 0.8 s", measurement.CHECK_NAME_SERVER),
    ([ADDRESS, SILENT], [GOOD_LOOKUP], "no answer from vimeo.example", measurement.CHECK_HOSTS),
    (
        [ADDRESS, *(entry(f"h{number}.example", problem=ping.NO_ROUTE) for number in range(5))], [GOOD_LOOKUP],
        "no answer from h0.example, h1.example, h2.example and 2 more: there is no route to it", measurement.CHECK_HOSTS,
    ),
    ([NAME, entry("vimeo.example", 0, family="ipv6")], [], "no answer over IPv6 from vimeo.example", measurement.CHECK_FAMILY),
    ([SILENT, entry("vimeo.example", family="ipv6")], [], "no answer over IPv4 from vimeo.example", measurement.CHECK_FAMILY),
    ([entry("a.example", 95, 100)], [], "5% of the packets to a.example are lost", measurement.CHECK_QUALITY),
    (
        [entry("a.example", 4), entry("b.example", 4)], [],
        "20% of the packets to a.example, b.example are lost", measurement.CHECK_QUALITY,
    ),
    (
        [entry(f"{number}.example", 3 if number < 1 else 5) for number in range(20)], [],
        "40% of the packets to 0.example are lost", measurement.CHECK_QUALITY,
    ),
    (
        [entry("192.0.2.8", 3), SILENT], [Lookup("api.example", "192.0.2.1", 0.84)],
        "no answer from vimeo.example; 40% of the packets to 192.0.2.8 are lost; looking up api.example takes 0.8 s",
        measurement.CHECK_HOSTS,
    ),
    (
        [FORBIDDEN], [GOOD_LOOKUP],
        "the hosts are not pinged: pinging is not allowed here", ping.CANNOT_PING[ping.NOT_ALLOWED],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pings", "lookups", "reason", "advice"), WEAKNESSES)
def test_a_weakness_has_its_advice(pings: list[Ping], lookups: list[Lookup], reason: str, advice: str) -> None:
    """Several are in one line, the most severe first."""
    assert found(pings, lookups) == ("warn", reason, advice)


# Whom to ping


def test_a_host_is_pinged_over_each_family_that_it_has() -> None:
    addresses = {"a.example": Addresses("192.0.2.1", "2001:db8::1"), "192.0.2.2": Addresses("192.0.2.2")}
    destinations, unknown = measurement.plan(["a.example", "192.0.2.2", "a.example"], addresses, [])
    assert destinations == [
        Destination("a.example", "ipv4", "192.0.2.1"),
        Destination("a.example", "ipv6", "2001:db8::1"),
        Destination("192.0.2.2", "ipv4", "192.0.2.2"),
    ]
    assert unknown == []


def test_a_host_whose_name_is_not_known_keeps_its_families() -> None:
    before = [entry("a.example"), entry("a.example", family="ipv6"), entry("b.example")]
    destinations, unknown = measurement.plan(
        ["a.example", "c.example"], {"a.example": Addresses(problem=dns.NAME_UNKNOWN)}, before
    )
    assert destinations == []
    assert [(found.target, found.family, found.problem) for found in unknown] == [
        ("a.example", "ipv4", dns.NAME_UNKNOWN),
        ("a.example", "ipv6", dns.NAME_UNKNOWN),
        # Of this one the resolver has said nothing at all.
        ("c.example", "ipv4", dns.NAME_SILENT),
    ]


def test_a_machine_without_ipv6_has_no_findings_of_it() -> None:
    four, six = entry("a.example"), entry("a.example", family="ipv6", problem=ping.NO_ROUTE)
    alone = entry("2001:db8::1", family="ipv6", problem=ping.NO_ROUTE)
    assert measurement.without_absent_ipv6([four, six, alone]) == [four, alone]
    answering = entry("a.example", 0, family="ipv6")
    assert measurement.without_absent_ipv6([four, answering]) == [four, answering]


def test_totals_go_on_by_target_and_family_and_end_with_the_target() -> None:
    before = [
        Ping("a.example", "ipv4", sent_total=100, received_total=90),
        Ping("a.example", "ipv6", sent_total=50, received_total=50),
        Ping("gone.example", "ipv4", sent_total=7, received_total=7),
    ]
    now = [entry("a.example", 4), entry("a.example", family="ipv6", problem=ping.NO_ROUTE), entry("new.example", 3)]
    found = measurement.with_totals(now, before)
    assert [(each.target, each.family, each.sent_total, each.received_total) for each in found] == [
        ("a.example", "ipv4", 105, 94),
        ("a.example", "ipv6", 50, 50),
        ("new.example", "ipv4", 5, 3),
    ]
    assert (found[0].sent, found[0].received, found[0].rtt_seconds) == (5, 4, 0.012)
