"""Makes the programs in a machine record the lines they run when a test run is measured; see tests/coverage.

Only a machine with the host's Python version takes part: it uses the host's python3-coverage. Everything is bound into the
machine from outside, so that no file list differs, and the output survives a power cut. A service writes its lines when it ends:
a measured machine runs `END` before it is killed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.machine import root
from tests.machine.standin import PROJECT

# tests/run sets the folder for the output here.
VARIABLE = "LIVEKEEP_COVERAGE"
PYTHONS: dict[root.Suite, tuple[int, int]] = {"bookworm": (3, 11), "trixie": (3, 13)}
PACKAGE = Path("/usr/lib/python3/dist-packages/coverage")
FOLDER = "/mnt/coverage"
END = ("stop", "livekeep-*.timer", "livekeep-*.service")
SANDBOX = "units/livekeep-.service.d/50-sandbox.conf"


def measures(suite: root.Suite) -> bool:
    return bool(os.environ.get(VARIABLE)) and sys.version_info[:2] == PYTHONS[suite]


def options(suite: root.Suite, source: str, scratch: Path) -> list[str]:
    """systemd-nspawn's options for it; none when nothing is measured. `source`: the project's path in the machine, or ""."""
    if not measures(suite):
        return []
    hook = PROJECT / "tests/coverage/sitecustomize.py"
    target = f"/etc/python{'.'.join(map(str, PYTHONS[suite]))}/sitecustomize.py"
    found = [f"--bind={os.environ[VARIABLE]}:{FOLDER}", f"--bind-ro={PACKAGE}", f"--bind-ro={hook}:{target}"]
    if source:
        sandbox = scratch / "sandbox.conf"
        # As install.sh installs it: the only additional permission of a measured unit.
        sandbox.write_text(f"{(PROJECT / SANDBOX).read_text(encoding='utf-8')}ReadWritePaths=-{FOLDER}\n", encoding="utf-8")
        sandbox.chmod(0o644)
        found.append(f"--bind-ro={sandbox}:{source}/{SANDBOX}")
    return found
