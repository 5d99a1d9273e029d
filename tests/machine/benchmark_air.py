"""The air part's benchmark behind `tests/benchmark --only air`: what a player sees when things change or fail, and the costs.

A booted machine with livekeep on air, nginx-rtmp in its network, a player at the far end. Clocks are this program's; nothing here
asserts: the table says what was measured beside what is wanted. How it is measured stands in each row, or where it is made.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from livekeep.core.config import Channel
from tests.machine import benchmark_air_here, root
from tests.machine.air_store import BUCKET, KEY_ID, SECRET, AirStore
from tests.machine.air_words import KILL_AND_LOOK
from tests.machine.benchmark_air_clips import BIG, FAULTS, FIFTY, SMALL_PROFILE, clips
from tests.machine.channel import CONTROLLER, STORAGE, STREAM_KEY, ChannelRoom, worker
from tests.machine.channel_viewer import FarViewer
from tests.machine.costs import Table, cpu_percents, pss_megabytes
from tests.machine.machine import MachineError, wait_for
from tests.machine.room import Settings
from tests.machine.test_air_control import CROWD, KILL_AND_ASK, TOKEN

PATIENCE_SECONDS = 90.0
CLOSE_SECONDS = 0.005
CPU_SECONDS = 60.0
STEADY_SECONDS = 8.0
AWAY_SECONDS = 1.0
ITEMS = 50
MIXES, MIX_THREADS = 1000, 1000


class BenchmarkRoom(ChannelRoom):
    """A room whose controller ends soon when idle."""

    def settings(self) -> Settings:
        wanted = super().settings()
        wanted["controller"] = {"idle_seconds": 5.0}
        return wanted


class Benchmark(Table):
    """Takes the measurements one by one."""

    def __init__(self, room: BenchmarkRoom) -> None:
        super().__init__()
        self.room = room
        self.storage: dict[str, dict[str, object]] = {}
        """The configuration's table for the bucket, if there is one."""

    # The channel

    def plays(self, media: str, **keys: Any) -> None:
        """Restart the channel with these media and keys; returns when it is on air and plays an item."""
        self.room.goes_off()
        self.room.write_config({"channels.main": {"media": media, **keys}, **self.storage})
        self.room.goes_on_air()
        self.until("an item is on air", lambda: self.state().get("picture") == "item" and self.state().get("now"))

    def media(self, kind: str) -> str:
        """The folder of these clips in the machine."""
        place = f"/srv/{kind}"
        if not self.room.machine.exists(place):
            self.room.machine.copy_in(clips(kind), place)
        return place

    def state(self) -> dict[str, Any]:
        """The worker's state, read from outside the machine, at most a millisecond old."""
        return self._json("state.json")

    def end(self) -> dict[str, Any]:
        return self._json("end.json")

    def _json(self, name: str) -> dict[str, Any]:
        file = Path(f"/proc/{self.room.machine.leader}/root/run/livekeep/worker@main/{name}")
        try:
            found: dict[str, Any] = json.loads(file.read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def until(self, what: str, holds: Callable[[], Any], within: float = PATIENCE_SECONDS) -> float:
        """Poll at short intervals; return the monotonic time at which it became true."""
        try:
            wait_for(holds, within, CLOSE_SECONDS)
        except TimeoutError as error:
            raise MachineError(f"not so: {what}; {error}\n{self.room.report()}") from error
        return time.monotonic()

    def watch(self) -> FarViewer:
        viewer = FarViewer(self.room.network, f"{self.room.ingest.url}/{STREAM_KEY}")
        viewer.wait_for_pictures()
        return viewer

    def processes(self) -> dict[str, int]:
        """The worker's processes by role, with their pids on the host: worker, publisher, feeder (the youngest one)."""
        pid = self.room.machine.main_pid(worker()).host
        found = {"worker": pid}
        for child in benchmark_air_here.children(pid):
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"ffmpeg" in words[0]:
                found["publisher" if b"pipe:0" in words else "feeder"] = child
        return found

    # Rows

    def fifty(self) -> None:
        """Each change begins with a keyframe; keyframes within items only add samples."""
        before = self.room.ingest.publishes(STREAM_KEY)
        self.plays(self.media(FIFTY), **SMALL_PROFILE)
        with self.watch() as viewer:
            self.until(f"{ITEMS} items", lambda: self.state().get("items_played", 0) >= ITEMS, 400)
            time.sleep(1)
        found = self.state()
        publishes = self.room.ingest.publishes(STREAM_KEY) - before
        failed = found["items_failed"] + found["items_short"]
        played = f"{found['items_played']} played, {failed} failed or short, slate {found['slate_seconds']:.1f} s at the start"
        self.add(f"publishes over {ITEMS} unlike items (2 to 3 s each)", "1", f"{publishes}; {played}, slates {found['slates']}")
        changes = viewer.gap(counts=lambda packet: packet.is_keyframe)
        self.add(f"gap at an item's change, worst of {ITEMS}, at the player", "≤ 100 ms", str(changes))
        self.add(f"gap anywhere, worst of {len(viewer.packets)} pictures", "–", str(viewer.gap()))
        seen = viewer.measured()
        steps = [f"{gaps.decoding * 1000:.0f} ms, {gaps.back} out of order" for gaps in (seen.video, seen.audio) if gaps]
        self.add("step in decoding time anywhere: pictures; sound", "≤ 80 ms", "; ".join(steps))
        self.add("changes of the picture's headers", "–", str(seen.header_changes))
        self.add("drift at the end of that", "≤ 40 ms", f"{found['drift_seconds'] * 1000:.0f} ms, speed {found['speed']}")

    def failing_items(self) -> None:
        self.plays(self.media(FAULTS), order="name", **SMALL_PROFILE)
        self._failure("item's file is cut off after a third", lambda: None, "items_short")
        self.plays(self.media(FAULTS), order="newest", **SMALL_PROFILE)
        kill = lambda: os.kill(self.processes()["feeder"], signal.SIGKILL)  # noqa: E731
        self._failure("item's feeder killed (SIGKILL)", kill, "items_short")

    def _failure(self, what: str, act: Callable[[], object], counter: str) -> None:
        """The longest gap from the action until two seconds after the item was given up: the picture changes within that time."""
        publishes = self.room.ingest.publishes(STREAM_KEY)
        with self.watch() as viewer:
            count, began = self.state()[counter], time.monotonic()
            act()
            self.until(what, lambda: self.state().get(counter, 0) > count)
            time.sleep(2)
            over = time.monotonic()
        same = self.room.ingest.publishes(STREAM_KEY) == publishes and self.state()["connections"] == 1
        text = f"{viewer.gap(began, over)}; {'same connection' if same else 'ANOTHER CONNECTION'}"
        self.add(f"{what} → slate or next item on the wire", "≤ 300 ms, same connection", text)

    def ingest_killed(self) -> None:
        """Twice, the second time after half a minute on air; measures the time from the ingest's start to its first bytes."""
        self.plays(self.media(BIG))
        seconds, positions = [], []
        for steady_seconds in (STEADY_SECONDS, 32.0):
            time.sleep(steady_seconds)
            self.room.ingest.ask("kill")
            self.until("seen", lambda: self.state().get("publishing") != "on-air")
            held = self.state()["now"]
            time.sleep(AWAY_SECONDS)
            began = time.monotonic()
            self.room.ingest.ask("start")
            got = self.until("bytes there", lambda: (self.room.ingest.received_bytes(STREAM_KEY) or 0) > 0)
            again = self.until("on air", lambda: self.state().get("publishing") == "on-air")
            seconds.append(f"{got - began:.2f} (on air in the state: {again - began:.2f})")
            now = self.state()["now"]
            positions.append(f"{held['name']} {held['played_seconds']:.1f} → {now['name']} {now['played_seconds']:.1f} s")
        what = f"ingest killed, back after {AWAY_SECONDS:g} s → it has bytes again after its return"
        self.add(what, "≤ 3 s", f"{', '.join(seconds)} s")
        self.add("item's position when it was killed → when on air again", "kept", "; ".join(positions))

    def ingest_stops_reading(self) -> None:
        self.plays(self.media(BIG))
        time.sleep(STEADY_SECONDS)
        self.room.ingest.ask("stall")
        began = time.monotonic()
        seen = self.until("stalled", lambda: self.state().get("publishing") != "on-air")
        what = self.state()["publishing"]
        self.room.ingest.ask("go_on")
        text = f"{seen - began:.2f} s ({what})"
        self.add("ingest stops reading (SIGSTOP) at 3 Mbit/s → in the state", "≤ 5 s", text)
        self.room.is_on_air()

    def costs(self) -> None:
        """With an item of 150 s, copied: the feeder reads it beside the relay, nothing is encoded."""
        self.plays(self.media(BIG))
        time.sleep(STEADY_SECONDS)
        before, began = self.state()["acknowledged_bytes"], time.monotonic()
        pids = self.processes()
        shares = cpu_percents(pids, CPU_SECONDS)
        rate = (self.state()["acknowledged_bytes"] - before) * 8 / (time.monotonic() - began) / 1e6
        mode = self.state()["now"]["mode"]
        text = f"{shares['worker']:.2f} % of a core ({mode}, {rate:.2f} Mbit/s acknowledged)"
        self.add(f"CPU of the worker's Python over {CPU_SECONDS:g} s, 720p25 at 3 Mbit/s", "≤ 3 %", text)
        beside = ", ".join(f"{name} {shares[name]:.2f} %" for name in ("feeder", "publisher") if name in shares)
        self.add("CPU of its ffmpegs meanwhile", "–", beside)
        sizes = {name: pss_megabytes(pid) for name, pid in pids.items()}
        self.add("memory, PSS: the worker's Python, copying", "≤ 25 MB", f"{sizes.pop('worker'):.1f} MB")
        self.add("memory, PSS: its ffmpegs, copying", "–", ", ".join(f"{name} {size:.1f} MB" for name, size in sizes.items()))
        self.plays("/srv/media", preset="ultrafast")
        normalising = lambda: (self.state().get("now") or {}).get("mode") == "normalise" and "feeder" in self.processes()  # noqa: E731
        self.until("normalising", normalising)
        # Its buffers fill while it works.
        time.sleep(2.5)
        sizes = {name: pss_megabytes(pid) for name, pid in self.processes().items()}
        text = ", ".join(f"{name} {size:.1f} MB" for name, size in sizes.items())
        self.add("memory, PSS, normalising to 720p (one feeder of up to two)", "–", text)

    def bucket(self) -> None:
        """rclone is stopped during the transfer of an item."""
        with AirStore(self.room.network) as store:
            self.room.store("livekeep.storage-key-id", KEY_ID)
            self.room.store("livekeep.storage-secret", SECRET)
            self.storage = {"storage": {"endpoint_url": store.base_url, "region": "us-east-1", "timeout_seconds": 5.0}}
            self.plays(f"s3://{BUCKET}/long/")
            self.room.machine.run(["systemctl", "start", STORAGE], check=False)
            self.until("it listed and signed", lambda: self.state().get("items_known"))
            self.add("memory, PSS: storage while it runs", "–", f"{self.room.memory_megabytes(STORAGE):.1f} MB")
            publishes, slates = self.room.ingest.publishes(STREAM_KEY), self.state()["slates"]
            with self.watch() as viewer:
                store.ask("stall")
                began = time.monotonic()
                # Data in the sockets' buffers is played first.
                slate = self.until("the slate", lambda: self.state().get("slates", 0) > slates, 180)
                time.sleep(2)
                store.ask("go_on")
            same = self.room.ingest.publishes(STREAM_KEY) == publishes and self.state()["connections"] == 1
            held = f"{'same connection' if same else 'ANOTHER CONNECTION'}; the slate {slate - began:.1f} s after the stop"
            what = "storage stalls within an item → slate or next item on the wire"
            self.add(what, "≤ 300 ms, same connection", f"{viewer.gap(began)}; {held}")
        self.storage = {}

    def worker_killed(self) -> None:
        self.plays("/srv/media", **SMALL_PROFILE)
        self.until("asleep", lambda: self.room.property(CONTROLLER, "ActiveState") == "inactive")
        asked = time.monotonic()
        self.room.ask("GET", "/streams/status")
        self.add("API: first answer when the controller is not running", "–", f"{time.monotonic() - asked:.2f} s")
        pid = self.room.property(worker(), "MainPID")
        _left, noted = json.loads(self.room.machine.run(["python3", "-c", KILL_AND_LOOK, pid, "main"]).stdout)
        self.add("worker killed (SIGKILL) → end.json written", "≤ 1 s", "never" if noted is None else f"{noted:.2f} s")
        self.room.is_on_air()
        back = self.state()["connected_since"] - self.end()["ended_at"]
        self.add("the same → on air again", "–", f"{back:.1f} s after its end")
        pid = self.room.property(worker(), "MainPID")
        told = float(self.room.machine.run(["python3", "-c", KILL_AND_ASK, pid, TOKEN]).stdout)
        self.add("worker killed (SIGKILL) → in the API (asked every 20 ms)", "≤ 1 s", f"{told:.2f} s")
        self.room.is_on_air()

    def api(self) -> None:
        """Each request has a separate thread and connection; meanwhile the workers are counted."""
        self.room.goes_off()
        command = ["python3", "-c", CROWD, str(MIXES), str(MIX_THREADS), TOKEN]
        found = json.loads(self.room.machine.run(command, timeout=600).stdout)
        codes: collections.Counter[str] = collections.Counter()
        for answer, count in found["answers"].items():
            codes[answer.partition(" ")[2]] += count
        faults = sum(count for code, count in codes.items() if code.startswith("5") or not code.isdecimal())
        told = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
        text = f"{faults} faults, {found['most_workers']} worker at most; in {found['seconds']:.1f} s ({told})"
        self.add(f"API: {MIXES:,} concurrent start, stop, skip, status", "no 5xx, one worker at most", text)
        self.until("quiet", lambda: self.room.property(CONTROLLER, "ActiveState") == "active", 5)
        self.add("memory, PSS: controller after that", "–", f"{self.room.memory_megabytes(CONTROLLER):.1f} MB")
        began = time.monotonic()
        gone = self.until("idle", lambda: self.room.property(CONTROLLER, "ActiveState") == "inactive", 180)
        left = self.room.property(CONTROLLER, "MainPID")
        held = "0 MB: no process" if left == "0" else f"process {left}"
        self.add("memory: controller when idle", "0", f"{held}, {gone - began:.0f} s after the last request (idle_seconds 5)")
        self.room.goes_off()

    def day(self) -> None:
        """On the host, as it needs no machine."""
        self.add(*benchmark_air_here.day())

    def normalising(self) -> None:
        for row in benchmark_air_here.normalising():
            self.add(*row)


ROWS = (
    "fifty",
    "failing_items",
    "ingest_killed",
    "ingest_stops_reading",
    "costs",
    "bucket",
    "worker_killed",
    "api",
    "day",
    "normalising",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write it to the given file."""
    parser = argparse.ArgumentParser(prog="benchmark --only air", description=__doc__)
    parser.add_argument("--suite", choices=root.SUITES, default="trixie")
    parser.add_argument("--write", type=Path, help="a file for the table")
    parser.add_argument("--rows", nargs="*", default=[], choices=ROWS, help="some measurements alone")
    options = parser.parse_args(argv)
    load = os.getloadavg()[0]
    try:
        with BenchmarkRoom(options.suite) as room:
            benchmark = Benchmark(room)
            for name in options.rows or ROWS:
                getattr(benchmark, name)()
            text = f"{benchmark_air_here.conditions(room.machine, load, Channel(**SMALL_PROFILE))}\n\n{benchmark.markdown()}"
    except MachineError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    print(f"\n{text}")
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
