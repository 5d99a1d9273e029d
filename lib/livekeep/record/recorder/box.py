"""Samples this box: processor, memory, temperature, disk, and the units' use. Sources: psutil, the kernel's cgroup-v2.

Units are livekeep's and those of jobs. A unit's memory is that of its cgroup; if the kernel has no memory controller (Raspberry
Pi OS), it is the resident memory of its processes.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
UNIT_FOLDERS = (
    "*.slice/*.service",
    "*.slice/*.slice/*.service",
    "*.slice/*.slice/*.slice/*.service",
    "user.slice/user-*.slice/user@*.service/*.slice/*.service",
)
MOST_UNITS = 100
PROCESSOR_SENSORS = ("cpu_thermal", "coretemp", "k10temp", "soc_thermal", "acpitz")


@dataclass(frozen=True)
class UnitSample:
    unit: str
    memory_bytes: int | None
    cpu_percent: float | None
    """Percent of one core since the previous sample; None at the first."""


class Box:
    def __init__(self, disk: Path, cgroups: Path = CGROUPS) -> None:
        """`disk` is a folder on the measured disk."""
        self._cgroups, self._disk = cgroups, disk
        self._used_seconds: dict[str, float] = {}
        self._sampled_monotonic: float | None = None
        # The first value covers no time.
        psutil.cpu_percent()

    def sample(self) -> dict[str, float | None]:
        """Columns of the table samples."""
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._disk))
        return {
            "cpu_percent": psutil.cpu_percent(),
            "memory_bytes": memory.total - memory.available,
            "memory_total_bytes": memory.total,
            "temperature_celsius": temperature(),
            "disk_bytes": disk.total - disk.free,
            "disk_total_bytes": disk.total,
        }

    def units(self, names: Iterable[str], now_monotonic: float) -> list[UnitSample]:
        """livekeep's units, and the running units among `names`."""
        wanted = set(names)
        found = (folder for pattern in UNIT_FOLDERS for folder in self._cgroups.glob(pattern))
        folders = {folder.name: folder for folder in found if folder.name in wanted or folder.name.startswith("livekeep-")}
        seconds = now_monotonic - self._sampled_monotonic if self._sampled_monotonic is not None else 0.0
        samples, used = [], {}
        for unit, folder in sorted(folders.items())[:MOST_UNITS]:
            total = None
            with contextlib.suppress(OSError, ValueError, KeyError):
                statistics = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
                total = used[unit] = int(statistics["usage_usec"]) / 1e6
            before = self._used_seconds.get(unit)
            share = None
            if total is not None and before is not None and seconds > 0:
                # A restarted unit counts from zero.
                share = 100 * (total - before if total >= before else total) / seconds
            samples.append(UnitSample(unit, memory_of(folder), share))
        self._used_seconds, self._sampled_monotonic = used, now_monotonic
        return samples


def temperature() -> float | None:
    """The processor's temperature in °C; that of the hottest sensor if none is known to be the processor's."""
    sensors = psutil.sensors_temperatures()
    named = [reading.current for name in PROCESSOR_SENSORS for reading in sensors.get(name, ())]
    every = [reading.current for readings in sensors.values() for reading in readings]
    return max(named or every, default=None)


def memory_of(folder: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int((folder / "memory.current").read_text())
    try:
        processes = [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except (OSError, ValueError):
        return None
    resident = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            resident += psutil.Process(process).memory_info().rss
    return resident
