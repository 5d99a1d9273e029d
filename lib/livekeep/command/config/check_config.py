"""livekeep check-config: the configuration as the units read it, or all its problems; warnings about channels; the data use of
speed tests.
"""

import argparse
import contextlib

from livekeep.command.channel import config_doubts
from livekeep.core import channels, config, state
from livekeep.core.config import Config
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import SpeedtestResult
from livekeep.system import terminal

DAY_SECONDS = 86400.0
OFTEN_SECONDS = 6 * 3600.0
"""Speed tests at shorter intervals use enough data for a warning."""
NAME_ADVICE = "give it a name that ends with .toml, or remove it"


def run(_arguments: argparse.Namespace) -> int:
    settings = config.load()
    terminal.say("ok")
    if usage := speedtest_usage(settings):
        terminal.say(usage)
    for path in config.ignored_files():
        terminal.say(f"warning: {path}: is not read: {NAME_ADVICE}")
    # Errors in the API's channels affect only those channels.
    try:
        known, problems = channels.load(settings)
    except TemporaryError as error:
        known, problems = dict(settings.channels), (str(error),)
    doubts = (line for name, channel in known.items() for line in config_doubts.warnings(name, channel))
    for line in (*problems, *doubts):
        terminal.say(f"warning: {line}")
    return 0


def speedtest_usage(settings: Config) -> str:
    """One line: how much the speed tests send and receive in a day, if they are frequent; else ""."""
    probe = settings.probes.speedtest
    if not probe.enabled or probe.interval_seconds >= OFTEN_SECONDS:
        return ""
    # Until a connection is measured, a typical household's is assumed.
    down, up, assumed = 50e6 / 8, 10e6 / 8, " (assumed)"
    with contextlib.suppress(TemporaryError):
        last = state.read(SpeedtestResult)
        if last.download_bytes_per_second and last.upload_bytes_per_second:
            down, up, assumed = last.download_bytes_per_second, last.upload_bytes_per_second, ""
    runs = DAY_SECONDS / probe.interval_seconds
    gigabytes = runs * probe.duration_seconds * (down + up) / 1e9
    speeds = f"{down * 8 / 1e6:.0f} Mbit/s down and {up * 8 / 1e6:.0f} up"
    duration = f"{probe.duration_seconds:g} s in each direction with {speeds}{assumed}"
    return f"probes.speedtest: {runs:.0f} speed tests a day use about {gigabytes:.1f} GB, at {duration}"
