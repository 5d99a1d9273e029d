"""livekeep probe: runs a probe now and shows its result; without a name, each probe's last result.

A run starts the probe's own unit through systemd: the same user and sandbox, and still a single writer of its result.
"""

import argparse
import sys
import time

from livekeep.command.doctor.doctor_base import is_root
from livekeep.command.status import probe_text
from livekeep.core import config
from livekeep.core.config import Config
from livekeep.core.errors import LivekeepError
from livekeep.core.probe_results import PROBES, ProbeResult
from livekeep.core.state import StateBrokenError
from livekeep.status import snapshot
from livekeep.status.health import Clock
from livekeep.status.probe_status import ProbeResults
from livekeep.system import systemctl, systemd, terminal

EXIT_ON_ERROR = 3
"""No result: neither healthy nor failed."""
NOT_INSTALLED = "the health part is not installed: run install.sh --with health"
WITHOUT_AIR = "youtube: needs channels, and the air part is not installed (install.sh --with air)"
START_TIMEOUT_SECONDS = 300.0
"""The longest run, the slowest speed test, plus a margin."""
SPEEDTEST_EXTRA_SECONDS = 20.0
"""The time of a speed test in addition to its two measurements."""


def run(arguments: argparse.Namespace) -> int:
    settings, _problems = config.load_leniently()
    if not arguments.name:
        return show_all(settings, arguments.json)
    name = arguments.name
    if name not in PROBES:
        terminal.say(f"livekeep probe: there is no probe {name!r:.40}; there are {', '.join(PROBES)}", to=sys.stderr)
        return 2
    if is_root():
        start(name, settings)
    else:
        terminal.say(f"This is the last result. To run the probe now: sudo livekeep probe {name}", to=sys.stderr)
    result = snapshot.take().probe_results.get(name)
    if is_root() and not getattr(settings.probes, name).enabled:
        # The result of a probe that is switched off would soon count as silent.
        systemctl.tell("clean", "--what=runtime", f"livekeep-probe-{name}.service")
    if result is None:
        raise LivekeepError(why_absent(name, settings))
    if arguments.json:
        print_json({name: result})
    if isinstance(result, StateBrokenError):
        raise result
    if not arguments.json:
        terminal.say_block(probe_text.report(name, result, clock()))
    return exit_code({name: result})


def show_all(settings: Config, as_json: bool) -> int:
    """Show each probe's last result, or why there is none."""
    results = snapshot.take().probe_results
    if not results and not any(is_installed(name) for name in PROBES):
        raise LivekeepError(NOT_INSTALLED)
    if as_json:
        print_json(results)
        return exit_code(results)
    if results:
        terminal.say_block(probe_text.overview(results, clock()))
    for name in PROBES:
        if name not in results:
            terminal.say(why_absent(name, settings))
    return exit_code(results)


def print_json(results: ProbeResults) -> None:
    now = clock()
    document = {"now": now.now, "now_monotonic": now.now_monotonic, **probe_text.document(results)}
    terminal.say_block(terminal.json_text(document))


def exit_code(results: ProbeResults) -> int:
    """0 if all are ok, warn or skipped; 1 if one fails; 3 if one cannot be read, or there is none."""
    known = [it for it in results.values() if not isinstance(it, StateBrokenError)]
    if any(it.run.verdict == "fail" for it in known):
        return 1
    return 0 if known and len(known) == len(results) else EXIT_ON_ERROR


def start(name: str, settings: Config) -> None:
    """Run the probe's unit to its end. Raises `LivekeepError` if it is not installed or fails to run."""
    service = f"livekeep-probe-{name}.service"
    if not is_installed(name):
        raise LivekeepError(why_absent(name, settings))
    if name == "speedtest":
        longest = 2 * settings.probes.speedtest.duration_seconds + SPEEDTEST_EXTRA_SECONDS
        terminal.say(f"Measuring: this takes up to {longest:.0f} s and uses the whole line", to=sys.stderr)
    before = snapshot.take().probe_results.get(name)
    try:
        systemctl.tell("start", service, timeout_seconds=START_TIMEOUT_SECONDS)
    except LivekeepError as error:
        raise LivekeepError(f"{error}; see: journalctl -u {service} -n 20") from error
    after = snapshot.take().probe_results.get(name)
    if isinstance(before, ProbeResult) and isinstance(after, ProbeResult) and after.written_monotonic == before.written_monotonic:
        terminal.say("It did not run now, because a condition of its unit is not met. This is the last result.", to=sys.stderr)


def is_installed(name: str) -> bool:
    """Whether systemd finds the probe's unit. Raises `LivekeepError` if systemd doesn't reply."""
    return systemd.read_units([f"livekeep-probe-{name}.service"])[0].load != "not-found"


def why_absent(name: str, settings: Config) -> str:
    if not is_installed(name):
        return WITHOUT_AIR if name == "youtube" and is_installed("host") else NOT_INSTALLED
    if not getattr(settings.probes, name).enabled:
        return f"{name}: disabled by probes.{name}.enabled in livekeep.toml; once: sudo livekeep probe {name}"
    return f"{name}: has not run yet; now: sudo livekeep probe {name}"


def clock() -> Clock:
    return Clock(time.time(), time.monotonic())
