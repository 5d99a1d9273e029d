"""The judgement of the screen: what must be down, degraded and ok, every combination of states, and what the probes add."""

import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from livekeep.core import state
from livekeep.core.probe_results import (
    PROBES,
    ClockResult,
    HostResult,
    NetworkResult,
    ProbeResult,
    Run,
    SpeedtestResult,
    StreamResult,
)
from livekeep.core.probe_results import Verdict as Found
from livekeep.core.state import (
    Cause,
    Picture,
    Playback,
    PlayerState,
    PollerState,
    StateAbsentError,
    StateBrokenError,
    StreamState,
    TvState,
)
from livekeep.status import probe_status, snapshot
from livekeep.status.health import Clock, Health
from livekeep.status.probe_status import is_silent
from livekeep.status.screen_verdict import verdict
from livekeep.status.snapshot import error_screen_is_active
from livekeep.system import terminal

NOW, MONOTONIC = 1_800_000_000.0, 5_000.0
CLOCK = Clock(NOW, MONOTONIC)
LONG_AGO = NOW - 3600
FROZEN = Playback(position_seconds=12.0, position_changed_at=NOW - 0.2, picture_changed_at=NOW - 720)
MOVING = Playback(position_seconds=12.0, position_changed_at=NOW - 0.2, width_pixels=1280, height_pixels=720)


def poller(state: StreamState = "live", cause: Cause = "", age: float = 1.0, **more: object) -> PollerState:
    return replace(PollerState(state, cause, "a reason", since=LONG_AGO, written_monotonic=MONOTONIC - age), **more)


def player(picture: Picture = "stream", age: float = 1.0, **more: object) -> PlayerState:
    start = PlayerState(
        picture, LONG_AGO, "why", display_up=True, playback=MOVING, written_at=NOW, written_monotonic=MONOTONIC - age
    )
    return replace(start, **more)


NO_PLAN = StateAbsentError("absent")


def judge(the_poller: object, the_player: object, error_screen: bool = False, tv: object = NO_PLAN) -> Health:
    return verdict(the_poller, the_player, error_screen, CLOCK, {}, tv)  # type: ignore[arg-type]


OK = [
    ("live and shown", poller(), player()),
    ("off air and holding", poller("offline"), player("holding")),
    ("starting, holding still shown", poller("starting"), player("holding")),
    ("starting, stream already or still playing", poller("starting"), player()),
    ("one failed request", poller(consecutive_failures=1), player()),
    ("a stall that is long over", poller(), player(playback=Playback(last_stall_at=NOW - 301))),
    ("display that tells no position", poller(), player(playback=Playback())),
    ("state 30 s old", poller(age=30), player(age=30)),
    (
        "position old, but so is the report",
        poller(),
        player(written_at=NOW - 20, playback=replace(MOVING, position_changed_at=NOW - 20)),
    ),
]
DEGRADED = [
    ("poller absent", StateAbsentError("it is absent"), player(), "it is absent"),
    ("poller's state broken", StateBrokenError("it is broken"), player("holding"), "it is broken"),
    ("poller stuck", poller(age=31), player(), "stuck"),
    ("outage while playing", poller("error", "outage"), player(), "a reason"),
    ("outage, still counted", poller(consecutive_failures=2), player(), "last 2 requests failed"),
    ("outage told in a live state", poller("live", "outage"), player(), "cannot be requested"),
    ("rate-limited", poller("live", "rate-limited"), player(), "rate limit"),
    ("no token", poller("unknown", "no-token"), player("holding"), "a reason"),
    ("holding for a moment although live", poller(), player("holding", since=NOW - 60), "holding picture is shown"),
    ("live for a moment, not yet shown", poller(since=NOW - 59), player("holding"), "for 59 s"),
    ("stream for a moment although off air", poller("offline", since=NOW - 3), player(), "off air but still shown"),
    ("refused a moment ago", poller("error", "refused", since=NOW - 1), player(), "instead of the error picture"),
    ("stands still", poller(), player(playback=replace(MOVING, position_changed_at=NOW - 6)), "stood still for 6 s"),
    ("buffers", poller(), player(playback=replace(MOVING, buffering=True)), "waiting for data"),
    ("sound only", poller(), player("holding", stream_picture="none"), "holding picture is shown, but the stream has no picture"),
    ("black", poller(), player(stream_picture="blank"), "the stream is shown, but the stream's picture is of one colour"),
    ("frozen", poller(), player(stream_picture="frozen", playback=FROZEN), "the stream's picture has not changed for 12 min"),
    ("sound only in an outage", poller("error", "outage"), player("holding", stream_picture="none"), "cannot be requested"),
    ("stalled lately", poller(), player(playback=Playback(last_stall_at=NOW - 299)), "stalled"),
]
DOWN = [
    ("player absent", poller(), StateAbsentError("it is absent"), "it is absent"),
    ("player's state broken", poller(), StateBrokenError("it is broken"), "it is broken"),
    ("player stuck", poller(), player(age=31), "stuck"),
    ("no display", poller(), player(display_up=False), "no display"),
    ("nothing shown", poller(), player("none"), "nothing is on the screen"),
    ("error picture", poller("error", "refused"), player("error"), "why"),
    ("live but holding for long", poller(), player("holding", since=NOW - 61), "for 61 s"),
    ("off air but heard for long", poller("offline", since=NOW - 61), player("holding", stream_picture="none"), "for 61 s"),
    ("off air but shown for long", poller("offline", since=NOW - 61), player(), "for 61 s"),
    ("refused but playing on for long", poller("error", "refused", since=NOW - 61), player(), "instead of"),
    ("frozen for long", poller(), player(playback=replace(MOVING, position_changed_at=NOW - 61)), "stood still for 61 s"),
]


CASES = [
    *((name, a_poller, a_player, "ok", "") for name, a_poller, a_player in OK),
    *((name, a_poller, a_player, "degraded", says) for name, a_poller, a_player, says in DEGRADED),
    *((name, a_poller, a_player, "down", says) for name, a_poller, a_player, says in DOWN),
]


@pytest.mark.parametrize(("a_poller", "a_player", "level", "says"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_verdict(a_poller: object, a_player: object, level: str, says: str) -> None:
    found = judge(a_poller, a_player)
    assert found.level == level, found
    assert says in found.sentence


@pytest.mark.parametrize("the_player", [player(), player("holding"), StateAbsentError("gone")])
def test_the_error_screen_is_down_whatever_the_states_say(the_player: object) -> None:
    assert judge(poller(), the_player, error_screen=True).level == "down"


RIGHT = {("live", "stream"), ("offline", "holding"), ("starting", "holding"), ("starting", "stream")}


@pytest.mark.parametrize(
    ("stream", "cause", "picture", "settled"),
    list(itertools.product(get_args(StreamState), get_args(Cause), get_args(Picture), (True, False))),
)
def test_every_combination(stream: StreamState, cause: Cause, picture: Picture, settled: bool) -> None:
    """Settled for an hour or for a second: only a right picture without an outage is ok; only a lasting wrong one is down."""
    since = LONG_AGO if settled else NOW - 1
    found = judge(poller(stream, cause, since=since), player(picture, since=since))
    if picture in ("none", "error"):
        assert found.level == "down"
    elif (stream, picture) in RIGHT:
        assert found.level == ("degraded" if cause in ("outage", "rate-limited") else "ok")
    elif stream == "unknown" or (stream == "error" and picture == "stream" and cause not in ("refused", "bad-config")):
        assert found.level == "degraded"
    else:
        assert found.level == ("down" if settled else "degraded")
    assert "\n" not in found.sentence
    assert found.sentence


# The TV is off on purpose


def tv(is_wanted: bool = False, **more: object) -> TvState:
    start = TvState(is_wanted=is_wanted, since=LONG_AGO, reason="the plan (daily 08:00-22:00)", until=NOW + 3600, method="blank")
    return replace(start, **more)


GONE = StateAbsentError("it is absent")
AS_AT_NIGHT: list[tuple[str, object, object]] = [
    ("released", poller("offline"), player("none")),
    ("the TV in standby has dropped the hot-plug line", poller("offline"), player("holding", display_up=False)),
    ("the network is switched off, too", poller("error", "outage", consecutive_failures=9), player("error")),
    ("live at night with force", poller("live"), player("none")),
    ("a stream stood still", poller("live"), player(playback=replace(MOVING, position_changed_at=LONG_AGO))),
]


@pytest.mark.parametrize(("a_poller", "a_player"), [case[1:] for case in AS_AT_NIGHT], ids=[case[0] for case in AS_AT_NIGHT])
def test_a_tv_that_is_off_on_purpose_is_ok_whatever_is_on_the_screen(a_poller: object, a_player: object) -> None:
    found = judge(a_poller, a_player, tv=tv())
    assert found.level == "ok"
    until = terminal.local_time(NOW + 3600, NOW)
    assert found.sentence == f"the TV is off on purpose until {until} (output blanked): the plan (daily 08:00-22:00)"
    assert judge(a_poller, a_player).level == "down"
    assert judge(a_poller, a_player, tv=tv(is_wanted=True)) == judge(a_poller, a_player)


BROKEN_AT_NIGHT: list[tuple[str, object, object, bool, TvState, str]] = [
    ("no player", poller("offline"), GONE, False, tv(), "livekeep-player: it is absent"),
    ("player stuck", poller("offline"), player("none", age=31), False, tv(), "livekeep-player is stuck: its state is 31 s old"),
    ("no poller", GONE, player("none"), False, tv(), "livekeep-poller: it is absent"),
    ("poller stuck", poller("offline", age=31), player("none"), False, tv(), "livekeep-poller is stuck"),
    ("refused", poller("error", "refused"), player("none"), False, tv(), "no event would be noticed: a reason"),
    ("no display", poller("offline"), player("none"), True, tv(), "the display could not be started"),
    ("still on", poller("offline"), player("none"), False, tv(problem="the TV does not answer"), "the TV does not answer"),
]


@pytest.mark.parametrize(
    ("a_poller", "a_player", "error_screen", "the_tv", "says"),
    [case[1:] for case in BROKEN_AT_NIGHT],
    ids=[case[0] for case in BROKEN_AT_NIGHT],
)
def test_what_would_keep_it_dark_in_the_morning_degrades(
    a_poller: object, a_player: object, error_screen: bool, the_tv: TvState, says: str
) -> None:
    found = judge(a_poller, a_player, error_screen, the_tv)
    assert found.level == "degraded"
    assert found.sentence.startswith("the TV is off on purpose until ")
    assert f", but {says}" in found.sentence


def test_probes_do_not_degrade_a_tv_that_is_off() -> None:
    results = {"network": found(NetworkResult), "clock": found(ClockResult, "warn", synchronized=False)}
    assert verdict(poller("offline"), player("none"), False, CLOCK, results, tv()).level == "ok"
    assert verdict(poller("offline"), player("holding"), False, CLOCK, results, tv(is_wanted=True)).level == "degraded"


def test_a_tv_that_is_not_switched_on_when_it_is_due_is_down_and_one_not_switched_off_degraded() -> None:
    healthy = poller("offline"), player("holding")
    assert judge(*healthy, tv=tv(until=NOW - 119)).level == "ok"
    late = judge(*healthy, tv=tv(until=NOW - 121))
    assert (late.level, "the TV should be on since" in late.sentence) == ("down", True)
    late = judge(*healthy, tv=tv(is_wanted=True, until=NOW - 121))
    assert (late.level, "the TV should be off since" in late.sentence) == ("degraded", True)
    assert judge(*healthy, tv=tv(until=None)).level == "ok"


def test_a_tv_that_does_not_obey_degrades_a_right_picture() -> None:
    dumb = tv(is_wanted=True, problem="the TV does not answer over HDMI-CEC")
    found = judge(poller(), player(), tv=dumb)
    assert found == Health("degraded", "the stream is shown: why, but the TV does not answer over HDMI-CEC")
    found = judge(poller(), player(display_up=False), tv=dumb)
    assert found.level == "down"
    assert found.sentence.startswith("no display: ") and found.sentence.endswith("; the TV does not answer over HDMI-CEC")


def test_an_unreadable_state_of_the_tv_switches_nothing_off() -> None:
    assert judge(poller(), player(), tv=StateBrokenError("foreign")) == judge(poller(), player())
    assert judge(poller(), player("none"), tv=StateBrokenError("foreign")).level == "down"


# What the probes found


def found(kind: type[ProbeResult], verdict: Found = "fail", age: float = 10.0, **more: object) -> ProbeResult:
    run = Run(verdict, "what it saw", interval_seconds=60.0, last_run=NOW - age)
    return replace(kind(run=run, written_monotonic=MONOTONIC - age), **more)  # type: ignore[arg-type]


FOUND_WELL: list[tuple[str, ProbeResult, StreamState]] = [
    ("a network that is slow", found(NetworkResult, "warn"), "live"),
    ("a speed test that failed", found(SpeedtestResult, "fail"), "live"),
    ("a stream that failed before it went off air", found(StreamResult, "fail"), "offline"),
    ("old errors on the card", found(HostResult, "warn", ext4_errors={"mmcblk0p2": 3}), "live"),
    ("a board that is slowed down", found(HostResult, "warn", throttled=("throttled",)), "live"),
    ("under-voltage earlier", found(HostResult, "ok", throttled=(), throttled_since_boot=("under_voltage",)), "live"),
    ("a run that is late", found(NetworkResult, "ok", age=210), "live"),
]
FOUND_DEGRADED: list[tuple[str, ProbeResult, StreamState, str]] = [
    ("no network", found(NetworkResult), "live", "the network probe failed: what it saw"),
    ("no network off air", found(NetworkResult), "offline", "the network probe failed"),
    ("the stream cannot be read", found(StreamResult), "live", "the stream probe failed"),
    ("a bad card", found(HostResult), "live", "the host probe reports a fault: what it saw"),
    ("under-voltage", found(HostResult, "warn", throttled=("under_voltage",)), "live", "the host probe reports a fault"),
    ("a wrong clock", found(ClockResult, "warn", synchronized=False), "offline", "the clock probe reports a fault"),
    *(
        (f"{name} is silent", found(kind, "ok", age=211), "live", f"the {name} probe is silent: its result is 211 s old")
        for name, kind in PROBES.items()
    ),
]


FOUND = [*((*case, "") for case in FOUND_WELL), *FOUND_DEGRADED]


@pytest.mark.parametrize(("findings", "stream", "says"), [case[1:] for case in FOUND], ids=[case[0] for case in FOUND])
def test_findings_degrade_at_most(findings: ProbeResult, stream: StreamState, says: str) -> None:
    judged = verdict(poller(stream), player("stream" if stream == "live" else "holding"), False, CLOCK, {"it": findings}, NO_PLAN)
    assert judged.level == ("degraded" if says else "ok")
    assert judged.sentence.startswith("the stream is shown" if stream == "live" else "the holding picture is shown")
    assert says in judged.sentence


@pytest.mark.parametrize("findings", [case[1] for case in FOUND_DEGRADED])
def test_findings_never_bring_the_screen_down_nor_up(findings: ProbeResult) -> None:
    gone = StateAbsentError("gone")
    assert verdict(poller(), gone, False, CLOCK, {"it": findings}, NO_PLAN) == judge(poller(), gone)
    assert verdict(gone, player(), False, CLOCK, {"it": findings}, NO_PLAN) == judge(gone, player())
    assert verdict(poller(), player("error"), False, CLOCK, {"it": findings}, NO_PLAN) == judge(poller(), player("error"))


def test_the_screen_s_own_trouble_comes_first() -> None:
    judged = verdict(poller(consecutive_failures=2), player(), False, CLOCK, {"network": found(NetworkResult)}, NO_PLAN)
    assert "last 2 requests failed" in judged.sentence


def test_a_probe_is_silent_by_the_clock_that_nobody_sets() -> None:
    """At boot a board without a battery has a wrong time, and jumps when it learns the right one."""
    assert not is_silent(found(NetworkResult), Clock(NOW + 1e8, MONOTONIC))
    assert is_silent(found(NetworkResult), Clock(NOW, MONOTONIC + 300))


def write(root: Path, *states: state.State) -> None:
    for entry in states:
        (root / entry.FILE).parent.mkdir(exist_ok=True)
        state.write(state.stamped(entry), root)


def test_everything_below_a_folder_is_judged(tmp_path: Path) -> None:
    def judged() -> Health:
        return snapshot.read(Clock(time.time(), time.monotonic()), tmp_path, tmp_path / "kept").verdict().whole()

    assert judged().level == "down"
    write(tmp_path, PollerState("live"), PlayerState("stream", display_up=True))
    assert judged().level == "ok"
    write(tmp_path, NetworkResult(run=Run("fail", "no host answers", interval_seconds=30.0)))
    assert judged() == Health("degraded", "the stream is shown, but the network probe failed: no host answers")
    (tmp_path / "probe-network/state.json").write_text("{")
    assert judged().level == "ok", "after an upgrade old findings are foreign until the next run"


def test_results_are_read_by_name(tmp_path: Path) -> None:
    assert probe_status.read(None, tmp_path) == {}
    write(tmp_path, SpeedtestResult(tool="url"))
    (tmp_path / "probe-host").mkdir()
    (tmp_path / "probe-host/state.json").write_text("[]")
    findings = probe_status.read(None, tmp_path)
    assert list(findings) == ["speedtest", "host"]
    assert isinstance(findings["speedtest"], SpeedtestResult)
    assert isinstance(findings["host"], StateBrokenError)


def test_a_clock_that_jumped_back_is_no_fault() -> None:
    ahead = NOW + 7200
    found = judge(poller(since=ahead), player("holding", since=ahead))
    assert found.level == "degraded"
    assert "for 0 s" in found.sentence


def test_the_error_screen_is_seen_by_its_picture(tmp_path: Path) -> None:
    assert not error_screen_is_active(tmp_path)
    (tmp_path / "error-screen").mkdir()
    assert not error_screen_is_active(tmp_path)
    (tmp_path / "error-screen/picture.png").write_bytes(b"")
    assert error_screen_is_active(tmp_path)
