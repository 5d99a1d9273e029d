"""A channel from the operator's view: set up, checked, put on air, watched, and through all kinds of failures.

The tests of a room build on each other in order. Besides "main" there are "long", which plays one long item, "unwelcome", which
its ingest always refuses, so that its waits pass during the other tests, and "keyless".
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from livekeep.core import events
from tests.machine import air_words as words
from tests.machine.channel import STREAM_KEY, ChannelRoom, worker
from tests.machine.channel_clips import COLOURS
from tests.machine.room import lines_with

LONG_KEY, UNWELCOME_KEY = "long-9f2c-made-up-key", "unwelcome-71d0-made-up-key"
KEYS = (STREAM_KEY, LONG_KEY, UNWELCOME_KEY)
AT_ONCE_SECONDS = 2.0
"""Half of it at most, on a machine that is not busy with other tests."""
REFUSALS_SECONDS = 150.0
"""Two waits, of 30 and 60 s, and three attempts."""
TIMER = "livekeep-worker-retry@{}.timer"
OTHERS = ("nobody", "livekeep-storage", "livekeep-controller", "livekeep-exporter")
TOLD_BY = (
    "livekeep air status", "livekeep air status --json", "livekeep status --json", "livekeep doctor", "livekeep health --json",
    "systemctl status 'livekeep*'", "systemctl show 'livekeep*'",
)  # fmt: skip


@pytest.fixture(scope="module")
def room(channel_room: ChannelRoom) -> Iterator[ChannelRoom]:
    """The room with all four channels configured, and only "unwelcome" intended to be on air."""
    box = channel_room
    ours = box.settings()["channels.main"]
    elsewhere = box.ingest.url.rpartition("/")[0] + "/no-such-application"
    box.write_config(
        {
            "channels.long": {**ours, "media": words.make_long(box)},
            "channels.unwelcome": {**ours, "media": words.MADE, "ingest_urls": [elsewhere]},
            "channels.keyless": ours,
        }
    )
    box.store("livekeep.stream-key.long", LONG_KEY)
    box.store("livekeep.stream-key.unwelcome", UNWELCOME_KEY)
    done = box.machine.run(["livekeep", "air", "start", "unwelcome"], check=False, timeout=90)
    assert done.returncode == 1
    assert "unwelcome: not on air yet: " in done.stderr, done.stderr
    yield box
    for name in ("main", "long", "unwelcome", "keyless"):
        box.livekeep("air", "stop", name)


@pytest.fixture
def long(room: ChannelRoom) -> ChannelRoom:
    """The room with "long" on air, playing its item."""
    if room.state("long").get("publishing") != "on-air":
        room.goes_on_air("long")
    room.until("the long item plays", lambda: room.state("long").get("picture") == "item")
    return room


def refused(room: ChannelRoom, channel: str) -> dict[str, Any]:
    """The state of a refused channel; empty before the refusal."""
    state = room.state(channel)
    return state if state.get("publishing") == "refused" else {}


def living(room: ChannelRoom, found: Iterable[words.Process]) -> str:
    """The processes of these that still exist."""
    return room.machine.run(["ps", "-o", "pid=,args=", "-p", ",".join(str(it.pid) for it in found)], check=False).stdout


# On air


def test_a_key_is_stored_and_not_shown(room: ChannelRoom) -> None:
    done = room.machine.run(["livekeep", "air", "set-key", "main"], input=f"{STREAM_KEY}-of-old\n")
    done = room.machine.run(["livekeep", "air", "set-key", "main"], input=f"{STREAM_KEY}\n")
    assert "stored" in done.stdout
    assert STREAM_KEY not in done.stdout + done.stderr
    file = "/etc/credstore/livekeep.stream-key.main"
    assert room.machine.run(["stat", "-c", "%a %U:%G", file]).stdout == "600 root:root\n"
    assert room.machine.read(file).strip() == STREAM_KEY


def test_a_check_tells_what_becomes_of_each_clip(room: ChannelRoom) -> None:
    """With everything that is fine, and the missing key."""
    done = room.machine.run(["livekeep", "air", "check", "main"], timeout=120)
    assert done.stdout.endswith("main: all is well\n"), done.stdout
    said = {name: next(line for line in done.stdout.splitlines() if f" {name}: " in line) for name in COLOURS}
    assert said["1-fits.mp4"].endswith("copied")
    reasons = {"2-small.mp4": "640x360", "3-hevc.mp4": "hevc", "4-silent.mp4": "has no sound", "5-vp8.webm": "vp8"}
    for name, reason in reasons.items():
        assert "transcoded" in said[name], said[name]
        assert reason in said[name], said[name]
    assert lines_with(done.stdout + done.stderr, KEYS) == []


def test_one_command_puts_it_on_air(room: ChannelRoom) -> None:
    """In its own unit, as its own user; a second start says that it is already on air."""
    done = room.machine.run(["livekeep", "air", "start", "main"], timeout=90)
    assert done.stdout.startswith(f"main: on air at {room.ingest.url.split('/')[2]}, "), done.stdout
    assert room.property(worker(), "ActiveState") == "active"
    assert room.is_intended()
    users = room.machine.run(["ps", "-o", "user:32=", "-p", str(room.state()["pid"])]).stdout.split()
    assert users == ["livekeep-worker"]
    assert "is already running" in room.livekeep("air", "start", "main", check=True)
    assert 'Status: "on-air: ' in room.machine.systemctl("status", worker()).stdout


def test_all_items_go_out_over_one_connection(room: ChannelRoom) -> None:
    """Copied items and encoded ones; a viewer sees them."""
    seen = set()

    def all_were_played() -> bool:
        seen.add(room.colour())
        return len({played["name"] for played in room.state()["last"]}) == len(COLOURS)

    room.until("each was played", all_were_played, 90)
    state = room.state()
    assert (state["connections"], state["items_short"], state["items_failed"]) == (1, 0, 0)
    assert {played["name"]: played["mode"] for played in state["last"]} == {
        name: "copy" if name == "1-fits.mp4" else "normalise" for name in COLOURS
    }
    assert room.ingest.publishes(STREAM_KEY) == 1
    assert len(seen & set(COLOURS)) >= 2, seen


def test_all_who_are_asked_say_that_it_is_on_air(room: ChannelRoom) -> None:
    assert room.livekeep("air", "status", "main").startswith("main: on air")
    assert re.search("^main +on air +", room.livekeep("status"), re.MULTILINE)
    figures = room.figures()
    assert {name: figures[f'livekeep_channel_on_air{{channel="{name}"}}'] for name in ("main", "unwelcome")} == {
        "main": 1,
        "unwelcome": 0,
    }
    for command in (("status",), ("air", "status")):
        found = json.loads(room.livekeep(*command, "--json"))["channels"]
        assert {name: found[name]["on_air"] for name in ("main", "unwelcome")} == {"main": True, "unwelcome": False}


def test_a_skip_goes_on_with_the_next_item(room: ChannelRoom) -> None:
    before = room.state()["items_skipped"]
    room.until("an item plays", lambda: room.state()["picture"] == "item")
    said = room.livekeep("air", "skip", "main")
    assert said.startswith("main: left "), said
    room.until("it was skipped", lambda: room.state()["items_skipped"] == before + 1)
    assert room.ingest.publishes(STREAM_KEY) == 1


def test_a_refusal_is_told_with_the_time_of_the_next_try(room: ChannelRoom) -> None:
    """To everyone who asks."""
    state = room.until("it was refused", lambda: refused(room, "unwelcome"))
    assert (state["retry_count"], state["error_type"]) == (state["refusals"], "refused")
    assert state["next_retry"] > state["since"]
    assert "air check unwelcome" in state["advice"]
    assert "not on air: the ingest refuses the stream" in room.livekeep("air", "status", "unwelcome")
    health = room.machine.run(["livekeep", "health"], check=False)
    assert (health.returncode, health.stdout.split(": ")[:2]) == (2, ["down", "channel unwelcome"])
    assert words.events(room, events.PUBLISHING_FAILED, CHANNEL="unwelcome", ERROR_TYPE="refused", WILL_RETRY="yes")


# Failures


def test_a_worker_that_is_killed_is_seen_and_comes_back(room: ChannelRoom) -> None:
    """Its end is reported at once, nothing of it is left, and the channel is on air again without help."""
    room.is_on_air()
    before, since = words.processes(room, worker()), words.moment()
    pid = int(room.property(worker(), "MainPID"))
    left, told = json.loads(room.machine.run(["python3", "-c", words.KILL_AND_LOOK, str(pid), "main"]).stdout)
    assert left is not None
    assert left <= AT_ONCE_SECONDS, left
    assert told is not None
    assert told <= AT_ONCE_SECONDS, told
    end = room.end()
    assert (end["pid"], end["result"], end["exit_code"], end["exit_status"]) == (pid, "signal", "killed", "KILL")
    room.is_on_air()
    after = words.processes(room, worker())
    assert {it.pid for it in before} & {it.pid for it in after} == set()
    assert living(room, before) == ""
    ended = words.events(room, events.WORKER_ENDED, since, CHANNEL="main", WORKER_PID=str(pid))
    assert [(event["LIVEKEEP_RESULT"], event["LIVEKEEP_EXIT_STATUS"]) for event in ended] == [("signal", "KILL")]


def test_a_stop_takes_leave_of_the_ingest(room: ChannelRoom) -> None:
    """At once, with nothing left, and without reporting a failure; systemctl's stop lasts until the next boot."""
    room.is_on_air()
    before, since = words.processes(room, worker()), words.moment()
    stopping = room.machine.popen(["systemctl", "stop", worker()])
    began = time.monotonic()
    room.until("the publisher has gone", lambda: room.ingest.received_bytes(STREAM_KEY) is None)
    seconds = time.monotonic() - began
    assert stopping.wait(30) == 0
    assert room.property(worker(), "Result") == "success"
    assert (room.end()["result"], room.end()["exit_status"]) == ("success", "0")
    assert room.state() == {}
    assert words.processes(room, worker()) == []
    assert living(room, before) == ""
    assert words.events(room, events.WORKER_ENDED, since, CHANNEL="main") == []
    assert seconds <= AT_ONCE_SECONDS, seconds
    assert room.is_intended()
    assert room.livekeep("air", "stop", "main", check=True).startswith("main: was not running")
    assert not room.is_intended()


def test_a_feeder_that_is_killed_costs_its_item(long: ChannelRoom) -> None:
    """But not the connection: the slate or the next item goes out at once."""
    since, connections, before = words.moment(), long.ingest.publishes(LONG_KEY), long.state("long")
    feeders = long.until("it is fed", lambda: words.feeders(long, "long"))
    words.kill(long, feeders[0].pid)
    long.until("it is told", lambda: words.events(long, events.ITEM_FAILED, since, CHANNEL="long"))
    (event,) = words.events(long, events.ITEM_FAILED, since, CHANNEL="long")
    assert (event["LIVEKEEP_ITEM"], event["LIVEKEEP_ERROR_TYPE"]) == ("long.mp4", "short")
    long.until("it is counted", lambda: long.state("long")["items_short"] == before["items_short"] + 1)
    long.until("an item plays", lambda: long.state("long")["picture"] == "item")
    assert long.ingest.publishes(LONG_KEY) == connections


def test_a_publisher_that_is_killed_is_replaced_at_once(long: ChannelRoom) -> None:
    """The item continues where it was."""
    since, before = words.moment(), long.state("long")
    words.kill(long, words.publisher(long, "long"))
    long.until("it is on air anew", lambda: long.state("long")["connections"] == before["connections"] + 1)
    (event,) = words.events(long, events.PUBLISHING_FAILED, since, CHANNEL="long")
    found = [event[f"LIVEKEEP_{name}"] for name in ("ERROR_TYPE", "RETRY_COUNT", "WILL_RETRY")]
    assert found == ["crashed", "1", "yes"]
    after = long.state("long")
    assert (after["pid"], after["items_short"]) == (before["pid"], before["items_short"])
    assert after["now"]["started_at"] == before["now"]["started_at"]
    # Bytes that the new connection has not acknowledged yet don't count.
    played = before["now"]["played_seconds"]
    long.until("it goes on", lambda: long.state("long")["now"]["played_seconds"] >= played)
    assert long.state("long")["now"]["started_at"] == before["now"]["started_at"]


def test_an_ingest_that_dies_is_waited_for(long: ChannelRoom) -> None:
    """The same worker is on air again when the ingest is back."""
    before = long.state("long")
    long.ingest.ask("kill")
    try:
        long.until("it is known", lambda: long.state("long")["publishing"] == "unreachable")
        found = json.loads(long.livekeep("air", "status", "--json", "long"))["channels"]["long"]
        assert found["on_air"] is False
        long.until("the exporter tells", lambda: long.figures()['livekeep_channel_on_air{channel="long"}'] == 0)
    finally:
        long.ingest.ask("start")
    after = long.is_on_air("long")
    assert after["pid"] == before["pid"]
    assert after["connections"] == before["connections"] + 1
    long.until("it arrives", lambda: long.ingest.received_bytes(LONG_KEY))


def test_an_ingest_that_refuses_is_asked_again(long: ChannelRoom) -> None:
    """After half a minute, as the state says; an operator who does not want to wait restarts it."""
    long.ingest.ask("refuse")
    try:
        words.kill(long, words.publisher(long, "long"))
        state = long.until("it was refused", lambda: refused(long, "long"))
        assert 20 <= state["next_retry"] - state["since"] <= 31
        done = long.machine.run(["livekeep", "air", "restart", "long"], check=False, timeout=60)
        assert done.returncode == 1
        assert "long: not on air yet: " in done.stderr, done.stderr
    finally:
        long.ingest.ask("accept")
    long.livekeep("air", "restart", "long", check=True)
    long.is_on_air("long")


def test_without_a_key_it_does_not_start(room: ChannelRoom) -> None:
    """It names the command that fixes it, and is left alone until then."""
    unit = worker("keyless")
    done = room.machine.run(["livekeep", "air", "start", "keyless"], check=False, timeout=60)
    assert done.returncode == 1
    assert "sudo livekeep air set-key keyless" in done.stderr, done.stderr
    assert [room.property(unit, name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")] == ["failed", "78", "0"]
    assert room.property(TIMER.format("keyless"), "ActiveState") == "inactive"
    assert "there is no stream key; run: sudo livekeep air set-key keyless" in room.machine.journal(unit)
    assert room.end("keyless")["exit_status"] == "78"
    room.livekeep("air", "stop", "keyless", check=True)
    assert room.property(unit, "ActiveState") == "inactive"


def test_no_key_is_anywhere_but_where_it_belongs(long: ChannelRoom) -> None:
    """Not in the journal, a state, an argument, an environment, nor in the output of commands; and nobody else can read it."""
    machine = long.machine
    assert STREAM_KEY in machine.read("/etc/credstore/livekeep.stream-key.main")
    told = machine.journal(None, "--all", "-o", "export")
    assert "LIVEKEEP_EVENT=channel-on-air" in told
    states = machine.run("find /run/livekeep /var/lib/livekeep /var/cache/livekeep -type f -size -200k -exec cat {} +").stdout
    assert '"publishing"' in states
    known = machine.run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'", check=False).stdout
    assert "livekeep-worker" in known
    printed = "".join(machine.run(command, check=False).stdout for command in TOLD_BY)
    for text in (told, states, known, printed):
        assert lines_with(text, KEYS) == []
    held = f"/run/credentials/{worker('long')}/livekeep.stream-key"
    assert machine.read(held).strip() == LONG_KEY
    for user in OTHERS:
        assert machine.run(["cat", held], user=user, check=False).returncode != 0, user


def test_three_refusals_end_the_run_until_a_timer_has_it_tried_again(room: ChannelRoom) -> None:
    """At a slow rate; a manual stop ends that, too."""
    unit, timer = worker("unwelcome"), TIMER.format("unwelcome")
    room.until("it was given up", lambda: room.property(unit, "ActiveState") == "failed", REFUSALS_SECONDS)
    assert [room.property(unit, name) for name in ("ExecMainStatus", "NRestarts")] == ["69", "0"]
    assert room.property(timer, "ActiveState") == "active"
    event = words.events(room, events.CHANNEL_GIVEN_UP, CHANNEL="unwelcome")[-1]
    assert (event["LIVEKEEP_ERROR_TYPE"], event["LIVEKEEP_RETRY_COUNT"]) == ("refused", "3")
    assert room.end("unwelcome")["exit_status"] == "69"
    assert "the ingest refused the stream three times" in room.livekeep("status")
    room.livekeep("air", "stop", "unwelcome", check=True)
    room.until("nothing waits", lambda: room.property(timer, "ActiveState") == "inactive")
    assert room.property(unit, "ActiveState") == "inactive"


def test_after_a_reboot_is_on_air_what_was(long: ChannelRoom) -> None:
    """And nothing else; everything is healthy then."""
    room = long
    room.machine.reboot()
    room.is_on_air("long", within=90)
    assert room.property("livekeep-air.service", "Result") == "success"
    room.until("all is well", lambda: room.livekeep("health").strip() == "ok: channel long is on air")
    assert "ok    on air          long" in room.livekeep("doctor")
    assert {name: room.property(worker(name), "ActiveState") for name in ("main", "keyless")} == dict.fromkeys(
        ("main", "keyless"), "inactive"
    )
