"""Figures of the record part, from what its services write; stopped, stuck and broken ones."""

import time
from pathlib import Path

import pytest

from livekeep.core import state
from livekeep.core.errors import TemporaryError
from livekeep.exporter.metrics import RECORD, Sample
from livekeep.exporter.record import Record
from livekeep.exporter.states import States
from tests.exporter.full_states import CLIPS, NOW, OF_RECORD, RECORDER, write

EXPECTED = {
    "well": 1, "entries_total": 900, "calls_total": 123_456, "events_total": 78, "sessions_running": 2, "duplicates_total": 3,
    "lost_entries_total": 1, "lost_calls_total": 45, "commits_total": 120, "lag_seconds": 0.7, "database_bytes": 71e6,
    "last_commit_timestamp_seconds": NOW - 2, "oldest_call_timestamp_seconds": NOW - 90 * 86400,
    "last_check_timestamp_seconds": NOW - 3600, "alerts_open critical": 1, "alerts_open warning": 1, "alerts_open info": 0,
    "alerter_problems": 1, "messages_waiting": 1, "messages_delivered_total": 12, "deliveries_failed_total": 2,
    "last_delivery_timestamp_seconds": NOW - 60, "clips_success": 1, "clips_last_run_timestamp_seconds": NOW - 300, "clips": 150,
    "clips_taking_off": 1,
}  # fmt: skip


def collect(root: Path) -> tuple[dict[str, float], str]:
    """The figures by name and label, and the fault that came after them, or ""."""
    found: list[Sample] = []
    fault = ""
    try:
        found.extend(Record(States(root)).collect(time.time()))
    except TemporaryError as error:
        fault = str(error)
    # A list that is extended by a generator keeps what came before its error.
    return {" ".join([name.removeprefix("livekeep_record_"), *labels]): float(value) for name, labels, value in found}, fault


def test_all_that_the_services_say(tmp_path: Path) -> None:
    for each in OF_RECORD:
        write(each, tmp_path)
    found, fault = collect(tmp_path)
    assert (found, fault) == (EXPECTED, "")
    assert {f"livekeep_record_{name.partition(' ')[0]}" for name in found} == set(RECORD)


def test_a_machine_without_the_part_has_no_figures(tmp_path: Path) -> None:
    assert collect(tmp_path) == ({}, "")


@pytest.mark.parametrize(("written", "age", "prefix"), [(RECORDER, 300, "calls_total"), (CLIPS, 4000, "clips")])
def test_a_stuck_service_has_none_and_is_a_fault(written: state.State, age: float, prefix: str, tmp_path: Path) -> None:
    for each in OF_RECORD:
        write(each, tmp_path, age if each is written else 0.0)
    found, fault = collect(tmp_path)
    assert prefix not in found
    assert "messages_waiting" in found
    assert written.FILE in fault
    assert "is stuck" in fault


def test_a_broken_state_is_a_fault(tmp_path: Path) -> None:
    write(RECORDER, tmp_path)
    state.path_of(type(RECORDER), tmp_path).write_text("{")
    found, fault = collect(tmp_path)
    assert found == {}
    assert "recorder/state.json" in fault
