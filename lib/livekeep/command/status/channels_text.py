"""The channels in `livekeep status`: a line each, and what to do about unhealthy ones. Pure."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from livekeep.core import channels
from livekeep.core.channels import ChannelState, Publishing
from livekeep.core.probe_results import NOT_SHOWN
from livekeep.core.state import StateAbsentError
from livekeep.status import channel_status
from livekeep.status.channel_status import ChannelStatus, showing_text
from livekeep.status.health import Clock, Level
from livekeep.system import terminal

COLOURS: dict[Level, terminal.Colour] = {"ok": "green", "degraded": "yellow", "down": "red"}
WORDS: dict[Publishing, str] = {
    "preparing": "preparing",
    "connecting": "connecting",
    "on-air": "on air",
    "stalled": "stalled",
    "unreachable": "ingest unreachable",
    "refused": "refused",
    "stopping": "stopping",
}
Statuses = Mapping[str, ChannelStatus]


def all_of(statuses: Statuses, configured: Iterable[str]) -> list[ChannelStatus]:
    """By name, those that are off included."""
    return [statuses.get(name, ChannelStatus(name)) for name in sorted({*statuses, *configured})]


def overview(statuses: Statuses, configured: Iterable[str], clock: Clock) -> str:
    """A table of the channels, and the problems below it; "" without channels."""
    known = all_of(statuses, configured)
    if not known:
        return ""
    rows = [row(it, clock) for it in known]
    colours: list[terminal.Colour] = [COLOURS[channel_status.verdict(it, clock).level] if it.counts() else "" for it in known]
    blocks = [terminal.state_table(("CHANNEL", "STATE", "SINCE", "NOW PLAYING", "INGEST"), rows, colours)]
    for it in known:
        troubles = []
        if it.counts():
            verdict = channel_status.verdict(it, clock)
            if verdict.level != "ok":
                troubles += [("Why", verdict.sentence), ("Do", advice(it, clock))]
            if showing := youtube(it, clock):
                troubles.append(("YouTube", f"{it.channel}: {showing}"))
        blocks += [terminal.table(troubles)] if troubles else []
    return "\n\n".join(blocks)


def row(it: ChannelStatus, clock: Clock) -> tuple[str, str, str, str, str]:
    worker = it.worker
    if not isinstance(worker, ChannelState):
        since = terminal.since(it.end.ended_at, clock.now) if it.end and it.meant_since is not None else ""
        return it.channel, state_of(it, clock), since, "", ""
    moment = worker.connected_since if worker.publishing == "on-air" else worker.since
    since = terminal.since(moment or worker.since, clock.now)
    playing = "the slate" if worker.picture == "slate" else worker.now.name if worker.now else ""
    return it.channel, state_of(it, clock), since, playing, f"{worker.ingest}{' (backup)' if worker.is_backup else ''}"


def state_of(it: ChannelStatus, clock: Clock) -> str:
    """The channel's state in a word or two."""
    worker = it.worker
    if isinstance(worker, StateAbsentError):
        return "not running" if it.meant_since is not None else "off"
    if not isinstance(worker, ChannelState):
        return "unknown"
    if clock.now_monotonic - worker.written_monotonic > channels.STALE_SECONDS:
        return "stuck"
    return WORDS[worker.publishing]


def youtube(it: ChannelStatus, clock: Clock) -> str:
    """YouTube's view of a channel, such as "live since 10:02:11 (for 3 min), 12 viewers (asked 20 s ago)", or ""."""
    video = channel_status.youtube_of(it, clock)
    if not video or not it.youtube:
        return ""
    return f"{showing_text(video, clock.now)} (asked {terminal.duration(clock.now_monotonic - it.youtube.written_monotonic)} ago)"


def advice(it: ChannelStatus, clock: Clock) -> str:
    """What to run for an unhealthy channel: its worker's advice, or else advice for its state."""
    worker, name = it.worker, it.channel
    journal = f"journalctl -u livekeep-worker@{name} -n 50"
    if isinstance(worker, StateAbsentError):
        return f"{journal}; sudo livekeep air check {name}; sudo livekeep air start {name}"
    if state_of(it, clock) in ("stuck", "unknown"):
        return f"sudo livekeep air restart {name}; {journal}"
    if isinstance(worker, ChannelState) and worker.advice:
        return worker.advice
    video = channel_status.youtube_of(it, clock)
    on_air = worker if isinstance(worker, ChannelState) and channels.is_on_air(worker, clock.now_monotonic) else None
    if video and on_air and not channel_status.trouble_on_air(on_air) and channel_status.not_shown(it, clock):
        return NOT_SHOWN[video.showing][1]
    return f"sudo livekeep air check {name}; {journal}"


def document(statuses: Statuses, configured: Iterable[str], clock: Clock) -> dict[str, Any]:
    """The same for programs, by the channel's name."""
    return {it.channel: entry(it, clock) for it in all_of(statuses, configured)}


def entry(it: ChannelStatus, clock: Clock) -> dict[str, Any]:
    """One channel; the worker's state is null if it cannot be read, with the reason beside it."""
    worker = it.worker if isinstance(it.worker, ChannelState) else None
    problem = "" if worker or isinstance(it.worker, StateAbsentError) else str(it.worker)
    return {
        "state": state_of(it, clock),
        "intended": it.meant_since is not None,
        "on_air": worker is not None and channels.is_on_air(worker, clock.now_monotonic),
        "health": dataclasses.asdict(channel_status.verdict(it, clock)) if it.counts() else None,
        "worker": dataclasses.asdict(worker) if worker else None,
        "worker_problem": problem,
        "last_end": dataclasses.asdict(it.end) if it.end else None,
        "youtube": dataclasses.asdict(video) if (video := channel_status.youtube_of(it, clock)) else None,
    }
