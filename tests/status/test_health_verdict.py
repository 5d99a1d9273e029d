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
)
from livekeep.status import probe_status, snapshot
from livekeep.status.health import Clock, Health
from livekeep.status.probe_status import is_silent
from livekeep.status.screen_verdict import verdict
from livekeep.status.snapshot import error_screen_is_active

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


def judge(the_poller: object, the_player: object, error_screen: bool = False) -> Health:
    return verdict(the_poller, the_player, error_screen, CLOCK, {})  # type: ignore[arg-type]


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
    judged = verdict(poller(stream), player("stream" if stream == "live" else "holding"), False, CLOCK, {"it": findings})
    assert judged.level == ("degraded" if says else "ok")
    assert judged.sentence.startswith("the stream is shown" if stream == "live" else "the holding picture is shown")
    assert says in judged.sentence


@pytest.mark.parametrize("findings", [case[1] for case in FOUND_DEGRADED])
def test_findings_never_bring_the_screen_down_nor_up(findings: ProbeResult) -> None:
    gone = StateAbsentError("gone")
    assert verdict(poller(), gone, False, CLOCK, {"it": findings}) == judge(poller(), gone)
    assert verdict(gone, player(), False, CLOCK, {"it": findings}) == judge(gone, player())
    assert verdict(poller(), player("error"), False, CLOCK, {"it": findings}) == judge(poller(), player("error"))


def test_the_screen_s_own_trouble_comes_first() -> None:
    judged = verdict(poller(consecutive_failures=2), player(), False, CLOCK, {"network": found(NetworkResult)})
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
