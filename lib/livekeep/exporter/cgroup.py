"""What a unit uses, from the files of its cgroup: cheaper than asking systemd, which reads the same files.

Part of livekeep-exporter. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst. A file is absent without its controller:
memory is off on Raspberry Pi OS unless cmdline.txt says otherwise, and memory.peak came with Linux 5.19.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from livekeep.exporter import proc_file
from livekeep.exporter.metrics import Sample
from livekeep.exporter.proc_file import count, figure_after, is_there

SLICE = "livekeep.slice"
FIGURES = {
    "memory.current": "livekeep_unit_memory_bytes",
    "memory.peak": "livekeep_unit_memory_peak_bytes",
    "pids.current": "livekeep_unit_tasks",
}


def folder_of_all(root: Path) -> Path:
    """Where the second version's hierarchy is mounted: there, or beside those of the first version."""
    folder = root / "sys/fs/cgroup"
    unified = folder / "unified"
    return unified if is_there(unified / "cgroup.controllers") else folder


class Cgroup:
    """The cgroup of the service `unit`, which comes and goes with it."""

    def __init__(self, hierarchy: Path, unit: str) -> None:
        self._folder = f"{hierarchy}/{SLICE}/{unit}"
        self._labels = (unit,)

    def processes(self) -> bytes:
        """The ids of its processes: others after a restart."""
        return proc_file.read(f"{self._folder}/cgroup.procs")

    def samples(self) -> Iterator[Sample]:
        with contextlib.suppress(ValueError, IndexError):
            usage = figure_after(proc_file.read(f"{self._folder}/cpu.stat"), b"usage_usec ")
            yield "livekeep_unit_cpu_seconds_total", self._labels, usage / 1e6
        for name, family in FIGURES.items():
            with contextlib.suppress(ValueError):
                yield family, self._labels, float(count(proc_file.read(f"{self._folder}/{name}")))
