"""What the probes found, as a person reads it: a line each, or all of one. Pure; the times are passed in."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from livekeep.command.status import channels_text
from livekeep.core.probe_results import (
    Analysis,
    HostResult,
    Interface,
    Lookup,
    NetworkResult,
    Ping,
    ProbeResult,
    Run,
    SpeedtestResult,
    StreamResult,
    ThrottleCondition,
    YoutubeResult,
)
from livekeep.core.state import StateBrokenError
from livekeep.core.text import shown
from livekeep.status.health import Clock, is_silent
from livekeep.system import terminal

COLOURS: dict[str, terminal.Colour] = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "dim", "silent": "red"}
FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}
CONDITIONS: dict[ThrottleCondition, str] = {
    "under_voltage": "under-voltage",
    "frequency_capped": "frequency capped",
    "throttled": "throttled",
    "soft_temp_limit": "soft temperature limit",
}
CONNECTED = {True: "connected", False: "not connected", None: "not known whether connected"}
Row = tuple[str, str]
Known = Mapping[str, ProbeResult | StateBrokenError]


# A line each


def overview(found: Known, clock: Clock) -> str:
    """A table of the probes: verdict, age, reason."""
    rows = [("PROBE", "VERDICT", "LAST RUN", "REASON"), *(line(name, it, clock) for name, it in found.items())]
    lines = terminal.table(rows).splitlines()
    coloured = [
        text.replace(row[1], terminal.paint(row[1], COLOURS.get(row[1], "")), 1)
        for text, row in zip(lines[1:], rows[1:], strict=True)
    ]
    return "\n".join([terminal.paint(lines[0], "bold"), *coloured])


def line(name: str, found: ProbeResult | StateBrokenError, clock: Clock) -> tuple[str, str, str, str]:
    if isinstance(found, StateBrokenError):
        return name, "unknown", "", str(found)
    verdict = "silent" if is_silent(found, clock) else found.run.verdict
    return name, verdict, f"{age(found, clock)} ago", found.run.reason


def age(found: ProbeResult, clock: Clock) -> str:
    return terminal.duration(clock.now_monotonic - found.written_monotonic)


def document(found: Known) -> dict[str, Any]:
    """The same for programs: each probe's findings; null and the reason beside it for one that cannot be read."""
    readable = {name: None if isinstance(it, StateBrokenError) else dataclasses.asdict(it) for name, it in found.items()}
    problems = {name: str(it) for name, it in found.items() if isinstance(it, StateBrokenError)}
    return {"findings": readable, "findings_problems": problems}


# All of one


def report(name: str, found: ProbeResult, clock: Clock) -> str:
    """The verdict with its reason, and rows of what was found."""
    run = found.run
    verdict = terminal.paint(run.verdict, COLOURS[run.verdict])
    head = f"{name}: {verdict}: {shown(run.reason)}" if run.reason else f"{name}: {verdict}"
    advice = [("Do", run.advice)] if run.advice else []
    return f"{head}\n\n{terminal.table([*advice, *rows(found, clock), *run_rows(found, clock)])}"


def rows(found: ProbeResult, clock: Clock) -> list[Row]:
    if isinstance(found, NetworkResult):
        return network_rows(found)
    if isinstance(found, StreamResult):
        return stream_rows(found, clock)
    if isinstance(found, SpeedtestResult):
        return speedtest_rows(found, clock)
    if isinstance(found, YoutubeResult):
        return youtube_rows(found, clock)
    return host_rows(found, clock) if isinstance(found, HostResult) else []


def run_rows(found: ProbeResult, clock: Clock) -> list[Row]:
    run = found.run
    pace = f"took {seconds(run.duration_seconds)}, every {terminal.duration(run.interval_seconds)}"
    late = "; it has missed its runs since" if is_silent(found, clock) else ""
    rows = [("Ran", f"{age(found, clock)} ago, {pace}{late}"), ("So far", counted(run))]
    if run.since:
        rows.append(("Since", f"{run.verdict} since {terminal.since(run.since, clock.now)}"))
    if run.verdict == "fail" and run.last_success is not None:
        rows.append(("Last well", terminal.local_time(run.last_success, clock.now)))
    return rows


def counted(run: Run) -> str:
    skips = f", {run.skips} skipped" if run.skips else ""
    return f"since boot {run.successes} good runs, {run.failures} failed{skips}"


def network_rows(found: NetworkResult) -> list[Row]:
    return [
        *((f"Ping {ping.target} ({FAMILIES[ping.family]})", ping_text(ping)) for ping in found.pings),
        *((f"Name {lookup.name}", lookup_text(lookup)) for lookup in found.lookups),
        *((f"Device {device.device}", device_text(device)) for device in found.interfaces),
    ]


def ping_text(ping: Ping) -> str:
    if not ping.sent:
        return f"nothing sent: {ping.problem}" if ping.problem else "nothing sent"
    figures = [
        f"{label} {seconds(value)}"
        for label, value in (("mean", ping.rtt_seconds), ("longest", ping.rtt_max_seconds), ("jitter", ping.jitter_seconds))
        if value is not None
    ]
    problem = [ping.problem] if ping.problem else []
    return ", ".join([f"{ping.received} of {ping.sent} answered", *figures, *problem])


def lookup_text(lookup: Lookup) -> str:
    if lookup.duration_seconds is None:
        asked = f" (asked {lookup.resolver})" if lookup.resolver else ""
        return (lookup.problem or "no answer") + asked
    return f"{seconds(lookup.duration_seconds)} by {lookup.resolver}"


def device_text(device: Interface) -> str:
    carrier = {True: "link up", False: "no link", None: ""}[device.carrier]
    received = f"received {size(device.receive_bytes)}" if device.receive_bytes is not None else ""
    sent = f"sent {size(device.transmit_bytes)}" if device.transmit_bytes is not None else ""
    return ", ".join(filter(None, (carrier, *device.addresses, received, sent)))


def stream_rows(found: StreamResult, clock: Clock) -> list[Row]:
    rows = [("Stream", f'"{found.target}"')] if found.target else []
    if found.is_reachable is None:
        return rows
    grew = f", last grew {terminal.duration(clock.now - found.last_change)} ago" if found.last_change is not None else ""
    number = f", at number {found.media_sequence}" if found.media_sequence is not None else ""
    rows.append(("Playlist", ("reachable" if found.is_reachable else "not reachable") + number + grew))
    if found.target_duration_seconds is not None:
        rows.append(("Segments", f"at most {seconds(found.target_duration_seconds)} long"))
    if found.variants is not None:
        top = found.variant_bandwidth_bits_per_second
        rows.append(("Variants", f"{found.variants}" + (f", up to {top / 1e6:.1f} Mbit/s" if top is not None else "")))
    if found.analysis:
        rows += analysis_rows(found.analysis, clock)
    if found.analysis_problem:
        rows.append(("Analysis", found.analysis_problem))
    return rows


def analysis_rows(found: Analysis, clock: Clock) -> list[Row]:
    picture = f"{found.width_pixels}x{found.height_pixels}" if found.width_pixels and found.height_pixels else ""
    rate = f"{found.frame_rate_hertz:.4g} frames/s" if found.frame_rate_hertz else ""
    channels = f"{found.audio_channels} channels" if found.audio_channels else ""
    sampling = f"{found.audio_sample_rate_hertz / 1000:g} kHz" if found.audio_sample_rate_hertz else ""
    return [
        ("Video", ", ".join(filter(None, (found.video_codec, picture, rate))) or "none"),
        ("Audio", ", ".join(filter(None, (found.audio_codec, channels, sampling))) or "none"),
        ("Analysed", terminal.since(found.analysed_at, clock.now).replace("(for ", "(").replace(")", " ago)")),
    ]


def speedtest_rows(found: SpeedtestResult, clock: Clock) -> list[Row]:
    rows = []
    if found.measured_at is not None:
        by = f" by {found.tool}" if found.tool else ""
        rows.append(("Measured", f"{terminal.local_time(found.measured_at, clock.now)}{by}"))
    speeds = (("Download", found.download_bytes_per_second), ("Upload", found.upload_bytes_per_second))
    rows += [(label, f"{value * 8 / 1e6:.1f} Mbit/s") for label, value in speeds if value is not None]
    if found.latency_seconds is not None:
        rows.append(("Latency", seconds(found.latency_seconds)))
    used = f"{size(found.received_bytes_total)} received, {size(found.sent_bytes_total)} sent since boot"
    return [*rows, ("Data used", used)]


def host_rows(found: HostResult, clock: Clock) -> list[Row]:
    rows = [("Throttling", throttling(found))]
    if found.under_voltage_events is not None:
        rows.append(("Under-voltage", f"began {found.under_voltage_events} times since boot, as seen from run to run"))
    rows += [(f"Output {it.name}", ", ".join(filter(None, (CONNECTED[it.connected], it.mode)))) for it in found.connectors]
    rows += [(f"Files on {device}", f"{count} errors on record") for device, count in found.ext4_errors.items()]
    synchronised = {True: "synchronised", False: "not synchronised", None: "not known whether synchronised"}
    return [*rows, ("Card", card(found, clock)), ("Clock", synchronised[found.clock_synchronized])]


def throttling(found: HostResult) -> str:
    if found.throttled is None:
        return "this board has no sensor"
    now = ", ".join(CONDITIONS[name] for name in found.throttled) or "none now"
    if found.throttled_since_boot is None:
        return f"{now} (this board tells of under-voltage only)"
    earlier = ", ".join(CONDITIONS[name] for name in found.throttled_since_boot) or "none"
    return f"{now}; since boot: {earlier}"


def card(found: HostResult, clock: Clock) -> str:
    checked = f", checked {terminal.duration(clock.now - found.card_checked_at)} ago" if found.card_checked_at else ""
    if found.card_is_good:
        return f"takes and gives back what is written{checked}"
    return f"{found.card_problem or 'not checked'}{checked}"


def youtube_rows(found: YoutubeResult, clock: Clock) -> list[Row]:
    rows = []
    for video in found.videos:
        title = f' "{video.title}"' if video.title else ""
        rows.append((f"Channel {video.channel}", f"{video.video}{title}: {channels_text.showing(video, clock.now)}"))
    return rows


# Figures


def seconds(value: float) -> str:
    """A short span: "0.4 ms", "12 ms", "4.1 s"."""
    if value >= 1:
        return f"{value:.3g} s" if value < 100 else terminal.duration(value)
    return f"{value * 1000:.1f} ms" if value < 0.01 else f"{value * 1000:.0f} ms"


def size(count: int) -> str:
    """Bytes in the decimal unit that suits them: "812 B", "63 MB", "1.2 GB"."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"
