"""Metrics of the record part, from the states of recorder, alerter and clip analyzer.

A service that does not run has no samples; that is not a fault here. A stale or unreadable state has no samples either, and
is a fault.
"""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from livekeep.core.config.record import SEVERITIES
from livekeep.core.errors import TemporaryError
from livekeep.core.record_states import AlerterState, ClipsState, RecorderState
from livekeep.core.state import StateAbsentError, StateBrokenError
from livekeep.exporter.metrics import Sample
from livekeep.exporter.states import StateFile, States
from livekeep.status import record_status
from livekeep.status.health import Clock, age
from livekeep.system.metric_family import known

PartState = TypeVar("PartState", RecorderState, AlerterState, ClipsState)


def recorder_samples(it: RecorderState) -> Iterator[Sample]:
    yield from known(
        (
            ("livekeep_record_well", not it.problem and it.is_sound),
            ("livekeep_record_entries_total", it.entries),
            ("livekeep_record_calls_total", it.calls),
            ("livekeep_record_events_total", it.events),
            ("livekeep_record_duplicates_total", it.duplicates),
            ("livekeep_record_lost_entries_total", it.lost_entries),
            ("livekeep_record_lost_calls_total", it.lost_calls),
            ("livekeep_record_commits_total", it.commits),
            ("livekeep_record_sessions_running", it.sessions_running),
            ("livekeep_record_lag_seconds", it.lag_seconds),
            ("livekeep_record_last_commit_timestamp_seconds", it.last_commit_at),
            ("livekeep_record_database_bytes", it.database_bytes),
            ("livekeep_record_oldest_call_timestamp_seconds", it.oldest_call_at),
            ("livekeep_record_last_check_timestamp_seconds", it.checked_at),
        )
    )


def alerter_samples(it: AlerterState) -> Iterator[Sample]:
    for severity in SEVERITIES:
        yield "livekeep_record_alerts_open", (severity,), sum(alert.severity == severity for alert in it.open)
    yield from known(
        (
            ("livekeep_record_alerter_problems", len(it.problems)),
            ("livekeep_record_messages_waiting", it.waiting),
            ("livekeep_record_messages_delivered_total", it.delivered),
            ("livekeep_record_deliveries_failed_total", it.failed),
            ("livekeep_record_last_delivery_timestamp_seconds", it.last_delivered_at),
        )
    )


def clips_samples(it: ClipsState) -> Iterator[Sample]:
    yield "livekeep_record_clips_success", (), it.outcome == "succeeded"
    yield "livekeep_record_clips_last_run_timestamp_seconds", (), it.ran_at
    yield "livekeep_record_clips", (), it.clips
    yield "livekeep_record_clips_taking_off", (), len(it.hot)


class Record:
    """The source for all three. Readable samples come before an error."""

    def __init__(self, states: States) -> None:
        self._states = states

    def collect(self, now: float) -> Iterator[Sample]:
        """Raises `TemporaryError`."""
        clock, faults = Clock(now, time.monotonic()), list[str]()
        yield from self._samples(self._states.recorder, recorder_samples, clock, faults)
        yield from self._samples(self._states.alerter, alerter_samples, clock, faults)
        yield from self._samples(self._states.clips, clips_samples, clock, faults)
        if faults:
            raise TemporaryError("; ".join(faults))

    def _samples(
        self, file: StateFile[PartState], samples_of: Callable[[PartState], Iterator[Sample]], clock: Clock, faults: list[str]
    ) -> Iterator[Sample]:
        """The samples of one state. If a state exists without samples, the reason is added to `faults`."""
        state = file.look()
        if isinstance(state, StateBrokenError):
            faults.append(str(state))
        elif isinstance(state, StateAbsentError):
            return
        elif record_status.is_silent(state, clock):
            faults.append(f"{state.FILE}: is {age(state, clock)} old; its unit is stuck: see livekeep status")
        else:
            yield from samples_of(state)
