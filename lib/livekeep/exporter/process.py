"""Figures of the exporter itself, by the names that every Prometheus client gives them. Reads /proc/self."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import livekeep
from livekeep.exporter.metrics import Sample
from livekeep.exporter.proc_file import HeldFile

SELF = Path("/proc/self")
FILES = "/proc/self/fd"
REVISION_FILE = Path(livekeep.__file__).parents[2] / "revision"
"""Beside lib and bin: the source's revision, where whoever installed it has noted it."""
START_FIELD = 19
"""Of /proc/PID/stat, counted behind the name: when the process was started, in ticks since boot (proc(5))."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def start_time() -> float:
    """Unix seconds."""
    ticks = int((SELF / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[START_FIELD])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / TICKS_PER_SECOND


class Process:
    """The collector."""

    def __init__(self) -> None:
        self._start_time = start_time()
        self._memory = HeldFile(str(SELF / "statm"))

    def collect(self, _now: float) -> Iterator[Sample]:
        yield "process_start_time_seconds", (), self._start_time
        yield "process_cpu_seconds_total", (), time.process_time()
        yield "process_resident_memory_bytes", (), int(self._memory.read().split()[1]) * PAGE_BYTES
        # The folder itself is open while it is read.
        yield "process_open_fds", (), len(os.listdir(FILES)) - 1  # noqa: PTH208 – a list of names costs least


class Build:
    """The collector of what runs here."""

    def __init__(self) -> None:
        python = ".".join(str(part) for part in sys.version_info[:3])
        self._labels = (livekeep.__version__, revision(), python)

    def collect(self, _now: float) -> Iterator[Sample]:
        yield "livekeep_build_info", self._labels, 1


def revision() -> str:
    try:
        return REVISION_FILE.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return "unknown"
