"""Metrics of the exporter itself: the version, and the process, with the standard names of Prometheus clients.

prometheus_client's own ProcessCollector adds metrics that this page does not have.
"""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil

import livekeep
from livekeep.exporter.metrics import Sample
from livekeep.status.health import Clock

REVISION_FILE = Path(livekeep.__file__).with_name("revision")
"""The source's revision, which packaging/build writes into the package."""


class Process:
    """The source of process_…; created before `Host`, which may point psutil to another /proc."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start_time = self._process.create_time()

    def collect(self, _clock: Clock) -> Iterator[Sample]:
        with self._process.oneshot():
            used = self._process.cpu_times()
            yield "process_start_time_seconds", (), self._start_time
            yield "process_cpu_seconds_total", (), used.user + used.system
            yield "process_resident_memory_bytes", (), self._process.memory_info().rss
            yield "process_open_fds", (), self._process.num_fds()


def build(_clock: Clock) -> Iterator[Sample]:
    """The version, the revision and Python's version."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield "livekeep_build_info", (livekeep.__version__, revision(), python), 1


@cache
def revision() -> str:
    try:
        return REVISION_FILE.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return "unknown"
