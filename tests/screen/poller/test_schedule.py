"""When the next start is, from all the forms in which the API tells it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from livekeep.screen.poller.schedule import LATE_SECONDS, kept, next_start


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = at("2026-10-15T08:00:00")
"""A Thursday."""


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"next_occurrence_time": "2026-10-18T09:30:00+00:00"}, "2026-10-18T09:30:00"),
        ({"next_occurrence_time": "2026-10-18T11:30:00+02:00"}, "2026-10-18T09:30:00"),
        ({"next_occurrence_time": None, "schedule": None}, None),
        ({"next_occurrence_time": "2026-10-15T07:45:00Z"}, "2026-10-15T07:45:00"),
        ({"next_occurrence_time": "2026-10-15T07:20:00Z"}, None),
        ({"schedule": {"type": "single", "start_time": "2026-10-16T10:00:00Z"}}, "2026-10-16T10:00:00"),
        (
            {
                "next_occurrence_time": "2026-01-01T00:00:00Z",
                "schedule": {"type": "single", "start_time": "2026-10-16T10:00:00Z"},
            },
            "2026-10-16T10:00:00",
        ),
        ({"schedule": {"type": "weekly", "daily_time": "10:00:00Z", "weekdays": [7]}}, "2026-10-18T10:00:00"),
        ({"schedule": {"type": "weekly", "daily_time": "10:00:00Z", "weekdays": ["4", 7]}}, "2026-10-15T10:00:00"),
        ({"schedule": {"type": "weekly", "daily_time": "07:00:00Z", "weekdays": [4]}}, "2026-10-22T07:00:00"),
        ({"schedule": {"type": "weekly", "daily_time": "07:45:00Z", "weekdays": [4]}}, "2026-10-15T07:45:00"),
        (
            {
                "schedule": {
                    "type": "weekly",
                    "daily_time": "10:00:00Z",
                    "weekdays": [7],
                    "scheduled_time": "2026-11-01T10:00:00Z",
                }
            },
            "2026-11-01T10:00:00",
        ),
        ({"schedule": {"rrule": "FREQ=WEEKLY;BYDAY=SU", "start_time": "2026-09-06T09:30:00Z"}}, "2026-10-18T09:30:00"),
        ({"schedule": {"rrule": "RRULE:FREQ=WEEKLY", "start_time": "2026-09-06T09:30:00Z"}}, "2026-10-18T09:30:00"),
        ({"schedule": {"rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU", "start_time": "2026-10-04T09:30:00Z"}}, "2026-10-18T09:30:00"),
        ({"schedule": {"rrule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU", "start_time": "2026-09-27T09:30:00Z"}}, "2026-10-25T09:30:00"),
        ({"schedule": {"rrule": "FREQ=DAILY;INTERVAL=3", "start_time": "2026-10-10T09:00:00Z"}}, "2026-10-16T09:00:00"),
        ({"schedule": {"rrule": "FREQ=DAILY;UNTIL=20261014", "start_time": "2026-10-10T09:00:00Z"}}, None),
        (
            {"schedule": {"rrule": "FREQ=DAILY;UNTIL=20261016T090000Z", "start_time": "2026-10-10T09:00:00Z"}},
            "2026-10-15T09:00:00",
        ),
        ({"schedule": {"rrule": "FREQ=DAILY;COUNT=3", "start_time": "2026-10-10T09:00:00Z"}}, None),
        ({"schedule": {"rrule": "FREQ=YEARLY;BYSETPOS=2", "start_time": "2026-10-10T09:00:00Z"}}, None),
        ({"schedule": {"rrule": "FREQ=WEEKLY;BYDAY=2SU", "start_time": "2026-10-10T09:00:00Z"}}, None),
        ({"streamable_clip": {"live": {"scheduled_start_time": "2026-10-20T09:00:00Z"}}}, "2026-10-20T09:00:00"),
        ({"live": {"scheduled_start_time": "2026-10-20T09:00:00Z"}}, "2026-10-20T09:00:00"),
        ({"live": None, "schedule": []}, None),
        ([], None),
        (None, None),
        ({"next_occurrence_time": 17, "schedule": {"type": 3, "weekdays": "1", "daily_time": 9, "rrule": 1}}, None),
        ({"schedule": {"daily_time": "ten", "weekdays": [1]}}, None),
        ({"schedule": {"daily_time": "10:00:00Z", "weekdays": [0, 8, None, "x", 1.5, "", "12"]}}, None),
        ({"schedule": {"rrule": "FREQ=WEEKLY;INTERVAL=0;COUNT=x", "start_time": "1970-01-01T00:00:00Z"}}, "2026-10-22T00:00:00"),
        ({"schedule": {"rrule": "FREQ=DAILY;COUNT=²", "start_time": "9999-12-31T23:00:00-14:00"}}, None),
        ({"schedule": {"rrule": "FREQ=DAILY;UNTIL=99999999", "start_time": "2026-10-10T09:00:00Z"}}, None),
    ],
)
def test_the_next_start_is_found(document: Any, expected: str | None) -> None:
    assert next_start(document, NOW) == (None if expected is None else at(expected))


def test_a_weekly_rule_keeps_its_local_time_over_the_change_of_clocks() -> None:
    schedule = {"rrule": "FREQ=WEEKLY;BYDAY=SU", "start_time": "2026-10-04T08:00:00Z", "time_zone": "Europe/Berlin"}
    assert next_start({"schedule": schedule}, at("2026-10-20T00:00:00")) == at("2026-10-25T09:00:00")
    assert next_start({"schedule": {**schedule, "time_zone": "No/Where"}}, at("2026-10-20T00:00:00")) == at("2026-10-25T08:00:00")


def test_a_weekly_schedule_always_has_a_next_start_within_a_week() -> None:
    for hours in range(24 * 8):
        now = NOW + hours * 3600
        for day in range(1, 8):
            found = next_start({"schedule": {"daily_time": "10:15:00Z", "weekdays": [day]}}, now)
            assert found is not None
            assert now - LATE_SECONDS < found <= now + timedelta(days=7).total_seconds()
            assert datetime.fromtimestamp(found, UTC).isoweekday() == day


def test_a_start_that_has_just_passed_is_kept_for_a_while() -> None:
    week = 7 * 86400.0
    assert kept(NOW - 60, NOW + week, NOW) == NOW - 60
    assert kept(NOW - LATE_SECONDS - 1, NOW + week, NOW) == NOW + week
    assert kept(NOW + 60, NOW + week, NOW) == NOW + week
    assert kept(None, None, NOW) is None
    assert kept(None, NOW - LATE_SECONDS - 1, NOW) is None
