"""livekeep air status: what is on air, since when, what plays, what comes next, and errors; for people or programs.

Reads the channels' states and ends (core/channels.py); one call to systemd.
"""

import argparse
import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import livekeep
from livekeep.command.channel import actions
from livekeep.command.channel.actions import Known
from livekeep.command.status import channels_text
from livekeep.core import channels
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from livekeep.core.errors import LivekeepError, not_permitted
from livekeep.core.probe_results import YoutubeResult
from livekeep.core.state import StateBrokenError, read_or_error
from livekeep.core.text import shown
from livekeep.status.channel_status import ChannelStatus, youtube_of
from livekeep.status.health import Clock
from livekeep.system import systemd, terminal
from livekeep.system.systemd import Unit

WORDS = {
    "preparing": "preparing",
    "connecting": "connecting",
    "on-air": "connected, but the ingest acknowledges nothing",
    "stalled": "the ingest takes nothing more",
    "unreachable": "the ingest cannot be reached",
    "refused": "the ingest refuses the stream",
    "stopping": "stopping",
}
MODES = {"": "", "copy": "copied", "normalise": "transcoded"}
LAST_SHOWN = 3
Row = tuple[str, str]


@dataclass(frozen=True)
class ChannelLook:
    """A channel's full status."""

    status: ChannelStatus
    is_configured: bool
    is_intended: bool
    unit: Unit | None
    clock: Clock

    def is_on_air(self) -> bool:
        worker = self.status.worker
        return isinstance(worker, ChannelState) and channels.is_on_air(worker, self.clock.now_monotonic)


def status(arguments: argparse.Namespace) -> int:
    there = actions.known()
    if arguments.names:
        terminal.say_block("\n".join(there.names()))
        return 0
    names = there.names() if arguments.channel is None else [actions.one_of(there.names(), arguments.channel)]
    looks, problem = take(names, there)
    problems = [*there.problems, *filter(None, [problem])]
    if arguments.json:
        terminal.say_block(terminal.json_text(document(looks, problems)))
        return 0
    if not looks:
        terminal.say(actions.NONE_THERE)
    terminal.say_block("\n\n".join(text(look) for look in looks), end="\n" if looks else "")
    for line in problems:
        terminal.say(line)
    return 0


def take(names: list[str], there: Known) -> tuple[list[ChannelLook], str]:
    """Each channel's status, and systemd's error or "". Raises `LivekeepError`."""
    problem, units = "", {}
    try:
        units = dict(zip(names, systemd.read_units([channels.worker_unit(name) for name in names]), strict=True)) if names else {}
    except LivekeepError as error:
        problem = str(error)
    clock = Clock(time.time(), time.monotonic())
    intended = channels.intended()
    looks = []
    try:
        found = read_or_error(YoutubeResult)
        youtube = found if isinstance(found, YoutubeResult) else None
        for name in names:
            folder = channels.folder_of(name)
            worker, end = read_or_error(ChannelState, folder), read_or_error(ChannelEnd, folder)
            its_status = ChannelStatus(name, worker=worker, end=end if isinstance(end, ChannelEnd) else None, youtube=youtube)
            looks.append(ChannelLook(its_status, name in there.configured, name in intended, units.get(name), clock))
    except PermissionError as error:
        raise not_permitted(error) from error
    return looks, problem


# For programs


def document(looks: list[ChannelLook], problems: list[str]) -> dict[str, Any]:
    """An unreadable state is null, and so is a missing end."""
    documents = {}
    for look in looks:
        worker, end, video = look.status.worker, look.status.end, youtube_of(look.status, look.clock)
        is_known = isinstance(worker, ChannelState)
        documents[look.status.channel] = {
            "configured": look.is_configured,
            "intended": look.is_intended,
            "on_air": look.is_on_air(),
            "unit": dataclasses.asdict(look.unit) if look.unit else None,
            "state": dataclasses.asdict(worker) if isinstance(worker, ChannelState) else None,
            "state_problem": "" if is_known else str(worker),
            "end": dataclasses.asdict(end) if end else None,
            "youtube": dataclasses.asdict(video) if video else None,
        }
    return {
        "version": livekeep.__version__,
        "now": time.time(),
        "now_monotonic": time.monotonic(),
        "channels": documents,
        "problems": problems,
    }


# For people


def text(look: ChannelLook) -> str:
    """A headline with rows below it."""
    headline, colour = head(look)
    worker = look.status.worker
    rows = state_rows(worker, look.clock) if isinstance(worker, ChannelState) else end_rows(look)
    if showing := channels_text.youtube(look.status, look.clock):
        rows.append(("YouTube", showing))
    if not look.is_configured:
        rows.append(("Note", "it is no longer configured"))
    table = terminal.table(rows, indent=2)
    return "\n".join(filter(None, [f"{look.status.channel}: {terminal.paint(shown(headline), colour)}", table]))


def head(look: ChannelLook) -> tuple[str, terminal.Colour]:
    state, now = look.status.worker, look.clock.now
    if isinstance(state, StateBrokenError):
        return f"not known: {state}", "red"
    if not isinstance(state, ChannelState):
        if look.is_intended:
            return "off air, although it is meant to be on air", "red"
        return "off air, as it is meant to be", "dim"
    seconds = look.clock.now_monotonic - state.written_monotonic
    if seconds > channels.STALE_SECONDS:
        return f"not known: its worker last wrote its state {terminal.duration(seconds)} ago", "red"
    since = terminal.since(state.since, now)
    if not look.is_on_air():
        return f"not on air: {WORDS[state.publishing]} since {since}", "red"
    return (f"on air since {since}", "green") if state.picture == "item" else (f"on air with the slate since {since}", "yellow")


def state_rows(state: ChannelState, clock: Clock) -> list[Row]:
    rows: list[Row] = [(name, value) for name, value in (("Why", state.reason), ("Do", state.advice)) if value]
    if state.retry_count:
        wait = state.next_retry - clock.now if state.next_retry is not None else 0.0
        following = f", the next in {terminal.duration(wait)}" if wait >= 1 else ""
        why = f" ({state.error_type})" if state.error_type else ""
        rows.append(("Retries", f"{state.retry_count} in a row{why}{following}"))
    if state.storage_problem:
        rows.append(("Storage", state.storage_problem))
    if state.slate_problem:
        rows.append(("Its slate", state.slate_problem))
    if state.picture == "slate":
        rows.append(("Slate", f"is shown{f': {state.slate_reason}' if state.slate_reason else ''}"))
    elif state.now:
        rows.append(("Now", item(state.now, clock)))
    rows.append(("Next", item(state.next, clock) if state.next else "not known yet"))
    rows += [("Last" if number == 0 else "", item(played, clock)) for number, played in enumerate(state.last[:LAST_SHOWN])]
    rows.append(("Ingest", ingest(state, clock)))
    speed = f"{state.speed:.2f} of real time" if state.speed is not None else "not known yet"
    side = "behind" if state.drift_seconds >= 0 else "ahead of"
    rows.append(("Pace", f"{speed}, {abs(state.drift_seconds) * 1000:.0f} ms {side} the clock"))
    counts = (
        f"{state.items_known} items known; {state.items_played} played, {state.items_short} short, {state.items_failed} failed, "
        f"{state.items_skipped} skipped; {state.slates} slates ({state.slate_seconds:.0f} s); "
        f"{max(state.connections - 1, 0)} reconnects, {state.refusals} refusals"
    )
    return [*rows, ("Counted", counts)]


def item(played: Played, clock: Clock) -> str:
    """An item with its outcome."""
    length = f"{clock_of(played.duration_seconds)}" if played.duration_seconds is not None else ""
    if played.started_at is None:
        parts = [MODES[played.mode], length]
    else:
        outcome = "" if played.outcome == "playing" else played.outcome
        began = f"from {terminal.local_time(played.started_at, clock.now)}"
        position = f"{clock_of(played.played_seconds)}{f' of {length}' if length else ''}"
        parts = [outcome, MODES[played.mode], began, position]
    said = ", ".join(filter(None, parts))
    return f"{played.name}{f' ({said})' if said else ''}{f': {played.problem}' if played.problem else ''}"


def clock_of(seconds: float) -> str:
    """Media time: "3:07", "1:02:09"."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02}"


def ingest(state: ChannelState, clock: Clock) -> str:
    if not state.ingest:
        return "none yet"
    name = f"{state.ingest}{', the backup' if state.is_backup else ''}"
    since = f"connected since {terminal.since(state.connected_since, clock.now)}" if state.connected_since else "not connected"
    taken = f"{terminal.size(state.acknowledged_bytes)} acknowledged"
    last = state.last_acknowledged_monotonic
    ago = f", the last {terminal.duration(clock.now_monotonic - last)} ago" if last is not None else ""
    return f"{name}; {since}; {taken}{ago}"


def end_rows(look: ChannelLook) -> list[Row]:
    """For a channel without a worker."""
    rows: list[Row] = []
    name, end = look.status.channel, look.status.end
    if end:
        how = "on purpose" if end.result == "success" else f"{end.result}, {end.exit_code} {end.exit_status}"
        rows.append(("Ended", f"{terminal.local_time(end.ended_at, look.clock.now)} ({how})"))
    if look.unit and look.unit.load == "not-found":
        rows.append(("Do", actions.NOT_INSTALLED))
    elif look.is_intended:
        unit = channels.worker_unit(name).removesuffix(".service")
        rows.append(("Do", f"sudo livekeep air start {name}; see also: journalctl -u {unit} -n 30"))
    return rows
