"""Rules of kind "verdict": the box's health as `livekeep health` gives it, for the screen and each channel; and the recorder's.

A screen that is off on purpose alerts nobody: livekeep.target is stopped (neither poller nor player has a state), or the kernel
says that no TV is connected.
"""

import time
from pathlib import Path

from livekeep.core.config import Probes
from livekeep.core.config.record import RECORDER, Alert
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import HostResult
from livekeep.core.record_states import RecorderState
from livekeep.core.state import PlayerState, PollerState, StateAbsentError, StateBrokenError
from livekeep.record.alerts.rules import Finding
from livekeep.status import health
from livekeep.status.health import LEVELS, Clock, Health

RECORDER_STALE_SECONDS = 180.0
"""The recorder writes its state at least once a minute."""


def verdict(rule: Alert, root: Path, kept: Path, probes: Probes, now: float) -> list[Finding]:
    """What is not well: "screen", "channel NAME", or the recorder. Raises `TemporaryError` when that cannot be told."""
    if rule.unit == RECORDER:
        return [Finding(RECORDER, trouble, now) for trouble in filter(None, [trouble_of_recorder(root)])]
    try:
        clock = Clock(now, time.monotonic())
        judgement = health.judgement(root, clock, kept, probes)
        parts: dict[str, Health] = {f"channel {name}": it for name, it in judgement.channels.items()}
        if judgement.screen and not is_off_on_purpose(root):
            parts["screen"] = judgement.screen
    except PermissionError as error:
        raise TemporaryError(f"{error.filename}: cannot be read ({error.strerror}); is this user in group livekeep?") from error
    least = LEVELS.index("down" if rule.verdict == "down" else "degraded")
    bad = {name: it for name, it in parts.items() if LEVELS.index(it.level) >= least}
    return [Finding(name, f"{name}: {it.sentence}" if name == "screen" else it.sentence, now) for name, it in bad.items()]


def is_off_on_purpose(root: Path) -> bool:
    states = [health.look(PollerState, root), health.look(PlayerState, root)]
    is_stopped = all(isinstance(it, StateAbsentError) for it in states) and not health.error_screen_is_active(root)
    return is_stopped or no_tv_is_connected(root)


def no_tv_is_connected(root: Path) -> bool:
    """Whether the newest run of the host's probe saw connectors, and a TV at none of them."""
    found = health.look(HostResult, root)
    if isinstance(found, StateAbsentError | StateBrokenError) or health.is_silent(found, Clock(time.time(), time.monotonic())):
        return False
    return bool(found.connectors) and all(connector.connected is False for connector in found.connectors)


def trouble_of_recorder(root: Path) -> str:
    """Why the record does not grow, in one sentence; "" when it does."""
    found = health.look(RecorderState, root)
    if isinstance(found, StateAbsentError):
        return f"{RECORDER} does not run: nothing is recorded, and rules that read the record see nothing new"
    if isinstance(found, StateBrokenError):
        return f"{RECORDER}: {found}"
    silent = time.monotonic() - found.written_monotonic
    if silent > RECORDER_STALE_SECONDS:
        return f"{RECORDER} is stuck: its state is {silent:.0f} s old"
    return f"{RECORDER}: {found.problem}" if found.problem else ""
