"""Figures of the record part: what recorder, alerter and clip analyzer say of themselves.

A service that does not run has no figures, and that is no fault here. One whose state is too old for a service that lives has
none either, and that is a fault, as is a state that cannot be read.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

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


class Source(Generic[PartState]):
    """One of the three."""

    def __init__(self, file: StateFile[PartState], samples_of: Callable[[PartState], Iterator[Sample]]) -> None:
        self._file: StateFile[PartState] = file
        self._samples_of: Callable[[PartState], Iterator[Sample]] = samples_of

    def look(self, clock: Clock) -> tuple[Iterable[Sample], str]:
        """Its figures, and why there are none though there is a state, or ""."""
        found = self._file.look()
        if isinstance(found, StateAbsentError):
            return (), ""
        if isinstance(found, StateBrokenError):
            return (), str(found)
        if record_status.is_silent(found, clock):
            return (), f"{found.FILE}: is {age(found, clock)} old; its unit is stuck: see livekeep status"
        return self._samples_of(found), ""


class Record:
    """The collector of the three. What can be told comes before an error."""

    def __init__(self, states: States) -> None:
        self._recorder = Source(states.recorder, recorder_samples)
        self._alerter = Source(states.alerter, alerter_samples)
        self._clips = Source(states.clips, clips_samples)

    def collect(self, now: float) -> Iterable[Sample]:
        """Raises `TemporaryError`."""
        clock = Clock(now, time.monotonic())
        found = [source.look(clock) for source in (self._recorder, self._alerter, self._clips)]
        for samples, _fault in found:
            yield from samples
        if faults := "; ".join(fault for _samples, fault in found if fault):
            raise TemporaryError(faults)
