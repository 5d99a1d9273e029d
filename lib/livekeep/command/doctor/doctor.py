"""livekeep doctor: checks everything that screen, channels and record depend on, each with a verdict and what to do.

It changes nothing without --fix.
"""

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial

from livekeep.command.doctor import account, boot_line, channels, health, host, pictures, record, screen
from livekeep.command.doctor.doctor_base import Check, Result, Surroundings, Verdict
from livekeep.core import config, paths
from livekeep.core.errors import LivekeepError
from livekeep.core.probe_results import PROBES
from livekeep.status import snapshot
from livekeep.system import terminal

CHECKS: dict[str, Callable[[Surroundings], Result]] = {
    "config": account.check_config,
    "network": host.check_network,
    "DNS": account.check_dns,
    "clock": host.check_clock,
    "token": account.check_token,
    "display": screen.check_display,
    "resolution": host.check_boot_line,
    "decoder": screen.check_decoder,
    "sound": screen.check_sound,
    "pictures": pictures.check_pictures,
    "memory limits": host.check_memory,
    "disk": host.check_disk,
    "units": host.check_units,
    "other programs": host.check_rivals,
    **{kind.TITLE: partial(health.check_probe, name) for name, kind in PROBES.items() if name != "youtube"},
    "exporter": health.check_exporter,
    "channels": channels.check_channels,
    "stream keys": channels.check_stream_keys,
    "media": partial(channels.check_each, channels.media_faults),
    "slates": partial(channels.check_each, channels.slate_faults),
    "ffmpeg": channels.check_encoder,
    "on air": channels.check_on_air,
    PROBES["youtube"].TITLE: health.check_youtube,
    "record": record.check_record,
    "alerts": record.check_alerts,
    "web page": record.check_pages,
}
OF_THE_SCREEN = {"DNS", "token", "display", "resolution", "decoder", "sound", "pictures", "units", "other programs"}
"""Checks that concern only the screen; a machine without one skips them."""
COLOURS: dict[Verdict, terminal.Colour] = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}


def run(arguments: argparse.Namespace) -> int:
    if arguments.fix and arguments.json:
        raise LivekeepError("--fix asks on the terminal and cannot be used with --json; give one of the two")
    if arguments.yes and not arguments.fix:
        raise LivekeepError("--yes answers the questions of --fix; give --fix too")
    settings, problems = config.load_leniently()
    around = Surroundings(paths.ROOT, settings, problems)
    checks = examine(around)
    terminal.say_block(as_json(checks) if arguments.json else as_text(checks))
    if arguments.fix:
        terminal.say()
        boot_line.fix(around, arguments.yes)
    return 1 if worst(checks) == "fail" else 0


def examine(around: Surroundings) -> tuple[Check, ...]:
    """Run all checks. On a machine without the screen, no stream need be set up."""
    checks = dict(CHECKS)
    if not snapshot.has_screen(around.path("/var/lib/livekeep")):
        checks |= dict.fromkeys(OF_THE_SCREEN, lambda _around: Result("skip", "livekeep is installed without the screen"))
        if not around.problems:
            checks["config"] = lambda _around: Result("ok", "valid")
    return tuple(Check(name, *check(around)) for name, check in checks.items())


def worst(checks: tuple[Check, ...]) -> Verdict:
    found = {check.verdict for check in checks}
    return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


def as_json(checks: tuple[Check, ...]) -> str:
    document = {"verdict": worst(checks), "checks": [dataclasses.asdict(check) for check in checks]}
    return terminal.json_text(document)


def as_text(checks: tuple[Check, ...]) -> str:
    """A line for each check, then the advice for those that are not ok."""
    table = terminal.table([(check.verdict, check.name, check.finding) for check in checks]).splitlines()
    lines = [
        line.replace(check.verdict, terminal.paint(check.verdict, COLOURS[check.verdict]), 1)
        for line, check in zip(table, checks, strict=True)
    ]
    advice = [(check.name, check.advice) for check in checks if check.advice]
    lines += ["", "What to do:", terminal.table(advice, indent=2)] if advice else []
    count = sum(check.verdict in ("warn", "fail") for check in checks)
    return "\n".join([*lines, "", f"{count} of {len(checks)} checks need attention." if count else "All checks passed."])
