"""A session: one run of a batch, its items, its steps, its time left, its outcome."""

import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextvars import Token
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from livekeep.core import events
from livekeep.record import wire
from livekeep.record.instrument import forecast, history
from livekeep.record.instrument.delivery import sender
from livekeep.record.instrument.forecast import Run, StepNow, StepRun
from livekeep.record.instrument.progress import (
    Position,
    Progress,
    ending,
    error_text,
    harmless,
    number_text,
    position,
    registered_steps,
    running,
    watchers,
)
from livekeep.record.instrument.recording import EntryRecord, Place, place, put

if TYPE_CHECKING:
    from livekeep.record.instrument.steps import ProgressMonitor


class Session(Progress):
    """One run of a batch: `with session("clip analysis", total=30) as run:`."""

    def __init__(self, name: str, total: float | None, weights: Mapping[str, float], message: str, is_shown: bool) -> None:
        super().__init__(name, total, message)
        self.weights = dict(weights)
        self.is_shown = is_shown
        self.id = os.urandom(8).hex()
        self.parent: str | None = None
        self.numbers = count(1)
        self.steps: dict[str, StepNow] = {}
        """Ended calls of the outermost steps."""
        self.open_steps: dict[int, ProgressMonitor] = {}
        self.since_item: dict[str, float] = {}
        """Weights of the steps that ended since the last item."""
        self.highest_percent = 0.0
        self.past: list[Run] = []
        self.tokens: list[tuple[Token[Position], Token[Place]]] = []

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        self.end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        self.end(error)

    @harmless
    def begin(self) -> None:
        around = position.get()[0]
        self.parent = around.id if around is not None else None
        self.began_at, self.started, self.process = time.time_ns() // 1000, time.perf_counter(), sender.token
        self.tokens.append((position.set((self, None)), place.set((place.get()[0], self.id))))
        running[self.id] = self
        self.past = history.runs(self.name)
        total = "" if self.total is None else f" of {self.total:g}"
        fields = {"SESSION": self.id, "NAME": self.name, "TOTAL": number_text(self.total)}
        put(EntryRecord(events.SESSION_BEGAN, f"{self.name}: began{total}", fields, (self.line(),), True))
        sender.urge()
        self.show()

    @harmless
    def end(self, error: BaseException | None) -> None:
        if not self.is_mine:
            return
        for token, call in reversed(self.tokens):
            try:
                position.reset(token)
                place.reset(call)
            except ValueError:  # it ends in a different context than it began in
                continue
        self.conclude(error)

    def conclude(self, error: BaseException | None) -> None:
        with self.lock:
            seconds = self.seconds()
            self.finish(error)
            running.pop(self.id, None)
        if self.outcome == "succeeded":
            history.add(self.name, self.run(seconds))
        fields = {
            "SESSION": self.id,
            "NAME": self.name,
            "OUTCOME": self.outcome,
            "SECONDS": f"{seconds:.6f}",
            "DONE": number_text(self.done),
            "TOTAL": number_text(self.total),
            "ERROR": error_text(self.error),
        }
        put(EntryRecord(events.SESSION_ENDED, ending(self, seconds), fields, (self.line(),), True))
        sender.urge()
        self.show()

    def run(self, seconds: float) -> Run:
        steps = {name: StepRun(step.calls, step.seconds) for name, step in self.steps.items()}
        return Run(seconds, self.total if self.total is not None else (self.done or None), steps)

    def moved(self, count: float) -> None:
        if count:
            self.since_item.clear()

    def note(self) -> None:
        super().note()
        self.show()

    def show(self) -> None:
        for watcher in watchers:
            watcher(self)

    def step_ended(self, step: "ProgressMonitor") -> None:
        with self.lock:
            self.open_steps.pop(step.number, None)
            if step.parent is None:
                before = self.steps.get(step.name, StepNow())
                self.steps[step.name] = StepNow(before.calls + 1, before.seconds + step.seconds())
                self.since_item[step.name] = self.weights.get(step.name, step.weight)
        self.note()

    def percent(self) -> float | None:
        """From the items if their number is known, else from the step weights. Never falls."""
        with self.lock:
            share = self.share()
        if self.outcome == "succeeded":
            return 100.0
        if share is None:
            return None
        # 100 is reserved for ended sessions.
        self.highest_percent = max(self.highest_percent, min(99.9, 100 * share))
        return round(self.highest_percent, 2)

    def share(self) -> float | None:
        weights = self.expected_weights()
        whole = sum(weights.values())
        open_steps = [step for step in self.open_steps.values() if step.parent is None]
        inner = {step.name: step.fraction() or 0.0 for step in open_steps}
        if self.total:
            begun = sum(weights.get(name, 0.0) * inner.get(name, 0.0) for name in inner)
            begun += sum(weight for name, weight in self.since_item.items() if name in weights)
            return min(1.0, (self.done + (min(0.99, begun / whole) if whole else 0.0)) / self.total)
        if not whole:
            return None
        fractions = {name: 1.0 if name in self.steps and name not in inner else inner.get(name, 0.0) for name in weights}
        return sum(weights[name] * fractions[name] for name in weights) / whole

    def expected_weights(self) -> dict[str, float]:
        """The past and expected steps, with their weights."""
        names = {name: 1.0 for run in self.past[-1:] for name in run.steps}
        declared = self.weights if self.weights and not names else {name: self.weights.get(name, 1.0) for name in names}
        seen = {step.name: step.weight for step in self.open_steps.values() if step.parent is None}
        return {**declared, **{name: self.weights.get(name, seen.get(name, 1.0)) for name in (*self.steps, *seen)}}

    def left(self) -> float | None:
        """Seconds, estimated."""
        if self.ended_at is not None:
            return None
        with self.lock:
            share = self.share()
            steps = dict(self.steps)
            for step in self.open_steps.values():
                if step.parent is None:
                    calls, seconds, opened, open_seconds, _fraction = steps.get(step.name, StepNow())
                    open_seconds += step.seconds()
                    steps[step.name] = StepNow(calls, seconds, opened + 1, open_seconds, step.fraction())
        return forecast.left(self.past, forecast.Now(self.seconds(), self.total, self.done, share, steps))

    def rate(self) -> float | None:
        """Items per second."""
        seconds = self.seconds()
        return self.done / seconds if self.done and seconds > 0 else None

    def line(self) -> list[Any]:
        left, rate = self.left(), self.rate()
        state: wire.Session = {
            "name": self.name,
            "parent": self.parent,
            "began": self.began_at,
            "ended": self.ended_at,
            "outcome": self.outcome,
            "total": self.total,
            "done": self.done,
            "percent": self.percent(),
            "rate": None if rate is None else float(f"{rate:.6g}"),
            "left": None if left is None else round(left, 1),
            "message": self.message,
            "error": self.error,
        }
        return ["s", self.id, state]


def session(
    name: str,
    total: float | None = None,
    *,
    steps: Mapping[str, float] | Iterable[str] | None = None,
    message: str = "",
    show: bool = True,
) -> Session:
    """A run of the batch `name`, of `total` items.

    `steps` are its steps, with weights if they differ; by default those of the last run, or those that the calling module
    decorates. `show=False` prints nothing.
    """
    if steps is None:
        weights = registered_steps.get(sys._getframe(1).f_globals.get("__name__", ""), {})
    else:
        weights = dict(steps) if isinstance(steps, Mapping) else dict.fromkeys(steps, 1.0)
    return Session(name, total, weights, message, show)


def cancel_all(error: BaseException) -> None:
    """The process received SIGTERM."""
    for one in list(running.values()):
        one.conclude(error)
