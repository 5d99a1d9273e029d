"""livekeep air status: for people and for programs, of channels in every condition; and what the completion offers."""

import dataclasses
import json
import re
import subprocess
import time

import pytest

from livekeep.core import state
from livekeep.core.channels import ChannelEnd, Played
from livekeep.core.probe_results import Run, YoutubeResult, YoutubeVideo
from tests.command.air_box import TWO, WORKER, AirBox, on_air
from tests.command.box import REPOSITORY, Box


@pytest.fixture
def air(box: Box) -> AirBox:
    return AirBox(box)


def rows(shown: str) -> dict[str, str]:
    """The rows below the headline by their first word; those without one have gone."""
    return {line[2:].partition("  ")[0]: line[2:].partition("  ")[2].strip() for line in shown.splitlines()[1:]}


def test_on_air(air: AirBox) -> None:
    last = (
        Played("z.mp4", "normalise", 120.0, time.time() - 3725, 118.0, "short", "its end is missing"),
        Played("y.mp4", "copy", None, time.time() - 9000, 4000.0, "played"),
    )
    air.put(
        on_air(
            now=Played("a.mp4", "copy", 36_061.0, time.time() - 62, 61.9), next=Played("b.mp4", "normalise", 90.0), last=last,
            connections=3, refusals=1, items_played=40, items_short=1, slates=2, slate_seconds=31.4, speed=1.0004,
            drift_seconds=0.012,
        )
    )  # fmt: skip
    air.box.unit(WORKER)
    done = air.box.run("air", "status")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("main: on air since ")
    assert "(for 1 min)" in done.stdout.splitlines()[0]
    found = rows(done.stdout)
    assert found["Now"].startswith("a.mp4 (copied, from ")
    assert found["Now"].endswith(", 1:01 of 10:01:01)")
    assert found["Next"] == "b.mp4 (transcoded, 1:30)"
    assert found["Last"].startswith("z.mp4 (short, transcoded, from ")
    assert found["Last"].endswith("1:58 of 2:00): its end is missing")
    assert "y.mp4 (played, copied, from" in done.stdout
    assert found["Ingest"].startswith("ingest.example:1935; connected since ")
    assert "; 23 MB acknowledged, the last " in found["Ingest"]
    assert found["Pace"] == "1.00 of real time, 12 ms behind the clock"
    assert found["Counted"] == (
        "3 items known; 40 played, 1 short, 0 failed, 0 skipped; 2 slates (31 s); 2 reconnects, 1 refusals"
    )
    assert "Why" not in found


def test_reconnecting(air: AirBox) -> None:
    air.put(
        on_air(
            publishing="refused", reason="The ingest refuses", advice="look at the key", error_type="refused", retry_count=2,
            next_retry=time.time() + 7200, connected_since=None, picture="slate", slate_reason="nothing is there", now=None,
            next=None, storage_problem="no answer from the bucket", is_backup=True, last_acknowledged_monotonic=None,
        )
    )  # fmt: skip
    done = air.box.run("air", "status", "main")
    assert done.stdout.startswith("main: not on air: the ingest refuses the stream since ")
    found = rows(done.stdout)
    assert (found["Why"], found["Do"]) == ("The ingest refuses", "look at the key")
    assert found["Retries"].startswith("2 in a row (refused), the next in ")
    assert found["Storage"] == "no answer from the bucket"
    assert found["Slate"] == "is shown: nothing is there"
    assert found["Next"] == "not known yet"
    assert found["Ingest"] == "ingest.example:1935, the backup; not connected; 23 MB acknowledged"
    assert found["Pace"].startswith("not known yet")


def test_what_youtube_shows_stands_beside_it(air: AirBox) -> None:
    air.put(on_air())
    video = YoutubeVideo("main", "dQw4w9WgXcQ", "live", "A day", started_at=time.time() - 3725, viewers=1)
    air.box.write(YoutubeResult(run=Run("ok", interval_seconds=60.0), videos=(video,)), age_seconds=20)
    shown = rows(air.box.run("air", "status").stdout)["YouTube"]
    assert re.fullmatch(r"live since .* \(for 1 h 2 min\), 1 viewer \(asked \d+ s ago\)", shown)
    assert air.document("status")["channels"]["main"]["youtube"]["viewers"] == 1
    ended = dataclasses.replace(video, showing="ended", ended_at=time.time() - 60, unshown_since=time.time() - 30)
    air.box.write(YoutubeResult(run=Run("warn", interval_seconds=60.0), videos=(ended,)))
    assert rows(air.box.run("air", "status").stdout)["YouTube"].startswith("ended at ")
    status = air.box.run("status").stdout
    assert "channel main is on air, but YouTube has ended its broadcast" in status
    assert re.search(r"^Do +begin a new one in YouTube Studio", status, re.MULTILINE)
    assert re.search(r"^YouTube +main: ended at .* \(asked \d+ s ago\)$", status, re.MULTILINE)
    assert json.loads(air.box.run("status", "--json").stdout)["channels"]["main"]["youtube"]["showing"] == "ended"
    for showing, says in (("upcoming", "not live yet"), ("none", "the video is no broadcast"), ("missing", "no such video: ")):
        other = dataclasses.replace(video, showing=showing)
        air.box.write(YoutubeResult(run=Run("ok", interval_seconds=60.0), videos=(other,)))
        assert rows(air.box.run("air", "status").stdout)["YouTube"].startswith(says)
    air.box.write(YoutubeResult(run=Run("ok", interval_seconds=60.0), videos=(video,)), age_seconds=300)
    assert "YouTube" not in rows(air.box.run("air", "status").stdout)
    assert air.document("status")["channels"]["main"]["youtube"] is None


def test_headlines_of_a_channel_with_a_worker(air: AirBox) -> None:
    air.put(on_air(last_acknowledged_monotonic=time.monotonic() - 30))
    shown = air.box.run("air", "status").stdout
    assert shown.startswith("main: not on air: connected, but the ingest acknowledges nothing since ")
    assert air.document("status")["channels"]["main"]["on_air"] is False
    air.put(on_air(picture="slate", slate_reason="a.mp4 failed"))
    assert air.box.run("air", "status").stdout.startswith("main: on air with the slate since ")
    stuck = dataclasses.replace(on_air(), written_at=time.time() - 40, written_monotonic=time.monotonic() - 40)
    state.write(stuck, air.folder)
    assert air.box.run("air", "status").stdout.startswith("main: not known: its worker last wrote its state ")
    air.box.file("run/livekeep/worker@main/state.json", "{")
    done = air.box.run("air", "status")
    assert done.returncode == 0
    assert "worker@main/state.json: is not a state of this version" in done.stdout
    found = air.document("status")["channels"]["main"]
    assert found["state"] is None
    assert "is not a state" in found["state_problem"]


def test_off_air_on_purpose_and_not(air: AirBox) -> None:
    done = air.box.run("air", "status")
    assert done.stdout == "main: off air, as it is meant to be\n"
    end = ChannelEnd(channel="main", pid=1, result="exit-code", exit_code="exited", exit_status="69", ended_at=time.time() - 60)
    air.put(end)
    (air.directory / "main.on-air").write_bytes(b"")
    shown = air.box.run("air", "status").stdout
    assert shown.startswith("main: off air, although it is meant to be on air\n")
    assert rows(shown)["Ended"].endswith(" (exit-code, exited 69)")
    assert rows(shown)["Do"] == "sudo livekeep air start main; see also: journalctl -u livekeep-worker@main -n 30"


def test_all_channels_those_of_the_api_and_those_that_are_gone(air: AirBox) -> None:
    air.box.configure(TWO)
    (air.directory / "web.json").write_text('{"media": "/srv/web"}')
    (air.directory / "broken.json").write_text("[")
    (air.directory / "gone.on-air").write_bytes(b"")
    shown = air.box.run("air", "status").stdout
    assert [line.split(":")[0] for line in shown.splitlines() if line and line[0] != " "][:4] == ["gone", "hall", "main", "web"]
    assert "Note  it is no longer configured" in shown
    assert "broken.json: is not a channel" in shown
    found = air.document("status")
    assert {name: (it["configured"], it["intended"]) for name, it in found["channels"].items()} == {
        "gone": (False, True), "hall": (True, False), "main": (True, False), "web": (True, False),
    }  # fmt: skip
    assert len(found["problems"]) == 1
    assert list(air.document("status", "hall")["channels"]) == ["hall"]


def test_for_programs(air: AirBox) -> None:
    air.put(on_air())
    air.box.unit(WORKER, NRestarts="3")
    found = air.document("status")["channels"]["main"]
    assert found["on_air"] is True
    assert (found["unit"]["active"], found["unit"]["restarts"]) == ("active", 3)
    assert found["state"]["now"]["name"] == "a.mp4"
    assert (found["end"], found["state_problem"]) == (None, "")


def test_no_channel_at_all(air: AirBox) -> None:
    air.box.configure("")
    place = air.box.root / "etc/livekeep/livekeep.d/50-channel.toml"
    assert air.box.run("air", "status").stdout == f"no channel is configured; add [channels.main] to {place}\n"
    assert air.document("status")["channels"] == {}


def test_where_systemd_cannot_be_asked(air: AirBox) -> None:
    air.put(on_air())
    air.box.unit_bus.close()
    done = air.box.run("air", "status")
    assert done.returncode == 0
    assert done.stdout.startswith("main: on air")
    (problem,) = air.document("status")["problems"]
    assert problem.endswith("system_bus_socket: No such file or directory; is dbus.service running?")
    assert done.stdout.endswith(f"{problem}\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["air", "st"], "start stop status"),
        (["air", "start", ""], "hall main"),
        (["air", "check", "m"], "main"),
        (["air", "status", "--j"], "--json"),
        (["air", "skip", "--"], "--help"),
        (["air", "set-key", "h"], "hall"),
        (["air", "set-key", "main", "ke"], "key.txt"),
        (["air", "set-storage-keys", "ke"], "key.txt"),
        (["a"], "air alert apply"),
    ],
)
def test_the_completion_knows_actions_and_channels(air: AirBox, words: list[str], expected: str) -> None:
    air.box.configure(TWO)
    air.box.file("key.txt", "")
    air.box.install("livekeep", f'#!/bin/sh\nexec {" ".join(air.box.command())} "$@"\n')
    script = (
        f". {REPOSITORY}/etc/bash-completion/livekeep; COMP_WORDS=(livekeep {' '.join(repr(word) for word in words)}); "
        f"COMP_CWORD={len(words)}; _livekeep; echo ${{COMPREPLY[*]}}"
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=air.box.environment, cwd=air.box.root
    )
    assert done.stdout.strip() == expected
