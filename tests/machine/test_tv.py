"""The TV as a plan says: real timers and the path unit start livekeep-tv, and the picture goes and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.machine.machine import wait_for
from tests.machine.room import fetch
from tests.machine.screen import Screen

SERVICE, TIMER, PATH = "livekeep-tv.service", "livekeep-tv.timer", "livekeep-tv.path"
OFF = {"daily": "off"}
LATE_SECONDS = 5.0
"""After the plan's time, on a machine that runs other tests too."""


class Planned:
    """A screen with a plan; the picture is black while the TV is off."""

    def __init__(self, screen: Screen) -> None:
        self.screen, self.machine = screen, screen.machine

    def set_clock(self) -> None:
        """As systemd-timesyncd says that it has synchronised the clock."""
        self.machine.run("mkdir -p /run/systemd/timesync; touch /run/systemd/timesync/synchronized")

    def apply(self, schedule: dict[str, Any]) -> str:
        self.screen.write_config({"schedule": schedule, "tv": {"method": "black"}})
        return self.screen.livekeep("apply", check=True)

    def state(self) -> dict[str, Any]:
        return self.screen.json_of("tv/state.json")

    def is_switched(self, is_wanted: bool, within: float = 45.0) -> dict[str, Any]:
        """Wait until livekeep-tv has switched the TV; the state."""
        return self.screen.until(
            f"wanted: {is_wanted}", lambda: it if (it := self.state()).get("is_wanted") is is_wanted else {}, within
        )


@pytest.fixture
def planned(screen: Screen) -> Iterator[Planned]:
    it = Planned(screen)
    it.set_clock()
    # Nor the end of another test's event counts.
    screen.machine.run("rm -f /run/livekeep/tv/*.json")
    yield it
    screen.machine.run("rm -f /run/livekeep/tv/by_hand.json")
    screen.write_config()
    screen.livekeep("apply", check=True)
    it.is_switched(True)


def minute(after_seconds: float) -> datetime:
    """The first full minute after that time."""
    moment = datetime.now(UTC) + timedelta(seconds=after_seconds + 60)
    return moment.replace(second=0, microsecond=0)


def test_the_tv_goes_on_when_the_plan_says_so_and_for_an_event(planned: Planned) -> None:
    screen = planned.screen
    begin = minute(8)
    planned.apply({"daily": f"{begin:%H:%M}-{begin + timedelta(hours=1):%H:%M}"})
    off = planned.is_switched(False)
    assert (off["until"], off["method"]) == (begin.timestamp(), "black")
    screen.shows("black")
    # The same moment has a line of the timer, and a timer of its own.
    timers = planned.machine.systemctl("list-timers", "--all", "--no-legend", "livekeep-tv*").stdout
    assert f"livekeep-tv-at-{begin.timestamp() - 5:.0f}.timer" in timers
    assert f"OnCalendar=*-*-* {begin:%H:%M}:00" in planned.machine.read(f"/etc/systemd/system/{TIMER}.d/60-plan.conf")
    on = planned.is_switched(True, 90)
    screen.shows("holding")
    late = on["since"] - begin.timestamp()
    print(f"the TV went on {late:.2f} s after the plan's time")
    assert 0 <= late < LATE_SECONDS
    assert f"{begin:%H:%M}" in on["reason"]
    # An event at a time at which the plan is off.
    planned.apply(OFF)
    planned.is_switched(False)
    screen.shows("black")
    screen.goes_live()
    assert planned.state()["reason"] == "the stream is live"
    screen.vimeo.go_off()
    state = screen.until("the event is over", lambda: it if not (it := planned.state())["is_live"] else {})
    assert (state["is_wanted"], state["until"]) == (True, state["last_live"] + 900)
    screen.shows("holding")
    assert planned.machine.failed_units() == ""


def test_by_hand_until_the_next_change(planned: Planned) -> None:
    screen = planned.screen
    planned.apply({"daily": "on"})
    planned.is_switched(True)
    assert screen.livekeep("tv", "off", check=True) == "off on purpose (black picture): switched by hand\n"
    screen.shows("black")
    # It is no fault, and the exporter may know it.
    assert screen.livekeep("health", check=True) == "ok: the TV is off on purpose (black picture): switched by hand\n"
    page = fetch(planned.machine, "http://127.0.0.1:9877/metrics").body.decode()
    assert "\nlivekeep_screen_wanted 0.0\n" in page and "\nlivekeep_tv_problem 0.0\n" in page
    assert 'livekeep_screen_health_state{level="ok"} 1.0' in page
    assert "off on purpose (black picture): switched by hand\n\nDAY" in screen.livekeep("tv", "status", check=True)
    # A run without a change switches nothing.
    planned.machine.systemctl("start", SERVICE)
    assert planned.state()["by_hand"]
    screen.goes_live()
    assert not planned.state()["by_hand"]
    assert screen.livekeep("tv", "off", check=True).startswith("off on purpose")
    screen.shows("black")
    assert screen.livekeep("tv", "on", check=True) == "on: switched by hand\n"
    screen.moves()


@pytest.mark.nightly
def test_by_hand_without_a_plan(planned: Planned) -> None:
    screen = planned.screen
    planned.apply({})
    assert planned.machine.unit_property(PATH, "ActiveState") == "inactive"
    assert screen.livekeep("tv", "status", check=True) == "on: there is no plan\n"
    screen.livekeep("tv", "off", check=True)
    screen.shows("black")
    screen.goes_live()


@pytest.mark.nightly
def test_a_changed_plan(planned: Planned) -> None:
    """Each is in force as soon as it is applied; a faulty one changes nothing."""
    planned.apply(OFF)
    planned.is_switched(False)
    planned.apply({"daily": "on"})
    planned.is_switched(True)
    planned.screen.write_config({"schedule": {"daily": "8-22"}})
    assert "schedule.daily: must be" in planned.screen.livekeep("apply")
    planned.machine.systemctl("start", SERVICE, check=False)
    assert planned.state()["is_wanted"]
    assert planned.machine.unit_property(SERVICE, "ExecMainStatus") == "78"
    planned.machine.systemctl("reset-failed", SERVICE)


@pytest.mark.nightly
def test_downtime_across_a_switch(planned: Planned) -> None:
    """What was due meanwhile is done at the boot, whichever switches that were."""
    machine = planned.machine
    end = minute(10)
    planned.apply({"daily": f"{end - timedelta(hours=2):%H:%M}-{end:%H:%M}"})
    planned.is_switched(True)
    machine.poweroff()
    wait_for(lambda: time.time() > end.timestamp() + 1, 120, 0.5)
    machine.boot()
    planned.set_clock()
    planned.is_switched(False, 90)
    planned.screen.shows("black", within=90)


@pytest.mark.nightly
def test_until_the_clock_is_set_nothing_goes_off(planned: Planned) -> None:
    """The file appears when timesyncd has synchronised the clock; the path unit sees it."""
    planned.apply(OFF)
    planned.is_switched(False)
    planned.machine.run("rm /run/systemd/timesync/synchronized /run/livekeep/tv/state.json")
    planned.machine.systemctl("start", SERVICE)
    if not planned.state()["is_clock_set"]:
        assert planned.state()["is_wanted"]
        assert planned.state()["reason"] == "the clock is not set yet"
        assert "livekeep-tv-retry.timer" in planned.machine.systemctl("list-timers", "--no-legend").stdout
    planned.set_clock()
    planned.is_switched(False)
