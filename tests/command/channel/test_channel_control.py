"""livekeep air start, stop, restart, skip: what systemd is told, the intention, and the report."""

import pytest

from livekeep.command.channel import channel_control
from livekeep.command.channel.channel_control import Look
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from livekeep.system.systemd import Unit
from tests.command.air_box import CHANNELS, TWO, WORKER, AirBox, on_air
from tests.command.box import Box

LATER = 4e9
RETRY = "livekeep-worker-retry@main.timer"
FORGIVEN = f"reset-failed {WORKER}"
JOURNAL = "journalctl -u livekeep-worker@main -n 30"


@pytest.fixture
def air(box: Box) -> AirBox:
    return AirBox(box)


# start and restart


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_the_new_worker_is_waited_for(air: AirBox, verb: str) -> None:
    air.put(on_air(pid=1))
    air.on(verb, on_air(pid=2, now=Played("new.mp4", "copy", 60.0, 1.0)), after_seconds=1.0)
    done = air.box.run("air", verb)
    assert (done.returncode, done.stdout, done.stderr) == (0, "main: on air at ingest.example:1935, playing new.mp4\n", "")
    assert air.box.told() == [FORGIVEN, f"{verb} --no-block {WORKER}"]
    assert air.has_intention()


def test_one_that_is_running_is_left_alone(air: AirBox) -> None:
    air.put(on_air(picture="slate", slate_reason="no item is there"))
    air.box.unit(WORKER)
    done = air.box.run("air", "start")
    assert done.returncode == 0
    assert done.stdout == "main: is already running: on air at ingest.example:1935, showing the slate: no item is there\n"
    assert air.box.told() == []
    assert air.has_intention()


def test_a_refusal_is_reported_at_once(air: AirBox) -> None:
    air.box.file("etc/credstore/livekeep.stream-key.main", "made-up")
    refused = on_air(publishing="refused", reason="The ingest says: bad name", advice="look at the stream key")
    air.on("start", refused)
    done = air.box.run("air", "start")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "main: not on air yet: The ingest says: bad name\nDo: look at the stream key\n"


def test_a_worker_that_ends_gives_the_reason(air: AirBox) -> None:
    end = ChannelEnd(channel="main", pid=7, result="exit-code", exit_code="exited", exit_status="78", ended_at=LATER)
    air.on("start", end, unit="failed")
    done = air.box.run("air", "start")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "main: not on air: the worker has ended: its configuration or its stream key is missing or wrong",
        f"See: {JOURNAL}",
        "There is no stream key: sudo livekeep air set-key main",
    ]
    # The intention stays: it is tried again when the machine starts.
    assert air.has_intention()


def test_an_old_end_is_not_taken_for_this_one(air: AirBox) -> None:
    air.put(ChannelEnd(channel="main", pid=1, result="signal", exit_code="killed", exit_status="KILL", ended_at=5.0))
    air.on("start", unit="failed")
    assert "the worker has ended: success" in air.box.run("air", "start").stderr


@pytest.mark.parametrize(
    ("arguments", "config", "code", "message"),
    [
        (("start",), TWO, 1, 'name the channel: "hall", "main"\n'),
        (("start",), "", 1, "no channel is configured; add [channels.main] to {root}/etc/livekeep/livekeep.d/50-channel.toml\n"),
        (("stop", "../main"), CHANNELS, 1, 'there is no channel "../main"; the configured ones are "main"\n'),
        (("skip", "other"), "", 1, 'there is no channel "other"; the configured ones are none yet\n'),
        (("start",), "[channels.main]\n", 1, "channels.main.media: is empty, so the channel is not set up"),
        (("start",), CHANNELS + "width = 333\n", 78, "channels.main.width: must be even, is 333"),
        (("start", "web"), CHANNELS, 1, "web.json: is not a channel (media: must be text in quotes"),
    ],
)
def test_which_channel(air: AirBox, arguments: tuple[str, ...], config: str, code: int, message: str) -> None:
    air.box.configure(config)
    if "web" in arguments:
        (air.directory / "web.json").write_text('{"media": 3}')
    done = air.box.run("air", *arguments)
    assert done.returncode == code
    assert message.format(root=air.box.root) in done.stderr
    assert air.box.told() == []
    assert not air.has_intention()


@pytest.mark.parametrize("action", ["start", "stop", "restart", "skip"])
def test_without_the_air_part(box: Box, action: str) -> None:
    box.configure(CHANNELS)
    done = box.run("air", action)
    assert (done.returncode, done.stderr) == (1, "the air part is not installed: run install.sh --with air\n")
    assert box.told() == []


def test_systemd_that_refuses_is_quoted(air: AirBox) -> None:
    (air.box.systemd / "fail-start").write_text("Access denied\n")
    done = air.box.run("air", "start")
    assert done.returncode == 1
    assert done.stderr == f"systemctl start --no-block {WORKER}: Access denied\n"


def test_without_the_intention_nothing_changes(air: AirBox) -> None:
    air.directory.rmdir()
    air.directory.write_text("no folder")
    done = air.box.run("air", "stop")
    assert done.returncode == 1
    assert f"{air.directory}" in done.stderr
    assert air.box.told() == []


def look(active: str = "activating", seconds: float = 1.0, state: ChannelState | None = None, end: str = "") -> Look:
    """`end`: result, exit code and status of a worker that has ended."""
    ended = ChannelEnd(**dict(zip(("result", "exit_code", "exit_status"), end.split(), strict=True))) if end else None
    return Look(Unit(WORKER, "loaded", active), state, ended, is_on_air=False, seconds=seconds)


CONNECTING = on_air(publishing="connecting", reason="", advice="")
UNREACHABLE = on_air(publishing="unreachable", reason="Nobody answers at ingest.example:1935", advice="look at the network")
ENDED = "not on air: the worker has ended"


@pytest.mark.parametrize(
    "found", [look(), look("inactive"), look("active", 29.9, UNREACHABLE), look("active", 29.9), look("activating", 29.9)]
)
def test_there_is_hope(found: Look) -> None:
    assert channel_control.outcome_of(found) is None


@pytest.mark.parametrize(
    ("found", "sentence", "advice"),
    [
        (look("active", 30, CONNECTING), "not on air yet: connecting; it keeps trying", JOURNAL),
        (
            look("active", 30, UNREACHABLE),
            "not on air yet: Nobody answers at ingest.example:1935; it keeps trying",
            "look at the network",
        ),
        (look("activating", 30), "not on air yet: its worker has not reported anything", JOURNAL),
        (look("inactive", 3), f"{ENDED}: no reason is known", JOURNAL),
        (look("failed", end="signal killed KILL"), f"{ENDED}: signal (killed KILL)", JOURNAL),
        (
            look("failed", end="exit-code exited 69"),
            f"{ENDED}: the ingest refused the stream three times; it is started again after two minutes",
            JOURNAL,
        ),
    ],
)
def test_there_is_none(found: Look, sentence: str, advice: str) -> None:
    assert channel_control.outcome_of(found) == (False, sentence, advice)


# stop


def test_stop(air: AirBox) -> None:
    """Also a channel that is no longer configured."""
    (air.directory / "main.on-air").write_bytes(b"")
    air.box.configure("")
    air.put(on_air())
    air.box.unit(WORKER)
    done = air.box.run("air", "stop")
    assert (done.returncode, done.stdout) == (0, "main: stopped; it stays off air until: sudo livekeep air start main\n")
    assert not air.has_intention()
    assert air.box.told() == [f"stop {RETRY}", f"stop {WORKER}", FORGIVEN]


def test_stop_of_what_is_not_running_removes_the_intention(air: AirBox) -> None:
    (air.directory / "main.on-air").write_bytes(b"")
    done = air.box.run("air", "stop", "main")
    assert (done.returncode, done.stdout) == (0, "main: was not running; it stays off air until: sudo livekeep air start main\n")
    assert not air.has_intention()


# skip

WAITED_FOR = on_air(picture="slate", now=Played("a.mp4", started_at=5.0), slate_reason="a.mp4: it did not continue in time")


@pytest.mark.parametrize(
    ("before", "now", "following", "message"),
    [
        (on_air(), Played("b.mp4", "normalise", 5.0, 2.0), Played("c.mp4"), "playing b.mp4; next: c.mp4"),
        (on_air(), Played("a.mp4", "copy", 60.0, 99.0), None, "playing a.mp4; next: not known yet"),
        (WAITED_FOR, Played("b.mp4", "copy", 5.0, 2.0), Played("c.mp4"), "playing b.mp4; next: c.mp4"),
    ],
    ids=["next", "same again", "waited for"],
)
def test_skip(air: AirBox, before: ChannelState, now: Played, following: Played | None, message: str) -> None:
    air.put(before)
    air.on("kill", on_air(now=now, next=following), after_seconds=0.2)
    done = air.box.run("air", "skip")
    assert (done.returncode, done.stdout) == (0, f"main: left a.mp4, now {message}\n")
    assert air.box.told() == [f"kill --signal=SIGUSR1 --kill-whom=main {WORKER}"]


def test_skip_when_nothing_plays(air: AirBox) -> None:
    air.box.unit(WORKER)
    done = air.box.run("air", "skip")
    assert done.returncode == 1
    assert done.stderr == "main: is not running, so there is nothing to skip; to start it: sudo livekeep air start main\n"
    air.put(on_air(picture="slate", now=None, slate_reason="the storage does not answer"))
    done = air.box.run("air", "skip")
    assert done.returncode == 1
    assert done.stderr == (
        "main: no item is playing, so there is nothing to skip; it is showing the slate: the storage does not answer\n"
    )
    assert air.box.told() == []
