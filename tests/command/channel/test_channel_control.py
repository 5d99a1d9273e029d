"""livekeep air start, stop, restart, skip: what systemd is told, what is noted, and what is said of how it went."""

import time

import pytest
from air_box import CHANNELS, TWO, WORKER, AirBox, on_air
from conftest import Box

from livekeep.command.channel import channel_control
from livekeep.command.channel.channel_control import Look
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from livekeep.system.systemd import Unit

LATER = 4e9
RETRY = "livekeep-worker-retry@main.timer"
FORGIVEN = f"reset-failed {WORKER}"
JOURNAL = "journalctl -u livekeep-worker@main -n 30"


@pytest.fixture
def air(box: Box) -> AirBox:
    return AirBox(box)


# start


def test_a_channel_comes_on_air(air: AirBox) -> None:
    air.on("start", on_air())
    done = air.box.run("air", "start")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "main: on air at ingest.example:1935, playing a.mp4\n"
    assert done.stderr == ""
    assert air.box.told() == [FORGIVEN, f"start --no-block {WORKER}"]
    assert air.has_intention()


def test_it_is_waited_for(air: AirBox) -> None:
    air.put(on_air(publishing="connecting", last_acknowledged_monotonic=None))
    air.on("start", on_air(pid=3), after_seconds=1.0)
    began = time.monotonic()
    done = air.box.run("air", "start", "main")
    assert (done.returncode, done.stdout) == (0, "main: on air at ingest.example:1935, playing a.mp4\n")
    assert time.monotonic() - began >= 1


def test_one_that_runs_already_is_left_alone(air: AirBox) -> None:
    air.put(on_air(picture="slate", slate_reason="no item is there"))
    air.box.unit(WORKER)
    done = air.box.run("air", "start")
    assert done.returncode == 0
    assert done.stdout == "main: already runs: on air at ingest.example:1935, showing the slate: no item is there\n"
    assert air.box.told() == []
    assert air.has_intention()


def test_a_refusal_is_told_at_once(air: AirBox) -> None:
    air.box.file("etc/credstore/livekeep.stream-key.main", "made-up")
    refused = on_air(publishing="refused", reason="The ingest says: bad name", advice="look at the stream key")
    air.on("start", refused)
    done = air.box.run("air", "start")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "main: not on air yet: The ingest says: bad name\nDo: look at the stream key\n"


def test_a_worker_that_ends_says_why(air: AirBox) -> None:
    end = ChannelEnd(channel="main", pid=7, result="exit-code", exit_code="exited", exit_status="78", ended_at=LATER)
    air.on("start", end, unit="failed")
    done = air.box.run("air", "start")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "main: not on air: the worker has ended: its configuration or its stream key is missing or wrong",
        "See: journalctl -u livekeep-worker@main -n 30",
        "There is no stream key: sudo livekeep air set-key main",
    ]
    # It was asked for, and is tried again when the machine starts.
    assert air.has_intention()


def test_an_old_end_is_not_taken_for_this_one(air: AirBox) -> None:
    old = ChannelEnd(channel="main", pid=1, result="signal", exit_code="killed", exit_status="KILL", ended_at=5.0)
    air.put(old)
    air.on("start", unit="failed")
    assert "the worker has ended: success" in air.box.run("air", "start").stderr


@pytest.mark.parametrize(
    ("arguments", "config", "says"),
    [
        (("start",), TWO, 'say which channel: "hall", "main"\n'),
        (("start",), "", "no channel is configured; add [channels.main] to {root}/etc/livekeep/livekeep.d/50-channel.toml\n"),
        (("start", "other"), CHANNELS, 'there is no channel "other"; the configured ones are "main"\n'),
        (("stop", "../main"), CHANNELS, 'there is no channel "../main"; the configured ones are "main"\n'),
        (("skip", "other"), "", 'there is no channel "other"; the configured ones are none yet\n'),
    ],
)
def test_which_channel(air: AirBox, arguments: tuple[str, ...], config: str, says: str) -> None:
    air.box.configure(config)
    done = air.box.run("air", *arguments)
    assert (done.returncode, done.stderr) == (1, says.format(root=air.box.root))
    assert air.box.told() == []


def test_one_that_is_not_set_up_does_not_start(air: AirBox) -> None:
    air.box.configure("[channels.main]\n")
    done = air.box.run("air", "start")
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()[:2]] == ["channels.main.media", "channels.main.ingest_urls"]
    assert "is not set up" in done.stderr
    assert not air.has_intention()
    assert air.box.told() == []


def test_a_faulty_configuration_starts_nothing(air: AirBox) -> None:
    air.box.configure(CHANNELS + "width = 333\n")
    done = air.box.run("air", "start")
    assert done.returncode == 78
    assert "channels.main.width: must be even, is 333" in done.stderr
    assert not air.has_intention()


def test_a_channel_of_the_api_that_cannot_be_read_is_told(air: AirBox) -> None:
    (air.directory / "web.json").write_text('{"media": 3}')
    done = air.box.run("air", "start", "web")
    assert done.returncode == 1
    assert "web.json: is not a channel (media: must be text in quotes" in done.stderr


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


def test_who_may_not_note_the_intention_is_told(air: AirBox) -> None:
    air.directory.rmdir()
    air.directory.write_text("no folder")
    done = air.box.run("air", "stop")
    assert done.returncode == 1
    assert f"{air.directory}" in done.stderr
    assert air.box.told() == []


# What a look means


def look(active: str = "activating", seconds: float = 1.0, state: ChannelState | None = None, **more: object) -> Look:
    values = {"end": None, "is_on_air": False, **more}
    return Look(Unit(WORKER, "loaded", active), state, seconds=seconds, **values)  # type: ignore[arg-type]


CONNECTING = on_air(publishing="connecting", reason="", advice="")
UNREACHABLE = on_air(publishing="unreachable", reason="Nobody answers at ingest.example:1935", advice="look at the network")


@pytest.mark.parametrize(
    "found",
    [
        look(),
        look("inactive"),
        look("active", 29.9, CONNECTING),
        look("active", 29.9, UNREACHABLE),
        look("active", 29.9),
        look("activating", 29.9),
    ],
)
def test_there_is_hope(found: Look) -> None:
    assert channel_control.answer(found) is None


@pytest.mark.parametrize(
    ("found", "sentence", "advice"),
    [
        (
            look("active", 30, CONNECTING),
            "not on air yet: connecting; it goes on trying",
            JOURNAL,
        ),
        (
            look("active", 30, UNREACHABLE),
            "not on air yet: Nobody answers at ingest.example:1935; it goes on trying",
            "look at the network",
        ),
        (look("activating", 30), "not on air yet: its worker has not said anything", JOURNAL),
        (look("inactive", 3), "not on air: the worker has ended: it says no more", JOURNAL),
        (
            look("failed", end=ChannelEnd(result="signal", exit_code="killed", exit_status="KILL")),
            "not on air: the worker has ended: signal (killed KILL)",
            JOURNAL,
        ),
        (
            look("failed", end=ChannelEnd(result="exit-code", exit_code="exited", exit_status="69")),
            "not on air: the worker has ended: the ingest refused the stream three times; it is started again after two minutes",
            JOURNAL,
        ),
    ],
)
def test_there_is_none(found: Look, sentence: str, advice: str) -> None:
    answer = channel_control.answer(found)
    assert answer is not None
    assert (answer.is_on_air, answer.sentence, answer.advice) == (False, sentence, advice)


# restart


def test_a_restart_waits_for_the_new_worker(air: AirBox) -> None:
    air.put(on_air(pid=1))
    new = on_air(pid=2, now=Played("new.mp4", "copy", 60.0, 1.0))
    air.on("restart", new, after_seconds=1.0)
    done = air.box.run("air", "restart")
    assert (done.returncode, done.stdout) == (0, "main: on air at ingest.example:1935, playing new.mp4\n")
    assert air.box.told() == [FORGIVEN, f"restart --no-block {WORKER}"]
    assert air.has_intention()


# stop


def test_stop(air: AirBox) -> None:
    (air.directory / "main.on-air").write_bytes(b"")
    air.box.unit(WORKER)
    done = air.box.run("air", "stop")
    assert (done.returncode, done.stdout) == (0, "main: stopped; it stays off air until: sudo livekeep air start main\n")
    assert not air.has_intention()
    assert air.box.told() == [f"stop {RETRY}", f"stop {WORKER}", FORGIVEN]


def test_stop_of_what_does_not_run_takes_the_intention_away(air: AirBox) -> None:
    (air.directory / "main.on-air").write_bytes(b"")
    done = air.box.run("air", "stop", "main")
    assert (done.returncode, done.stdout) == (0, "main: did not run; it stays off air until: sudo livekeep air start main\n")
    assert not air.has_intention()


def test_a_channel_that_is_not_configured_any_more_can_be_stopped(air: AirBox) -> None:
    air.box.configure("")
    air.put(on_air())
    air.box.unit(WORKER)
    assert air.box.run("air", "stop").returncode == 0
    assert air.box.told()[:2] == [f"stop {RETRY}", f"stop {WORKER}"]


# skip


def test_skip_says_what_plays_and_what_comes(air: AirBox) -> None:
    air.put(on_air())
    later = on_air(now=Played("b.mp4", "normalise", 5.0, 2.0), next=Played("c.mp4"))
    air.on("kill", later, after_seconds=0.5)
    done = air.box.run("air", "skip")
    assert (done.returncode, done.stdout) == (0, "main: left a.mp4, now playing b.mp4; next comes c.mp4\n")
    assert air.box.told() == [f"kill --signal=SIGUSR1 --kill-whom=main {WORKER}"]


def test_skip_of_the_only_item_sees_that_it_began_anew(air: AirBox) -> None:
    air.put(on_air())
    again = on_air(now=Played("a.mp4", "copy", 60.0, 99.0), next=None)
    air.on("kill", again)
    done = air.box.run("air", "skip")
    assert done.stdout == "main: left a.mp4, now playing a.mp4; next comes what is found by then\n"


def test_skip_of_an_item_that_is_waited_for(air: AirBox) -> None:
    waiting = Played("a.mp4", started_at=time.time() - 5)
    air.put(on_air(picture="slate", now=waiting, slate_reason="a.mp4: it did not continue in time"))
    air.on("kill", on_air(now=Played("b.mp4", "copy", 5.0, 2.0), next=Played("c.mp4")), after_seconds=0.5)
    done = air.box.run("air", "skip")
    assert (done.returncode, done.stdout) == (0, "main: left a.mp4, now playing b.mp4; next comes c.mp4\n")


def test_skip_when_nothing_plays(air: AirBox) -> None:
    air.box.unit(WORKER)
    done = air.box.run("air", "skip")
    assert (done.returncode, done.stderr) == (
        1,
        "main: does not run, so there is nothing to skip; now: sudo livekeep air start main\n",
    )
    air.put(on_air(picture="slate", now=None, slate_reason="the storage does not answer"))
    done = air.box.run("air", "skip")
    assert done.returncode == 1
    assert done.stderr == (
        "main: no item is playing, so there is nothing to skip; it is showing the slate: the storage does not answer\n"
    )
    assert air.box.told() == []
