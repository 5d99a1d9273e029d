"""What a unit uses, from the files of its cgroup: cheaper than asking systemd, which reads the same files.

Part of livekeep-exporter. Source: the kernel's Documentation/admin-guide/cgroup-v2.rst. A file is absent without its controller:
memory is off on Raspberry Pi OS unless cmdline.txt says otherwise, and memory.peak came with Linux 5.19.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from livekeep.exporter.metrics import Sample
from livekeep.exporter.proc_file import HeldFile, count, figure_after, is_there

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
        folder = f"{hierarchy}/{SLICE}/{unit}/"
        self._labels = (unit,)
        self._processes = HeldFile(folder + "cgroup.procs")
        self._processor = HeldFile(folder + "cpu.stat")
        self._figures = [(family, HeldFile(folder + name)) for name, family in FIGURES.items()]

    def open(self) -> None:
        """Look for what was absent."""
        for file in self._files():
            file.open()

    def close(self) -> None:
        for file in self._files():
            file.close()

    def _files(self) -> list[HeldFile]:
        return [self._processes, self._processor, *(file for _, file in self._figures)]

    def processes(self) -> bytes:
        """The ids of its processes: others after a restart."""
        return self._processes.read()

    def samples(self) -> Iterator[Sample]:
        content = self._processor.read()
        if content:
            with contextlib.suppress(ValueError, IndexError):
                yield "livekeep_unit_cpu_seconds_total", self._labels, figure_after(content, b"usage_usec ") / 1e6
        for family, file in self._figures:
            content = file.read()
            if content:
                with contextlib.suppress(ValueError):
                    yield family, self._labels, float(count(content))
