"""The speed test's result as metrics and as text for people."""

from collections.abc import Callable, Iterator
from typing import ClassVar

from livekeep.core.config import Probes, SpeedtestProbe
from livekeep.core.probe_results import SpeedtestResult
from livekeep.status import probe_descriptions
from livekeep.status.health import Clock
from livekeep.status.probe_descriptions import Row
from livekeep.system import terminal
from livekeep.system.metric_family import Sample, counter, gauge, known
from livekeep.system.terminal import short_time, size

TOOLS = ("librespeed-cli", "speedtest-cli")
"""The preferred one first."""
INSTALL = "sudo apt install librespeed-cli, or speedtest-cli on bookworm; or set probes.speedtest.download_url"


class Description(probe_descriptions.Description[SpeedtestResult]):
    metrics: ClassVar = {
        "livekeep_speedtest_download_bytes_per_second": gauge("The download speed at the last speed test."),
        "livekeep_speedtest_upload_bytes_per_second": gauge("The upload speed at the last speed test."),
        "livekeep_speedtest_latency_seconds": gauge("The latency at the last speed test."),
        "livekeep_speedtest_transferred_bytes_total": counter(
            "Data that speed tests used since boot: received or sent.", "direction"
        ),
    }

    def samples(self, result: SpeedtestResult) -> Iterator[Sample]:
        yield from known(
            (
                ("livekeep_speedtest_download_bytes_per_second", result.download_bytes_per_second),
                ("livekeep_speedtest_upload_bytes_per_second", result.upload_bytes_per_second),
                ("livekeep_speedtest_latency_seconds", result.latency_seconds),
            )
        )
        yield "livekeep_speedtest_transferred_bytes_total", ("received",), result.received_bytes_total
        yield "livekeep_speedtest_transferred_bytes_total", ("sent",), result.sent_bytes_total

    def rows(self, result: SpeedtestResult, clock: Clock) -> list[Row]:
        rows = []
        if result.measured_at is not None:
            by = f" by {result.tool}" if result.tool else ""
            rows.append(("Measured", f"{terminal.local_time(result.measured_at, clock.now)}{by}"))
        speeds = (("Download", result.download_bytes_per_second), ("Upload", result.upload_bytes_per_second))
        rows += [(label, f"{value * 8 / 1e6:.1f} Mbit/s") for label, value in speeds if value is not None]
        if result.latency_seconds is not None:
            rows.append(("Latency", short_time(result.latency_seconds)))
        used = f"{size(result.received_bytes_total)} received, {size(result.sent_bytes_total)} sent since boot"
        return [*rows, ("Data used", used)]

    def missing(self, settings: Probes, is_installed: Callable[[str], object]) -> tuple[str, str]:
        return ("", "") if tool_of(settings.speedtest, is_installed) else ("no speed test tool is installed", INSTALL)


def tool_of(settings: SpeedtestProbe, is_installed: Callable[[str], object]) -> str:
    """The tool to use: one of TOOLS, "url" for the configured URLs, "" if there is none."""
    if settings.tool in TOOLS:
        return settings.tool if is_installed(settings.tool) else ""
    installed = next(filter(is_installed, TOOLS), "") if settings.tool == "auto" else ""
    return installed or ("url" if settings.download_url else "")
