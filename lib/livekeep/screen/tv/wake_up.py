"""The timer that starts livekeep-tv at the next change.

The times of the plan are also in livekeep-tv.timer, as a reserve; this one knows the starts of events and the days on which the
clock is changed. One that is no longer needed does no harm: livekeep-tv then finds nothing to change.
"""

import logging

from livekeep.core import paths
from livekeep.system import process
from livekeep.system.process import ChildError

UNIT = "livekeep-tv.service"
SECONDS = 20.0
TRANSIENT = paths.ROOT / "run/systemd/transient"

logger = logging.getLogger("livekeep.tv")


def at(moment: float) -> None:
    """Start livekeep-tv at `moment`, Unix seconds."""
    seconds = int(moment)
    run(f"livekeep-tv-at-{seconds}", f"--on-calendar=@{seconds}")


def after(seconds: float) -> None:
    """Start livekeep-tv after a time, whatever the clock shows meanwhile."""
    run("livekeep-tv-retry", f"--on-active={seconds:g}")


def run(name: str, when: str) -> None:
    """Create the timer `name`, unless it exists; it disappears after it has elapsed. A failure is logged."""
    if (TRANSIENT / f"{name}.timer").exists():
        return
    options = ["--quiet", "--collect", f"--unit={name}", when, "--timer-property=AccuracySec=1s"]
    command = ["systemd-run", *options, "systemctl", "--no-block", "start", UNIT]
    try:
        ended = process.run(command, SECONDS, process.environment(), with_errors=True)
    except ChildError as error:
        logger.warning("%s: the TV is switched at the times of the plan and each hour only", error)
        return
    if ended.exit_code:
        said = ended.errors.decode(errors="replace").strip().partition("\n")[0]
        logger.warning("%s: %s; the TV is switched at the times of the plan and each hour only", " ".join(command[:1]), said)
