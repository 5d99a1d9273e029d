"""Figures of the probes, from what each wrote at its last run.

Findings that are absent have no figures, and that is no fault: the probe is switched off or has not run yet. Of a probe that is
silent only its runs are told, so that its silence can be seen, and that is a fault; so are findings that cannot be read. What
YouTube says of a channel is among the channel's figures.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import (
    THROTTLE_CONDITIONS,
    Analysis,
    HostResult,
    NetworkResult,
    Ping,
    ProbeResult,
    Run,
    SpeedtestResult,
    StreamResult,
    ThrottleCondition,
)
from livekeep.core.state import StateAbsentError
from livekeep.exporter.metrics import Sample
from livekeep.exporter.screen import known
from livekeep.exporter.states import StateFile
from livekeep.status import health
from livekeep.status.health import Clock

BITS_PER_BYTE = 8


def run_samples(probe: str, run: Run) -> Iterator[Sample]:
    """What stays true of a probe that is silent."""
    yield "livekeep_probe_last_run_timestamp_seconds", (probe,), run.last_run
    if run.last_success is not None:
        yield "livekeep_probe_last_success_timestamp_seconds", (probe,), run.last_success
    yield "livekeep_probe_interval_seconds", (probe,), run.interval_seconds
    for outcome, count in (("success", run.successes), ("failure", run.failures), ("skipped", run.skips)):
        yield "livekeep_probe_runs_total", (probe, outcome), count


def samples_of(probe: str, findings: ProbeResult) -> Iterator[Sample]:
    yield from run_samples(probe, findings.run)
    target = findings.target if isinstance(findings, StreamResult) else ""
    if findings.run.verdict != "skipped":
        yield "livekeep_probe_success", (probe, target), findings.run.verdict != "fail"
        yield "livekeep_probe_duration_seconds", (probe, target), findings.run.duration_seconds
    if isinstance(findings, NetworkResult):
        yield from network_samples(findings)
    elif isinstance(findings, StreamResult):
        yield from stream_samples(findings)
    elif isinstance(findings, SpeedtestResult):
        yield from speedtest_samples(findings)
    elif isinstance(findings, HostResult):
        yield from host_samples(findings)


def network_samples(findings: NetworkResult) -> Iterator[Sample]:
    for ping in findings.pings:
        yield from ping_samples(ping)
    # A host answers when it does over either family, a name is known when either resolver knows it.
    for target in dict.fromkeys(ping.target for ping in findings.pings):
        answers = any(ping.received for ping in findings.pings if ping.target == target)
        yield "livekeep_probe_success", ("ping", target), answers
    for lookup in findings.lookups:
        if lookup.duration_seconds is not None:
            yield "livekeep_dns_lookup_duration_seconds", (lookup.name, lookup.resolver), lookup.duration_seconds
    for name in dict.fromkeys(lookup.name for lookup in findings.lookups):
        answers = any(lookup.duration_seconds is not None for lookup in findings.lookups if lookup.name == name)
        yield "livekeep_probe_success", ("dns", name), answers


def ping_samples(ping: Ping) -> Iterator[Sample]:
    labels = (ping.target, ping.family)
    yield "livekeep_ping_packets_sent_total", labels, ping.sent_total
    yield "livekeep_ping_packets_received_total", labels, ping.received_total
    for name, value in (("rtt", ping.rtt_seconds), ("rtt_max", ping.rtt_max_seconds), ("jitter", ping.jitter_seconds)):
        if value is not None:
            yield f"livekeep_ping_{name}_seconds", labels, value


def stream_samples(findings: StreamResult) -> Iterator[Sample]:
    bits = findings.variant_bandwidth_bits_per_second
    yield from known(
        (
            ("livekeep_stream_variant_bandwidth_bytes_per_second", None if bits is None else bits / BITS_PER_BYTE),
            ("livekeep_stream_playlist_media_sequence", findings.media_sequence),
            ("livekeep_stream_playlist_last_change_timestamp_seconds", findings.last_change),
            ("livekeep_stream_playlist_target_duration_seconds", findings.target_duration_seconds),
        )
    )
    if findings.analysis is not None:
        yield from analysis_samples(findings.analysis)


def analysis_samples(analysis: Analysis) -> Iterator[Sample]:
    yield from known(
        (
            ("livekeep_stream_video_width_pixels", analysis.width_pixels),
            ("livekeep_stream_video_height_pixels", analysis.height_pixels),
            ("livekeep_stream_video_frame_rate_hertz", analysis.frame_rate_hertz),
            ("livekeep_stream_audio_channels", analysis.audio_channels),
            ("livekeep_stream_audio_sample_rate_hertz", analysis.audio_sample_rate_hertz),
        )
    )
    if analysis.video_codec or analysis.audio_codec:
        yield "livekeep_stream_info", (analysis.video_codec, analysis.audio_codec), 1


def speedtest_samples(findings: SpeedtestResult) -> Iterator[Sample]:
    yield from known(
        (
            ("livekeep_speedtest_download_bytes_per_second", findings.download_bytes_per_second),
            ("livekeep_speedtest_upload_bytes_per_second", findings.upload_bytes_per_second),
            ("livekeep_speedtest_latency_seconds", findings.latency_seconds),
        )
    )
    yield "livekeep_speedtest_transferred_bytes_total", ("received",), findings.received_bytes_total
    yield "livekeep_speedtest_transferred_bytes_total", ("sent",), findings.sent_bytes_total


def host_samples(findings: HostResult) -> Iterator[Sample]:
    # Without the bits since boot only the voltage is watched, and of the rest nothing is known.
    known_conditions = THROTTLE_CONDITIONS if findings.throttled_since_boot is not None else ("under_voltage",)
    yield from throttle_samples("livekeep_pi_throttled", findings.throttled, known_conditions)
    yield from throttle_samples("livekeep_pi_throttled_since_boot", findings.throttled_since_boot)
    for connector in findings.connectors:
        if connector.connected is not None:
            yield "livekeep_display_connected", (connector.name,), connector.connected
    for device, count in findings.ext4_errors.items():
        yield "livekeep_host_filesystem_errors_total", (device,), count
    yield from known(
        (
            ("livekeep_pi_under_voltage_events_total", findings.under_voltage_events),
            ("livekeep_host_clock_synchronized", findings.clock_synchronized),
            ("livekeep_card_good", findings.card_is_good),
            ("livekeep_card_last_check_timestamp_seconds", findings.card_checked_at),
        )
    )


def throttle_samples(
    name: str,
    present: tuple[ThrottleCondition, ...] | None,
    conditions: tuple[ThrottleCondition, ...] = THROTTLE_CONDITIONS,
) -> Iterator[Sample]:
    if present is not None:
        yield from ((name, (condition,), condition in present) for condition in conditions)


AnyFindings = TypeVar("AnyFindings", bound=ProbeResult)


class Probe(Generic[AnyFindings]):
    """The collector of one probe's findings."""

    def __init__(self, name: str, file: StateFile[AnyFindings]) -> None:
        self._name, self._file = name, file
        self._of: AnyFindings | None = None
        self._samples: tuple[Sample, ...] = ()

    def collect(self, now: float) -> Iterable[Sample]:
        """Raises `TemporaryError`; a silent probe's runs come before that."""
        try:
            findings = self._file.read()
        except StateAbsentError:
            return ()
        clock = Clock(now, time.monotonic())
        if health.is_silent(findings, clock):
            return silent(self._name, findings, clock)
        if findings is not self._of:
            self._of, self._samples = findings, tuple(samples_of(self._name, findings))
        return self._samples


def silent(name: str, findings: ProbeResult, clock: Clock) -> Iterator[Sample]:
    yield from run_samples(name, findings.run)
    advice = f"see systemctl status livekeep-probe-{name}.timer"
    raise TemporaryError(f"{findings.FILE}: is {health.age(findings, clock)} old; the probe is silent: {advice}")
