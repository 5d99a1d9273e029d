"""The channels in `livekeep status`: a line each, and what to do about unhealthy ones. Pure."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
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
HEAD = ("CHANNEL", "STATE", "SINCE", "NOW PLAYING", "INGEST")
Row = tuple[str, str, str, str, str]
Found = Mapping[str, ChannelStatus]


def overview(found: Found, configured: Iterable[str], clock: Clock) -> str:
    """A table of the channels, those that are off included, and the problems below it; "" without channels."""
    known = {name: found.get(name, ChannelStatus(name)) for name in sorted({*found, *configured})}
    if not known:
        return ""
    lines = terminal.table([HEAD, *(row(it, clock) for it in known.values())]).splitlines()
    coloured = [coloured_line(line, it, clock) for line, it in zip(lines[1:], known.values(), strict=True)]
    blocks = ["\n".join([terminal.paint(lines[0], "bold"), *coloured])]
    blocks += [terminal.table(rows) for it in known.values() if (rows := list(trouble_rows(it, clock)))]
    return "\n\n".join(blocks)


def coloured_line(line: str, it: ChannelStatus, clock: Clock) -> str:
    if not it.counts():
        return line
    start, word = line[: len(it.channel)], state_of(it, clock)
    colour = COLOURS[channel_status.verdict(it, clock).level]
    return start + line[len(start) :].replace(word, terminal.paint(word, colour), 1)


def row(it: ChannelStatus, clock: Clock) -> Row:
    worker = it.worker
    if not isinstance(worker, ChannelState):
        return it.channel, state_of(it, clock), since(it, clock), "", ""
    playing = "the slate" if worker.picture == "slate" else worker.now.name if worker.now else ""
    backup = " (backup)" if worker.is_backup else ""
    return it.channel, state_of(it, clock), since(it, clock), playing, f"{worker.ingest}{backup}"


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


def since(it: ChannelStatus, clock: Clock) -> str:
    worker = it.worker
    if isinstance(worker, ChannelState):
        moment = worker.connected_since if worker.publishing == "on-air" else worker.since
        return terminal.since(moment or worker.since, clock.now)
    return terminal.since(it.end.ended_at, clock.now) if it.end and it.meant_since is not None else ""


def trouble_rows(it: ChannelStatus, clock: Clock) -> Iterator[tuple[str, str]]:
    """The problem with a channel and what to do, if any, and YouTube's view of it."""
    if not it.counts():
        return
    found = channel_status.verdict(it, clock)
    if found.level != "ok":
        yield "Why", found.sentence
        yield "Do", advice(it, clock)
    if shown := youtube(it, clock):
        yield "YouTube", f"{it.channel}: {shown}"


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


def document(found: Found, configured: Iterable[str], clock: Clock) -> dict[str, Any]:
    """The same for programs, by the channel's name."""
    listed = sorted({*found, *configured})
    return {name: entry(found.get(name, ChannelStatus(name)), clock) for name in listed}


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
