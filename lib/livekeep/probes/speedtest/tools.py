"""Measures the speed with a tool: librespeed-cli (in Debian 13), speedtest-cli, or our own transfer to configured URLs.

Output formats tested with librespeed-cli 1.0.11 (a list of reports, speeds in Mbit/s, contrary to its help) and
speedtest-cli 2.1.3 (one report, speeds in bit/s). Both report the latency in milliseconds and the bytes used.
"""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livekeep.core.config import SpeedtestProbe
from livekeep.core.errors import TemporaryError
from livekeep.probes.speedtest import transfer
from livekeep.probes.speedtest.description import INSTALL, tool_of
from livekeep.probes.speedtest.transfer import Used
from livekeep.system import background, process
from livekeep.system.http import TransportError

SET_URL = "set probes.speedtest.download_url in /etc/livekeep/livekeep.toml"
GRACE_SECONDS = 60.0
"""A tool's time in addition to the two transfers: it first selects a server."""
BITS_OF_TOOL = {"librespeed-cli": 1e6, "speedtest-cli": 1.0}
"""The unit of a tool's speeds, in bit/s."""
FASTEST_BITS_PER_SECOND = 1e12
MOST_BYTES = 1e15
SLOWEST_LATENCY_MILLISECONDS = 60_000.0


class NoToolError(TemporaryError):
    """No tool is available; `advice` says what to do."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


class MeasureError(TemporaryError):
    """The test failed."""


@dataclass(frozen=True)
class Measurement:
    """A complete test; None for values that it did not measure."""

    tool: str
    download_bytes_per_second: float
    upload_bytes_per_second: float | None = None
    latency_seconds: float | None = None


def measure(settings: SpeedtestProbe, proxy: str, used: Used, reason_to_stop: Callable[[], str]) -> Measurement:
    """Run the test; adds the bytes used to `used`, also if it fails, as far as known.

    Raises `NoToolError`, `MeasureError`, `CalledOffError`.
    """
    tool = tool_of(settings, shutil.which)
    if not tool and settings.tool == "url":
        raise NoToolError("no download URL is set", SET_URL)
    if not tool:
        nothing = "no speed test tool is installed" if settings.tool == "auto" else f"{settings.tool} is not installed"
        raise NoToolError(nothing, INSTALL)
    if tool == "url":
        return background.within(math.inf, lambda: by_url(settings, proxy, used), reason_to_stop)
    if problem := process.proxy_problem(proxy):
        raise MeasureError(f"{tool} cannot be used: {problem}")
    seconds = settings.duration_seconds
    command, environment = [str(shutil.which(tool)), "--json", "--secure"], process.environment(proxy)
    if tool == "librespeed-cli":
        command += ["--no-icmp", "--duration", str(max(round(seconds), 1))]
    try:
        ended = process.run(command, 2 * seconds + GRACE_SECONDS, environment, reason_to_stop=reason_to_stop)
    except process.ChildError as error:
        raise MeasureError(str(error)) from error
    if ended.exit_code != 0:
        raise MeasureError(f"{tool} ended with {ended.exit_code}; is there an Internet connection?")
    return measurement_of(tool, ended.output, used)


def measurement_of(tool: str, output: bytes, used: Used) -> Measurement:
    """The measurement in a tool's JSON. Raises `MeasureError` if it is no result."""
    try:
        document = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise MeasureError(f"{tool}'s output is not JSON") from error
    if tool == "librespeed-cli" and isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        raise MeasureError(f"{tool}'s output is not a result")
    used.received_bytes += int(amount(document.get("bytes_received"), MOST_BYTES) or 0)
    used.sent_bytes += int(amount(document.get("bytes_sent"), MOST_BYTES) or 0)
    bits = BITS_OF_TOOL[tool]
    download = amount(document.get("download"), FASTEST_BITS_PER_SECOND / bits)
    upload = amount(document.get("upload"), FASTEST_BITS_PER_SECOND / bits)
    latency = amount(document.get("ping"), SLOWEST_LATENCY_MILLISECONDS)
    if download is None:
        raise MeasureError(f"{tool} measured no download")
    return Measurement(
        tool=tool,
        download_bytes_per_second=download * bits / 8,
        upload_bytes_per_second=None if upload is None else upload * bits / 8,
        latency_seconds=None if latency is None else latency / 1000,
    )


def amount(value: Any, highest: float) -> float | None:
    """A number above 0; None for an invalid value, and for 0, which in the tools means "not measured"."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= highest else None


def by_url(settings: SpeedtestProbe, proxy: str, used: Used) -> Measurement:
    """Our own client: the download, the upload if its URL is configured, and the connection time. Raises `MeasureError`."""
    latency, up = transfer.latency(proxy or settings.download_url), None
    direction = "download"
    try:
        down = transfer.download(settings.download_url, proxy, settings.duration_seconds, used)
        if settings.upload_url:
            direction = "upload"
            up = transfer.upload(settings.upload_url, proxy, settings.duration_seconds, used)
    except TransportError as error:
        raise MeasureError(f"the {direction} failed: {error}") from error
    return Measurement("url", down, up, latency)
