"""Sessions, their steps, and how far they are.

A session is one run of a batch; a step is a part of it with a weight. Both count items. A session belongs to the process that
began it: in the child of a fork its methods do nothing.
"""

import functools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextvars import ContextVar, Token
from itertools import count
from types import TracebackType
from typing import Any, ClassVar, ParamSpec, Self, TypeVar, overload

from livekeep.core import events
from livekeep.record import wire
from livekeep.record.instrument import failure, forecast, history
from livekeep.record.instrument.arguments import Parameters, shortened
from livekeep.record.instrument.delivery import sender
from livekeep.record.instrument.failure import clean
from livekeep.record.instrument.forecast import Run, StepNow, StepRun
from livekeep.record.instrument.recording import CallScope, EntryRecord, Place, Site, place, put
from livekeep.record.instrument.wrapping import Begin, Scope, finished, name_of, wrap

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Position = tuple["Session | None", "ProgressMonitor | None"]
position: ContextVar[Position] = ContextVar("livekeep_position", default=(None, None))

MOST_OF_A_NAME = 200
MOST_OF_A_MESSAGE = 500

changed: "deque[Progress]" = deque()
"""What is to be sent: each once, until it is sent."""
running: "dict[str, Session]" = {}
"""The sessions of this process."""
registered_steps: dict[str, dict[str, float]] = {}
"""The decorated steps of each module with their weights."""


def harmless(method: Callable[P, None]) -> Callable[P, None]:
    """A fault of the recording never reaches the job."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:
            sender.warn(f"livekeep: recording failed: {type(error).__name__}: {error}")

    return guarded


class Progress:
    """What counts items: a session or a step."""

    def __init__(self, name: str, total: float | None, message: str = "") -> None:
        self.name = shortened(clean(str(name)), MOST_OF_A_NAME)
        self.total = None if total is None else max(0.0, float(total))
        self.has_own_total = total is not None
        self.done = 0.0
        self.message = shortened(clean(str(message)), MOST_OF_A_MESSAGE)
        self.outcome: wire.SessionOutcome = "running"
        self.error: tuple[str, str, str] | None = None
        self.began_at = 0
        """Microseconds since 1970; 0 before it begins."""
        self.ended_at: int | None = None
        self.started = 0.0
        self.process = ""
        self.is_changed = False
        self.lock = threading.RLock()

    @property
    def is_mine(self) -> bool:
        """Whether it runs, and in this process."""
        return self.ended_at is None and self.process == sender.token

    def advance(self, count: float = 1, message: str | None = None) -> None:
        """`count` more items are done."""
        self.report(count=count, message=message)

    def update(self, done: float | None = None, total: float | None = None, message: str | None = None) -> None:
        """Set what is done, of how many, and a word on what is being done."""
        self.report(done=done, total=total, message=message)

    @harmless
    def report(
        self, count: float = 0, done: float | None = None, total: float | None = None, message: str | None = None
    ) -> None:
        if not self.is_mine:
            return
        with self.lock:
            if total is not None:
                self.total, self.has_own_total = max(0.0, float(total)), True
            self.done = max(0.0, self.done + count if done is None else float(done))
            if message is not None:
                self.message = shortened(clean(str(message)), MOST_OF_A_MESSAGE)
            self.moved(count)
        self.note()

    def moved(self, count: float) -> None:
        """The number of items that are done has changed."""

    def note(self) -> None:
        if not self.is_changed:
            self.is_changed = True
            changed.append(self)
            sender.note()

    def track(self, items: Iterable[T], total: float | None = None) -> Iterator[T]:
        """Go through `items` and count each when it is done with."""
        self.expect(items, total)
        for item in items:
            yield item
            self.advance()

    @harmless
    def expect(self, items: object, total: float | None) -> None:
        if total is None and isinstance(items, Sized):
            total = len(items)
        if total is not None and not self.has_own_total and self.is_mine:
            self.total = (self.total or 0.0) + total
            self.note()

    def fraction(self) -> float | None:
        return min(1.0, self.done / self.total) if self.total else None

    def line(self) -> list[Any]:
        """Its record as it is now (record/wire.py)."""
        raise NotImplementedError

    def finish(self, error: BaseException | None) -> None:
        outcome = finished(error)
        self.outcome = outcome
        self.error = failure.capture(error).texts() if error is not None and outcome != "succeeded" else None
        self.ended_at = max(self.began_at, time.time_ns() // 1000)

    def seconds(self) -> float:
        return time.perf_counter() - self.started


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
        """Of the outermost steps, what has ended."""
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
            except ValueError:  # it ends in another context than it began in
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
        """From the items when their number is known, else from the weights of the steps. Never falls."""
        with self.lock:
            share = self.share()
        if self.outcome == "succeeded":
            return 100.0
        if share is None:
            return None
        # 100 is for what has ended.
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
        """The steps that are to come or have been, with their weights."""
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
                    steps[step.name] = steps.get(step.name, StepNow()).with_open(step.seconds(), step.fraction())
        return forecast.left(self.past, forecast.Now(self.seconds(), self.total, self.done, share, steps))

    def rate(self) -> float | None:
        """Items in a second."""
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


class ProgressMonitor(Progress):
    """A step of the session that runs: `with ProgressMonitor("upload", total=size, weight=3) as step: step.advance(sent)`.

    Without a session nothing is recorded. `ProgressMonitor.current()` is what runs here: the step, else the session.
    """

    nothing: ClassVar[Progress]

    def __init__(self, name: str, total: float | None = None, weight: float = 1.0) -> None:
        super().__init__(name, total)
        self.weight = max(0.0, float(weight))
        self.session: Session | None = None
        self.parent: int | None = None
        self.number = 0
        self.token: Token[Position] | None = None

    @staticmethod
    def current() -> Progress:
        """Never None: without a session what is returned counts for nobody."""
        session, step = position.get()
        return step or session or ProgressMonitor.nothing

    def __enter__(self) -> Self:
        self.begin()
        self.token = position.set((self.session, self))
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        if self.token is not None:
            position.reset(self.token)
        self.end(error)

    @harmless
    def begin(self) -> None:
        session, around = position.get()
        self.began_at, self.started, self.process = time.time_ns() // 1000, time.perf_counter(), sender.token
        if session is None or not session.is_mine:
            return
        self.session, self.parent = session, around.number if around is not None else None
        with session.lock:
            self.number = next(session.numbers)
            session.open_steps[self.number] = self
        self.note()

    @harmless
    def end(self, error: BaseException | None) -> None:
        session = self.session
        if session is None or not self.is_mine:
            return
        self.finish(error)
        session.step_ended(self)
        seconds = self.seconds()
        fields = {
            "SESSION": session.id,
            "NAME": self.name,
            "OUTCOME": self.outcome,
            "SECONDS": f"{seconds:.6f}",
            "DONE": number_text(self.done),
            "TOTAL": number_text(self.total),
            "ERROR": error_text(self.error),
        }
        put(EntryRecord(events.STEP_ENDED, f"{session.name}: {ending(self, seconds)}", fields, (self.line(),)))

    def note(self) -> None:
        if self.session is not None:
            super().note()
            self.session.note()

    def line(self) -> list[Any]:
        state: wire.Step = {
            "name": self.name,
            "parent": self.parent,
            "weight": self.weight,
            "began": self.began_at,
            "ended": self.ended_at,
            "outcome": self.outcome,
            "total": self.total,
            "done": self.done,
            "error": self.error,
        }
        return ["t", self.session.id if self.session is not None else "", self.number, state]


ProgressMonitor.nothing = ProgressMonitor("")
watchers: list[Callable[[Session], None]] = []
"""Called when a session begins, moves or ends: the terminal (terminal.py)."""


class StepScope(Scope):
    """A decorated step."""

    __slots__ = ("step",)

    def __init__(self, name: str, weight: float) -> None:
        self.step = ProgressMonitor(name, weight=weight)
        self.step.begin()

    def resume(self) -> Token[Position]:
        return position.set((self.step.session, self.step))

    def pause(self, token: Any) -> None:
        position.reset(token)

    def end(self, error: BaseException | None) -> None:
        self.step.end(error)


def session(
    name: str,
    total: float | None = None,
    *,
    steps: Mapping[str, float] | Iterable[str] | None = None,
    message: str = "",
    show: bool = True,
) -> Session:
    """A run of the batch `name`, of `total` items. `steps` are its steps, with weights if they differ.

    Without `steps` they are those of the last run, or that the calling module decorates. `show=False` prints nothing.
    """
    if steps is None:
        weights = registered_steps.get(sys._getframe(1).f_globals.get("__name__", ""), {})
    else:
        weights = dict(steps) if isinstance(steps, Mapping) else dict.fromkeys(steps, 1.0)
    return Session(name, total, weights, message, show)


@overload
def progress_step(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def progress_step(
    *, weight: float = 1.0, name: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def progress_step(
    function: Callable[P, R] | None = None, /, *, weight: float = 1.0, name: str | None = None
) -> Any:
    """Make each call of a function a step of the session in which it is called; outside of one it is an ordinary call."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        def prepare(target: Callable[..., Any]) -> Begin:
            step = name or str(getattr(target, "__name__", "step"))
            registered_steps.setdefault(getattr(target, "__module__", ""), {})[step] = weight
            site = Site(name_of(target), "function", None, Parameters(target, ()))

            def begin(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope:
                return CallScope(site, args, kwargs) if position.get()[0] is None else StepScope(step, weight)

            return begin

        return wrap(function, prepare)

    return decorate if function is None else decorate(function)


def lines() -> list[list[Any]]:
    """What changed since it was sent last; what has ended has been sent by itself."""
    found: list[list[Any]] = []
    for _ in range(len(changed)):
        one = changed.popleft()
        one.is_changed = False
        if one.is_mine:
            found.append(one.line())
    return found


def renew() -> None:
    """In the child of a fork."""
    changed.clear()
    running.clear()


def cancel_all(error: BaseException) -> None:
    """The process is told to end."""
    for one in list(running.values()):
        one.conclude(error)


def number_text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def error_text(error: tuple[str, str, str] | None) -> str:
    return "" if error is None else f"{error[0]}: {error[1]}" if error[1] else error[0]


def ending(one: Progress, seconds: float) -> str:
    from livekeep.record.instrument.encoding import spoken  # noqa: PLC0415

    of = f", {one.done:g} of {one.total:g}" if one.total is not None else f", {one.done:g}" if one.done else ""
    why = f": {error_text(one.error)}" if one.error else ""
    return f"{one.name} {one.outcome} after {spoken(seconds)}{of}{why}"
