"""The program behind tests/soak: one worker in real time for hours, with unlike clips, nginx-rtmp and now and then a player.

Each minute a line. It fails, with 1, when the worker ends, reconnects or leaves out an item; and, against a minute early in the
run (the eleventh, or the one after a quarter of a shorter run), when

- the proportional set size of the worker's Python has grown by more than 3 MB, or its descriptors by more than 4;
- the worker's `drift_seconds`, or how far the timeline fell behind the clock since then, is over 40 ms.

Either drift is the median of a minute's states, one every two seconds: a single state tells as well how late the last pass was,
which on a busy machine is chance, and does not add up.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from livekeep.core.channels import ChannelState
from livekeep.core.errors import TemporaryError
from tests.air.ingest import ingest
from tests.air.running_worker import KEY, RunningWorker

UNLIKE = (
    "matching.mp4",
    "larger.mp4",
    "no-audio.mp4",
    "ntsc.mp4",
    "hevc.mp4",
    "film.mp4",
    "mono-48k.mp4",
    "vp8.webm",
    "fifty.mp4",
    "mpeg2.ts",
)
SAMPLE_SECONDS = 60.0
LOOK_SECONDS = 0.5
PLAYER_SECONDS = 15.0
SETTLE_SECONDS, SETTLE_SHARE = 600.0, 0.25
MOST_GROWTH_BYTES, MOST_DESCRIPTORS = 3_000_000, 4
MOST_DRIFT_SECONDS = 0.040


@dataclass(frozen=True)
class Sample:
    """A minute."""

    elapsed_seconds: float
    pss_bytes: int
    descriptors: int
    children: int
    drift_seconds: float
    worst_drift_seconds: float
    ahead_seconds: float
    """The timeline's lead over the clock, less an unknown constant."""
    items: int
    connections: int
    publishes: int
    gap: str

    def line(self, first: Sample) -> str:
        behind = (first.ahead_seconds - self.ahead_seconds) * 1000
        return (
            f"{self.elapsed_seconds / 60:7.1f} min  PSS {self.pss_bytes / 1e6:5.1f} MB, {self.descriptors} descriptors, "
            f"{self.children} ffmpegs, drift {self.drift_seconds * 1000:.0f} ms (worst {self.worst_drift_seconds * 1000:.0f}), "
            f"timeline {behind:+.0f} ms behind the clock, {self.items} items, {self.connections} connections, player: {self.gap}"
        )


def faults_of(sample: Sample, settled: Sample) -> list[str]:
    """What is wrong in a minute, against the early one."""
    growth = sample.pss_bytes - settled.pss_bytes
    more = sample.descriptors - settled.descriptors
    behind = settled.ahead_seconds - sample.ahead_seconds
    checks = (
        (sample.connections == sample.publishes == 1, f"{sample.connections} connections, {sample.publishes} publishes"),
        (growth <= MOST_GROWTH_BYTES, f"memory grew by {growth / 1e6:.1f} MB"),
        (more <= MOST_DESCRIPTORS, f"{more} descriptors more"),
        (sample.drift_seconds <= MOST_DRIFT_SECONDS, f"drift of {sample.drift_seconds * 1000:.0f} ms"),
        (behind <= MOST_DRIFT_SECONDS, f"the timeline is {behind * 1000:.0f} ms behind the clock"),
    )
    return [fault for is_good, fault in checks if not is_good]


class Soak:
    """A worker on air, and what is seen of it."""

    def __init__(self, worker: RunningWorker) -> None:
        self.worker = worker
        self.began = time.monotonic()

    def minute(self) -> Sample:
        """The next one."""
        states: dict[float, ChannelState] = {}
        gap, until = self._look_at_the_player(states), time.monotonic() + SAMPLE_SECONDS - PLAYER_SECONDS
        while time.monotonic() < until:
            self._note(states)
            time.sleep(LOOK_SECONDS)
        found = list(states.values())
        pid = self._pid()
        return Sample(
            elapsed_seconds=time.monotonic() - self.began,
            pss_bytes=pss_bytes(pid),
            descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            children=len(self.worker.children()),
            drift_seconds=statistics.median(state.drift_seconds for state in found),
            worst_drift_seconds=max(state.drift_seconds for state in found),
            ahead_seconds=statistics.median(state.timeline_seconds - state.written_monotonic for state in found),
            items=found[-1].items_played,
            connections=found[-1].connections,
            publishes=self.worker.server.publishes(KEY),
            gap=gap,
        )

    def _look_at_the_player(self, states: dict[float, ChannelState]) -> str:
        with self.worker.viewer() as viewer:
            until = time.monotonic() + PLAYER_SECONDS
            while time.monotonic() < until:
                self._note(states)
                time.sleep(LOOK_SECONDS)
            if len(viewer.pictures()) <= 60:
                return f"only {len(viewer.pictures())} pictures"
            gaps = viewer.gaps()
            return f"gap {gaps.wall * 1000:.0f} ms wall, {gaps.decoding * 1000:.0f} ms decoded"

    def _note(self, states: dict[float, ChannelState]) -> None:
        """Keep the worker's state. Raises `TemporaryError` when there is none."""
        assert self.worker.process
        if self.worker.process.poll() is not None:
            raise TemporaryError(
                f"the worker ended with {self.worker.process.returncode}:\n{self.worker.log.read_text()[-3000:]}"
            )
        found = self.worker.state()
        states[found.written_monotonic] = found

    def _pid(self) -> int:
        assert self.worker.process
        return self.worker.process.pid


def pss_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def run(worker: RunningWorker, seconds: float) -> list[str]:
    """The faults of a run; its lines are printed."""
    soak, settled, faults = Soak(worker), None, list[str]()
    settle_seconds = min(SETTLE_SECONDS, seconds * SETTLE_SHARE)
    for number in itertools.count():
        sample = soak.minute()
        if settled is None and sample.elapsed_seconds >= settle_seconds:
            settled = sample
        print(sample.line(settled or sample), flush=True)
        if settled:
            faults += [f"minute {number + 1}: {fault}" for fault in faults_of(sample, settled)]
        if sample.elapsed_seconds >= seconds:
            break
    found = worker.state()
    if found.items_failed or found.items_short:
        faults.append(f"{found.items_failed} items failed, {found.items_short} were short: {found.last}")
    slates = f"{found.slates} slates of {found.slate_seconds:.1f} s in all"
    print(f"{found.items_played} items played, {slates}, {found.timeline_seconds:.0f} s of timeline")
    return faults


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all was well."""
    parser = argparse.ArgumentParser(prog="tests/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=0.1, help="how long (default: %(default)s)")
    options = parser.parse_args(argv)
    print(f"{options.hours:g} h from {time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}", flush=True)
    # A socket's path has 108 bytes at most.
    with (
        tempfile.TemporaryDirectory(prefix="soak") as name,
        ingest(Path(name) / "ingest") as server,
        RunningWorker(Path(name), server) as worker,
    ):
        for number, clip in enumerate(UNLIKE):
            worker.add(clip, f"{number:02}-{clip}")
        worker.start()
        worker.goes_on_air()
        try:
            faults = run(worker, options.hours * 3600)
        except TemporaryError as error:
            faults = [str(error)]
        if worker.process and worker.process.poll() is None and (code := worker.stop()):
            faults.append(f"it ended with {code}")
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    print("\n".join(faults) or "well: no growth, no drift, no reconnect")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
