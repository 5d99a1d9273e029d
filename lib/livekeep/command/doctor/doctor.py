"""livekeep doctor: checks everything that screen, channels and record depend on, each with a verdict and what to do.

It changes nothing without --fix.
"""

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial

from livekeep.command.doctor import boot_line
from livekeep.command.doctor.account import check_config, check_dns, check_token
from livekeep.command.doctor.channels import (
    check_channels,
    check_encoder,
    check_media,
    check_on_air,
    check_slates,
    check_stream_keys,
)
from livekeep.command.doctor.doctor_base import Check, Surroundings, Verdict
from livekeep.command.doctor.health import (
    check_exporter,
    check_probe,
    check_youtube,
)
from livekeep.command.doctor.host import (
    check_boot_line,
    check_clock,
    check_disk,
    check_memory,
    check_network,
    check_rivals,
    check_units,
)
from livekeep.command.doctor.pictures import check_pictures
from livekeep.command.doctor.record import check_alerts, check_pages, check_record
from livekeep.command.doctor.screen import check_decoder, check_display, check_sound
from livekeep.core import config, paths
from livekeep.core.errors import LivekeepError
from livekeep.core.probe_results import PROBES
from livekeep.status import snapshot
from livekeep.system import terminal

CHECKS: tuple[Callable[[Surroundings], Check], ...] = (
    check_config,
    check_network,
    check_dns,
    check_clock,
    check_token,
    check_display,
    check_boot_line,
    check_decoder,
    check_sound,
    check_pictures,
    check_memory,
    check_disk,
    check_units,
    check_rivals,
    *(partial(check_probe, name) for name in PROBES if name != "youtube"),
    check_exporter,
    check_channels,
    check_stream_keys,
    check_media,
    check_slates,
    check_encoder,
    check_on_air,
    check_youtube,
    check_record,
    check_alerts,
    check_pages,
)
OF_THE_SCREEN: dict[Callable[[Surroundings], Check], str] = {
    check_dns: "DNS",
    check_token: "token",
    check_display: "display",
    check_boot_line: "resolution",
    check_decoder: "decoder",
    check_sound: "sound",
    check_pictures: "pictures",
    check_units: "units",
    check_rivals: "other programs",
}
"""Checks that concern only the screen, with their names, for a machine without one."""
COLOURS: dict[Verdict, terminal.Colour] = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}


def run(arguments: argparse.Namespace) -> int:
    if arguments.fix and arguments.json:
        raise LivekeepError("--fix asks on the terminal and cannot go with --json; give one of the two")
    if arguments.yes and not arguments.fix:
        raise LivekeepError("--yes answers what --fix asks; give --fix too")
    settings, problems = config.load_leniently()
    around = Surroundings(paths.ROOT, settings, problems)
    checks = examine(around)
    terminal.say_block(as_json(checks) if arguments.json else as_text(checks))
    if arguments.fix:
        terminal.say()
        boot_line.fix(around, arguments.yes)
    return 1 if worst(checks) == "fail" else 0


def examine(around: Surroundings) -> tuple[Check, ...]:
    if snapshot.has_screen(around.path("/var/lib/livekeep")):
        return tuple(check(around) for check in CHECKS)
    return tuple(without_screen(check, around) for check in CHECKS)


def without_screen(check: Callable[[Surroundings], Check], around: Surroundings) -> Check:
    """The check on a machine installed without the screen: no stream need be set up."""
    if check in OF_THE_SCREEN:
        return Check(OF_THE_SCREEN[check], "skip", "livekeep is installed without the screen")
    if check is check_config and not around.problems:
        return Check("config", "ok", "sound")
    return check(around)


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
    return "\n".join([*lines, "", "Everything is well." if not count else f"{count} of {len(checks)} want attention."])
