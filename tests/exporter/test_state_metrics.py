"""Metrics of states that are absent, old, broken or hold little, source by source; those of full states: test_metrics_page.py."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from livekeep.core import state
from livekeep.core.config import Probes
from livekeep.core.probe_results import (
    PROBES,
    HostResult,
    NetworkResult,
    SpeedtestResult,
    StreamResult,
    YoutubeResult,
)
from livekeep.core.state import Playback, PlayerState, PollerState, State, TvState
from livekeep.exporter import probe_results, record, screen
from livekeep.exporter.states import States
from tests.exporter.full_states import (
    ALL,
    CLIPS,
    FINDINGS,
    OF_RECORD,
    PLAYER,
    POLLER,
    RECORDER,
    RUN,
    TV,
    Figures,
    collect,
    present,
    write,
)

SOURCES: dict[str, Any] = {
    "poller": screen.poller,
    "player": screen.player,
    **{name: partial(probe_results.collect, name) for name in PROBES},
    "record": record.collect,
}
RUNS = {
    "probe_last_run_timestamp_seconds", "probe_last_success_timestamp_seconds", "probe_interval_seconds", "probe_runs_total",
}  # fmt: skip


def of(written: State, root: Path, seconds_ago: float = 0.0) -> tuple[Figures, str]:
    """The samples and the fault of the source of this state."""
    write(written, root, seconds_ago)
    return collect(States(root, root / "kept"), SOURCES[name_of(type(written))])


def name_of(kind: type[State]) -> str:
    return kind.FILE.partition("/")[0].removeprefix("probe-")


def names(found: Figures) -> set[str]:
    return {key.partition(" ")[0] for key in found}


def test_what_the_poller_does_not_know_has_no_sample(tmp_path: Path) -> None:
    found, _ = of(PollerState(), tmp_path)
    assert not [name for name in names(found) if name.endswith("timestamp_seconds") or "ratelimit" in name]
    assert (present(found, "stream_state"), present(found, "stream_cause")) == (["unknown"], ["none"])
    found, _ = of(PollerState(state="error", cause="rate-limited"), tmp_path)
    assert (present(found, "stream_state"), present(found, "stream_cause")) == (["error"], ["rate-limited"])


def test_what_the_display_does_not_know_has_no_sample(tmp_path: Path) -> None:
    found, _ = of(replace(PLAYER, playback=Playback(), picture="holding", stream_picture=""), tmp_path)
    silent = ("position", "cache", "input", "av_offset", "video_frame_rate", "decoder", "stream_picture")
    assert not [name for name in names(found) if name.startswith(tuple(f"player_{it}" for it in silent))]


@pytest.mark.parametrize(("picture", "mode"), [("stream", "stream"), ("holding", "holding"), ("error", "error"), ("none", "off")])
def test_the_mode_of_each_picture(tmp_path: Path, picture: Any, mode: str) -> None:
    assert present(of(replace(PLAYER, picture=picture), tmp_path)[0], "display_mode") == [mode]


@pytest.mark.parametrize("is_player_there", [True, False])
def test_the_error_screen_is_the_mode_error(tmp_path: Path, is_player_there: bool) -> None:
    (tmp_path / "error-screen").mkdir()
    (tmp_path / "error-screen/picture.png").touch()
    if is_player_there:
        write(replace(PLAYER, picture="none"), tmp_path)
    found, fault = collect(States(tmp_path), screen.player)
    assert (present(found, "display_mode"), fault) == (["error"], "")
    assert ("player_up" in found) == is_player_there


@pytest.mark.parametrize("kind", [NetworkResult, StreamResult, SpeedtestResult, HostResult, YoutubeResult])
def test_a_probe_without_results_has_samples_of_its_runs_alone(tmp_path: Path, kind: Any) -> None:
    found, _ = of(kind(run=replace(RUN, verdict="skipped", last_success=None)), tmp_path)
    assert names(found) - {"speedtest_transferred_bytes_total"} == RUNS - {"probe_last_success_timestamp_seconds"}


@pytest.mark.parametrize(("verdict", "success"), [("ok", 1), ("warn", 1), ("fail", 0)])
def test_a_warning_is_a_success(tmp_path: Path, verdict: Any, success: float) -> None:
    found, _ = of(replace(FINDINGS["stream"], run=replace(RUN, verdict=verdict)), tmp_path)
    assert found["probe_success stream main"] == success


# A TV that is off on purpose


WITHOUT_SCREEN = "kept/install/without-screen"


def of_tv(root: Path, written: TvState | None = None) -> tuple[Figures, str]:
    if written:
        write(written, root)
    return collect(States(root, root / "kept"), screen.tv)


def test_a_picture_is_wanted_without_a_plan_and_where_nobody_knows(tmp_path: Path) -> None:
    assert of_tv(tmp_path) == ({"screen_wanted": 1, "tv_problem": 0}, "")
    (tmp_path / "tv").mkdir()
    (tmp_path / "tv/state.json").write_text("{")
    found, fault = of_tv(tmp_path)
    assert (found, "is not a state of this version" in fault) == ({"screen_wanted": 1}, True)


def test_a_machine_without_a_screen_wants_no_picture_and_has_no_sample_of_it(tmp_path: Path) -> None:
    (tmp_path / WITHOUT_SCREEN).parent.mkdir(parents=True)
    (tmp_path / WITHOUT_SCREEN).touch()
    assert of_tv(tmp_path, TV) == ({}, "")


@pytest.mark.parametrize("is_wanted", [True, False])
def test_what_is_wanted_stays_wanted_however_old_the_state_is(tmp_path: Path, is_wanted: bool) -> None:
    write(replace(TV, is_wanted=is_wanted), tmp_path, seconds_ago=36_000)
    assert of_tv(tmp_path) == ({"screen_wanted": is_wanted, "tv_problem": 0}, "")


def test_a_change_that_is_overdue_makes_a_picture_wanted_and_is_a_problem(tmp_path: Path) -> None:
    off = replace(TV, is_wanted=False)
    assert of_tv(tmp_path, replace(off, until=time.time() - 60))[0] == {"screen_wanted": 0, "tv_problem": 0}
    assert of_tv(tmp_path, replace(off, until=time.time() - 180))[0] == {"screen_wanted": 1, "tv_problem": 1}


def test_a_tv_that_does_not_obey(tmp_path: Path) -> None:
    assert of_tv(tmp_path, replace(TV, problem="no answer"))[0] == {"screen_wanted": 1, "tv_problem": 1}


# Absent, old, broken


@pytest.mark.parametrize("name", SOURCES)
def test_an_absent_state_has_no_samples_and_is_no_fault(tmp_path: Path, name: str) -> None:
    assert collect(States(tmp_path), SOURCES[name]) == ({}, "")


@pytest.mark.parametrize("written", [POLLER, PLAYER], ids=["poller", "player"])
def test_a_stale_state_has_no_samples_and_is_a_fault(tmp_path: Path, written: State) -> None:
    found, fault = of(written, tmp_path, 45)
    assert (found, "s old; its unit is stuck: see livekeep status" in fault) == ({}, True)


def test_a_silent_probe_has_samples_of_its_runs_and_is_a_fault(tmp_path: Path) -> None:
    found, fault = of(FINDINGS["host"], tmp_path, 3 * 60)
    assert ("card_good" in found, fault) == (True, ""), "it is only late"
    found, fault = of(FINDINGS["host"], tmp_path, 3 * 60 + 100)
    assert names(found) == RUNS
    assert "the probe is silent: see systemctl status livekeep-probe-host.timer" in fault


def test_a_probe_whose_interval_is_longer_now_is_not_silent(tmp_path: Path) -> None:
    """Nor for Prometheus, which compares the same samples."""
    write(SpeedtestResult(run=replace(RUN, interval_seconds=300.0)), tmp_path, seconds_ago=2000)
    found, fault = collect(States(tmp_path, probes=Probes()), SOURCES["speedtest"])
    assert (found["probe_interval_seconds speedtest"], fault) == (86400, "")


@pytest.mark.parametrize(("written", "age", "prefix"), [(RECORDER, 300, "record_calls_total"), (CLIPS, 4000, "record_clips")])
def test_a_stuck_service_of_the_record_costs_the_others_nothing(written: State, age: float, prefix: str, tmp_path: Path) -> None:
    for each in OF_RECORD:
        write(each, tmp_path, age if each is written else 0.0)
    found, fault = collect(States(tmp_path), record.collect)
    assert (prefix in found, "record_messages_waiting" in found) == (False, True)
    assert (fault.startswith(written.FILE), "is stuck" in fault) == (True, True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 99}', "\udcff"])
@pytest.mark.parametrize("kind", [type(it) for it in ALL])
def test_a_broken_state_is_a_fault(tmp_path: Path, kind: type[State], content: str) -> None:
    path = state.path_of(kind, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode(errors="surrogateescape"))
    found, fault = collect(States(tmp_path), SOURCES[name_of(kind)])
    assert (found, "state.json: is not a state of this version" in fault) == ({}, True)


def test_a_state_is_read_again_when_it_is_replaced_and_only_then(tmp_path: Path) -> None:
    states = States(tmp_path)
    for written, expected in ((POLLER, "live"), (replace(POLLER, state="offline"), "offline")):
        write(written, tmp_path)
        assert present(collect(states, screen.poller)[0], "stream_state") == [expected]
        assert states.read(PollerState) is states.read(PollerState)
    state.remove(PollerState, tmp_path)
    assert collect(states, screen.poller) == ({}, "")
    write(POLLER, tmp_path)
    write(PlayerState(picture="none"), tmp_path)
    assert present(collect(states, screen.poller)[0], "stream_state") == ["live"]
