"""livekeep check-config: the configuration as the units will read it, or every problem with it; what is doubtful about channels;
what speed tests will use.
"""

import argparse
import contextlib

from livekeep.command.channel import config_doubts
from livekeep.core import channels, config, state
from livekeep.core.config import Config, SpeedtestProbe
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import SpeedtestResult
from livekeep.system import terminal

DAY_SECONDS = 86400.0
OFTEN_SECONDS = 6 * 3600.0
"""Speed tests that come more often than this use so much that it is said."""
NAME_ADVICE = "give it a name that ends with .toml, or remove it"
ASSUMED = SpeedtestResult(download_bytes_per_second=50e6 / 8, upload_bytes_per_second=10e6 / 8)
"""A household's line, until one was measured."""


def run(_arguments: argparse.Namespace) -> int:
    settings = config.load()
    terminal.say("ok")
    speedtest = settings.probes.speedtest
    if speedtest.enabled and speedtest.interval_seconds < OFTEN_SECONDS:
        terminal.say(usage(speedtest, last_measurement()))
    for line in doubts(settings):
        terminal.say(f"warning: {line}")
    return 0


def doubts(settings: Config) -> list[str]:
    """What is doubtful: files that are not read, channels, and what is wrong with those that the API keeps, which hold up
    nothing but themselves.
    """
    ignored = [f"{path}: is not read: {NAME_ADVICE}" for path in config.ignored_files()]
    try:
        found, problems = channels.load(settings)
    except TemporaryError as error:
        found, problems = dict(settings.channels), (str(error),)
    return [*ignored, *problems, *(line for name, channel in found.items() for line in config_doubts.warnings(name, channel))]


def last_measurement() -> SpeedtestResult:
    """The line as it was measured last; what a household's may be where nothing was, or where it may not be read."""
    with contextlib.suppress(TemporaryError):
        found = state.read(SpeedtestResult)
        if found.download_bytes_per_second and found.upload_bytes_per_second:
            return found
    return ASSUMED


def usage(probe: SpeedtestProbe, line: SpeedtestResult) -> str:
    """One line: what the speed tests will send and receive in a day."""
    down, up = line.download_bytes_per_second or 0.0, line.upload_bytes_per_second or 0.0
    runs = DAY_SECONDS / probe.interval_seconds
    gigabytes = runs * probe.duration_seconds * (down + up) / 1e9
    speeds = f"{down * 8 / 1e6:.0f} Mbit/s down and {up * 8 / 1e6:.0f} up"
    line_text = f"{probe.duration_seconds:g} s each way with {speeds}{' (assumed)' if line is ASSUMED else ''}"
    return f"probes.speedtest: {runs:.0f} speed tests a day use about {gigabytes:.1f} GB, at {line_text}"
