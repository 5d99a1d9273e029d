"""What all benchmarks share: the table of results, and the resource use of a process, from the kernel."""

import os
import time
from collections.abc import Mapping
from pathlib import Path


class Table:
    """The rows, printed as they come: the action, the target, the measurement."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def add(self, scenario: str, wanted: str, measured: str) -> None:
        self.rows.append((scenario, wanted, measured))
        print(f"  {scenario}: {measured} (wanted {wanted})", flush=True)

    def markdown(self) -> str:
        lines = ["| scenario | wanted | measured |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in self.rows)]
        return "\n".join(lines) + "\n"


def pss_megabytes(pid: int) -> float:
    """The proportional set size in MB of 1,000,000 bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:"))


def cpu_seconds(pid: int) -> float:
    """User and system time since the process began."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_percents(pids: Mapping[str, int], seconds: float) -> dict[str, float]:
    """The share of one core that each process uses during the next `seconds`, in percent, by its name in `pids`."""
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    return {name: (cpu_seconds(pid) - before[name]) / seconds * 100 for name, pid in pids.items()}
