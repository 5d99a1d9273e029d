"""The judgement of channels: what must be down, degraded and ok, which of them count, and the machine's verdict of all."""

import itertools
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from livekeep.core import channels, state
from livekeep.core.channels import ChannelEnd, ChannelState, Publishing
from livekeep.core.probe_results import Run, Showing, YoutubeResult, YoutubeVideo
from livekeep.core.state import PlayerState, PollerState, StateAbsentError, StateBrokenError
from livekeep.status import channel_status, snapshot
from livekeep.status.channel_status import ChannelStatus, verdict, verdicts
from livekeep.status.health import Clock, Health, Verdict

NOW, MONOTONIC = 1_800_000_000.0, 50_000.0
CLOCK = Clock(NOW, MONOTONIC)
LONG_AGO = NOW - 3600


def worker(publishing: Publishing = "on-air", age: float = 1.0, silent: float | None = 1.0, **more: object) -> ChannelState:
    """A worker whose state is `age` old and whose last bytes were acknowledged `silent` seconds ago (None: never)."""
    start = ChannelState(
        channel="main",
        publishing=publishing,
        started_at=LONG_AGO,
        since=NOW - 3,
        picture="item",
        written_monotonic=MONOTONIC - age,
    )
    return replace(start, last_acknowledged_monotonic=None if silent is None else MONOTONIC - silent, **more)  # type: ignore[arg-type]


def meant(found: object = None, since: float | None = LONG_AGO, end: ChannelEnd | None = None) -> ChannelStatus:
    return ChannelStatus("main", since, found or StateAbsentError("absent"), end)  # type: ignore[arg-type]


def youtube(showing: Showing, unshown: float | None = 121.0, age: float = 30.0, channel: str = "main") -> YoutubeResult:
    """What YouTube said `age` seconds ago; the channel has been on air without being shown for `unshown` seconds."""
    since = None if unshown is None else NOW - unshown
    videos = (
        YoutubeVideo("other", "AAAAAAAAAAA", "ended", unshown_since=LONG_AGO),
        YoutubeVideo(channel, "dQw4w9WgXcQ", showing),
    )
    videos = (videos[0], replace(videos[1], unshown_since=since))
    return YoutubeResult(run=Run("ok", interval_seconds=60.0), videos=videos, written_monotonic=MONOTONIC - age)


def seen(findings: YoutubeResult, **more: object) -> ChannelStatus:
    return replace(meant(worker(**more)), youtube=findings)  # type: ignore[arg-type]


def ended(status: str, seconds_ago: float, code: str = "exited", result: str = "exit-code") -> ChannelEnd:
    return ChannelEnd("main", 7, result, code, status, NOW - seconds_ago)


OK = [
    ("on air with its items", meant(worker())),
    ("on air without being meant to", meant(worker(), since=None)),
    ("shown by YouTube", seen(youtube("live", None))),
    ("not shown by YouTube yet", seen(youtube("upcoming", 119.0))),
    ("YouTube cannot be asked", seen(youtube("", 9999.0))),
    ("YouTube was asked long ago", seen(youtube("ended", 9999.0, age=211.0))),
    ("YouTube was asked for another channel", seen(youtube("ended", channel="hall"))),
    ("state and acknowledgement at their limits", meant(worker(age=9.9, silent=14.8))),
]
DEGRADED = [
    ("the slate", meant(worker(picture="slate", slate_reason="no item can be played")), "shows the slate: no item can be played"),
    ("storage", meant(worker(storage_problem="the keys are refused")), "its media cannot be listed: the keys are refused"),
    ("both", meant(worker(picture="slate", storage_problem="gone")), "shows the slate"),
    ("announced by YouTube", seen(youtube("upcoming")), "on air, but YouTube only announces its broadcast"),
    ("no broadcast at YouTube", seen(youtube("none")), "on air, but YouTube says that its video is no broadcast"),
    ("not to be seen at YouTube", seen(youtube("missing")), "on air, but YouTube has no such video"),
    ("ended by YouTube", seen(youtube("ended", 1.0)), "on air, but YouTube has ended its broadcast"),
    ("ended by YouTube, and with the slate", seen(youtube("ended"), picture="slate"), "shows the slate"),
    ("connecting", meant(worker("connecting", silent=59.0, reason="dropped")), "has been off air for 59 s: dropped"),
    ("first connection", meant(worker("connecting", silent=None, started_at=NOW - 5)), "off air for 5 s"),
    ("nothing acknowledged, though it says on air", meant(worker(silent=8.0)), "off air for 8 s"),
    ("just meant", meant(since=NOW - 2), "is being started"),
    ("just meant, after a clean end", meant(since=NOW - 2, end=ended("0", 5, result="success")), "is being started"),
    ("meant anew after it had given up", meant(since=NOW - 2, end=ended("78", 30)), "is being started"),
    ("killed a moment ago", meant(end=ended("KILL", 3, "killed", "signal")), "started again: its worker ended (signal KILL)"),
]
DOWN = [
    ("off air for long", meant(worker("connecting", silent=61.0, reason="no route")), "off air for 61 s: no route"),
    ("never on air", meant(worker("unreachable", silent=None, started_at=NOW - 61)), "off air for 61 s"),
    ("refused", meant(worker("refused", silent=5.0, reason="the key is not taken")), "refuses it: the key is not taken"),
    ("stuck", meant(worker(age=10.1, silent=10.2)), "stuck: its state is 10 s old"),
    ("stuck without being meant to", meant(worker(age=99.0), since=None), "stuck"),
    ("broken", meant(StateBrokenError("worker@main/state.json: half")), "worker@main/state.json: half"),
    ("no worker", meant(), "its worker does not run"),
    ("no worker since a crash", meant(end=ended("1", 11)), "does not run: its worker ended (exit-code 1)"),
    ("its configuration is wrong", meant(since=NOW - 5, end=ended("78", 1)), "its configuration or its stream key is missing"),
    ("given up", meant(end=ended("69", 100)), "the ingest refused the stream three times"),
]


CASES = [
    *((name, it, "ok", "channel main is on air") for name, it in OK),
    *((name, it, "degraded", says) for name, it, says in DEGRADED),
    *((name, it, "down", says) for name, it, says in DOWN),
]


@pytest.mark.parametrize(("it", "level", "says"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_verdict(it: ChannelStatus, level: str, says: str) -> None:
    found = verdict(it, CLOCK)
    assert found.level == level, found
    assert says in found.sentence


@pytest.mark.parametrize(
    ("publishing", "silent", "age", "picture"),
    list(itertools.product(get_args(Publishing), (None, 1.0, 30.0, 90.0), (0.0, 20.0), ("item", "slate"))),
)
def test_every_combination(publishing: Publishing, silent: float | None, age: float, picture: str) -> None:
    """Only acknowledged bytes make it ok; only a minute without them, a refusal or a stuck worker make it down."""
    found = verdict(meant(worker(publishing, age, silent, picture=picture)), CLOCK)
    if age > 10 or publishing == "refused":
        assert found.level == "down"
    elif publishing == "on-air" and silent == 1.0:
        assert found.level == ("ok" if picture == "item" else "degraded")
    else:
        assert found.level == ("degraded" if silent is not None and silent < 60 else "down")
    assert found.sentence.startswith("channel main")
    assert "\n" not in found.sentence


def test_a_machine_that_has_just_started_is_given_a_minute() -> None:
    early = Clock(NOW, 40.0)
    assert verdict(meant(), early).level == "degraded"
    assert verdict(meant(), Clock(NOW, 61.0)).level == "down"


def test_a_clock_that_jumps_is_no_fault_and_hides_none() -> None:
    assert verdict(meant(worker()), Clock(NOW - 1e8, MONOTONIC)).level == "ok"
    assert verdict(meant(since=NOW + 1e6), CLOCK).level == "down", "meant while the clock was ahead"
    fresh = meant(worker("connecting", silent=None, started_at=1.0))
    assert verdict(fresh, Clock(NOW, 30.0)).level == "degraded", "the clock was set since"


def test_which_channels_count() -> None:
    found = {
        "meant": meant(),
        "running": meant(worker(), since=None),
        "stopping": meant(worker("stopping"), since=None),
        "restarting": meant(worker("stopping")),
        "stopped": meant(since=None),
        "broken": meant(StateBrokenError("half"), since=None),
    }
    assert list(verdicts(found, CLOCK)) == ["meant", "running", "restarting", "broken"]


# The machine

WELL, POOR, BAD = Health("ok", "it is well"), Health("degraded", "it limps"), Health("down", "it is gone")


@pytest.mark.parametrize(
    ("screen", "others", "expected"),
    [
        (WELL, {}, WELL),
        (POOR, {}, POOR),
        (None, {}, Health("ok", "no channel is meant to be on air")),
        (None, {"a": WELL}, Health("ok", "channel a is on air")),
        (WELL, {"a": WELL}, Health("ok", "it is well; channel a is on air")),
        (WELL, {"a": WELL, "b": WELL, "c": WELL}, Health("ok", "it is well; channels a, b and c are on air")),
        (WELL, {"a": WELL, "b": POOR}, POOR),
        (POOR, {"a": BAD}, Health("down", "it is gone (and 1 more)")),
        (BAD, {"a": POOR, "b": POOR}, Health("down", "it is gone (and 2 more)")),
        (Health("down", "first"), {"a": BAD}, Health("down", "first (and 1 more)")),
        (None, {"a": POOR, "b": BAD, "c": WELL}, Health("down", "it is gone (and 1 more)")),
    ],
)
def test_the_worst_wins(screen: Health | None, others: dict[str, Health], expected: Health) -> None:
    assert Verdict(screen, others).whole() == expected


def judged(root: Path) -> Health:
    return snapshot.read(Clock(time.time(), time.monotonic()), root / "run", root / "kept").verdict().whole()


def write(root: Path, written: state.State) -> None:
    folder = channels.folder_of(written.channel, root / "run") if isinstance(written, ChannelState) else root / "run"
    state.path_of(type(written), folder).parent.mkdir(parents=True, exist_ok=True)
    state.write(state.stamped(written), folder)


def intend(root: Path, name: str) -> None:
    (root / "kept/channels").mkdir(parents=True, exist_ok=True)
    channels.intend(name, root / "kept/channels")
    os.utime(root / f"kept/channels/{name}.on-air", (time.time() - 3600, time.time() - 3600))


def test_everything_on_the_disk_is_judged(tmp_path: Path) -> None:
    write(tmp_path, PollerState("live"))
    write(tmp_path, PlayerState("stream", display_up=True))
    assert judged(tmp_path) == Health("ok", "the stream is shown")
    write(
        tmp_path, ChannelState(channel="main", publishing="on-air", picture="item", last_acknowledged_monotonic=time.monotonic())
    )
    assert judged(tmp_path) == Health("ok", "the stream is shown; channel main is on air")
    intend(tmp_path, "second")
    found = judged(tmp_path)
    assert found.level == ("down" if time.monotonic() > 60 else "degraded")
    assert found.sentence.startswith("channel second")
    channels.intend_not("second", tmp_path / "kept/channels")
    (tmp_path / "run/worker@main/state.json").write_text("{")
    assert judged(tmp_path).sentence.startswith("channel main: ")


def test_without_the_screen_it_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "kept/install").mkdir(parents=True)
    (tmp_path / "kept/install/without-screen").touch()
    assert judged(tmp_path) == Health("ok", "no channel is meant to be on air")
    write(
        tmp_path, ChannelState(channel="main", publishing="on-air", picture="item", last_acknowledged_monotonic=time.monotonic())
    )
    assert judged(tmp_path) == Health("ok", "channel main is on air")


def test_folders_that_are_no_channels_are_passed_over(tmp_path: Path) -> None:
    for name in ("worker@", "worker@UPPER", "worker@a b", "worker@-x", "poller", "worker@left"):
        (tmp_path / "run" / name).mkdir(parents=True)
    assert channel_status.read(tmp_path / "run", tmp_path / "kept/channels") == {}


def test_how_the_last_worker_ended_is_read(tmp_path: Path) -> None:
    intend(tmp_path, "main")
    end = ChannelEnd("main", 9, "signal", "killed", "KILL", 5.0)
    folder = channels.folder_of("main", tmp_path / "run")
    folder.mkdir(parents=True)
    state.write(end, folder)
    found = channel_status.read(tmp_path / "run", tmp_path / "kept/channels")["main"]
    assert found.end == end
    assert isinstance(found.worker, StateAbsentError)
    (folder / "end.json").write_text("{")
    assert channel_status.read(tmp_path / "run", tmp_path / "kept/channels")["main"].end is None
