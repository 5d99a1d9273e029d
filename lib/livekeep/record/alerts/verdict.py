"""Rules of kind "verdict": the box's health as `livekeep health` gives it, for the screen and each channel; and the recorder's.

A screen that is off on purpose raises no alert: livekeep.target is stopped (neither poller nor player has a state), the kernel
reports that no TV is connected, or the TV is off by the plan or by hand, which the verdict itself allows for. A TV that is gone
because it could not be switched on is not off on purpose.
"""

import time
from pathlib import Path

from livekeep.core import state
from livekeep.core.config import Probes
from livekeep.core.config.record import RECORDER, Alert
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import HostResult
from livekeep.core.record_states import RecorderState
from livekeep.core.state import StateAbsentError, StateBrokenError
from livekeep.record.alerts.rules import Finding
from livekeep.status import snapshot, tv_status
from livekeep.status.health import LEVELS, Clock, Health
from livekeep.status.probe_status import is_silent

RECORDER_STALE_SECONDS = 180.0
"""The recorder writes its state at least once a minute."""


def findings(rule: Alert, root: Path, kept: Path, probes: Probes, now: float) -> list[Finding]:
    """The unhealthy subjects: "screen", "channel NAME", or the recorder. Raises `TemporaryError` when the health is unknown."""
    if rule.unit == RECORDER:
        return [Finding(RECORDER, trouble, now) for trouble in filter(None, [trouble_of_recorder(root)])]
    try:
        seen = snapshot.read(Clock(now, time.monotonic()), root, kept, probes)
    except PermissionError as error:
        raise TemporaryError(f"{error.filename}: cannot be read ({error.strerror}); is this user in group livekeep?") from error
    is_stopped = isinstance(seen.poller, StateAbsentError) and isinstance(seen.player, StateAbsentError)
    is_off = is_stopped and not seen.error_screen_active
    host = seen.probe_results.get("host")
    if isinstance(host, HostResult) and not is_silent(host, seen.clock) and host.connectors:
        is_gone = all(connector.connected is False for connector in host.connectors)
        was_not_switched_on = tv_status.trouble(seen.tv, seen.clock) != "" and not seen.is_off_on_purpose()
        is_off = is_off or (is_gone and not was_not_switched_on)
    verdict = seen.verdict()
    parts: dict[str, Health] = {f"channel {name}": it for name, it in verdict.channels.items()}
    if verdict.screen and not is_off:
        parts["screen"] = verdict.screen
    least = LEVELS.index("down" if rule.verdict == "down" else "degraded")
    bad = {name: it for name, it in parts.items() if LEVELS.index(it.level) >= least}
    return [Finding(name, f"{name}: {it.sentence}" if name == "screen" else it.sentence, now) for name, it in bad.items()]


def trouble_of_recorder(root: Path) -> str:
    """Why the record does not grow, in one sentence; "" when it does."""
    recorder = state.read_or_error(RecorderState, root)
    if isinstance(recorder, StateAbsentError):
        return f"{RECORDER} does not run: nothing is recorded, and rules that read the record see nothing new"
    if isinstance(recorder, StateBrokenError):
        return f"{RECORDER}: {recorder}"
    silent = time.monotonic() - recorder.written_monotonic
    if silent > RECORDER_STALE_SECONDS:
        return f"{RECORDER} is stuck: its state is {silent:.0f} s old"
    return f"{RECORDER}: {recorder.problem}" if recorder.problem else ""
