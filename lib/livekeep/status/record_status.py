"""The status of the record part, from the states of its three services. It does not affect the machine's health: the screen works
without a record. Read-only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from livekeep.core import paths, state
from livekeep.core.record_states import AlerterState, ClipsState, RecorderState
from livekeep.core.state import ReadState, StateAbsentError, StateBrokenError
from livekeep.status.health import Clock, age

SILENT_SECONDS = 200.0
"""Recorder and alerter write at least once a minute."""
BEHIND_SECONDS = 180.0
"""An idle recorder commits once a minute: an entry may be that old by then."""
MISSED_RUNS = 3
RUN_SECONDS = 300.0
"""The longest run of the analyzer."""


class Fault(NamedTuple):
    """A service's fault, and what to do. `is_grave`: the service does not work at all."""

    subject: str
    """ "recorder", "alerter" or "clips"."""
    is_grave: bool
    sentence: str
    advice: str


@dataclass(frozen=True)
class RecordStatus:
    """The states of the part's services. An unreadable state is replaced by its error."""

    recorder: RecorderState | StateAbsentError | StateBrokenError
    alerter: AlerterState | StateAbsentError | StateBrokenError
    clips: ClipsState | StateAbsentError | StateBrokenError

    def is_there(self) -> bool:
        """Whether any of the services runs, or has run."""
        return not all(isinstance(it, StateAbsentError) for it in (self.recorder, self.alerter, self.clips))

    def faults(self, clock: Clock) -> tuple[Fault, ...]:
        """Most severe first."""
        faults = [
            *faults_of("recorder", "nothing is recorded", self.recorder, clock),
            *faults_of("alerter", "no messages are sent", self.alerter, clock),
            *clips_faults(self.clips, clock),
        ]
        return tuple(sorted(faults, key=lambda fault: not fault.is_grave))


def read(root: Path = paths.STATE_DIRECTORY, read_state: ReadState = state.read_or_error) -> RecordStatus:
    """Raises `PermissionError` without access."""
    return RecordStatus(read_state(RecorderState, root), read_state(AlerterState, root), read_state(ClipsState, root))


def journal(name: str) -> str:
    return f"journalctl -u livekeep-{name} -n 50"


def is_silent(it: RecorderState | AlerterState | ClipsState, clock: Clock) -> bool:
    """Whether the state is too old for a running service."""
    longest = MISSED_RUNS * it.interval_seconds + RUN_SECONDS if isinstance(it, ClipsState) else SILENT_SECONDS
    return clock.now_monotonic - it.written_monotonic > longest


def faults_of(
    name: str, loss: str, it: RecorderState | AlerterState | StateAbsentError | StateBrokenError, clock: Clock
) -> Iterator[Fault]:
    """The faults of the recorder or the alerter; `loss` is what is missing while it does not run."""
    restart = f"sudo systemctl restart livekeep-{name}; {journal(name)}"
    if isinstance(it, StateAbsentError):
        yield Fault(name, True, f"the {name} does not run: {loss}", restart)
    elif isinstance(it, StateBrokenError):
        yield Fault(name, True, f"livekeep-{name}: {it}", restart)
    elif is_silent(it, clock):
        yield Fault(name, True, f"the {name} is stuck: its state is {age(it, clock)} old", restart)
    elif isinstance(it, AlerterState):
        yield from alerter_faults(it)
    else:
        yield from recorder_faults(it)


def alerter_faults(it: AlerterState) -> Iterator[Fault]:
    for problem in it.problems:
        yield Fault("alerter", False, problem, "sudo livekeep alert list; sudo livekeep check-config")
    if it.waiting:
        waiting = f"{it.waiting} message{'s wait' if it.waiting > 1 else ' waits'} for delivery"
        yield Fault("alerter", False, waiting, f"sudo livekeep alert list; {journal('alerter')}")


def recorder_faults(it: RecorderState) -> Iterator[Fault]:
    if it.problem:
        yield Fault("recorder", True, it.problem, it.advice or journal("recorder"))
    if it.lag_seconds > BEHIND_SECONDS:
        yield Fault("recorder", False, f"the recorder is {it.lag_seconds:.0f} s behind the journal", "systemd-cgtop")
    if not it.is_sound:
        yield Fault("recorder", True, "the last check of the database found it damaged", "sudo livekeep record check")
    if it.lost_calls or it.lost_entries:
        lost = f"{it.lost_calls} calls and {it.lost_entries} entries of the journal were lost since the recorder started"
        yield Fault("recorder", False, lost, "sudo livekeep record export losses")


def clips_faults(it: ClipsState | StateAbsentError | StateBrokenError, clock: Clock) -> Iterator[Fault]:
    if isinstance(it, StateAbsentError):
        # Sources are optional.
        return
    if isinstance(it, StateBrokenError):
        yield Fault("clips", False, f"livekeep-clips: {it}", "sudo systemctl start livekeep-clips")
    elif is_silent(it, clock):
        advice = f"systemctl status livekeep-clips.timer; {journal('clips')}"
        yield Fault("clips", False, f"the clip analyzer has not run for {age(it, clock)}", advice)
    elif it.outcome in ("failed", "partly"):
        yield Fault("clips", False, it.reason or "not all clips could be fetched", it.advice or journal("clips"))
