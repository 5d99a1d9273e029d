"""What makes the programs in a machine note the lines they run, when the run of the tests is measured; see tests/coverage.

Only a machine whose Python is the host's takes part: it uses the host's python3-coverage. All of it is bound into the machine
from outside, so that no list of files differs, and what is written outlives a power cut. A service notes its lines when it
ends: `END` is what a measured machine runs before it is killed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.machine import root
from tests.machine.standin import PROJECT

# tests/run names the folder for the notes here.
VARIABLE = "LIVEKEEP_COVERAGE"
PYTHONS: dict[root.Suite, tuple[int, int]] = {"bookworm": (3, 11), "trixie": (3, 13)}
PACKAGE = Path("/usr/lib/python3/dist-packages/coverage")
FOLDER = "/mnt/coverage"
END = ("stop", "livekeep-*.timer", "livekeep-*.service")
SANDBOX = "units/livekeep-.service.d/50-sandbox.conf"


def measures(suite: root.Suite) -> bool:
    return bool(os.environ.get(VARIABLE)) and sys.version_info[:2] == PYTHONS[suite]


def options(suite: root.Suite, source: str, scratch: Path) -> list[str]:
    """systemd-nspawn's options for it; none when nothing is measured. `source`: where the machine has the project, or ""."""
    if not measures(suite):
        return []
    hook = PROJECT / "tests/coverage/sitecustomize.py"
    target = f"/etc/python{'.'.join(map(str, PYTHONS[suite]))}/sitecustomize.py"
    found = [f"--bind={os.environ[VARIABLE]}:{FOLDER}", f"--bind-ro={PACKAGE}", f"--bind-ro={hook}:{target}"]
    if source:
        sandbox = scratch / "sandbox.conf"
        # As install.sh installs it: the one thing more that a measured unit may do.
        sandbox.write_text(f"{(PROJECT / SANDBOX).read_text(encoding='utf-8')}ReadWritePaths=-{FOLDER}\n", encoding="utf-8")
        sandbox.chmod(0o644)
        found.append(f"--bind-ro={sandbox}:{source}/{SANDBOX}")
    return found
