"""The benchmark on an installed box, such as a Raspberry Pi: from systemd and the states, without the screen's pixels."""

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from livekeep.core import state
from livekeep.core.errors import TemporaryError
from tests.machine.costs import cpu_percents, pss_megabytes

UNITS = ("livekeep-player", "livekeep-poller", "livekeep-display")


def main_pid(unit: str) -> int:
    command = ["systemctl", "show", "--value", "--property=MainPID", unit]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout or 0)


def picture() -> str:
    """The player's reported picture; "none" when it reports nothing."""
    try:
        return state.read(state.PlayerState).picture
    except TemporaryError:
        return "none"


def seconds_until(wanted: Callable[[], bool], within: float = 60) -> str:
    began = time.monotonic()
    while time.monotonic() - began < within:
        if wanted():
            return f"{time.monotonic() - began:.2f} s"
        time.sleep(0.02)
    return "never"


def main() -> int:
    """Measure and print; restarts livekeep twice."""
    if os.geteuid() != 0 or not main_pid(UNITS[0]):
        print("benchmark: run as root on a box where livekeep is installed and runs", file=sys.stderr)
        return 1
    print(f"{platform.platform()}, load {os.getloadavg()[0]:.1f}; by systemd and the player's state, not by pixels")
    pids = {unit: main_pid(unit) for unit in UNITS}
    for unit, percent in cpu_percents(pids, 30).items():
        print(f"{unit}: PSS {pss_megabytes(pids[unit]):.1f} MB, CPU over 30 s {percent:.2f} %")
    shown = picture()
    subprocess.run(["systemctl", "reset-failed", *UNITS], check=True)
    os.kill(main_pid("livekeep-display"), signal.SIGKILL)
    time.sleep(0.05)
    print(f"display killed → {shown} again: {seconds_until(lambda: picture() == shown)}")
    subprocess.run(["systemctl", "stop", "livekeep.target"], check=True)
    subprocess.run(["systemctl", "reset-failed", *UNITS], check=False)
    subprocess.run(["systemctl", "start", "--no-block", "livekeep.target"], check=True)
    print(f"target started → a picture: {seconds_until(lambda: picture() != 'none')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
