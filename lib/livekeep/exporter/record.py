"""Metrics of the record part, from the states of recorder, alerter and clip analyzer.

A service that does not run has no samples; that is not a fault here. A stale or unreadable state has no samples either, and
is a fault.
"""

from collections.abc import Iterator
from typing import TypeVar

from livekeep.core.config.record import SEVERITIES
from livekeep.core.errors import TemporaryError
from livekeep.core.record_states import AlerterState, ClipsState, RecorderState
from livekeep.exporter.metrics import Sample
from livekeep.exporter.states import States
from livekeep.status import record_status
from livekeep.status.health import Clock
from livekeep.system.metric_family import known

PartState = TypeVar("PartState", RecorderState, AlerterState, ClipsState)


def collect(states: States, clock: Clock) -> Iterator[Sample]:
    """Raises `TemporaryError` after all readable samples."""
    faults: list[str] = []

    def current(kind: type[PartState]) -> PartState | None:
        try:
            return states.current(kind, clock, record_status.is_silent)
        except TemporaryError as error:
            faults.append(str(error))
            return None

    if recorder := current(RecorderState):
        yield from known(
            (
                ("livekeep_record_well", not recorder.problem and recorder.is_sound),
                ("livekeep_record_entries_total", recorder.entries),
                ("livekeep_record_calls_total", recorder.calls),
                ("livekeep_record_events_total", recorder.events),
                ("livekeep_record_duplicates_total", recorder.duplicates),
                ("livekeep_record_lost_entries_total", recorder.lost_entries),
                ("livekeep_record_lost_calls_total", recorder.lost_calls),
                ("livekeep_record_commits_total", recorder.commits),
                ("livekeep_record_sessions_running", recorder.sessions_running),
                ("livekeep_record_lag_seconds", recorder.lag_seconds),
                ("livekeep_record_last_commit_timestamp_seconds", recorder.last_commit_at),
                ("livekeep_record_database_bytes", recorder.database_bytes),
                ("livekeep_record_oldest_call_timestamp_seconds", recorder.oldest_call_at),
                ("livekeep_record_last_check_timestamp_seconds", recorder.checked_at),
            )
        )
    if alerter := current(AlerterState):
        for severity in SEVERITIES:
            yield "livekeep_record_alerts_open", (severity,), sum(alert.severity == severity for alert in alerter.open)
        yield from known(
            (
                ("livekeep_record_alerter_problems", len(alerter.problems)),
                ("livekeep_record_messages_waiting", alerter.waiting),
                ("livekeep_record_messages_delivered_total", alerter.delivered),
                ("livekeep_record_deliveries_failed_total", alerter.failed),
                ("livekeep_record_last_delivery_timestamp_seconds", alerter.last_delivered_at),
            )
        )
    if clips := current(ClipsState):
        yield "livekeep_record_clips_success", (), clips.outcome == "succeeded"
        yield "livekeep_record_clips_last_run_timestamp_seconds", (), clips.ran_at
        yield "livekeep_record_clips", (), clips.clips
        yield "livekeep_record_clips_taking_off", (), len(clips.hot)
    if faults:
        raise TemporaryError("; ".join(faults))
