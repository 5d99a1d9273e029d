"""Helpers that the tests of channels in a machine share: the processes in a worker's unit, and its messages."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from livekeep.core.events import Event
from tests.machine.air_store import LONG_SECONDS
from tests.machine.channel import ChannelRoom, worker

MADE = "/srv/made"
# Run in the machine: kills the worker of a channel, and prints the seconds until its state was gone and its end was reported.
KILL_AND_LOOK = """
import json, os, pathlib, signal, sys, time
pid, folder = int(sys.argv[1]), pathlib.Path("/run/livekeep/worker@" + sys.argv[2])
def pid_in(name):
    try:
        return json.loads((folder / name).read_text())["pid"]
    except FileNotFoundError:
        return 0
os.kill(pid, signal.SIGKILL)
began, left, told = time.monotonic(), None, None
while (left is None or told is None) and time.monotonic() < began + 20:
    if left is None and pid_in("state.json") != pid:
        left = time.monotonic() - began
    if told is None and pid_in("end.json") == pid:
        told = time.monotonic() - began
    time.sleep(0.005)
print(json.dumps([left, told]))
"""

# A block per process of a cgroup: its pid, then its arguments, one per line.
LIST = """
for pid in $(cat "/sys/fs/cgroup$1/cgroup.procs"); do
    echo "$pid"
    tr '\\0\\n' '\\n ' <"/proc/$pid/cmdline"
    echo
done
"""


class Process(NamedTuple):
    """A process of a unit, with its pid in the machine."""

    pid: int
    words: tuple[str, ...]


def processes(room: ChannelRoom, unit: str) -> list[Process]:
    """All processes in the unit's cgroup."""
    group = room.property(unit, "ControlGroup")
    if not group:
        return []
    blocks = room.machine.run(["sh", "-c", LIST, "sh", group], check=False).stdout.strip().split("\n\n")
    lines = [block.strip().split("\n") for block in blocks if block.strip()]
    return [Process(int(number), tuple(words)) for number, *words in lines]


def publisher(room: ChannelRoom, channel: str = "main") -> int:
    """The pid of the ffmpeg that publishes, in the machine; 0 when there is none."""
    found = [it.pid for it in processes(room, worker(channel)) if it.words[:1] == ("ffmpeg",) and "-fpre" in it.words]
    return found[0] if found else 0


def feeders(room: ChannelRoom, channel: str = "main") -> list[Process]:
    """The processes that read items."""
    return [it for it in processes(room, worker(channel)) if it.words[:1] == ("ffmpeg",) and "-fpre" not in it.words]


def kill(room: ChannelRoom, pid: int) -> None:
    room.machine.run(["kill", "-KILL", str(pid)])


def make_long(room: ChannelRoom) -> str:
    """Create a folder with one item of five minutes that is copied; return its path."""
    script = f"mkdir -p {MADE} && ffmpeg -loglevel error -y -stream_loop {LONG_SECONDS // 4 - 1} -i /srv/media/1-fits.mp4 -c copy"
    room.machine.run(f"{script} {MADE}/long.mp4")
    return MADE


def moment() -> int:
    """The current time in the journal's clock: microseconds of the clock that host and machine share."""
    return time.monotonic_ns() // 1000


def events(room: ChannelRoom, kind: Event, since: int = 0, **fields: str) -> list[Mapping[str, Any]]:
    """The events of a kind with these LIVEKEEP_* fields, the oldest first; `since`: a result of `moment`."""
    found = room.machine.journal_entries(None, f"MESSAGE_ID={kind.message_id}")
    found = [entry for entry in found if int(entry["__MONOTONIC_TIMESTAMP"]) >= since]
    return [entry for entry in found if all(entry.get(f"LIVEKEEP_{name}") == value for name, value in fields.items())]
