"""Metrics of poller, player, probes and health, from state files as the units write them; absent, broken and old ones too."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from livekeep.core import state
from livekeep.core.config import Probes
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import HostResult, NetworkResult, Run, SpeedtestResult, StreamResult, YoutubeResult
from livekeep.core.state import Playback, PlayerState, PollerState, State, StateBrokenError
from livekeep.exporter.metrics import Sample
from livekeep.exporter.probe_results import Probe
from livekeep.exporter.screen import Player, Poller, Verdict
from livekeep.exporter.states import States
from tests.exporter.full_states import ALL, FINDINGS, NOW, PLAYBACK, PLAYER, POLLER, RUN, write, write_all

Figures = dict[tuple[str, ...], float]


def collectors(root: Path) -> dict[str, Any]:
    states = States(root, root / "kept")
    probes = {name: Probe(name, file) for name, file in states.probe_results.items()}
    return {"poller": Poller(states), "player": Player(states), "health": Verdict(states), **probes}


def figures(samples: Any) -> Figures:
    """By name and labels; that no series comes twice is part of it."""
    found: list[Sample] = list(samples)
    assert len({(name, labels) for name, labels, _value in found}) == len(found)
    return {(name.removeprefix("livekeep_"), *labels): float(value) for name, labels, value in found}


def of(written: State, root: Path, seconds_ago: float = 0.0) -> Figures:
    """What the collector of the state's writer says of it."""
    write(written, root, seconds_ago)
    name = written.FILE.partition("/")[0].removeprefix("probe-")
    return figures(collectors(root)[name].collect(time.time()))


def present(found: Figures, family: str) -> list[str]:
    """The values of a state set that are 1."""
    return [key[1] for key, value in found.items() if key[0] == family and value == 1]


def test_the_poller_s_figures(tmp_path: Path) -> None:
    found = of(POLLER, tmp_path)
    assert present(found, "stream_state") == ["live"]
    assert present(found, "stream_cause") == ["none"]
    assert found["stream_state", "offline"] == 0
    assert found["stream_live_since_timestamp_seconds",] == NOW - 600
    assert found["stream_next_start_timestamp_seconds",] == NOW + 3600
    assert found["stream_url_expiry_timestamp_seconds",] == NOW + 600
    assert found["api_last_success_timestamp_seconds",] == NOW - 3
    assert (found["api_consecutive_failures",], found["api_ratelimit_remaining",]) == (1, 480)
    assert (found["api_requests_total", "2xx"], found["api_requests_total", "429"]) == (55, 0)


def test_the_durations_are_a_cumulative_histogram(tmp_path: Path) -> None:
    found = of(POLLER, tmp_path)
    buckets = {key[1]: value for key, value in found.items() if key[0] == "api_request_duration_seconds_bucket"}
    assert list(buckets) == ["0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"]
    assert list(buckets.values()) == [1, 20, 50, 55, 55, 56, 56, 56, 57]
    assert found["api_request_duration_seconds_count",] == 57
    assert found["api_request_duration_seconds_sum",] == 32.25


def test_a_cause_is_told(tmp_path: Path) -> None:
    found = of(PollerState(state="error", cause="rate-limited"), tmp_path)
    assert (present(found, "stream_state"), present(found, "stream_cause")) == (["error"], ["rate-limited"])


def test_what_the_poller_does_not_know_has_no_series(tmp_path: Path) -> None:
    found = of(PollerState(), tmp_path)
    assert not [key for key in found if key[0].endswith("timestamp_seconds") or "ratelimit" in key[0]]
    assert present(found, "stream_state") == ["unknown"]


def test_the_player_s_figures(tmp_path: Path) -> None:
    found = of(PLAYER, tmp_path)
    assert present(found, "display_mode") == ["stream"]
    assert present(found, "player_stream_picture") == ["frozen"]
    assert {key[1] for key in found if key[0] == "player_stream_picture"} == {"moving", "frozen", "blank", "none"}
    expected = {
        "player_picture_last_change_timestamp_seconds": NOW - 700,
        "player_up": 1,
        "display_restarts_total": 1,
        "player_position_seconds": 12.5,
        "player_position_last_change_timestamp_seconds": NOW - 1,
        "player_cache_duration_seconds": 4,
        "player_cache_bytes": 123456,
        "player_input_bytes_per_second": 654321.5,
        "player_buffering": 1,
        "player_stalls_total": 2,
        "player_stalled_seconds_total": 8.5,
        "player_av_offset_seconds": -0.01,
        "player_video_frame_rate_hertz": 25,
    }
    assert {name: found[name,] for name in expected} == expected
    assert found["player_dropped_frames_total", "decoder"] == 3
    assert found["player_dropped_frames_total", "output"] == 4
    assert found["player_decoder_info", "h264", "v4l2m2m-copy"] == 1


def test_what_the_display_cannot_say_has_no_series(tmp_path: Path) -> None:
    found = of(replace(PLAYER, playback=Playback(), picture="holding"), tmp_path)
    assert present(found, "display_mode") == ["holding"]
    silent = ("position", "cache", "input", "av_offset", "frame_rate", "decoder")
    assert not [key for key in found if key[0].startswith(tuple(f"player_{name}" for name in silent))]


@pytest.mark.parametrize(("picture", "mode"), [("stream", "stream"), ("holding", "holding"), ("error", "error"), ("none", "off")])
def test_the_mode_of_each_picture(tmp_path: Path, picture: Any, mode: str) -> None:
    assert present(of(replace(PLAYER, picture=picture), tmp_path), "display_mode") == [mode]


@pytest.mark.parametrize("is_player_there", [True, False])
def test_the_error_screen_is_the_mode_error(tmp_path: Path, is_player_there: bool) -> None:
    (tmp_path / "error-screen").mkdir()
    (tmp_path / "error-screen/picture.png").touch()
    if is_player_there:
        write(replace(PLAYER, picture="none"), tmp_path)
    found = figures(collectors(tmp_path)["player"].collect(time.time()))
    assert present(found, "display_mode") == ["error"]
    assert (("player_up",) in found) == is_player_there


def test_the_network_probe_s_figures(tmp_path: Path) -> None:
    found = of(FINDINGS["network"], tmp_path)
    assert found["ping_rtt_seconds", "vimeo.com", "ipv4"] == 0.0123
    assert found["ping_rtt_max_seconds", "vimeo.com", "ipv4"] == 0.02
    assert found["ping_jitter_seconds", "vimeo.com", "ipv4"] == 0.001
    assert found["ping_packets_sent_total", "8.8.8.8", "ipv4"] == 500
    assert found["ping_packets_received_total", "8.8.8.8", "ipv4"] == 400
    assert ("ping_rtt_seconds", "8.8.8.8", "ipv4") not in found, "nothing came back"
    assert found["probe_success", "ping", "vimeo.com"] == 1, "it answers over one of its families"
    assert found["probe_success", "ping", "8.8.8.8"] == 0
    assert found["probe_success", "dns", "api.vimeo.com"] == 1
    assert found["dns_lookup_duration_seconds", "api.vimeo.com", "192.0.2.1"] == 0.0321
    assert ("dns_lookup_duration_seconds", "api.vimeo.com", "192.0.2.2") not in found


def test_the_stream_probe_s_figures(tmp_path: Path) -> None:
    found = of(FINDINGS["stream"], tmp_path)
    expected = {
        "stream_variant_bandwidth_bytes_per_second": 625_000,
        "stream_playlist_media_sequence": 123,
        "stream_playlist_last_change_timestamp_seconds": NOW - 2,
        "stream_playlist_target_duration_seconds": 6,
        "stream_video_width_pixels": 1920,
        "stream_video_height_pixels": 1080,
        "stream_video_frame_rate_hertz": 25,
        "stream_audio_channels": 2,
        "stream_audio_sample_rate_hertz": 48000,
    }
    assert {name: found[name,] for name in expected} == expected
    assert found["stream_info", "h264", "aac"] == 1
    assert found["probe_success", "stream", "main"] == 1
    assert found["probe_duration_seconds", "stream", "main"] == 1.5


def test_the_speed_test_s_figures(tmp_path: Path) -> None:
    found = of(FINDINGS["speedtest"], tmp_path)
    speeds = [found[f"speedtest_{name}",] for name in ("download_bytes_per_second", "upload_bytes_per_second", "latency_seconds")]
    assert speeds == [6e6, 1.5e6, 0.013]
    assert found["speedtest_transferred_bytes_total", "received"] == 63_000_000
    assert found["speedtest_transferred_bytes_total", "sent"] == 16_000_000


def test_the_host_probe_s_figures(tmp_path: Path) -> None:
    found = of(FINDINGS["host"], tmp_path)
    assert present(found, "pi_throttled") == ["under_voltage"]
    assert present(found, "pi_throttled_since_boot") == ["under_voltage", "throttled"]
    assert found["pi_throttled", "soft_temp_limit"] == 0
    assert found["pi_under_voltage_events_total",] == 2
    assert [key[1:] for key in found if key[0] == "display_connected"] == [("HDMI-A-1",)]
    assert found["host_filesystem_errors_total", "mmcblk0p2"] == 7
    assert (found["card_good",], found["card_last_check_timestamp_seconds",]) == (1, NOW - 99)


@pytest.mark.parametrize("kind", [NetworkResult, StreamResult, SpeedtestResult, HostResult, YoutubeResult])
def test_a_probe_that_found_nothing_tells_its_runs_alone(tmp_path: Path, kind: Any) -> None:
    found = of(kind(run=replace(RUN, verdict="skipped", last_success=None)), tmp_path)
    names = {key[0] for key in found} - {"speedtest_transferred_bytes_total"}
    assert names == {"probe_last_run_timestamp_seconds", "probe_interval_seconds", "probe_runs_total"}


@pytest.mark.parametrize(("verdict", "success"), [("ok", 1), ("warn", 1), ("fail", 0)])
@pytest.mark.parametrize("name", FINDINGS)
def test_a_run_s_figures(tmp_path: Path, name: str, verdict: Any, success: float) -> None:
    found = of(replace(FINDINGS[name], run=replace(RUN, verdict=verdict)), tmp_path)
    target = "main" if name == "stream" else ""
    assert found["probe_success", name, target] == success
    assert found["probe_last_run_timestamp_seconds", name] == NOW - 5
    assert found["probe_last_success_timestamp_seconds", name] == NOW - 6
    assert found["probe_interval_seconds", name] == 60
    runs = {key[2]: value for key, value in found.items() if key[0] == "probe_runs_total"}
    assert runs == {"success": 10, "failure": 2, "skipped": 3}


# Absent, old, broken


def test_what_is_absent_has_no_figures_and_is_no_fault(tmp_path: Path) -> None:
    for name, collector in collectors(tmp_path).items():
        assert name == "health" or list(collector.collect(time.time())) == [], name


def test_health_is_judged_without_any_state(tmp_path: Path) -> None:
    found = figures(collectors(tmp_path)["health"].collect(time.time()))
    down = {"ok": 0, "degraded": 0, "down": 1}
    assert found == {(name, level): it for name in ("health_state", "screen_health_state") for level, it in down.items()}


def test_health_is_told(tmp_path: Path) -> None:
    still = replace(PLAYBACK, buffering=False, position_changed_at=None, last_stall_at=None)
    write(replace(POLLER, consecutive_failures=0), tmp_path)
    write(replace(PLAYER, playback=still, stream_picture="moving"), tmp_path)
    assert present(figures(collectors(tmp_path)["health"].collect(time.time())), "health_state") == ["ok"]
    write(replace(PLAYER, picture="error"), tmp_path)
    assert present(figures(collectors(tmp_path)["health"].collect(time.time())), "health_state") == ["down"]


@pytest.mark.parametrize("written", [POLLER, PLAYER], ids=["poller", "player"])
def test_a_stuck_writer_s_state_has_no_figures_and_is_a_fault(tmp_path: Path, written: State) -> None:
    with pytest.raises(TemporaryError, match=r"state\.json: is 3[1-9] s old; its unit is stuck"):
        of(written, tmp_path, 31)


@pytest.mark.parametrize("name", FINDINGS)
def test_a_probe_that_is_a_little_late_is_not_silent(tmp_path: Path, name: str) -> None:
    assert ("probe_success", name, "main" if name == "stream" else "") in of(FINDINGS[name], tmp_path, 3 * 60)


def test_a_probe_whose_interval_is_longer_now_is_not_silent(tmp_path: Path) -> None:
    """Nor for Prometheus, which compares the same figures."""
    file = States(tmp_path, probes=Probes()).probe_results["speedtest"]
    write(SpeedtestResult(run=replace(RUN, interval_seconds=300.0)), tmp_path, seconds_ago=2000)
    found = figures(Probe("speedtest", file).collect(time.time()))
    assert found["probe_interval_seconds", "speedtest"] == 86400
    assert ("speedtest_transferred_bytes_total", "received") in found
    assert file.read() is file.read()


@pytest.mark.parametrize("name", FINDINGS)
def test_a_silent_probe_tells_its_runs_before_the_fault(tmp_path: Path, name: str) -> None:
    write(FINDINGS[name], tmp_path, 3 * 60 + 100)
    samples = iter(collectors(tmp_path)[name].collect(time.time()))
    given = figures(next(samples) for _ in range(6))
    assert {key[0] for key in given} == {
        "probe_last_run_timestamp_seconds",
        "probe_last_success_timestamp_seconds",
        "probe_interval_seconds",
        "probe_runs_total",
    }
    with pytest.raises(TemporaryError, match=f"the probe is silent: see systemctl status livekeep-probe-{name}.timer"):
        next(samples)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 99}', "\udcff"])
@pytest.mark.parametrize("kind", [type(it) for it in ALL])
def test_a_broken_state_is_a_fault(tmp_path: Path, kind: type[State], content: str) -> None:
    path = state.path_of(kind, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode(errors="surrogateescape"))
    name = kind.FILE.partition("/")[0].removeprefix("probe-")
    with pytest.raises(StateBrokenError, match=r"state\.json: is not a state of this version"):
        list(collectors(tmp_path)[name].collect(time.time()))


def test_a_state_that_is_replaced_is_read_anew_and_one_that_is_removed_is_gone(tmp_path: Path) -> None:
    all_of_them = collectors(tmp_path)
    write_all(tmp_path)
    before = {name: list(all_of_them[name].collect(time.time())) for name in ("poller", *FINDINGS)}
    assert all(list(all_of_them[name].collect(time.time())) == samples for name, samples in before.items())
    write(replace(POLLER, state="offline"), tmp_path)
    assert present(figures(all_of_them["poller"].collect(time.time())), "stream_state") == ["offline"]
    state.remove(PollerState, tmp_path)
    assert list(all_of_them["poller"].collect(time.time())) == []
    write(POLLER, tmp_path)
    assert present(figures(all_of_them["poller"].collect(time.time())), "stream_state") == ["live"]


def test_the_player_s_state_is_read_anew(tmp_path: Path) -> None:
    player = collectors(tmp_path)["player"]
    write(PLAYER, tmp_path)
    assert present(figures(player.collect(time.time())), "display_mode") == ["stream"]
    write(PlayerState(picture="none"), tmp_path)
    found = figures(player.collect(time.time()))
    assert (present(found, "display_mode"), found["player_up",]) == (["off"], 0)


def test_a_probe_that_never_succeeded_says_nothing_of_its_success(tmp_path: Path) -> None:
    found = of(replace(FINDINGS["host"], run=Run("fail", last_run=NOW, interval_seconds=60)), tmp_path)
    assert ("probe_last_success_timestamp_seconds", "host") not in found
    assert found["probe_success", "host", ""] == 0
