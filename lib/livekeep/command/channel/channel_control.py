"""livekeep air start, stop, restart, skip: calls core/channel_service.py, and reports whether the channel is on air.

Reads the worker's state and end; a pure function interprets them.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from livekeep.command.channel import actions, config_doubts
from livekeep.command.channel.progress import Progress
from livekeep.command.doctor.doctor_base import is_root
from livekeep.core import channels, config, paths
from livekeep.core.channel_service import ChannelService, Verb
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.errors import LivekeepError, TemporaryError, not_permitted
from livekeep.core.state import read_or_error
from livekeep.system import systemctl, systemd, terminal
from livekeep.system.systemd import Unit

WAIT_SECONDS = 30.0
"""How long to wait for a channel to be on air."""
SKIP_SECONDS = 5.0
POLL_SECONDS = 0.2
GRACE_SECONDS = 2.0
"""A unit may seem inactive for this long after its start was requested."""
NOT_YET = "not on air yet"


@dataclass(frozen=True)
class Look:
    """A channel's status `seconds` after its start was requested."""

    unit: Unit
    state: ChannelState | None
    """Of the started worker; None before it wrote one."""
    end: ChannelEnd | None
    """Of the started worker, once it has ended."""
    is_on_air: bool
    seconds: float


class Outcome(NamedTuple):
    is_on_air: bool
    sentence: str
    advice: str = ""


def outcome_of(look: Look) -> Outcome | None:
    """The outcome of a start; None to keep waiting."""
    state = look.state
    if look.is_on_air and state is not None:
        return Outcome(True, f"on air at {state.ingest}, {playing(state)}")
    journal = f"journalctl -u {look.unit.name.removesuffix('.service')} -n 30"
    if look.unit.active == "failed" or (look.unit.active == "inactive" and look.seconds > GRACE_SECONDS):
        why = look.unit.result or "no reason is known"
        if look.end is not None:
            why = look.end.meaning() or f"{look.end.result} ({look.end.exit_code} {look.end.exit_status})"
        return Outcome(False, f"not on air: the worker has ended: {why}", journal)
    if state is not None and state.publishing == "refused":
        return Outcome(False, f"{NOT_YET}: {state.reason or 'the ingest refuses the stream'}", state.advice or journal)
    if look.seconds < WAIT_SECONDS:
        return None
    if state is None:
        return Outcome(False, f"{NOT_YET}: its worker has not reported anything", journal)
    return Outcome(False, f"{NOT_YET}: {state.reason or state.publishing}; it keeps trying", state.advice or journal)


def playing(state: ChannelState) -> str:
    """What the channel sends."""
    if state.picture == "item" and state.now is not None:
        return f"playing {state.now.name}"
    return f"showing the slate{f': {state.slate_reason}' if state.slate_reason else ''}"


# The actions


def start(arguments: argparse.Namespace) -> int:
    name = configured(arguments.channel)
    if not installed(name).is_active():
        return begin("start", name)
    with advice_on_failure():
        channels.intend(name)
    state = worker_state(name)
    if state is None:
        text = "its worker has not reported anything yet"
    elif channels.is_on_air(state, time.monotonic()):
        text = f"on air at {state.ingest}, {playing(state)}"
    else:
        text = f"{NOT_YET}: {state.reason or state.publishing}"
    terminal.say(f"{name}: is already running: {text}")
    return 0


def restart(arguments: argparse.Namespace) -> int:
    name = configured(arguments.channel)
    installed(name)
    return begin("restart", name)


def stop(arguments: argparse.Namespace) -> int:
    name = actions.one_of(actions.known().names(), arguments.channel)
    was = "stopped" if installed(name).is_active() else "was not running"
    with advice_on_failure():
        asyncio.run(ChannelService(Systemctl()).take_off_air(name, systemctl.ACTION_TIMEOUT_SECONDS))
    terminal.say(f"{name}: {was}; it stays off air until: sudo livekeep air start {name}")
    return 0


def skip(arguments: argparse.Namespace) -> int:
    name = actions.one_of(actions.known().names(), arguments.channel)
    installed(name)
    before = worker_state(name)
    if before is None:
        raise LivekeepError(f"{name}: is not running, so there is nothing to skip; to start it: sudo livekeep air start {name}")
    if before.now is None:
        raise LivekeepError(f"{name}: no item is playing, so there is nothing to skip; it is {playing(before)}")
    left = before.now
    asyncio.run(ChannelService(Systemctl()).skip(name))
    deadline = time.monotonic() + SKIP_SECONDS
    while True:
        after = worker_state(name)
        # A single item that repeats has a later start.
        has_changed = after and (after.now is None or (after.now.name, after.now.started_at) != (left.name, left.started_at))
        if has_changed or time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    following = (after if after and has_changed else before).next
    what = f"left {left.name}, now {playing(after)}" if after and has_changed else f"its worker is skipping {left.name}"
    terminal.say(f"{name}: {what}; next: {following.name if following else 'not known yet'}")
    return 0


# What they share


def configured(name: str | None) -> str:
    """The selected channel, which can go on air. Raises `LivekeepError` otherwise, with all that is missing."""
    settings = config.load()
    found, problems = channels.load(settings)
    if name is not None and name not in found and problems:
        raise LivekeepError("\n".join(problems))
    chosen = actions.one_of(found, name)
    if not found[chosen].is_set_up():
        raise LivekeepError("\n".join(config_doubts.warnings(chosen, found[chosen])))
    return chosen


def installed(name: str) -> Unit:
    """The channel's unit. Raises `LivekeepError` without the air part, and if systemd doesn't reply."""
    unit = systemd.read_units([channels.worker_unit(name)])[0]
    if unit.load == "not-found":
        raise LivekeepError(actions.NOT_INSTALLED)
    return unit


class Systemctl:
    """The manager of `ChannelService` through systemctl(1), whose errors say what to do, and which may ask for a password."""

    async def run_job(self, verb: Verb, unit: str, seconds: float) -> str:
        systemctl.tell(verb, *([] if seconds else ["--no-block"]), unit)
        return "done" if seconds else ""

    async def kill(self, unit: str, number: int) -> None:
        systemctl.tell("kill", f"--signal={signal.Signals(number).name}", "--kill-whom=main", unit)

    async def reset_failed(self, unit: str) -> None:
        systemctl.forgive(unit)


@contextlib.contextmanager
def advice_on_failure() -> Iterator[None]:
    """Only root may write the intention. Raises `LivekeepError`."""
    try:
        yield
    except TemporaryError as error:
        raise LivekeepError(f"{error}{'' if is_root() else '; run this with sudo'}") from error


def begin(verb: Literal["start", "restart"], name: str) -> int:
    """Start or restart the worker; wait for the channel to be on air. Returns the exit code."""
    old = worker_state(name)
    old_pid = old.pid if old else 0
    began, began_monotonic = time.time(), time.monotonic()
    with advice_on_failure():
        asyncio.run(ChannelService(Systemctl()).put_on_air(name, 0, verb))
    with Progress() as progress:
        while True:
            look = look_at(name, old_pid, began, time.monotonic() - began_monotonic)
            outcome = outcome_of(look)
            if outcome is not None:
                break
            progress.show(f"{name}: {look.state.publishing if look.state else 'starting'} ({look.seconds:.0f} s)")
            time.sleep(POLL_SECONDS)
    terminal.say(f"{name}: {outcome.sentence}", to=sys.stdout if outcome.is_on_air else sys.stderr)
    if outcome.advice:
        label = "See" if outcome.advice.startswith("journalctl") else "Do"
        terminal.say(f"{label}: {outcome.advice}", to=sys.stderr)
    if not outcome.is_on_air and has_no_key(name):
        terminal.say(f"There is no stream key: sudo livekeep air set-key {name}", to=sys.stderr)
    return 0 if outcome.is_on_air else 1


def look_at(name: str, old_pid: int, began: float, seconds: float) -> Look:
    """The status of the worker that was started at `began`, after the one with `old_pid`."""
    state = worker_state(name)
    if state is not None and state.pid == old_pid:
        state = None
    end = None
    with contextlib.suppress(TemporaryError):
        end = channels.read_end(name)
    if end is not None and (end.ended_at < began or end.pid == old_pid):
        end = None
    is_on_air = state is not None and channels.is_on_air(state, time.monotonic())
    return Look(systemd.read_units([channels.worker_unit(name)])[0], state, end, is_on_air, seconds)


def worker_state(name: str) -> ChannelState | None:
    """None without a readable state. Raises `LivekeepError` if this user may not read it."""
    try:
        state = read_or_error(ChannelState, channels.folder_of(name))
    except PermissionError as error:
        raise not_permitted(error) from error
    return state if isinstance(state, ChannelState) else None


def has_no_key(name: str) -> bool:
    """Whether certainly no stream key is stored, plain or encrypted."""
    try:
        stores = (paths.CREDENTIAL_STORE, paths.CREDENTIAL_STORE.with_name("credstore.encrypted"))
        return not any((store / f"livekeep.stream-key.{name}").exists() for store in stores)
    except PermissionError:
        return False
