"""Health: one judgement of the screen, made of the states of poller and player and of what the probes found, and one of each
channel that is meant to be on air or is; the worst of them is the machine's.

| level    | the screen                                                     | a channel                                          |
|----------|----------------------------------------------------------------|----------------------------------------------------|
| ok       | the right picture, and nothing points to trouble               | on air with its items                              |
| degraded | the right picture (or within a minute), but something is wrong | on air without them or unseen, or just off air     |
| down     | no picture, a wrong one, or one that tells of an error         | off air for longer, given up, or its worker is not |

A machine that was installed without the screen has no judgement of one.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from livekeep.core import channels, paths, state
from livekeep.core.channels import ChannelEnd, ChannelState
from livekeep.core.config import Probes
from livekeep.core.probe_results import (
    NOT_SHOWN,
    PROBES,
    ProbeResult,
    YoutubeVideo,
)
from livekeep.core.state import AnyState, PlayerState, PollerState, StateAbsentError, StateBrokenError, StreamPicture
from livekeep.status import channel_status
from livekeep.status.channel_status import Broadcast

STUCK_SECONDS = 30.0
"""A state older than this has a stuck writer: both write at least twice as often."""
WRONG_PICTURE_SECONDS = 60.0
"""So long may the picture differ from what the stream's state asks for before that counts as down."""
STILL_SECONDS = 5.0
"""A stream's position that stood still for so long is more than the pause between two reports."""
RECENT_STALL_SECONDS = 300.0
FAILURES_OF_AN_OUTAGE = 2
"""One request that failed is not yet an outage."""
SILENT_INTERVALS = 3
SILENT_GRACE_SECONDS = 30.0
"""A probe whose findings are older than so many of its intervals and this is silent: its timer is off, or its run hangs."""
ERROR_SCREEN_PICTURE = "error-screen/picture.png"
"""What livekeep-error-screen paints, below the state directory; there only while that unit runs."""

KEPT_DIRECTORY = channels.DIRECTORY.parent
"""What outlives a restart of the machine: the folder of the channels, and what install.sh notes."""
WITHOUT_SCREEN = "install/without-screen"
"""There, below the kept directory, where livekeep was installed without the screen."""
OFF_AIR_SECONDS = 60.0
"""So long may a channel be off air, or be on its way there, before that counts as down."""
RESTART_SECONDS = 10.0
"""Within so many seconds systemd starts a worker again that has ended, unless it has given up for a while."""
GIVEN_UP = {
    "78": "its configuration or its key cannot be used",
    "69": "the ingest refused it again and again; it is tried again in a while",
}
"""Exit codes of a worker that systemd does not start again at once."""

Level = Literal["ok", "degraded", "down"]
LEVELS: tuple[Level, ...] = ("ok", "degraded", "down")
"""In order of gravity; the index is the exit code of `livekeep health`."""


@dataclass(frozen=True)
class Health:
    level: Level
    sentence: str
    """What is shown and what is wrong with it, in one line."""


@dataclass(frozen=True)
class Clock:
    """One moment on both clocks: Unix seconds, and seconds of CLOCK_MONOTONIC."""

    now: float
    now_monotonic: float


@dataclass(frozen=True)
class Judgement:
    """`screen` is None where there is none; `channels` has those that count, by name."""

    screen: Health | None
    channels: Mapping[str, Health]

    def whole(self) -> Health:
        """The worst of all, in its own words."""
        found = [*([self.screen] if self.screen else []), *self.channels.values()]
        if not found:
            return Health("ok", "no channel is meant to be on air")
        worst = max(found, key=lambda health: LEVELS.index(health.level))
        if worst.level == "ok":
            return Health("ok", "; ".join(filter(None, (self.screen.sentence if self.screen else "", all_on_air(self.channels)))))
        others = sum(health.level != "ok" for health in found) - 1
        return Health(worst.level, f"{worst.sentence} (and {others} more)" if others else worst.sentence)


def judge(root: Path, clock: Clock, kept: Path = KEPT_DIRECTORY, probes: Probes | None = None) -> Health:
    """The machine's health: the worst of what `judgement` gives. Raises as it does."""
    return judgement(root, clock, kept, probes).whole()


def judgement(root: Path, clock: Clock, kept: Path = KEPT_DIRECTORY, probes: Probes | None = None) -> Judgement:
    """Screen and channels by all that is written below the state directory `root` and in `kept`: as `livekeep health` sees them.

    Raises `PermissionError` or `TemporaryError` when that may not be read.
    """
    on_air = channel_verdicts(read_broadcasts(root, kept), clock)
    if not has_screen(kept):
        return Judgement(None, on_air)
    findings = readable(read_findings(root, probes))
    screen = verdict(look(PollerState, root), look(PlayerState, root), error_screen_is_active(root), clock, findings)
    return Judgement(screen, on_air)


def look(kind: type[AnyState], root: Path = paths.STATE_DIRECTORY) -> AnyState | StateAbsentError | StateBrokenError:
    """A state, or the error that says why there is none. Raises `PermissionError` when it may not be read."""
    try:
        return state.read(kind, root)
    except (StateAbsentError, StateBrokenError) as error:
        if isinstance(error.__cause__, PermissionError):
            raise error.__cause__ from None
        return error


def read_findings(root: Path = paths.STATE_DIRECTORY, probes: Probes | None = None) -> dict[str, ProbeResult | StateBrokenError]:
    """What the probes found, by the probe's name, with the intervals of `probes`. One that never ran, or is off, is left out.

    Raises `PermissionError` when they may not be read.
    """
    found = {name: look(kind, root) for name, kind in PROBES.items()}
    there = {name: it for name, it in found.items() if not isinstance(it, StateAbsentError)}
    intervals = configured_intervals(probes)
    return {name: with_interval(it, intervals.get(name, 0.0)) for name, it in there.items()}


def configured_intervals(probes: Probes | None) -> dict[str, float]:
    """The configured seconds between two runs, by the probe's name."""
    return {name: float(getattr(probes, name).interval_seconds) for name in PROBES} if probes else {}


ReadFindings = TypeVar("ReadFindings", ProbeResult, StateBrokenError, ProbeResult | StateBrokenError)


def with_interval(findings: ReadFindings, seconds: float) -> ReadFindings:
    """The same findings, with the interval of now where it is longer than the one of the last run: the next run comes later
    than that run knew."""
    if isinstance(findings, StateBrokenError) or seconds <= findings.run.interval_seconds:
        return findings
    return replace(findings, run=replace(findings.run, interval_seconds=seconds))


def readable(findings: Mapping[str, ProbeResult | StateBrokenError]) -> tuple[ProbeResult, ...]:
    """Without those that could not be read: after an upgrade, a probe's old ones are foreign until its next run."""
    return tuple(it for it in findings.values() if not isinstance(it, StateBrokenError))


def read_broadcasts(root: Path = paths.STATE_DIRECTORY, kept: Path = KEPT_DIRECTORY) -> dict[str, Broadcast]:
    """What is known of the channels, by name. Raises `PermissionError` or `TemporaryError` when that may not be read."""
    return channel_status.read(look, root, kept / channels.DIRECTORY.name)


def has_screen(kept: Path = KEPT_DIRECTORY) -> bool:
    """Whether livekeep was installed with the screen."""
    # Not by a Path: at each scrape, and a folder that may not be read is no fault.
    return not os.path.exists(f"{kept}/{WITHOUT_SCREEN}")  # noqa: PTH110


def error_screen_is_active(root: Path = paths.STATE_DIRECTORY) -> bool:
    """Whether livekeep-error-screen holds the screen. Raises `PermissionError` when that may not be read."""
    try:
        (root / ERROR_SCREEN_PICTURE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_stuck(written: PlayerState | PollerState, clock: Clock) -> bool:
    return clock.now_monotonic - written.written_monotonic > STUCK_SECONDS


def is_silent(findings: ProbeResult, clock: Clock) -> bool:
    """Whether a probe has missed its runs. By the monotonic clock: a board without a battery boots with a wrong time."""
    longest = SILENT_INTERVALS * findings.run.interval_seconds + SILENT_GRACE_SECONDS
    return clock.now_monotonic - findings.written_monotonic > longest


def verdict(
    poller: PollerState | StateAbsentError | StateBrokenError,
    player: PlayerState | StateAbsentError | StateBrokenError,
    error_screen_active: bool,
    clock: Clock,
    findings: Sequence[ProbeResult] = (),
) -> Health:
    """The screen's health. A state that could not be read is passed as the error that says why; findings degrade at the worst."""
    if error_screen_active:
        return Health("down", "the error screen is on: the display could not be started")
    if not isinstance(player, PlayerState):
        return Health("down", f"livekeep-player: {player}")
    trouble = player_trouble(player, clock)
    if trouble:
        return Health("down", trouble)
    if not isinstance(poller, PollerState):
        return Health("degraded", f"{shown(player)}, but livekeep-poller: {poller}")
    if is_stuck(poller, clock):
        return Health("degraded", f"{shown(player)}, but livekeep-poller is stuck: its state is {age(poller, clock)} old")
    return compare(poller, player, clock, findings)


def player_trouble(player: PlayerState, clock: Clock) -> str:
    """Why there is no good picture whatever the poller says, or ""."""
    if is_stuck(player, clock):
        return f"livekeep-player is stuck: its state is {age(player, clock)} old"
    if not player.display_up:
        return "no display: livekeep-display does not answer, or no TV is connected"
    if player.picture == "none":
        return "nothing is on the screen"
    if player.picture == "error":
        return sentence("the error picture is on the screen", player.reason)
    still = still_seconds(player)
    if player.picture == "stream" and still > WRONG_PICTURE_SECONDS:
        return f"the stream on the screen has stood still for {still:.0f} s"
    return ""


def compare(poller: PollerState, player: PlayerState, clock: Clock, findings: Sequence[ProbeResult] = ()) -> Health:
    """The judgement when both units run and a picture other than the error picture is shown."""
    wrong = wrong_picture(poller, player)
    if wrong:
        seconds = clock.now - max(poller.since, player.since)
        return Health("down" if seconds > WRONG_PICTURE_SECONDS else "degraded", f"{wrong}, for {max(seconds, 0):.0f} s")
    concerns = [outage(poller), unfinished(poller), unrest(player, clock), fault_of_picture(player)]
    concerns += [trouble_found(it, poller.state in ("live", "starting"), clock) for it in findings]
    concern = next(filter(None, concerns), "")
    if concern:
        return Health("degraded", f"{shown(player)}, but {concern}")
    return Health("ok", sentence(shown(player), player.reason))


def wrong_picture(poller: PollerState, player: PlayerState) -> str:
    """How picture and stream contradict each other, or "". A stream that plays on in an outage or before its start is right."""
    # The holding picture stands beside a stream's sound.
    is_held = player.picture == "holding" and player.stream_picture != "none"
    if poller.state == "live" and is_held:
        return "the stream is live but the holding picture is shown"
    if poller.state == "offline" and (player.picture == "stream" or player.stream_picture == "none"):
        return "the stream is off air but still shown"
    if poller.state == "error" and (is_held or poller.cause in ("refused", "bad-config")):
        return sentence(f"{shown(player)} instead of the error picture", poller.reason)
    return ""


def outage(poller: PollerState) -> str:
    if poller.cause == "rate-limited":
        return sentence("the API has to be left alone for a while", poller.reason)
    if poller.cause == "outage" or poller.state == "error":
        return sentence("the stream's state cannot be asked", poller.reason)
    if poller.consecutive_failures >= FAILURES_OF_AN_OUTAGE:
        return sentence(f"the last {poller.consecutive_failures} requests failed", poller.reason)
    return ""


def unfinished(poller: PollerState) -> str:
    """What is missing before the stream's state can be known at all."""
    return sentence("it is not known whether the stream is live", poller.reason) if poller.state == "unknown" else ""


def unrest(player: PlayerState, clock: Clock) -> str:
    """What is wrong with a stream that is or was just shown."""
    still = still_seconds(player)
    if player.picture == "stream" and still > STILL_SECONDS:
        return f"it has stood still for {still:.0f} s"
    if player.picture == "stream" and player.playback.buffering:
        return "it is waiting for data"
    stalled = player.playback.last_stall_at
    if stalled is not None and clock.now - stalled < RECENT_STALL_SECONDS:
        return "the stream stalled within the last five minutes"
    return ""


def fault_of_picture(player: PlayerState) -> str:
    """What is wrong with the picture of a stream that plays on, or ""."""
    changed = player.playback.picture_changed_at
    minutes = f" for {(player.written_at - changed) / 60:.0f} min" if changed is not None else ""
    faults: dict[StreamPicture, str] = {
        "none": "the stream has no picture, only sound",
        "blank": "the stream's picture is of one colour, such as black",
        "frozen": f"the stream's picture has not changed{minutes}",
    }
    return faults.get(player.stream_picture, "")


def trouble_found(result: ProbeResult, is_on: bool, clock: Clock) -> str:
    """What a probe's result says against the screen's health, or ""."""
    name = f"the {result.probe()} probe"
    if is_silent(result, clock):
        return f"{name} is silent: its findings are {age(result, clock)} old"
    fault = result.fault(is_on)
    return sentence(f"{name} {fault}", result.run.reason) if fault else ""


def still_seconds(player: PlayerState) -> float:
    """How long the position had not changed when the player wrote this; 0 when the display cannot say."""
    changed = player.playback.position_changed_at
    return max(player.written_at - changed, 0.0) if changed is not None else 0.0


def shown(player: PlayerState) -> str:
    others = {"stream": "the stream is shown", "none": "nothing is shown"}
    return others.get(player.picture, f"the {player.picture} picture is shown")


def age(written: state.State, clock: Clock) -> str:
    return f"{clock.now_monotonic - written.written_monotonic:.0f} s"


def sentence(start: str, reason: str) -> str:
    return f"{start}: {reason}" if reason else start


# Channels


def channel_verdicts(found: Mapping[str, Broadcast], clock: Clock) -> dict[str, Health]:
    """The health of each channel that counts."""
    return {name: channel_verdict(it, clock) for name, it in found.items() if it.counts()}


def channel_verdict(it: Broadcast, clock: Clock) -> Health:
    worker, name = it.worker, f"channel {it.channel}"
    if isinstance(worker, StateAbsentError):
        return without_worker(it, clock)
    if isinstance(worker, StateBrokenError):
        return Health("down", f"{name}: {worker}")
    silent = clock.now_monotonic - worker.written_monotonic
    if silent > channels.STALE_SECONDS:
        return Health("down", f"{name}: its worker is stuck: its state is {silent:.0f} s old")
    if channels.is_on_air(worker, clock.now_monotonic):
        concern = trouble_on_air(worker) or not_shown(it, clock)
        return Health("degraded", f"{name} is on air, but {concern}") if concern else Health("ok", f"{name} is on air")
    if worker.publishing == "refused":
        return Health("down", sentence(f"{name}: the ingest refuses it", worker.reason))
    seconds = off_air_seconds(worker, clock)
    told = sentence(f"{name} has been off air for {seconds:.0f} s", worker.reason)
    return Health("down" if seconds > OFF_AIR_SECONDS else "degraded", told)


def without_worker(it: Broadcast, clock: Clock) -> Health:
    """The health of a channel that is meant to be on air, and no worker runs."""
    name, end, meant_since = f"channel {it.channel}", it.end, it.meant_since or 0.0
    if end and end.exit_code == "exited" and end.exit_status in GIVEN_UP and end.ended_at >= meant_since:
        return Health("down", f"{name} is off air: {GIVEN_UP[end.exit_status]}")
    # A moment that is still to come was noted while the clock was wrong.
    meant_seconds = clock.now - meant_since if clock.now >= meant_since else clock.now_monotonic
    if min(meant_seconds, clock.now_monotonic) <= OFF_AIR_SECONDS:
        return Health("degraded", f"{name} is being started")
    ended = f"its worker ended ({ending(end)})" if end else ""
    if end and 0 <= clock.now - end.ended_at <= RESTART_SECONDS:
        return Health("degraded", f"{name} is being started again: {ended}")
    return Health("down", sentence(f"{name} is meant to be on air, but its worker does not run", ended))


def ending(end: ChannelEnd) -> str:
    """How a worker ended, such as "exit-code 1", in systemd's words."""
    return " ".join(filter(None, (end.result, end.exit_status))) or "it is not known how"


def trouble_on_air(worker: ChannelState) -> str:
    """What is wrong with a channel that is on air, or ""."""
    if worker.picture == "slate":
        return sentence("it shows the slate", worker.slate_reason)
    return sentence("its media cannot be listed", worker.storage_problem) if worker.storage_problem else ""


def youtube_of(it: Broadcast, clock: Clock) -> YoutubeVideo | None:
    """What YouTube shows of a channel's broadcast; None when it was not asked lately, or did not say."""
    if it.youtube is None or is_silent(it.youtube, clock):
        return None
    return next((video for video in it.youtube.videos if video.channel == it.channel and video.showing), None)


def not_shown(it: Broadcast, clock: Clock) -> str:
    """Why a channel that is on air is not to be seen at YouTube, or ""."""
    video = youtube_of(it, clock)
    return NOT_SHOWN[video.showing][0] if video and video.contradicts(clock.now) else ""


def off_air_seconds(worker: ChannelState, clock: Clock) -> float:
    """How long nothing has been acknowledged, at most since this worker started."""
    if worker.last_acknowledged_monotonic is not None:
        return max(clock.now_monotonic - worker.last_acknowledged_monotonic, 0.0)
    return min(max(clock.now - worker.started_at, 0.0), clock.now_monotonic)


def all_on_air(verdicts: Mapping[str, Health]) -> str:
    """That all of these are on air; "" for none."""
    *others, last = verdicts or [""]
    return f"channels {', '.join(others)} and {last} are on air" if others else f"channel {last} is on air" if last else ""
