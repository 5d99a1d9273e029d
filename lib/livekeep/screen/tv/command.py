"""`livekeep tv`: switches the TV on or off by hand, and shows what is wanted, until when, and the plan.

By hand means until the next change of the plan, or until an event begins. Writes tv/by_hand.json as root and starts
livekeep-tv.service, which switches.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

from livekeep.core import paths, state
from livekeep.core.config import Config
from livekeep.core.errors import LivekeepError, not_permitted
from livekeep.core.state import OnAir, TvByHand, TvPower, TvState
from livekeep.screen.tv import main as oneshot
from livekeep.screen.tv.plan import local, switched_by_hand
from livekeep.status import tv_status
from livekeep.status.health import Clock
from livekeep.system import cec, systemctl, terminal
from livekeep.system.cec import CecError

UNIT = "livekeep-tv.service"
TIMER = "livekeep-tv.timer"
WAKERS = (TIMER, "livekeep-tv.path")
START_SECONDS = 200.0
"""Longer than the unit may take."""
MOST_STARTS = 2
WEEK_DAYS = 7


def main(arguments: Sequence[str]) -> int:
    parsed = build_parser().parse_args(arguments)
    return terminal.exit_code(lambda: run(parsed))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="livekeep tv", description="Switches the TV on and off.", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name in ("on", "off"):
        text = f"switch the TV {name} until the next change of the plan, or until an event begins"
        actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    text = "show whether a picture is wanted, why, until when, and the plan of the next days"
    status = actions.add_parser("status", help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    status.add_argument("--json", action="store_true", help="print it for programs")
    return parser


def run(arguments: argparse.Namespace) -> int:
    return show(arguments.json) if arguments.action == "status" else switch(arguments.action == "on")


def switch(is_on: bool) -> int:
    """Exit code 1 if the TV does not do it. Raises `LivekeepError`."""
    if os.geteuid() != 0:
        raise LivekeepError(f"run this with sudo: sudo livekeep tv {'on' if is_on else 'off'}")
    root, now = paths.STATE_DIRECTORY, time.time()
    occasion, before = read_states()
    settings = oneshot.read_settings()
    anyway = oneshot.decide_now(settings, dataclasses.replace(occasion, by_hand=None), before, now)
    by_hand = state.stamped(switched_by_hand(is_on, anyway, now))
    state.path_of(TvByHand, root).parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    state.write(by_hand, root)
    # Without a plan they do not run, but the next event ends what was switched by hand.
    systemctl.tell("start", *WAKERS)
    for _ in range(MOST_STARTS):
        systemctl.tell("start", UNIT, timeout_seconds=START_SECONDS)
        result = state.read(TvState, root)
        # A run that was about to end has not seen the file.
        if result.written_monotonic > by_hand.written_monotonic:
            break
    terminal.say(sentence(result, now))
    for line in problem_lines(result):
        terminal.say(line, sys.stderr)
    return int(bool(result.problem))


def show(as_json: bool) -> int:
    now = time.time()
    occasion, before = read_states()
    settings = oneshot.read_settings()
    result = dataclasses.replace(before, power=ask_power(settings))
    if not before.written_at:
        # It never ran: there is no plan, and nothing was switched by hand.
        decision = oneshot.decide_now(settings, occasion, before, now)
        result = dataclasses.replace(result, is_wanted=decision.is_wanted, reason=decision.reason, until=decision.until)
    zone = oneshot.zone_of(settings.schedule.time_zone)
    days = []
    for ahead in range(WEEK_DAYS) if settings.schedule.has_plan() else ():
        day = local(now, zone).date() + timedelta(days=ahead)
        days.append({"day": str(day), "key": settings.schedule.key_of(day), "times": settings.schedule.value_of(day)})
    if as_json:
        shown = ("is_wanted", "since", "reason", "until", "method", "power", "problem", "advice", "by_hand")
        document = {name: getattr(result, name) for name in shown}
        terminal.say_block(terminal.json_text(document | {"plan": days}))
        return 0
    terminal.say(sentence(result, now))
    for line in problem_lines(result):
        terminal.say(line)
    if days and not systemctl.is_running(TIMER):
        terminal.say("the plan is not in force yet; run: sudo livekeep apply")
    if days:
        terminal.say()
        rows = [
            [f"{local(now, zone) + timedelta(days=ahead):%a} {it['day']}", it["times"], it["key"]]
            for ahead, it in enumerate(days)
        ]
        terminal.say_block(terminal.table([["DAY", "ON", "KEY"], *rows]))
    return 0


def ask_power(settings: Config) -> TvPower:
    """What the TV reports now; "unknown" if it does not, or if it may not be asked."""
    if settings.tv.method not in ("auto", "cec"):
        return "unknown"
    try:
        tv = cec.find(settings.tv.cec_device, settings.screen.connector)
        return tv.power() if tv else "unknown"
    except CecError:
        return "unknown"


def sentence(result: TvState, now: float) -> str:
    """What is wanted, until when, how and why, and what the TV reports."""
    power = f"; the TV reports that it is {result.power}" if result.power != "unknown" else ""
    return tv_status.wanted_text(result, Clock(now, time.monotonic())) + power


def problem_lines(result: TvState) -> Iterator[str]:
    if result.problem:
        yield result.problem
    if result.advice:
        yield result.advice


def read_states() -> tuple[oneshot.Occasion, TvState]:
    """The occasion, and the last state. Raises `LivekeepError` without access."""
    try:
        for kind in (OnAir, TvByHand, TvState):
            state.read_or_error(kind)
    except PermissionError as error:
        raise not_permitted(error) from error
    return oneshot.read_occasion(paths.STATE_DIRECTORY), oneshot.read(TvState, paths.STATE_DIRECTORY) or TvState()
