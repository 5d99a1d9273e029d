"""Changes to units for an operator, through systemctl(1); reading goes over D-Bus (systemd.py).

systemctl also works in an image build, waits for the jobs, and reports errors in terms that operators know.
"""

import contextlib
import os
import subprocess

from livekeep.core.errors import LivekeepError
from livekeep.system import systemd

ACTION_TIMEOUT_SECONDS = 120
"""A restart waits until the old process has ended and the new one is ready."""


def tell(verb: str, *names: str, timeout_seconds: float = ACTION_TIMEOUT_SECONDS) -> None:
    """Run `systemctl VERB NAME…`. Raises `LivekeepError` with what systemctl says."""
    command = ["systemctl", verb, *names]
    line = " ".join(command)
    try:
        # A pager would wait for a key.
        environment = {**os.environ, "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "LC_ALL": "C"}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise LivekeepError(f"{line}: there is no systemctl here; livekeep's units need systemd") from error
    except OSError as error:
        raise LivekeepError(f"{line}: cannot be run ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise LivekeepError(f"{line}: no answer within {timeout_seconds:g} s; see systemctl list-jobs") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise LivekeepError(f"{line}: {said[0]}")


def forgive(name: str) -> None:
    """Reset a unit's failed state and its start counter; a unit that systemd has not loaded has neither."""
    with contextlib.suppress(LivekeepError):
        tell("reset-failed", name)


def is_running(name: str) -> bool:
    """Whether a unit is active; false if systemd doesn't run or doesn't reply."""
    try:
        return systemd.read_units([name])[0].is_active()
    except LivekeepError:
        return False


def restart_if_running(name: str) -> bool:
    """Restart a unit that runs; returns whether it ran. An operator's restart must not count against the unit's start limit."""
    if not is_running(name):
        return False
    tell("reset-failed", name)
    tell("try-restart", name)
    return True
