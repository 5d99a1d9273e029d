"""The line about the next start, in the time zones of the world."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from livekeep.screen.player.next_start_text import next_change, next_start_text

SetZone = Callable[[str], None]


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetZone]:
    def change(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield change
    monkeypatch.undo()
    time.tzset()


def at(zone: str, text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def test_a_changed_zone_is_taken_without_a_restart(set_zone: SetZone) -> None:
    set_zone("UTC")
    now, start = at("UTC", "2025-06-02 09:00"), at("UTC", "2025-06-02 18:00")
    assert next_start_text(start, now) == "Next: today 18:00"
    # As `timedatectl set-timezone` does: nobody tells the program.
    os.environ["TZ"] = "Asia/Tokyo"
    assert next_start_text(start, now) == "Next: Tuesday 03:00"


@pytest.mark.parametrize(
    ("zone", "now", "start", "line"),
    [
        ("UTC", "2025-06-02 09:00", "2025-06-02 10:00", "Next: today 10:00"),
        ("UTC", "2025-06-02 23:00", "2025-06-03 00:30", "Next: Tuesday 00:30"),
        ("UTC", "2025-06-02 09:00", "2025-06-08 08:59", "Next: Sunday 08:59"),
        ("UTC", "2025-06-02 09:00", "2025-06-08 09:00", "Next: Sunday, 8 June, 09:00"),
        ("UTC", "2025-12-30 09:00", "2026-01-11 10:00", "Next: Sunday, 11 January, 10:00"),
        ("Europe/Berlin", "2025-03-29 12:00", "2025-03-30 10:00", "Next: Sunday 10:00"),
        ("Europe/Berlin", "2025-03-30 01:30", "2025-03-30 03:30", "Next: today 03:30"),
        ("Asia/Kathmandu", "2025-06-02 09:00", "2025-06-02 18:45", "Next: today 18:45"),
        ("Pacific/Auckland", "2025-06-02 23:30", "2025-06-03 00:00", "Next: Tuesday 00:00"),
    ],
)
def test_the_day_and_the_hour_are_local(set_zone: SetZone, zone: str, now: str, start: str, line: str) -> None:
    set_zone(zone)
    assert next_start_text(at(zone, start), at(zone, now)) == line


@pytest.mark.parametrize(
    ("remaining", "line"),
    [
        (600.5, "Next: today 10:00"),
        (600.0, "Live in 10:00"),
        (60.0, "Live in 1:00"),
        (59.4, "Live in 1:00"),
        (0.5, "Live in 0:01"),
        (0.0, "Starting soon"),
        (-1800.0, "Starting soon"),
        (-1801.0, ""),
    ],
)
def test_the_countdown_and_after(set_zone: SetZone, remaining: float, line: str) -> None:
    set_zone("UTC")
    start = at("UTC", "2025-06-02 10:00")
    assert next_start_text(start, start - remaining) == line


def test_without_a_start_there_is_no_line() -> None:
    assert next_start_text(None, 1e9) == ""
    assert next_change(None, 1e9) > 1e9


@pytest.mark.parametrize("start", [1e12, 1e18, 1e300, -1e18])
def test_a_senseless_start_is_no_fault(start: float) -> None:
    assert isinstance(next_start_text(start, 1.7e9), str)
    assert next_change(start, 1.7e9) > 1.7e9


def test_the_line_changes_only_when_said(set_zone: SetZone) -> None:
    set_zone("Europe/Berlin")
    start = at("Europe/Berlin", "2025-03-30 10:00")
    now, seen = start - 900.25, []
    while now < start + 1900:
        line, change = next_start_text(start, now), next_change(start, now)
        assert 0 < change - now <= 60
        if change < start:
            assert next_start_text(start, now + (change - now) * 0.99) == line
        seen.append(line)
        now = change + 0.002
    countdown = [f"Live in {left // 60}:{left % 60:02d}" for left in range(600, 0, -1)]
    assert [line for line in seen if line.startswith("Live")] == countdown
    assert seen[-1] == ""
