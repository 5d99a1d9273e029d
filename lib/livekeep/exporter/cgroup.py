"""A unit's resource use, from its cgroup's files: cheaper than a call to systemd, which reads the same files.

Part of livekeep-exporter. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst. A file is absent without its controller:
on Raspberry Pi OS, memory is off unless cmdline.txt enables it; memory.peak exists since Linux 5.19.
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
    """The mount point of the cgroup v2 hierarchy: alone, or beside cgroup v1."""
    folder = root / "sys/fs/cgroup"
    unified = folder / "unified"
    return unified if is_there(unified / "cgroup.controllers") else folder


class Cgroup:
    """The cgroup of the service `unit`, which exists while the unit runs."""

    def __init__(self, hierarchy: Path, unit: str) -> None:
        self._folder = f"{hierarchy}/{SLICE}/{unit}"
        self._labels = (unit,)

    def processes(self) -> bytes:
        """The ids of its processes, which differ after a restart."""
        return proc_file.read(f"{self._folder}/cgroup.procs")

    def samples(self) -> Iterator[Sample]:
        with contextlib.suppress(ValueError, IndexError):
            usage = figure_after(proc_file.read(f"{self._folder}/cpu.stat"), b"usage_usec ")
            yield "livekeep_unit_cpu_seconds_total", self._labels, usage / 1e6
        for name, family in FIGURES.items():
            with contextlib.suppress(ValueError):
                yield family, self._labels, float(count(proc_file.read(f"{self._folder}/{name}")))
