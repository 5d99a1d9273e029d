"""livekeep-probe-network.service: whether hosts and the name server respond, how well, and the state of the network devices.

Reads livekeep.toml ([probes.network]), /etc/resolv.conf, /sys/class/net and its previous result. Pings the hosts,
queries the name server, and writes probe-network/state.json (core/probe_results.py).
"""

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from livekeep.core.config import Config
from livekeep.core.probe_results import Family, Interface, Lookup, NetworkResult, Ping
from livekeep.probes.network import dns, interfaces, ping
from livekeep.probes.network.dns import Addresses
from livekeep.probes.network.ping import Destination
from livekeep.probes.runner import NAMED_IN_A_SENTENCE, Judgement, listed

LOSS = 0.05
"""The share of lost packets from which a stream stutters."""
CHANCE_PACKETS = 1
"""Lost packets per run that are ignored: with few packets, one already exceeds that share."""
SLOW_LOOKUP_SECONDS = 0.5

CHECK_DEVICE = "check the network device: ip link; sudo livekeep doctor"
CHECK_CABLE = "check the cable, or the Wi-Fi: nmcli device; ip address"
CHECK_ADDRESS = "check the router (DHCP) and the address: ip address; sudo livekeep doctor"
CHECK_LINE = "check the router and its line: ip route; sudo livekeep doctor"
CHECK_PINGS = "check the router's line; where pings are forbidden, set probes.network.hosts to hosts that answer"
CHECK_NAME_SERVER = "check the router and the nameserver in /etc/resolv.conf; sudo livekeep doctor"
CHECK_HOSTS = "if a host never answers pings, take it out of probes.network.hosts"
CHECK_FAMILY = "check the router's IPv6; the stream may take long to start"
CHECK_QUALITY = "check the cable, the Wi-Fi's signal, and who else uses the line"
CHECK_NAMES = "check the spelling in probes.network.names, and the nameserver in /etc/resolv.conf"
CHECK_THAT_NAME_SERVER = "take {} out of /etc/resolv.conf, or out of what writes that file: the router (DHCP), nmcli, resolvectl"


# Results from measurements


def plan(
    hosts: Sequence[str], addresses: Mapping[str, Addresses], previous: Sequence[Ping]
) -> tuple[list[Destination], list[Ping]]:
    """The addresses to ping, and results for hosts without an address, for each family that they had before."""
    destinations, unknown = [], []
    for host in dict.fromkeys(hosts):
        found = addresses.get(host, Addresses(problem=dns.NAME_SILENT))
        if found.problem:
            families: list[Family] = [entry.family for entry in previous if entry.target == host] or ["ipv4"]
            unknown += [Ping(host, family, problem=found.problem) for family in families]
        if found.ipv4:
            destinations.append(Destination(host, "ipv4", found.ipv4))
        if found.ipv6:
            destinations.append(Destination(host, "ipv6", found.ipv6))
    return destinations, unknown


def without_absent_ipv6(pings: Sequence[Ping]) -> list[Ping]:
    """A machine without IPv6 is not a fault if the host has an IPv4 address."""
    with_ipv4 = {entry.target for entry in pings if entry.family == "ipv4"}
    return [
        entry for entry in pings if not (entry.family == "ipv6" and entry.problem == ping.NO_ROUTE and entry.target in with_ipv4)
    ]


def with_totals(pings: Iterable[Ping], previous: Iterable[Ping]) -> tuple[Ping, ...]:
    """The pings with packet counters since boot: the previous totals plus this run's."""
    before = {(entry.target, entry.family): entry for entry in previous}
    found = []
    for entry in pings:
        old = before.get((entry.target, entry.family), Ping(entry.target, entry.family))
        sent_total, received_total = old.sent_total + entry.sent, old.received_total + entry.received
        found.append(dataclasses.replace(entry, sent_total=sent_total, received_total=received_total))
    return tuple(found)


# The judgement


def judge(pings: Sequence[Ping], lookups: Sequence[Lookup], devices: Sequence[Interface]) -> Judgement:
    """The verdict. `devices`: those whose carrier and addresses count."""
    failed = outage(pings, lookups, devices)
    if failed:
        return failed
    # Most severe first; the advice is for the most severe.
    weak = [*host_weaknesses(pings), *lookup_weaknesses(lookups)]
    if weak:
        return Judgement("warn", "; ".join(reason for reason, _advice in weak), weak[0][1])
    durations = [entry.duration_seconds for entry in lookups if entry.duration_seconds is not None]
    measured = [(entry.target, entry.rtt_seconds) for entry in pings if entry.rtt_seconds is not None]
    if not measured:
        return Judgement("ok", f"the name server answers in {milliseconds(max(durations, default=0))}")
    # Prefer a name to an address.
    target, seconds = next((entry for entry in measured if dns.literal(entry[0]) is None), measured[0])
    count = len(targets(pings))
    if count == 1:
        return Judgement("ok", f"{target} answers in {milliseconds(seconds)}")
    return Judgement("ok", f"all {count} hosts answer, {milliseconds(seconds)} to {target}")


def outage(pings: Sequence[Ping], lookups: Sequence[Lookup], devices: Sequence[Interface]) -> Judgement | None:
    """Why no stream can be received, or None."""
    is_looking_up = any(entry.duration_seconds is not None for entry in lookups)
    is_pinging = any(entry.sent for entry in pings)
    if answering(pings) or (is_looking_up and not is_pinging):
        return name_outage(pings, lookups)
    broken = link_outage(devices)
    if broken:
        return broken
    hosts = count_of(len(targets(pings)), "host")
    if is_looking_up:
        return Judgement("fail", f"none of {hosts} answers, though the name server does", CHECK_PINGS)
    if is_pinging:
        return Judgement("fail", f"nothing answers: none of {hosts}, nor the name server", CHECK_LINE)
    return name_outage(pings, lookups)


def link_outage(devices: Sequence[Interface]) -> Judgement | None:
    """A failure in this machine, before any network."""
    names = listed([device.device for device in devices])
    if not devices:
        return Judgement("fail", "this machine has no network device", CHECK_DEVICE)
    if not any(device.carrier for device in devices):
        return Judgement("fail", f"no network cable or Wi-Fi: {names} without a connection", CHECK_CABLE)
    if not any(device.addresses for device in devices):
        return Judgement("fail", f"the network gives no address: {names} without one", CHECK_ADDRESS)
    return None


def name_outage(pings: Sequence[Ping], lookups: Sequence[Lookup]) -> Judgement | None:
    """A failure to resolve any name, by direct query or by the C library, which may use another server."""
    if not lookups or any(entry.duration_seconds is not None for entry in lookups):
        return None
    named = [entry for entry in pings if dns.literal(entry.target) is None]
    if any(entry.problem not in dns.NAME_PROBLEMS for entry in named):
        return None
    if not named and all(entry.problem == dns.NO_SUCH_NAME for entry in lookups):
        return None
    problem, count = lookups[0].problem, len(answering(pings))
    though = f", though {count_of(count, 'host')} can be reached by address" if count else ""
    if problem.startswith(dns.NO_ANSWER):
        return Judgement("fail", f"the name server {lookups[0].resolver} does not answer{though}", CHECK_NAME_SERVER)
    return Judgement("fail", f"no name can be looked up: {problem}{though}", CHECK_NAME_SERVER)


def host_weaknesses(pings: Sequence[Ping]) -> Iterator[tuple[str, str]]:
    """Reason and advice for each problem with the hosts."""
    good = answering(pings)
    problem = next((entry.problem for entry in pings if entry.problem in ping.CANNOT_PING), "")
    if problem and not good:
        yield f"the hosts are not pinged: {problem}", ping.CANNOT_PING[problem]
        return
    silent = [target for target in targets(pings) if target not in good]
    if silent:
        problem = next((f": {entry.problem}" for entry in pings if entry.target == silent[0] and entry.problem), "")
        yield f"no answer from {listed(silent)}{problem}", CHECK_HOSTS
    for family, title in (("ipv4", "IPv4"), ("ipv6", "IPv6")):
        half = [entry.target for entry in pings if entry.target in good and entry.family == family and not entry.received]
        if half:
            yield f"no answer over {title} from {listed(half)}", CHECK_FAMILY
    # The hosts that lose too many packets, singly or together; those that don't respond at all are excluded.
    losing = [entry for entry in pings if 0 < entry.received < entry.sent]
    lossy = [entry for entry in losing if is_lossy([entry])]
    if not lossy and is_lossy([entry for entry in pings if entry.received]):
        lossy = losing
    if lossy:
        yield f"{loss_of(lossy):.0%} of the packets to {listed([e.target for e in lossy])} are lost", CHECK_QUALITY


def is_lossy(pings: Sequence[Ping]) -> bool:
    return sum(entry.sent - entry.received for entry in pings) > CHANCE_PACKETS and loss_of(pings) >= LOSS


def loss_of(pings: Sequence[Ping]) -> float:
    """The share of packets without a reply, 0 to 1."""
    sent = sum(entry.sent for entry in pings)
    return 1 - sum(entry.received for entry in pings) / sent if sent else 0.0


def lookup_weaknesses(lookups: Sequence[Lookup]) -> list[tuple[str, str]]:
    """Reason and advice for each problem with the names."""
    faults = [entry for entry in lookups if entry.problem]
    of_the_server = [entry for entry in faults if entry.problem not in dns.NAME_FAULTS]
    if lookups and len(of_the_server) == len(lookups):
        # The C library resolves names all the same: every program waits for the first name server.
        server, problem = lookups[0].resolver, lookups[0].problem
        if not server:
            return [(f"no name server is used: {problem}", CHECK_NAME_SERVER)]
        reason = f"the name server {server} is of no use ({problem}); another one responds instead"
        return [(reason, CHECK_THAT_NAME_SERVER.format(server))]
    found = [
        (f"{entry.name} cannot be looked up: {entry.problem}", CHECK_NAME_SERVER if entry in of_the_server else CHECK_NAMES)
        for entry in faults
    ]
    slow = [entry for entry in lookups if (entry.duration_seconds or 0) > SLOW_LOOKUP_SECONDS]
    found += [(f"looking up {entry.name} takes {entry.duration_seconds:.1f} s", CHECK_NAME_SERVER) for entry in slow]
    return found[:NAMED_IN_A_SENTENCE]


def targets(pings: Sequence[Ping]) -> list[str]:
    return list(dict.fromkeys(entry.target for entry in pings))


def answering(pings: Sequence[Ping]) -> set[str]:
    """The targets that respond over any family."""
    return {entry.target for entry in pings if entry.received}


def count_of(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "less than 1 ms"


# Measuring


def measure(settings: Config, previous: NetworkResult, _now: float) -> tuple[NetworkResult, Judgement]:
    """Query the name server while the C library resolves the hosts, then ping the hosts."""
    wanted = settings.probes.network
    until_monotonic = time.monotonic() + wanted.timeout_seconds
    resolution = dns.Resolution(wanted.hosts)
    lookups = dns.ask(dict.fromkeys(wanted.names), dns.resolver(), wanted.timeout_seconds)
    destinations, unknown = plan(wanted.hosts, resolution.wait(until_monotonic), previous.pings)
    found = [*ping.measure(destinations, wanted.packets, wanted.timeout_seconds), *unknown]
    order = {host: number for number, host in enumerate(wanted.hosts)}
    found = sorted(without_absent_ipv6(found), key=lambda entry: (order[entry.target], entry.family))
    devices = interfaces.read(interfaces.own_addresses())
    result = NetworkResult(pings=with_totals(found, previous.pings), lookups=lookups, interfaces=devices)
    return result, judge(result.pings, lookups, interfaces.of_hardware(devices))
