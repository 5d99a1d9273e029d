"""The record part in `livekeep status`, and its problems. Pure."""

import dataclasses
from typing import Any

from livekeep.core.record_states import AlerterState, ClipsState, OpenAlert, RecorderState
from livekeep.core.text import shown
from livekeep.status.health import Clock
from livekeep.status.record_status import RecordStatus
from livekeep.system import terminal

COLOURS: dict[str, terminal.Colour] = {"critical": "red", "warning": "yellow", "info": ""}
MOST_ALERTS = 10
MOST_CLIPS = 3
MEGABYTE = 1e6
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
        rows += clip_rows(record.clips, clock)
    for fault in record.faults(clock):
        rows += [("Fault", shown(fault.sentence)), ("Do", shown(fault.advice))]
    return terminal.table(rows)


def recorded(it: RecorderState, clock: Clock) -> str:
    running = f"{it.sessions_running} session{'' if it.sessions_running == 1 else 's'} running"
    counted = f"{it.calls} calls and {it.events} events since {terminal.local_time(it.started_at, clock.now)}"
    oldest = f", calls from {terminal.local_time(it.oldest_call_at, clock.now)} on" if it.oldest_call_at else ""
    return f"{running}; {counted}; {it.database_bytes / MEGABYTE:.1f} MB{oldest}"


def alert_rows(it: AlerterState, clock: Clock) -> list[Row]:
    if not it.open:
        receivers = f"{it.channels} channel{'' if it.channels == 1 else 's'} of messages"
        return [("Alerts", f"none open; {it.rules} rules, {receivers}, {it.delivered} delivered")]
    rows = [row for alert in it.open[:MOST_ALERTS] for row in alert_row(alert, clock)]
    more = len(it.open) - MOST_ALERTS
    return [*rows, ("", f"and {more} more: livekeep alert list")] if more > 0 else rows


def alert_row(alert: OpenAlert, clock: Clock) -> list[Row]:
    severity = terminal.paint(alert.severity, COLOURS[alert.severity])
    silenced = " (silenced)" if alert.is_silenced else ""
    began = terminal.since(alert.since, clock.now)
    told = f"{severity}: {shown(alert.sentence)} [{shown(alert.rule)}]{silenced}, since {began}"
    return [("Alert", told), *([("Do", shown(alert.advice))] if alert.advice else [])]


def clip_rows(it: ClipsState, clock: Clock) -> list[Row]:
    sources = f"{it.sources} source{'' if it.sources == 1 else 's'}"
    known = f"{it.clips} of {sources}, looked at {terminal.duration(clock.now - it.ran_at)} ago"
    hot = [("Takes off", shown(f"{clip.name or clip.clip}: {clip.reason}")) for clip in it.hot[:MOST_CLIPS]]
    return [("Clips", known), *hot]


def document(record: RecordStatus, clock: Clock) -> dict[str, Any]:
    """The same for programs. An unreadable state is null."""
    return {
        "recorder": plain(record.recorder),
        "alerter": plain(record.alerter),
        "clips": plain(record.clips),
        "faults": [fault._asdict() for fault in record.faults(clock)] if record.is_there() else [],
    }


def plain(it: RecorderState | AlerterState | ClipsState | Exception) -> dict[str, Any] | None:
    return None if isinstance(it, Exception) else dataclasses.asdict(it)
