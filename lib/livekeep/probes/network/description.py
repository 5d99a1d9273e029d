"""The network probe's result as metrics and as text for people."""

from collections.abc import Callable, Iterator
from typing import ClassVar

from livekeep.core.config import Probes
from livekeep.core.probe_results import Interface, Lookup, NetworkResult, Ping
from livekeep.status import probe_descriptions
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import Row
from livekeep.system.metric_family import Sample, counter, gauge
from livekeep.system.terminal import short_time, size

FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}


class Description(probe_descriptions.Description[NetworkResult]):
    metrics: ClassVar = {
        "livekeep_ping_rtt_seconds": gauge("The mean round trip of the last run's packets.", "target", "family"),
        "livekeep_ping_rtt_max_seconds": gauge("The longest round trip of the last run's packets.", "target", "family"),
        "livekeep_ping_jitter_seconds": gauge("The mean difference between consecutive round trips.", "target", "family"),
        "livekeep_ping_packets_sent_total": counter("Packets sent since boot.", "target", "family"),
        "livekeep_ping_packets_received_total": counter("Replies received since boot.", "target", "family"),
        "livekeep_dns_lookup_duration_seconds": gauge(
            "How long the resolver took for the name at the last run.", "name", "resolver"
        ),
    }

    def samples(self, result: NetworkResult) -> Iterator[Sample]:
        for ping in result.pings:
            labels = (ping.target, ping.family)
            yield "livekeep_ping_packets_sent_total", labels, ping.sent_total
            yield "livekeep_ping_packets_received_total", labels, ping.received_total
            for name, value in (("rtt", ping.rtt_seconds), ("rtt_max", ping.rtt_max_seconds), ("jitter", ping.jitter_seconds)):
                if value is not None:
                    yield f"livekeep_ping_{name}_seconds", labels, value
        # A host responds if it does over either family; a name is known if either resolver knows it.
        for target in dict.fromkeys(ping.target for ping in result.pings):
            answers = any(ping.received for ping in result.pings if ping.target == target)
            yield "livekeep_probe_success", ("ping", target), answers
        for lookup in result.lookups:
            if lookup.duration_seconds is not None:
                yield "livekeep_dns_lookup_duration_seconds", (lookup.name, lookup.resolver), lookup.duration_seconds
        for name in dict.fromkeys(lookup.name for lookup in result.lookups):
            answers = any(lookup.duration_seconds is not None for lookup in result.lookups if lookup.name == name)
            yield "livekeep_probe_success", ("dns", name), answers

    def rows(self, result: NetworkResult, _clock: Clock) -> list[Row]:
        return [
            *((f"Ping {ping.target} ({FAMILIES[ping.family]})", ping_text(ping)) for ping in result.pings),
            *((f"Name {lookup.name}", lookup_text(lookup)) for lookup in result.lookups),
            *((f"Device {device.device}", device_text(device)) for device in result.interfaces),
        ]

    def missing(self, _settings: Probes, is_installed: Callable[[str], bool]) -> tuple[str, str]:
        if is_installed("fping"):
            return "", ""
        return "fping is not installed: no host is pinged", "sudo apt install fping netbase"


def ping_text(ping: Ping) -> str:
    if not ping.sent:
        return f"nothing sent: {ping.problem}" if ping.problem else "nothing sent"
    values = (("mean", ping.rtt_seconds), ("longest", ping.rtt_max_seconds), ("jitter", ping.jitter_seconds))
    times = [f"{label} {short_time(value)}" for label, value in values if value is not None]
    return ", ".join(filter(None, [f"{ping.received} of {ping.sent} answered", *times, ping.problem]))


def lookup_text(lookup: Lookup) -> str:
    if lookup.duration_seconds is None:
        asked = f" (asked {lookup.resolver})" if lookup.resolver else ""
        return (lookup.problem or "no answer") + asked
    return f"{short_time(lookup.duration_seconds)} by {lookup.resolver}"


def device_text(device: Interface) -> str:
    carrier = {True: "link up", False: "no link", None: ""}[device.carrier]
    received = f"received {size(device.receive_bytes)}" if device.receive_bytes is not None else ""
    sent = f"sent {size(device.transmit_bytes)}" if device.transmit_bytes is not None else ""
    return ", ".join(filter(None, (carrier, *device.addresses, received, sent)))
