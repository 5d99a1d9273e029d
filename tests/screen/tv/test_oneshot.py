"""livekeep-tv as a process, with a root of its own: what it publishes at which occasion. The methods have their own tests."""

import os
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from livekeep.core import state
from livekeep.core.config import Config, Schedule
from livekeep.core.state import AnyState, OnAir, PollerState, TvByHand, TvState
from livekeep.screen.poller.state_publisher import StatePublisher, on_air_of
from livekeep.screen.tv.main import Occasion, is_outdated, one_pass
from livekeep.system.clock import is_synchronized
from tests.outside import PROJECT

ZONE = "Pacific/Auckland"
OFF = 'daily = "off"\n'


class Tv:
    """A box with livekeep-tv. `said` is what the last run printed to standard error."""

    def __init__(self, root: Path) -> None:
        self.root, self.states, self.said = root, root / "run/livekeep", ""
        for folder in ("etc/livekeep", "run/livekeep/poller", "run/livekeep/tv", "run/systemd/timesync", "programs"):
            (root / folder).mkdir(parents=True)
        for name in ("systemd-run", "systemctl"):
            # A stand-in that notes its calls.
            (root / "programs" / name).write_text(f'#!/bin/sh\necho "$*" >>{root}/calls\n')
            (root / "programs" / name).chmod(0o755)
        self.set_clock()

    def set_clock(self) -> None:
        (self.root / "run/systemd/timesync/synchronized").touch()

    def configure(self, days: str, tables: str = "") -> None:
        text = f'[schedule]\ntime_zone = "{ZONE}"\n{days}\n[tv]\nmethod = "black"\n{tables}'
        (self.root / "etc/livekeep/livekeep.toml").write_text(text)

    def run(self, *arguments: str) -> str:
        """Run it; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-I", PROJECT / "bin/livekeep-tv", *(arguments or ("reconcile",))],
            env=os.environ | {"LIVEKEEP_ROOT": str(self.root), "PATH": f"{self.root}/programs:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        self.said = done.stderr
        assert done.returncode in (0, 1, 78), done.stderr
        return done.stdout

    def state(self) -> TvState:
        return state.read(TvState, self.states)

    def write(self, it: AnyState) -> None:
        state.write(state.stamped(it), self.states)

    def timers(self) -> list[str]:
        calls = self.root / "calls"
        words = [word for line in calls.read_text().splitlines() for word in line.split()] if calls.exists() else []
        return [word.partition("=")[2] for word in words if word.startswith(("--on-calendar", "--on-active"))]


@pytest.fixture
def tv(tmp_path: Path) -> Tv:
    return Tv(tmp_path)


def times(begin_minutes: int, end_minutes: int) -> str:
    """A span of the plan in minutes from now."""
    now = datetime.now(ZoneInfo(ZONE)).replace(second=0, microsecond=0)
    begin, end = (now + timedelta(minutes=minutes) for minutes in (begin_minutes, end_minutes))
    return f'daily = "{begin:%H:%M}-{end:%H:%M}"\n'


def test_off_and_on_as_planned_with_a_timer_for_the_next_change(tv: Tv) -> None:
    tv.configure(times(60, 120))
    tv.run()
    off = tv.state()
    assert (off.is_wanted, off.method, off.by_hand, off.problem) == (False, "black", False, "")
    assert off.until is not None
    assert 59 * 60 < off.until - time.time() <= 60 * 60
    assert tv.timers() == [f"@{off.until - 5:.0f}"]
    tv.configure(times(-60, 120))
    tv.run()
    on = tv.state()
    assert (on.is_wanted, on.method) == (True, "black")
    assert on.since > off.since


def test_it_waits_for_a_change_that_comes_within_seconds(tv: Tv) -> None:
    """The timer starts it early."""
    tv.configure(OFF)
    start = time.time() + 900 + 3
    tv.write(OnAir(next_start=start))
    tv.run()
    on = tv.state()
    assert (on.is_wanted, on.reason[:20]) == (True, "the stream starts at")
    assert 0 <= on.since - (start - 900) < 2


def test_a_run_without_a_change_keeps_since(tv: Tv) -> None:
    tv.configure(OFF)
    tv.run()
    first = tv.state()
    tv.run()
    second = tv.state()
    assert second.since == first.since
    assert second.written_at > first.written_at
    assert tv.timers() == []


def test_the_plan_is_removed_while_the_tv_is_off(tv: Tv) -> None:
    tv.configure(OFF)
    tv.run()
    tv.configure("")
    tv.run()
    assert (tv.state().is_wanted, tv.state().reason) == (True, "there is no plan")


def test_an_event_at_night_and_after_it(tv: Tv) -> None:
    tv.configure(OFF)
    tv.write(OnAir(is_live=True))
    tv.run()
    live = tv.state()
    assert (live.is_wanted, live.reason, live.until, live.is_live) == (True, "the stream is live", None, True)
    tv.write(OnAir(is_live=False))
    tv.run()
    after = tv.state()
    assert after.is_wanted
    assert after.until is not None
    assert after.last_live is not None
    assert after.last_live >= live.written_at
    assert after.until == after.last_live + 900
    assert tv.timers() == [f"@{int(after.until - 5)}"]


def test_a_known_start_at_night_sets_the_timer(tv: Tv) -> None:
    tv.configure(OFF)
    start = time.time() + 7200
    tv.write(OnAir(next_start=start))
    tv.run()
    assert (tv.state().is_wanted, tv.state().until) == (False, start - 900)
    assert len(tv.timers()) == 1


def test_the_timer_is_set_once(tv: Tv) -> None:
    tv.configure(times(60, 120))
    tv.run()
    (tv.root / "run/systemd/transient").mkdir()
    (tv.root / f"run/systemd/transient/livekeep-tv-at-{(tv.state().until or 0.0) - 5:.0f}.timer").touch()
    tv.run()
    assert len(tv.timers()) == 1


def test_without_systemd_run_it_says_so_and_switches(tv: Tv) -> None:
    (tv.root / "programs/systemd-run").write_text("#!/bin/sh\necho 'Failed to start transient timer' >&2\nexit 1\n")
    tv.configure(times(60, 120))
    tv.run()
    assert "systemd-run: Failed to start transient timer; the TV is switched at the times of the plan" in tv.said
    assert not tv.state().is_wanted


def test_a_faulty_plan_leaves_the_tv_as_it_is(tv: Tv) -> None:
    tv.configure(OFF)
    tv.run()
    before = tv.state()
    tv.configure('mon = "8-22"\n')
    tv.run()
    assert "schedule.mon: must be" in tv.said
    assert tv.state() == before
    tv.configure(OFF, "[vimeo]\nproxy = 3\n")
    tv.run()
    assert tv.said.count("proxy") == 0


def test_off_by_hand_and_what_status_says(tv: Tv) -> None:
    tv.configure(times(-60, 120))
    if os.geteuid() != 0:
        tv.run("off")
        assert tv.said == "run this with sudo: sudo livekeep tv off\n"
        return
    tv.run()
    now = time.time()
    tv.write(TvByHand(is_on=False, at=now, is_on_anyway=True, until=tv.state().until))
    tv.run()
    off = tv.state()
    assert (off.is_wanted, off.by_hand, off.reason) == (False, True, "switched by hand")
    shown = tv.run("status")
    assert shown.startswith("off on purpose until ")
    # Here no systemd runs, and so no timer.
    assert shown.splitlines()[1] == "the plan is not in force yet; run: sudo livekeep apply"
    assert shown.splitlines()[3].split() == ["DAY", "ON", "KEY"]
    assert shown.count("\n") == 11
    tv.configure(times(60, 120))
    tv.run()
    assert not (tv.states / "tv/by_hand.json").exists()
    assert tv.state().reason.startswith("the plan (daily ")


def test_what_is_switched_by_hand_during_a_run_is_not_lost(tmp_path: Path) -> None:
    """It was written after the run had looked for it; the run's next look finds it."""
    (tmp_path / "tv").mkdir()
    settings, seen = Config(schedule=Schedule("UTC", days={"daily": "on"})), Occasion(OnAir(), None)
    state.write(TvByHand(is_on=False, at=time.time(), is_on_anyway=True), tmp_path)
    result = one_pass(settings, seen, TvState(since=1.0, is_clock_set=True), tmp_path)
    assert not state.read(TvByHand, tmp_path).is_on
    assert is_outdated(seen, result, tmp_path)


def test_until_the_clock_is_set_it_switches_nothing_and_looks_again(tv: Tv) -> None:
    (tv.root / "run/systemd/timesync/synchronized").unlink()
    tv.configure(OFF)
    tv.run()
    if not is_synchronized(tv.root):
        first = tv.state()
        assert (first.is_wanted, first.method, first.reason) == (True, "none", "the clock is not set yet")
        assert tv.timers() == ["30"]
    tv.set_clock()
    tv.run()
    assert (tv.state().is_wanted, tv.state().is_clock_set) == (False, True)


# What the poller writes for it


def test_the_poller_writes_it_only_when_it_changes(tmp_path: Path) -> None:
    publisher = StatePublisher(tmp_path, lambda _text: None)
    offline = PollerState(state="offline", last_success=1.0, next_start=5.0, source="a")
    publisher.publish(offline)
    first = state.read(OnAir, tmp_path)
    assert (first.is_live, first.next_start, first.source) == (False, 5.0, "a")
    publisher.publish(PollerState(state="offline", last_success=9.0, next_start=5.0, source="a"))
    # A poller that starts again and has no answer yet.
    publisher = StatePublisher(tmp_path, lambda _text: None)
    publisher.publish(PollerState(source="a"))
    publisher.publish(PollerState(state="error", cause="outage", source="a"))
    publisher.publish(offline)
    assert state.read(OnAir, tmp_path) == first
    publisher.publish(PollerState(state="live", live_since=2.0, last_success=2.0, source="a"))
    assert state.read(OnAir, tmp_path).is_live
    publisher.forget()
    assert state.read(OnAir, tmp_path).is_live


def test_a_stall_or_an_outage_is_no_end_of_the_event() -> None:
    for known in (
        PollerState(state="starting", cause="standing-still", live_since=1.0, last_success=1.0),
        PollerState(state="error", cause="outage", live_since=1.0, last_success=1.0),
        PollerState(state="live", live_since=1.0, last_success=1.0),
    ):
        on_air = on_air_of(known)
        assert on_air is not None
        assert on_air.is_live
    off = on_air_of(PollerState(state="unknown", cause="no-stream"))
    assert off is not None
    assert not off.is_live
