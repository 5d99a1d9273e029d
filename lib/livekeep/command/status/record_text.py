"""The record part in `livekeep status`, and its problems. Pure."""

import dataclasses
from typing import Any

from livekeep.core.record_states import AlerterState, ClipsState, RecorderState
from livekeep.core.text import shown
from livekeep.status.health import Clock
from livekeep.status.record_status import RecordStatus
from livekeep.system import terminal

MOST_ALERTS = 10
MOST_CLIPS = 3
Row = tuple[str, str]


def overview(record: RecordStatus, clock: Clock) -> str:
    """What is recorded, open alerts, hot clips, and the part's problems; "" if it has never run."""
    if not record.is_there():
        return ""
    rows: list[Row] = []
    if isinstance(record.recorder, RecorderState):
        rows.append(("Record", recorded(record.recorder, clock)))
    if isinstance(record.alerter, AlerterState):
        rows += alert_rows(record.alerter, clock)
    if isinstance(record.clips, ClipsState):
        it = record.clips
        last_run = terminal.duration(clock.now - it.ran_at)
        rows.append(("Clips", f"{it.clips} of {counted(it.sources, 'source')}, last checked {last_run} ago"))
        rows += [("Takes off", shown(f"{clip.name or clip.clip}: {clip.reason}")) for clip in it.hot[:MOST_CLIPS]]
    for fault in record.faults(clock):
        rows += [("Fault", shown(fault.sentence)), ("Do", shown(fault.advice))]
    return terminal.table(rows)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def recorded(it: RecorderState, clock: Clock) -> str:
    calls = f"{it.calls} calls and {it.events} events since {terminal.local_time(it.started_at, clock.now)}"
    oldest = f", calls from {terminal.local_time(it.oldest_call_at, clock.now)} on" if it.oldest_call_at else ""
    return f"{counted(it.sessions_running, 'session')} running; {calls}; {it.database_bytes / 1e6:.1f} MB{oldest}"


def alert_rows(it: AlerterState, clock: Clock) -> list[Row]:
    if not it.open:
        return [("Alerts", f"none open; {it.rules} rules, {counted(it.channels, 'message channel')}, {it.delivered} delivered")]
    colours: dict[str, terminal.Colour] = {"critical": "red", "warning": "yellow", "info": ""}
    rows: list[Row] = []
    for alert in it.open[:MOST_ALERTS]:
        severity = terminal.paint(alert.severity, colours[alert.severity])
        silenced = " (silenced)" if alert.is_silenced else ""
        since = terminal.since(alert.since, clock.now)
        rows.append(("Alert", f"{severity}: {shown(alert.sentence)} [{shown(alert.rule)}]{silenced}, since {since}"))
        if alert.advice:
            rows.append(("Do", shown(alert.advice)))
    if len(it.open) > MOST_ALERTS:
        rows.append(("", f"and {len(it.open) - MOST_ALERTS} more: livekeep alert list"))
    return rows


def document(record: RecordStatus, clock: Clock) -> dict[str, Any]:
    """The same for programs. An unreadable state is null."""
    states = {"recorder": record.recorder, "alerter": record.alerter, "clips": record.clips}
    return {
        **{name: None if isinstance(it, Exception) else dataclasses.asdict(it) for name, it in states.items()},
        "faults": [fault._asdict() for fault in record.faults(clock)] if record.is_there() else [],
    }
