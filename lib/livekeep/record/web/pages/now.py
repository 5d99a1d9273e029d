"""Now: the TV's picture, the health and advice, the channels, running jobs, open alerts, the box. Designed for a phone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from livekeep.core import channels
from livekeep.core.channels import ChannelState
from livekeep.core.errors import TemporaryError
from livekeep.core.record_states import AlerterState
from livekeep.core.state import PlayerState, PollerState, TvState
from livekeep.record.reading import NoRecordError
from livekeep.record.store import queries
from livekeep.record.web.address import SECOND, View
from livekeep.record.web.sources import Sources
from livekeep.status import snapshot, tv_status
from livekeep.status.health import Clock
from livekeep.status.screen_verdict import shown
from livekeep.status.snapshot import Snapshot
from livekeep.system import screen_picture

HEADLINES = {"ok": "All is well", "degraded": "Something is not right", "down": "Out of order", "unknown": "Not known"}
SEVERITIES = ("critical", "warning", "info")
RECENT_SECONDS = 24 * 3600
NEWEST = 5
STEPS = 3
"""The number of running steps shown per running session."""


@dataclass(frozen=True)
class Verdict:
    level: str
    """ok, degraded, down, or unknown."""
    sentence: str
    advice: tuple[str, ...]

    @property
    def headline(self) -> str:
        return HEADLINES[self.level]


@dataclass(frozen=True)
class Tv:
    """The TV's state, and the newest screenshot."""

    picture_stamp: str
    """Changes with the screenshot; "" if there is none."""
    picture_at: float | None
    shown: str
    since: float
    player: PlayerState | None
    poller: PollerState | None
    off: str
    """That it is off on purpose, until when and why, or ""."""


@dataclass(frozen=True)
class ChannelRow:
    name: str
    level: str
    sentence: str
    is_on_air: bool
    worker: ChannelState | None


@dataclass(frozen=True)
class Running:
    session: queries.Session
    steps: tuple[queries.Step, ...]
    """The running ones, the outermost first."""


def collect(sources: Sources, view: View) -> Mapping[str, Any]:
    clock = sources.clock()
    alerts = sources.state(AlerterState)
    seen: Snapshot | Exception
    try:
        seen = snapshot.read(clock, sources.states, sources.kept, sources.settings.probes)
    except (PermissionError, TemporaryError) as error:
        seen = error
    rows = channel_rows(seen) if isinstance(seen, Snapshot) else ()
    content: dict[str, Any] = {
        "verdict": verdict(seen, rows),
        "tv": tv(sources, clock) if snapshot.has_screen(sources.kept) else None,
        "channels": rows,
        "alerts": sorted(alerts.open, key=lambda it: (SEVERITIES.index(it.severity), -it.since)) if alerts else [],
        "faults": seen.record.faults(clock) if isinstance(seen, Snapshot) else (),
        "record_problem": None,
        "running": (),
        "failed": (),
        "totals": queries.SessionTotals(),
        "boxes": (),
        "hour": int(clock.now * SECOND) - RECENT_SECONDS * SECOND,
    }
    try:
        return content | recorded(sources, clock.now)
    except NoRecordError as error:
        return content | {"record_problem": error}


def recorded(sources: Sources, now: float) -> dict[str, Any]:
    """The record's data for now. Raises `NoRecordError`."""
    connection = sources.connection()
    recent = queries.Filter(begin=int((now - RECENT_SECONDS) * SECOND))
    failed = queries.Filter(begin=recent.begin, outcome="failed")
    lost = queries.Filter(begin=recent.begin, outcome="lost")
    rows = [*queries.sessions(connection, failed, NEWEST).rows, *queries.sessions(connection, lost, NEWEST).rows]
    running = []
    for session in queries.running_sessions(connection):
        steps = [step for step in queries.steps(connection, session.id) if step.outcome == "running"]
        running.append(Running(session, tuple(steps[:STEPS])))
    # The newest sample of each machine with one in the last ten minutes.
    samples = queries.samples(connection, queries.Filter(begin=int((now - 600) * SECOND)))
    return {
        "running": tuple(running),
        "failed": sorted(rows, key=lambda row: -row.began_at)[:NEWEST],
        "totals": queries.session_totals(connection, recent),
        "boxes": tuple({sample.hostname: sample for sample in samples}.values()),
    }


def verdict(seen: Snapshot | Exception, rows: tuple[ChannelRow, ...]) -> Verdict:
    if isinstance(seen, Exception):
        return Verdict("unknown", f"the states cannot be read: {seen}", ("sudo livekeep doctor",))
    if not seen.has_screen and not rows:
        grave = [fault for fault in seen.record.faults(seen.clock) if fault.is_grave]
        if not grave:
            return Verdict("ok", "what runs here is recorded", ())
        return Verdict("degraded", grave[0].sentence, tuple(f"Run: {fault.advice}" for fault in grave))
    health = seen.verdict().whole()
    return Verdict(health.level, health.sentence, advice(seen, rows) if health.level != "ok" else ())


def advice(seen: Snapshot, rows: tuple[ChannelRow, ...]) -> tuple[str, ...]:
    """The programs' advice, and general advice."""
    states = (seen.tv, seen.poller, seen.player, *(row.worker for row in rows))
    texts = [one.advice for one in states if isinstance(one, TvState | PollerState | PlayerState | ChannelState)]
    return tuple(dict.fromkeys([*filter(None, texts), "Run: sudo livekeep doctor"]))


def tv(sources: Sources, clock: Clock) -> Tv:
    player, poller, state = sources.state(PlayerState), sources.state(PollerState), sources.state(TvState)
    off = tv_status.off_text(state, clock) if state and tv_status.is_off(state, clock) else ""
    file = sources.states / screen_picture.FILE
    try:
        status = file.stat()
        stamp, taken_at = f"{status.st_mtime_ns:x}", status.st_mtime
    except OSError:
        stamp, taken_at = "", None
    text = shown(player) if player else "unknown: livekeep-player does not run"
    return Tv(stamp, taken_at, text, player.since if player else 0.0, player, poller, off)


def channel_rows(seen: Snapshot) -> tuple[ChannelRow, ...]:
    rows = []
    for name, judged in seen.verdict().channels.items():
        worker = seen.channels[name].worker
        known = worker if isinstance(worker, ChannelState) else None
        is_on_air = known is not None and channels.is_on_air(known, seen.clock.now_monotonic)
        rows.append(ChannelRow(name, judged.level, judged.sentence, is_on_air, known))
    return tuple(rows)
