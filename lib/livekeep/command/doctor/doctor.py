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

PARTS = {"health": "livekeep-exporter.service", "air": "livekeep-worker@.service", "record": "livekeep-recorder.service"}
"""A unit of each part but the screen."""
CHECKS: dict[str, tuple[Callable[[Surroundings], Result], str]] = {
    "config": (account.check_config, ""),
    "network": (host.check_network, ""),
    "DNS": (account.check_dns, "screen"),
    "clock": (host.check_clock, ""),
    "token": (account.check_token, "screen"),
    "display": (screen.check_display, "screen"),
    "HDMI-CEC": (screen.check_cec, "screen"),
    "output off": (screen.check_blanking, "screen"),
    "resolution": (host.check_boot_line, "screen"),
    "decoder": (screen.check_decoder, "screen"),
    "sound": (screen.check_sound, "screen"),
    "pictures": (pictures.check_pictures, "screen"),
    "memory limits": (host.check_memory, ""),
    "disk": (host.check_disk, ""),
    "units": (host.check_units, "screen"),
    "other programs": (host.check_rivals, "screen"),
    **{kind.TITLE: (partial(health.check_probe, name), "health") for name, kind in PROBES.items() if name != "youtube"},
    "exporter": (health.check_exporter, "health"),
    "channels": (channels.check_channels, "air"),
    "stream keys": (channels.check_stream_keys, "air"),
    "media": (partial(channels.check_each, channels.media_faults), "air"),
    "slates": (partial(channels.check_each, channels.slate_faults), "air"),
    "ffmpeg": (channels.check_encoder, "air"),
    "on air": (channels.check_on_air, "air"),
    PROBES["youtube"].TITLE: (health.check_youtube, "health"),
    "record": (record.check_record, "record"),
    "alerts": (record.check_alerts, "record"),
    "web page": (record.check_pages, "record"),
}
"""Name: check, and the part that it belongs to, or ""."""
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
    return tuple(Check(name, *result_of(name, around)) for name in CHECKS)


def result_of(name: str, around: Surroundings) -> Result:
    """Run one check. It is skipped without its part, and if a file may not be read or systemd doesn't reply."""
    check, part = CHECKS[name]
    has_screen = snapshot.has_screen(around.path("/var/lib/livekeep"))
    if not (has_screen if part == "screen" else not part or around.is_installed(PARTS[part])):
        return Result("skip", f"the {part} part is not installed (install.sh --with {part})")
    if name == "config" and not has_screen and not around.problems:
        # No stream need be set up.
        return Result("ok", "valid")
    try:
        return check(around)
    except PermissionError:
        return Result("skip", "only root and group livekeep can check this", "sudo livekeep doctor")
    except LivekeepError as error:
        return Result("skip", str(error))


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
