"""Detects running sessions without a process. Source: proc_pid_stat(5).

On this machine, /proc shows it. On another box, a later boot, systemd's message that the unit failed, or silence does.
"""

import contextlib
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SILENT_US = 7 * 86_400_000_000
"""How long a session on another box may be silent."""
START_TIME_FIELD = 22
"""The field in /proc/PID/stat, counted from 1."""

RUNNING = """
SELECT s.id, s.token, s.name, s.updated_at, p.pid, p.boot_id, p.unit, p.first_monotonic, m.machine_id, m.hostname,
    m.boot_id AS newest_boot,
    EXISTS (SELECT 1 FROM events e WHERE e.name = 'unit-failed' AND e.unit = p.unit AND e.machine = p.machine
        AND p.unit <> '' AND e.id > p.last_at * 1000) AS has_failed
FROM sessions s JOIN processes p ON p.id = s.process JOIN machines m ON m.id = p.machine WHERE s.outcome = 'running'
"""


@dataclass(frozen=True)
class Here:
    """This machine."""

    machine_id: str
    boot_id: str


@dataclass(frozen=True)
class Running:
    """A session that has not ended."""

    id: int
    token: str
    name: str
    updated_at: int
    pid: int
    boot_id: str
    unit: str
    first_monotonic: int | None
    """us since boot, from the first entry of its process."""
    machine_id: str
    hostname: str
    newest_boot: str
    has_failed: bool


def running(connection: sqlite3.Connection) -> list[Running]:
    return [Running(**dict(zip(row.keys(), row, strict=True))) for row in connection.execute(RUNNING)]


def is_gone(session: Running, here: Here, now: float, proc: Path = PROC) -> bool:
    """Whether its process has ended. `now` is in Unix seconds."""
    if session.machine_id == here.machine_id:
        return session.boot_id != here.boot_id or not is_alive(session.pid, session.first_monotonic, proc)
    if session.newest_boot and session.newest_boot != session.boot_id:
        return True
    return bool(session.has_failed) or session.updated_at < now * 1e6 - SILENT_US


def is_alive(pid: int, first_monotonic: int | None, proc: Path = PROC) -> bool:
    """Whether the process with that number is the one that wrote at `first_monotonic`: numbers are reused."""
    try:
        stat = (proc / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return True
    if first_monotonic is None:
        return True
    with contextlib.suppress(ValueError, IndexError):
        # The name, in parentheses, may contain anything.
        ticks = int(stat.rpartition(")")[2].split()[START_TIME_FIELD - 3])
        # Since boot including suspended time, which the journal's clock excludes.
        asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        return ticks / os.sysconf("SC_CLK_TCK") - asleep <= first_monotonic / 1e6 + 1
    return True
