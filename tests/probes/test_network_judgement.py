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


def test_all_is_well_in_one_sentence() -> None:
    pings = [entry("192.0.2.8"), entry("192.0.2.9"), entry("vimeo.example"), entry("vimeo.example", family="ipv6")]
    found = measurement.judge(pings, [GOOD_LOOKUP], PLUGGED)
    assert (found.verdict, found.reason, found.advice) == ("ok", "all 3 hosts answer, 12 ms to vimeo.example", "")
    quick = measurement.judge([entry("192.0.2.8", rtt_seconds=0.0004)], [], PLUGGED)
    assert quick.reason == "192.0.2.8 answers in less than 1 ms"
    assert measurement.judge([], [GOOD_LOOKUP], PLUGGED).reason == "the name server answers in 20 ms"


@pytest.mark.parametrize(
    ("devices", "reason", "advice"),
    [
        ((), "this machine has no network device", "ip link"),
        ((Interface("eth0", False), Interface("wlan0")), "no network cable or Wi-Fi: eth0, wlan0 without a connection", "nmcli"),
        ((Interface("eth0", True), Interface("wlan0")), "the network gives no address: eth0, wlan0 without one", "DHCP"),
        (PLUGGED, "nothing answers: none of 2 hosts, nor the name server", "ip route"),
    ],
)
def test_an_outage_says_where_it_begins(devices: tuple[Interface, ...], reason: str, advice: str) -> None:
    found = measurement.judge([entry("192.0.2.8", 0), entry("vimeo.example", problem=dns.NAME_SILENT)], [SILENT_LOOKUP], devices)
    assert (found.verdict, found.reason) == ("fail", reason)
    assert advice in found.advice


def test_no_host_answers_but_the_name_server_does() -> None:
    found = measurement.judge([entry("192.0.2.8", 0)], [GOOD_LOOKUP], PLUGGED)
    assert (found.verdict, found.reason) == ("fail", "none of 1 host answers, though the name server does")
    assert "probes.network.hosts" in found.advice


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ("no answer within 2 s", "the name server 192.0.2.1 does not answer, though 1 host can be reached by address"),
        ("the resolver refuses", "no name can be looked up: the resolver refuses, though 1 host can be reached by address"),
        (dns.NO_RESOLVER, "no name can be looked up: no resolver configured, though 1 host can be reached by address"),
    ],
)
@pytest.mark.parametrize("with_name", [False, True])
def test_without_names_there_is_no_stream(problem: str, reason: str, with_name: bool) -> None:
    pings = [entry("192.0.2.8"), *([entry("vimeo.example", problem=dns.NAME_SILENT)] if with_name else [])]
    found = measurement.judge(pings, [Lookup("api.example", "192.0.2.1", problem=problem)], PLUGGED)
    assert (found.verdict, found.reason) == ("fail", reason)


@pytest.mark.parametrize(
    "problem",
    ["no answer within 2 s", "no resolver runs at its address", "there is no route to the resolver", "the resolver refuses"],
)
@pytest.mark.parametrize("names", [("api.example",), ("api.example", "vimeo.example")])
def test_a_second_name_server_keeps_it_going(problem: str, names: tuple[str, ...]) -> None:
    """The first one is named, and not the spelling of the names."""
    lookups = [Lookup(name, "192.0.2.1", problem=problem) for name in names]
    found = measurement.judge([entry("vimeo.example")], lookups, PLUGGED)
    reason = f"the name server 192.0.2.1 is of no use ({problem}); another one answers in its place"
    assert (found.verdict, found.reason) == ("warn", reason)
    assert found.advice.startswith("take 192.0.2.1 out of /etc/resolv.conf")
    assert "spelling" not in found.advice


def test_the_advice_on_a_name_fits_its_problem() -> None:
    misspelt = Lookup("api.exmaple", "192.0.2.1", problem=dns.NO_SUCH_NAME)
    assert "spelling" in measurement.judge([entry("vimeo.example")], [GOOD_LOOKUP, misspelt], PLUGGED).advice
    lost = Lookup("api.vimeo.example", "192.0.2.1", problem="the resolver cannot find out")
    found = measurement.judge([entry("vimeo.example")], [GOOD_LOOKUP, lost], PLUGGED)
    assert found.reason == "api.vimeo.example cannot be looked up: the resolver cannot find out"
    assert found.advice == measurement.CHECK_NAME_SERVER


def test_a_misspelt_name_is_no_outage() -> None:
    misspelt = Lookup("api.exmaple", "192.0.2.1", problem=dns.NO_SUCH_NAME)
    assert measurement.judge([entry("192.0.2.8")], [misspelt], PLUGGED).verdict == "warn"
    assert measurement.judge([entry("192.0.2.8")], [GOOD_LOOKUP, misspelt], PLUGGED).verdict == "warn"


def test_only_names_and_none_can_be_had() -> None:
    assert measurement.judge([], [SILENT_LOOKUP], PLUGGED).reason == "the name server 192.0.2.1 does not answer"
    assert measurement.judge([], [SILENT_LOOKUP], ()).reason == "this machine has no network device"


def test_a_host_that_blocks_pings_is_a_weakness_while_others_answer() -> None:
    found = measurement.judge([entry("192.0.2.8"), entry("vimeo.example", 0)], [GOOD_LOOKUP], PLUGGED)
    assert (found.verdict, found.reason) == ("warn", "no answer from vimeo.example")
    assert "probes.network.hosts" in found.advice
    many = [entry("192.0.2.8"), *(entry(f"h{number}.example", problem=ping.NO_ROUTE) for number in range(5))]
    reason = measurement.judge(many, [GOOD_LOOKUP], PLUGGED).reason
    assert reason == "no answer from h0.example, h1.example, h2.example and 2 more: there is no route to it"


def test_a_host_that_answers_over_one_family_alone() -> None:
    found = measurement.judge([entry("vimeo.example"), entry("vimeo.example", 0, family="ipv6")], [], PLUGGED)
    assert (found.verdict, found.reason) == ("warn", "no answer over IPv6 from vimeo.example")
    found = measurement.judge([entry("vimeo.example", 0), entry("vimeo.example", family="ipv6")], [], PLUGGED)
    assert (found.verdict, found.reason) == ("warn", "no answer over IPv4 from vimeo.example")


@pytest.mark.parametrize(
    ("pings", "reason"),
    [
        ([entry("a.example", 3)], "40% of the packets to a.example are lost"),
        ([entry("a.example", 95, 100)], "5% of the packets to a.example are lost"),
        ([entry("a.example", 96, 100)], ""),
        ([entry("a.example", 4)], ""),
        ([entry("a.example", 4), entry("b.example"), entry("c.example")], ""),
        ([entry("a.example", 4), entry("b.example", 4)], "20% of the packets to a.example, b.example are lost"),
        ([entry(f"{number}.example", 4 if number < 2 else 5) for number in range(20)], ""),
        (
            [entry(f"{number}.example", 3 if number < 1 else 5) for number in range(20)],
            "40% of the packets to 0.example are lost",
        ),
    ],
)
def test_loss_is_a_weakness_from_five_percent_on_but_one_packet_is_chance(pings: list[Ping], reason: str) -> None:
    found = measurement.judge(pings, [GOOD_LOOKUP], PLUGGED)
    assert found.verdict == ("warn" if reason else "ok")
    assert not reason or found.reason == reason


def test_a_slow_name_server_is_a_weakness() -> None:
    found = measurement.judge([entry("192.0.2.8")], [Lookup("api.example", "192.0.2.1", 0.84)], PLUGGED)
    assert (found.verdict, found.reason) == ("warn", "looking up api.example takes 0.8 s")
    assert measurement.judge([entry("192.0.2.8")], [Lookup("api.example", "192.0.2.1", 0.5)], PLUGGED).verdict == "ok"


def test_several_weaknesses_stand_in_one_line_the_gravest_first() -> None:
    pings = [entry("192.0.2.8", 3), entry("vimeo.example", 0)]
    found = measurement.judge(pings, [Lookup("api.example", "192.0.2.1", 0.84)], PLUGGED)
    parts = ["no answer from vimeo.example", "40% of the packets to 192.0.2.8 are lost", "looking up api.example takes 0.8 s"]
    assert found.reason == "; ".join(parts)
    assert found.advice == measurement.CHECK_HOSTS


def test_being_forbidden_to_ping_is_not_taken_for_an_outage() -> None:
    forbidden = entry("192.0.2.8", problem=ping.NOT_ALLOWED)
    found = measurement.judge([forbidden], [GOOD_LOOKUP], PLUGGED)
    assert (found.verdict, found.reason) == ("warn", "the hosts are not pinged: pinging is not allowed here")
    assert "systemctl start livekeep-probe-network" in found.advice
    assert measurement.judge([forbidden], [SILENT_LOOKUP], PLUGGED).verdict == "fail"


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
