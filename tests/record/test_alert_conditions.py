"""The findings of rules in a real record: each kind, compared with plain arithmetic over the input."""

import contextlib
import dataclasses
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from livekeep.core import state
from livekeep.core.channels import ChannelState
from livekeep.core.config import Config
from livekeep.core.config.record import RECORDER, Alert
from livekeep.core.probe_results import Connector, HostResult, Run
from livekeep.core.record_states import RecorderState
from livekeep.core.state import PlayerState, PollerState, TvState
from livekeep.record.alerts import conditions
from livekeep.record.alerts.rules import Clock
from tests.record.alert_box import Box, box_in
from tests.record.watched import NOW, Watched

# Failures


@given(
    outcomes=st.lists(st.booleans(), min_size=1, max_size=30),
    share=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    number=st.integers(1, 12),
)
@settings(deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(outcomes=[True, True, False], share=0.5, number=1)
def test_failures_are_share_and_number_within_the_window(
    outcomes: list[bool], share: float, number: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with box_in(tmp_path_factory.mktemp("box")) as box:
        rule = Alert(kind="failures", share=share, number=number, window_seconds=600)
        for index, is_failed in enumerate(outcomes):
            # Every other one is before the window.
            at = NOW - (10 + index if index % 2 == 0 else 700 + index)
            box.call("fetch", at, error="no answer" if is_failed else "")
        within = outcomes[::2]
        expected = sum(within) >= number and sum(within) / len(within) >= share
        result = conditions.failures(box.record, rule, NOW)
        assert [finding.subject for finding in result] == (["fetch"] if expected else [])
        if result:
            assert result[0].sentence.startswith(f"{sum(within)} of {len(within)} calls of fetch failed")
            assert "no answer" in result[0].why
            assert "Traceback" in result[0].log


def test_failures_of_others_do_not_count(box: Box) -> None:
    for name in ("fetch", "cut"):
        box.call(name, NOW - 5, error="x")
    rule = Alert(kind="failures", number=1, function="f*")
    assert [finding.subject for finding in conditions.failures(box.record, rule, NOW)] == ["fetch"]
    assert conditions.failures(box.record, dataclasses.replace(rule, call_kind="api"), NOW) == []
    assert conditions.failures(box.record, dataclasses.replace(rule, machine="elsewhere"), NOW) == []
    assert conditions.failures(box.record, dataclasses.replace(rule, session="none"), NOW) == []


# Slow


@pytest.mark.parametrize(("statistic", "limit"), [("mean", 5.05), ("p50", 5.1), ("p95", 9.6), ("p99", 10.0)])
def test_slow_compares_the_statistic_with_the_threshold(box: Box, statistic: str, limit: float) -> None:
    for tenth in range(1, 101):
        box.call("cut", NOW - tenth, seconds=tenth / 10)
    rule = Alert(kind="slow", statistic=statistic, threshold=limit - 0.01)
    (result,) = conditions.slow(box.record, rule, NOW)
    assert result.subject == "cut"
    assert statistic in result.sentence
    assert conditions.slow(box.record, dataclasses.replace(rule, threshold=limit + 0.01), NOW) == []


def test_slow_by_its_own_history(box: Box) -> None:
    rule = Alert(kind="slow", statistic="p95", threshold="auto", window_seconds=3600)
    for day in range(1, 15):
        for number in range(12):
            box.call("cut", NOW - day * 86400 - number * 60, seconds=1.0 + number / 100)
    box.summarise()
    for number in range(12):
        box.call("cut", NOW - number * 60, seconds=1.05)
    assert conditions.slow(box.record, rule, NOW) == []
    for number in range(12):
        box.call("cut", NOW - number * 50, seconds=4.0)
    (result,) = conditions.slow(box.record, rule, NOW)
    assert "its usual limit" in result.why
    # A few calls are not enough.
    assert conditions.slow(box.record, dataclasses.replace(rule, window_seconds=100), NOW) == []


def test_a_regression_is_detected_and_a_steady_function_is_not(box: Box) -> None:
    for day in range(1, 36):
        for name, seconds in (("steady", 1.0), ("slower", 1.4 if day <= 7 else 1.0)):
            for number in range(3):
                box.call(name, NOW - day * 86400 + number, seconds=seconds + number / 1000)
    box.summarise()
    (result,) = conditions.regression(box.record, Alert(kind="regression"), NOW)
    assert result.subject == "slower"
    assert "40 % longer" in result.sentence
    assert abs(result.since - (NOW - 7 * 86400)) < 2 * 86400


# Absent


@given(
    ages=st.lists(st.floats(1, 400_000), max_size=4), first_age=st.floats(0, 400_000), period=st.sampled_from([3600.0, 90_000.0])
)
@settings(deadline=None, max_examples=25, derandomize=True)
def test_absent_counts_from_the_later_of_last_success_and_first_sight(
    ages: list[float], first_age: float, period: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with box_in(tmp_path_factory.mktemp("box")) as box:
        rule = Alert(kind="absent", session="backup", period_seconds=period)
        box.session("backup", "failed", NOW - 1)
        box.session("other", "succeeded", NOW - 1)
        for age in ages:
            box.session("backup", "succeeded", NOW - age)
        expected = min([*ages, first_age]) >= period
        result, due = conditions.absent(box.record, rule, NOW, NOW - first_age)
        assert bool(result) == expected
        assert due == pytest.approx(max(period - min([*ages, first_age]), 0), abs=1e-3)


def test_absent_calls_count_too(box: Box) -> None:
    rule = Alert(kind="absent", function="upload", period_seconds=3600)
    box.call("upload", NOW - 100, error="x")
    assert [it.subject for it in conditions.absent(box.record, rule, NOW, NOW - 7200)[0]] == ["upload"]
    box.call("upload", NOW - 50)
    assert conditions.absent(box.record, rule, NOW, NOW - 7200)[0] == []


def test_a_clock_that_is_not_set_calls_nothing_absent(box: Box) -> None:
    assert conditions.absent(box.record, Alert(kind="absent", session="x"), 100_000.0, 0.0)[0] == []


def test_a_dead_man_s_switch_works_after_downtime_and_is_reported_once(box: Box) -> None:
    rule = Alert(kind="absent", session="backup", period_seconds=3600)
    box.session("backup", "succeeded", NOW - 10)
    watched = Watched(box, {"backup": rule})
    write_recorder(box, last_commit_at=NOW)
    watched.pass_time(3000)
    assert watched.messages() == []
    watched.clock = Clock(NOW + 86400, watched.clock.steady + 20)
    watched.begin()
    watched.pass_time(20)
    assert watched.kinds() == ["begin"]
    watched.begin()
    watched.pass_time(60)
    assert watched.kinds() == ["begin"]
    box.session("backup", "succeeded", watched.clock.wall)
    watched.pass_time(120)
    assert watched.kinds() == ["begin", "over"]


# Metrics


@given(
    values=st.lists(st.floats(60, 100), min_size=1, max_size=20),
    for_seconds=st.sampled_from([0.0, 300.0, 600.0]),
    gap=st.sampled_from([60.0, 60.0, 400.0]),
)
@settings(deadline=None, max_examples=40, derandomize=True)
def test_a_figure_must_be_beyond_in_each_sample_for_so_long(values: list[float], for_seconds: float, gap: float) -> None:
    rule = Alert(kind="figure", figure="temperature_celsius", above=80.0, for_seconds=for_seconds)
    series = [(NOW - 30 - gap * index, value) for index, value in enumerate(values)][::-1]
    run = 0
    for value in values:
        if value <= 80:
            break
        run += 1
    if gap > conditions.STALE_SAMPLES * 60 and run:
        run = 1
    expected = run > 0 and 30 + gap * (run - 1) >= for_seconds
    since = conditions.beyond_since(series, rule, NOW, 60.0)
    assert (since is not None) == expected
    if since is not None:
        assert since == NOW - 30 - gap * (run - 1)


def test_figures_of_the_box_and_of_units(box: Box) -> None:
    other = box.machine("stage")
    for minute in range(12):
        box.sample(NOW - 60 * minute, disk_bytes=96, disk_total_bytes=100, temperature_celsius=50.0)
        box.sample(NOW - 60 * minute, other, disk_bytes=10, disk_total_bytes=100)
        box.record.execute(
            "INSERT INTO unit_samples VALUES (?, 1, 'job.service', 500000000, 3.0)", [int((NOW - 60 * minute) * 1_000_000)]
        )
    disk = Alert(kind="figure", figure="disk_percent", above=95.0, for_seconds=600.0)
    (result,) = conditions.figure(box.record, disk, NOW, 60.0)
    assert (result.subject, result.since) == ("foyer", NOW - 660)
    assert result.sentence == "foyer: disk in use is 96.0 %, above 95.0 %"
    assert conditions.figure(box.record, dataclasses.replace(disk, machine="stage"), NOW, 60.0) == []
    free = Alert(kind="figure", figure="disk_free_bytes", below=50.0, machine="foyer")
    assert [it.subject for it in conditions.figure(box.record, free, NOW, 60.0)] == [""]
    unit = Alert(kind="figure", figure="unit_memory_bytes", above=4e8, unit="job*", machine="foyer")
    (result,) = conditions.figure(box.record, unit, NOW, 60.0)
    assert result.sentence == "job.service: memory is 477 MiB, above 381 MiB"
    assert conditions.figure(box.record, dataclasses.replace(unit, unit="livekeep-*"), NOW, 60.0) == []
    # Old samples say nothing about the present.
    assert conditions.figure(box.record, disk, NOW + 3600, 60.0) == []


# The box's own verdict


def write_recorder(box: Box, **values: object) -> None:
    state.write(state.stamped(dataclasses.replace(RecorderState(), **values)), box.root / "run/livekeep")  # type: ignore[arg-type]


def with_screen(box: Box, player: PlayerState, poller: PollerState) -> None:
    (box.root / "var/lib/livekeep/install/without-screen").unlink(missing_ok=True)
    for it in (player, poller):
        (box.root / "run/livekeep" / it.FILE).parent.mkdir(exist_ok=True)
        state.write(state.stamped(it), box.root / "run/livekeep")


def test_a_screen_that_is_dark_for_five_minutes_is_reported_with_its_reason(box: Box) -> None:
    watched = Watched(box, {"down": Config().alerts["down"]}, time.time())
    dark = PlayerState(picture="error", reason="the stream cannot be opened", display_up=True, since=NOW)
    with_screen(box, dark, PollerState("error", "outage", since=NOW))
    watched.pass_time(295)
    assert watched.messages() == []
    watched.pass_time(15)
    ((kind, title),) = watched.messages()
    assert kind == "begin"
    assert "critical: screen: the error picture is on the screen: the stream cannot be opened" in title
    (text,) = watched.texts()
    assert "What to do: Run: sudo livekeep doctor" in text
    with_screen(box, dataclasses.replace(dark, picture="stream"), PollerState("live", since=NOW))
    watched.pass_time(70)
    assert watched.kinds() == ["begin", "over"]


def test_a_screen_that_is_off_on_purpose_alerts_nobody(box: Box) -> None:
    (box.root / "var/lib/livekeep/install/without-screen").unlink()
    watched = Watched(box, {"down": Config().alerts["down"]}, time.time())
    watched.pass_time(900)
    assert watched.messages() == []
    with_screen(box, PlayerState("none", display_up=False), PollerState("live"))
    (box.root / "run/livekeep/probe-host").mkdir(exist_ok=True)
    seen = HostResult(run=Run(interval_seconds=60.0, verdict="ok"), connectors=(Connector("HDMI-A-1", connected=False),))
    state.write(state.stamped(seen), box.root / "run/livekeep")
    watched.pass_time(900)
    assert watched.messages() == []
    state.write(
        state.stamped(dataclasses.replace(seen, connectors=(Connector("HDMI-A-1", connected=True),))), box.root / "run/livekeep"
    )
    watched.pass_time(400)
    assert watched.kinds() == ["begin"]


def test_a_tv_that_is_off_by_the_plan_alerts_nobody_and_one_that_does_not_come_on_does(box: Box) -> None:
    def write(it: state.State) -> None:
        (box.root / "run/livekeep" / it.FILE).parent.mkdir(exist_ok=True)
        state.write(state.stamped(it), box.root / "run/livekeep")

    with_screen(box, PlayerState("none", display_up=False), PollerState("offline"))
    watched = Watched(box, {"down": Config().alerts["down"]}, time.time())
    off = TvState(is_wanted=False, method="cec", until=watched.clock.wall + 86400)
    write(off)
    watched.pass_time(900)
    assert watched.messages() == []
    gone = (Connector("HDMI-A-1", connected=False),)
    write(HostResult(run=Run(interval_seconds=60.0, verdict="ok"), connectors=gone))
    write(dataclasses.replace(off, is_wanted=True))
    watched.pass_time(900)
    assert watched.messages() == []
    write(dataclasses.replace(off, is_wanted=True, problem="the TV does not answer over HDMI-CEC"))
    watched.pass_time(400)
    ((_kind, title),) = watched.messages()
    assert "screen: no display: " in title and "the TV does not answer over HDMI-CEC" in title


def test_a_channel_that_is_off_air_is_reported_by_its_name(box: Box) -> None:
    folder = box.root / "run/livekeep/worker@main"
    folder.mkdir()
    (box.root / "var/lib/livekeep/channels/main.on-air").touch()
    refused = ChannelState(channel="main", publishing="refused", reason="the stream key is wrong", started_at=NOW)
    watched = Watched(box, {"down": Config().alerts["down"]}, time.time())
    state.write(state.stamped(dataclasses.replace(refused)), folder)
    watched.pass_time(330, step=10)
    ((_kind, title),) = watched.messages()
    assert "channel main" in title


def test_a_recorder_that_does_not_run_is_reported_without_a_record_too(box: Box) -> None:
    box.record.close()
    for file in (box.root / "var/lib/livekeep/record").iterdir():
        file.unlink()
    watched = Watched(box, {"recorder": Config().alerts["recorder"], "late": Alert(kind="absent", session="x")}, time.time())
    write_recorder(box)
    watched.pass_time(600)
    assert watched.messages() == []
    (box.root / "run/livekeep/recorder/state.json").unlink()
    watched.pass_time(310)
    ((_kind, title),) = watched.messages()
    assert f"{RECORDER} does not run" in title
    assert "there is no record" in watched.record.problem
    with contextlib.closing(Box(box.root).record):
        watched.pass_time(10)
        assert watched.record.problem == ""
