"""livekeep check-config: the configuration as the units read it, or all its problems; warnings about channels; the data use of
speed tests.
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
"""Speed tests at shorter intervals use enough data for a warning."""
NAME_ADVICE = "give it a name that ends with .toml, or remove it"
ASSUMED = SpeedtestResult(download_bytes_per_second=50e6 / 8, upload_bytes_per_second=10e6 / 8)
"""A typical household's connection, until one is measured."""


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
    """Warnings: ignored files, doubtful channels, and errors in the API's channels, which affect only those channels."""
    ignored = [f"{path}: is not read: {NAME_ADVICE}" for path in config.ignored_files()]
    try:
        found, problems = channels.load(settings)
    except TemporaryError as error:
        found, problems = dict(settings.channels), (str(error),)
    return [*ignored, *problems, *(line for name, channel in found.items() for line in config_doubts.warnings(name, channel))]


def last_measurement() -> SpeedtestResult:
    """The last measured connection; a typical household's if there is none, or it may not be read."""
    with contextlib.suppress(TemporaryError):
        found = state.read(SpeedtestResult)
        if found.download_bytes_per_second and found.upload_bytes_per_second:
            return found
    return ASSUMED


def usage(probe: SpeedtestProbe, line: SpeedtestResult) -> str:
    """One line: how much the speed tests send and receive in a day."""
    down, up = line.download_bytes_per_second or 0.0, line.upload_bytes_per_second or 0.0
    runs = DAY_SECONDS / probe.interval_seconds
    gigabytes = runs * probe.duration_seconds * (down + up) / 1e9
    speeds = f"{down * 8 / 1e6:.0f} Mbit/s down and {up * 8 / 1e6:.0f} up"
    line_text = f"{probe.duration_seconds:g} s each way with {speeds}{' (assumed)' if line is ASSUMED else ''}"
    return f"probes.speedtest: {runs:.0f} speed tests a day use about {gigabytes:.1f} GB, at {line_text}"
