"""livekeep air check: tests all that a channel needs except publishing; a report for people or programs.

livekeep-air-check (air/worker/check.py) tries what the worker does, as the worker's user with its permissions.
This module checks what only root may read: the stream key.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pwd
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekeep.command.channel import actions, config_doubts
from livekeep.command.channel.progress import Progress, bar
from livekeep.command.doctor.doctor_base import Check, Verdict, is_root
from livekeep.command.secrets import air_keys
from livekeep.core import channels, config, paths
from livekeep.core.config import Channel
from livekeep.core.errors import LivekeepError
from livekeep.core.text import shown
from livekeep.system import terminal

PROGRAM = paths.PROGRAM_DIRECTORY / "livekeep-air-check"
USER, GROUP = "livekeep-worker", "livekeep"
RESOLVER = "timeout:2 attempts:2"
"""Otherwise a silent resolver would delay a lookup for long."""
COLOURS: dict[str, terminal.Colour] = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "dim"}
PROFILE_SHARE = 1.25
"""An item's bit rate may exceed the profile's by this factor."""


@dataclass
class Report:
    """The results so far, and the number of items once it is known."""

    channel: str
    checks: list[Check] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    total: int | None = None
    is_complete: bool = False

    def take(self, line: dict[str, Any]) -> str:
        """Store a line of the program's output; returns the text to print, or ""."""
        if line.get("kind") == "check":
            found = Check(line["name"], line["verdict"], line["finding"], line["advice"])
            self.checks.append(found)
            self.total = line.get("items", self.total)
            return check_text(found)
        if line.get("kind") == "item":
            self.items.append(line)
            return item_text(line)
        return ""

    def is_well(self) -> bool:
        return self.is_complete and not self.wrong()

    def wrong(self) -> list[str]:
        """The names of failed checks and items."""
        failed = [found.name for found in self.checks if found.verdict == "fail"]
        failed += ["items"] if any(item["problem"] for item in self.items) else []
        return list(dict.fromkeys(failed))


def check(arguments: argparse.Namespace) -> int:
    settings = config.load()
    found, problems = channels.load(settings)
    if arguments.channel not in (None, *found) and problems:
        raise LivekeepError("\n".join(problems))
    name = actions.one_of(found, arguments.channel)
    report = Report(name)
    code = 0
    with Progress() as progress:

        def show(text: str) -> None:
            progress.clear()
            if not arguments.json:
                terminal.say_block(text)

        try:
            for one in checks_of_ours(name, found[name]):
                report.checks.append(one)
                show(check_text(one))
            with program(name) as lines:
                for line in lines:
                    if line.get("kind") == "doing":
                        at = (line["number"], line["total"]) if "number" in line else None
                        progress.show(bar(at[0] - 1, at[1], line["text"]) if at else line["text"])
                    elif text := report.take(line):
                        show(text)
            report.is_complete = True
        except KeyboardInterrupt:
            code = terminal.EXIT_INTERRUPTED
    terminal.say_block(terminal.json_text(document(report)) if arguments.json else summary(report, found[name]))
    return code or (0 if report.is_well() else 1)


def checks_of_ours(name: str, channel: Channel) -> Iterator[Check]:
    # The program tries whether the folder and the slate can be used.
    doubts = [line for line in config_doubts.warnings(name, channel) if config_doubts.ABSENT not in line]
    place = str(channels.place_of(name))
    for line in doubts:
        verdict: Verdict = "fail" if "is not set up" in line or "cannot see" in line else "warn"
        yield Check("configuration", verdict, line, f"in {place}")
    if not doubts:
        yield Check("configuration", "ok", f"channels.{name} is set up")
    yield (
        key_check(name, paths.CREDENTIAL_STORE)
        if is_root()
        else Check("stream key", "skip", "only root can check it", "use sudo")
    )


def key_check(name: str, store: Path) -> Check:
    """A stored stream key is checked; of an encrypted one only its existence."""
    if (store.with_name(f"{store.name}.encrypted") / air_keys.stream_key(name).file_name).exists():
        return Check("stream key", "ok", "is stored, encrypted")
    problem = air_keys.problem_with_key(name, store)
    if problem:
        return Check("stream key", "fail", problem, f"sudo livekeep air set-key {name}")
    return Check("stream key", "ok", "is stored, for root alone")


# The program


def command_for(name: str, has_user: bool) -> list[str]:
    """The program's command line: as the worker's user if root runs this and that user exists."""
    become = [f"--reuid={USER}", f"--regid={GROUP}", "--init-groups", "--inh-caps=-all"] if has_user else []
    return ["setpriv", *become, "--pdeathsig=KILL", "--", str(PROGRAM), name]


@contextlib.contextmanager
def program(name: str) -> Iterator[Iterable[dict[str, Any]]]:
    """The lines of livekeep-air-check while it runs; it has ended afterwards. Raises `LivekeepError` if it fails."""
    if not PROGRAM.exists():
        raise LivekeepError(actions.NOT_INSTALLED)
    environment = {**os.environ, "RES_OPTIONS": RESOLVER}
    has_user = False
    with contextlib.suppress(KeyError):
        has_user = is_root() and bool(pwd.getpwnam(USER))
    process = subprocess.Popen(
        command_for(name, has_user), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment, cwd="/"
    )
    assert process.stdout is not None  # noqa: S101 – for the type checker
    try:
        yield map(json.loads, process.stdout)
        if process.wait() != 0:
            raise LivekeepError(f"livekeep-air-check ended with {process.returncode} before it was complete")
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


# Texts


def check_text(found: Check) -> str:
    advice = f"\n      {shown(found.advice)}" if found.advice and found.verdict in ("fail", "warn") else ""
    return f"{terminal.paint(found.verdict.ljust(4), COLOURS[found.verdict])}  {shown(f'{found.name}: {found.finding}')}{advice}"


def item_text(item: dict[str, Any]) -> str:
    verdict: Verdict = "fail" if item["problem"] else "ok"
    if item["problem"]:
        said = item["problem"].removeprefix(f"{item['name']}: ")
    else:
        reasons = "; ".join(item["reasons"])
        seconds, bits = item["duration_seconds"], bits_per_second(item)
        length = "" if seconds is None else terminal.short_time(seconds)
        rate = "" if bits is None else f"{bits / 1e6:.1f} Mbit/s"
        how = (
            f"copied{f' {reasons}' if reasons else ''}"
            if item["mode"] == "copy"
            else f"transcoded: {reasons or 'for its format'}"
        )
        said = ", ".join(filter(None, [length, rate, how]))
    return f"{terminal.paint(verdict.ljust(4), COLOURS[verdict])}  {shown(item['name'])}: {shown(said)}"


def bits_per_second(item: dict[str, Any]) -> float | None:
    """Of picture and sound together, from the file's size."""
    seconds = item["duration_seconds"]
    return item["size_bytes"] * 8 / seconds if seconds else None


def summary(report: Report, channel: Channel) -> str:
    """The overall result."""
    lines = ["", *item_lines(report, channel)] if report.items else [""]
    if not report.is_complete:
        of = f" of {report.total}" if report.total is not None else ""
        lines.append(f"{report.channel}: interrupted after {len(report.items)}{of} items")
    if failed := report.wrong():
        lines.append(f"{report.channel}: wrong: {', '.join(failed)}")
    elif report.is_complete:
        lines.append(f"{report.channel}: all is well")
    return "\n".join(lines)


def item_lines(report: Report, channel: Channel) -> Iterator[str]:
    counts = Counter("failed" if item["problem"] else item["mode"] for item in report.items)
    size = terminal.size(sum(item["size_bytes"] for item in report.items))
    known = [item["duration_seconds"] for item in report.items if item["duration_seconds"]]
    yield (
        f"{len(report.items)} item{'s' * (len(report.items) != 1)}, {size}, {terminal.duration(sum(known))} in all: "
        f"{counts['copy']} copied, {counts['normalise']} transcoded, {counts['failed']} cannot be played"
    )
    shape, profile = f"{channel.width}x{channel.height}", channel.video_bitrate + channel.audio_bitrate
    rates = [bits for item in report.items if item["mode"] == "copy" and (bits := bits_per_second(item))]
    above = sum(bits > profile * PROFILE_SHARE for bits in rates)
    copied = f"; copied items have up to {max(rates) / 1e6:.1f} Mbit/s" if rates else ""
    more = f", {above} of them much more than the profile" if above else ""
    yield f"The profile: {shape}, {channel.frame_rate:g} frames/s, {profile / 1e6:.1f} Mbit/s{copied}{more}"


def document(report: Report) -> dict[str, Any]:
    """The report for programs."""
    items = [{key: value for key, value in item.items() if key != "kind"} for item in report.items]
    return {
        "channel": report.channel,
        "ok": report.is_well(),
        "complete": report.is_complete,
        "checks": [dataclasses.asdict(found) for found in report.checks],
        "items_known": report.total,
        "items": [{**item, "bits_per_second": bits_per_second(item)} for item in items],
    }
