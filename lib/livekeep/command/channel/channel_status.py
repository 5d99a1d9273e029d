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
from livekeep.core import state as state_files
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from livekeep.core.errors import LivekeepError, not_permitted
from livekeep.core.probe_results import YoutubeResult
from livekeep.core.state import StateAbsentError, StateBrokenError
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
MODES = {"": "", "copy": "copied", "normalise": "normalised"}
LAST_SHOWN = 3
Row = tuple[str, str]


@dataclass(frozen=True)
class ChannelLook:
    """A channel's full status."""

    name: str
    is_configured: bool
    is_intended: bool
    state: ChannelState | StateAbsentError | StateBrokenError
    end: ChannelEnd | None
    unit: Unit | None
    clock: Clock
    youtube: YoutubeResult | None = None

    def is_on_air(self) -> bool:
        return isinstance(self.state, ChannelState) and channels.is_on_air(self.state, self.clock.now_monotonic)


def status(arguments: argparse.Namespace) -> int:
    there = actions.known()
    if arguments.names:
        terminal.say_block("\n".join(there.names()))
        return 0
    names = there.names() if arguments.channel is None else [actions.one_of(there.names(), arguments.channel)]
    looks, problem = take(names, there)
    if arguments.json:
        terminal.say_block(terminal.json_text(document(looks, (*there.problems, *filter(None, [problem])))))
        return 0
    if not looks:
        terminal.say(actions.NONE_THERE)
    terminal.say_block("\n\n".join(text(look) for look in looks), end="\n" if looks else "")
    for line in filter(None, (*there.problems, problem)):
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
    intended, youtube = channels.intended(), read_youtube()
    looks = [
        ChannelLook(
            name, name in there.configured, name in intended, read_state(name), read_end(name), units.get(name), clock, youtube
        )
        for name in names
    ]
    return looks, problem


def read_state(name: str) -> ChannelState | StateAbsentError | StateBrokenError:
    try:
        return channels.read_state(name)
    except (StateAbsentError, StateBrokenError) as error:
        if isinstance(error.__cause__, PermissionError):
            raise not_permitted(error.__cause__) from error
        return error


def read_end(name: str) -> ChannelEnd | None:
    try:
        return channels.read_end(name)
    except (StateAbsentError, StateBrokenError):
        return None


def read_youtube() -> YoutubeResult | None:
    try:
        found = state_files.read_or_error(YoutubeResult)
    except PermissionError as error:
        raise not_permitted(error) from error
    return found if isinstance(found, YoutubeResult) else None


# For programs


def document(looks: list[ChannelLook], problems: tuple[str, ...]) -> dict[str, Any]:
    """An unreadable state is null, and so is a missing end."""
    now = Clock(time.time(), time.monotonic())
    return {
        "version": livekeep.__version__,
        "now": now.now,
        "now_monotonic": now.now_monotonic,
        "channels": {look.name: channel_document(look) for look in looks},
        "problems": list(problems),
    }


def channel_document(look: ChannelLook) -> dict[str, Any]:
    is_known = isinstance(look.state, ChannelState)
    return {
        "configured": look.is_configured,
        "intended": look.is_intended,
        "on_air": look.is_on_air(),
        "unit": dataclasses.asdict(look.unit) if look.unit else None,
        "state": dataclasses.asdict(look.state) if isinstance(look.state, ChannelState) else None,
        "state_problem": "" if is_known else str(look.state),
        "end": dataclasses.asdict(look.end) if look.end else None,
        "youtube": dataclasses.asdict(video) if (video := youtube_of(broadcast(look), look.clock)) else None,
    }


# For people


def text(look: ChannelLook) -> str:
    """A headline with rows below it."""
    headline, colour = head(look)
    rows = state_rows(look.state, look.clock) if isinstance(look.state, ChannelState) else end_rows(look)
    if showing := channels_text.youtube(broadcast(look), look.clock):
        rows.append(("YouTube", showing))
    if not look.is_configured:
        rows.append(("Mind", "it is not configured any more"))
    table = terminal.table(rows, indent=2)
    return "\n".join(filter(None, [f"{look.name}: {terminal.paint(shown(headline), colour)}", table]))


def broadcast(look: ChannelLook) -> ChannelStatus:
    return ChannelStatus(look.name, worker=look.state, end=look.end, youtube=look.youtube)


def head(look: ChannelLook) -> tuple[str, terminal.Colour]:
    state, now = look.state, look.clock.now
    if isinstance(state, StateBrokenError):
        return f"not known: {state}", "red"
    if not isinstance(state, ChannelState):
        is_wrong = look.is_intended
        return ("off air, although it is meant to be on air", "red") if is_wrong else ("off air, as it is meant to be", "dim")
    seconds = look.clock.now_monotonic - state.written_monotonic
    if seconds > channels.STALE_SECONDS:
        return f"not known: its worker wrote {terminal.duration(seconds)} ago for the last time", "red"
    if look.is_on_air():
        what = "" if state.picture == "item" else " with the slate"
        return f"on air{what} since {terminal.since(state.since, now)}", "green" if not what else "yellow"
    return f"not on air: {WORDS[state.publishing]} since {terminal.since(state.since, now)}", "red"


def state_rows(state: ChannelState, clock: Clock) -> list[Row]:
    rows: list[Row] = [(name, value) for name, value in (("Why", state.reason), ("Do", state.advice)) if value]
    if state.retry_count:
        rows.append(("Retries", retries(state, clock)))
    if state.storage_problem:
        rows.append(("Storage", state.storage_problem))
    if state.slate_problem:
        rows.append(("Its slate", state.slate_problem))
    if state.picture == "slate":
        rows.append(("Slate", f"on the wire{f': {state.slate_reason}' if state.slate_reason else ''}"))
    elif state.now:
        rows.append(("Now", item(state.now, clock)))
    rows.append(("Next", item(state.next, clock) if state.next else "nothing is known yet"))
    rows += [("Last" if number == 0 else "", item(played, clock)) for number, played in enumerate(state.last[:LAST_SHOWN])]
    rows.append(("Ingest", ingest(state, clock)))
    rows.append(("Pace", pace(state)))
    return [*rows, ("Counted", counted(state))]


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


def retries(state: ChannelState, clock: Clock) -> str:
    wait = state.next_retry - clock.now if state.next_retry is not None else None
    following = f", the next in {terminal.duration(wait)}" if wait is not None and wait >= 1 else ""
    return f"{state.retry_count} in a row{f' ({state.error_type})' if state.error_type else ''}{following}"


def ingest(state: ChannelState, clock: Clock) -> str:
    if not state.ingest:
        return "none yet"
    name = f"{state.ingest}{', the backup' if state.is_backup else ''}"
    since = f"connected since {terminal.since(state.connected_since, clock.now)}" if state.connected_since else "not connected"
    taken = f"{terminal.size(state.acknowledged_bytes)} acknowledged"
    last = state.last_acknowledged_monotonic
    ago = f", the last {terminal.duration(clock.now_monotonic - last)} ago" if last is not None else ""
    return f"{name}; {since}; {taken}{ago}"


def pace(state: ChannelState) -> str:
    speed = f"{state.speed:.2f} of real time" if state.speed is not None else "not known yet"
    side = "behind" if state.drift_seconds >= 0 else "ahead of"
    return f"{speed}, {abs(state.drift_seconds) * 1000:.0f} ms {side} the clock"


def counted(state: ChannelState) -> str:
    reconnects = max(state.connections - 1, 0)
    return (
        f"{state.items_known} items known; {state.items_played} played, {state.items_short} short, {state.items_failed} failed, "
        f"{state.items_skipped} skipped; {state.slates} slates ({state.slate_seconds:.0f} s); "
        f"{reconnects} reconnects, {state.refusals} refusals"
    )


def end_rows(look: ChannelLook) -> list[Row]:
    """For a channel without a worker."""
    rows: list[Row] = []
    if look.end:
        how = "on purpose" if look.end.result == "success" else f"{look.end.result}, {look.end.exit_code} {look.end.exit_status}"
        rows.append(("Ended", f"{terminal.local_time(look.end.ended_at, look.clock.now)} ({how})"))
    if look.unit and look.unit.load == "not-found":
        rows.append(("Do", actions.NOT_INSTALLED))
    elif look.is_intended:
        name = channels.worker_unit(look.name).removesuffix(".service")
        rows.append(("Do", f"sudo livekeep air start {look.name}; see also: journalctl -u {name} -n 30"))
    return rows
