"""The time left of a session: the durations of its steps in earlier runs × the relative speed of this run. Pure functions.

docs/reference/record.md compares its accuracy with other methods.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

TRUST_IN_HISTORY = 0.02
"""This share of the whole run counts as done at the usual speed, so that the first seconds decide nothing."""
SLOWEST, FASTEST = 20.0, 0.05
MOST_UNMEASURED = 0.95
"""Of a step without progress, the largest part that may count as done by elapsed time."""


class StepRun(NamedTuple):
    """All calls of one step in an earlier run."""

    calls: int
    seconds: float


class Run(NamedTuple):
    """An earlier run that succeeded."""

    seconds: float
    total: float | None
    steps: Mapping[str, StepRun]


class StepNow(NamedTuple):
    """All calls of one step in this run."""

    calls: int = 0
    """Calls that have ended."""
    seconds: float = 0.0
    open_count: int = 0
    open_seconds: float = 0.0
    open_fraction: float | None = None
    """The progress of the open call; None when it reports none."""


class Now(NamedTuple):
    """This run."""

    elapsed: float
    total: float | None
    done: float
    share: float | None
    """0 to 1, by items or weights."""
    steps: Mapping[str, StepNow]


class Expected(NamedTuple):
    """A step in this run, at the usual speed."""

    calls: float
    seconds: float


def left(past: Sequence[Run], now: Now) -> float | None:
    """Seconds; None when there is no estimate yet."""
    usual = [run for run in past if run.seconds > 0]
    if not usual:
        return now.elapsed * (1 - now.share) / now.share if now.share else None
    steps = {name: expected(name, usual, now.total) for name in {name for run in usual for name in run.steps}}
    rests = ((run, run.seconds - sum(step.seconds for step in run.steps.values())) for run in usual)
    outside = median(max(0.0, rest) * scale(run, now.total) for run, rest in rests)
    whole = sum(step.seconds for step in steps.values()) + outside
    if whole <= 0:
        return None
    speed = speed_of(steps, outside, whole, now)
    rest = sum(rest_of(step, now.steps.get(name, StepNow()), speed) for name, step in steps.items())
    if not steps and not now.total:
        return max(0.0, outside - now.elapsed)
    inside = whole - outside
    share = now.done / now.total if now.total else 1 - rest / inside if inside > 0 else 1.0
    rest += outside * (1 - min(1.0, share))
    return max(0.0, rest * speed * median(at_once(run) for run in usual))


def speed_of(steps: Mapping[str, Expected], outside: float, whole: float, now: Now) -> float:
    """This run's seconds per usual second."""
    taken = usual = TRUST_IN_HISTORY * whole
    for name, step in steps.items():
        done = now.steps.get(name, StepNow())
        each = step.seconds / step.calls if step.calls else 0.0
        usual += each * done.calls
        taken += done.seconds if each else 0.0
        if done.open_fraction is not None:
            usual += each * done.open_fraction
            taken += done.open_seconds
        elif done.open_seconds > each * done.open_count:
            # It reports no progress, but is already late.
            usual += each * done.open_count
            taken += done.open_seconds
    if not steps and now.total and now.done:
        usual += outside * min(1.0, now.done / now.total)
        taken += now.elapsed
    return min(SLOWEST, max(FASTEST, taken / usual))


def rest_of(step: Expected, done: StepNow, speed: float) -> float:
    """The usual seconds left of a step."""
    if not step.calls:
        return 0.0
    calls = done.calls + (done.open_fraction or 0.0)
    if done.open_fraction is None and done.open_count and step.seconds:
        by_the_clock = done.open_seconds * step.calls / (step.seconds * speed)
        calls += min(MOST_UNMEASURED * done.open_count, by_the_clock)
    return step.seconds * (1 - min(1.0, calls / step.calls))


def expected(name: str, past: Sequence[Run], total: float | None) -> Expected:
    counts, seconds = [], []
    for run in past:
        step = run.steps.get(name, StepRun(0, 0.0))
        factor = scale(run, total) if run.total and step.calls >= run.total / 2 else 1.0
        counts.append(step.calls * factor)
        seconds.append(step.seconds * factor)
    return Expected(median(counts), median(seconds))


def scale(run: Run, total: float | None) -> float:
    """The size of this run relative to an earlier one."""
    return total / run.total if total and run.total else 1.0


def at_once(run: Run) -> float:
    """Below 1 if steps ran at the same time."""
    inside = sum(step.seconds for step in run.steps.values())
    return min(1.0, run.seconds / inside) if inside > 0 else 1.0
