"""Steps: parts of a session, as blocks or as decorated functions."""

import time
from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, ClassVar, ParamSpec, Self, TypeVar, overload

from livekeep.core import events
from livekeep.record import wire
from livekeep.record.instrument.arguments import Parameters
from livekeep.record.instrument.delivery import sender
from livekeep.record.instrument.progress import (
    Position,
    Progress,
    ending,
    error_text,
    harmless,
    number_text,
    position,
    registered_steps,
)
from livekeep.record.instrument.recording import CallScope, EntryRecord, Site, put
from livekeep.record.instrument.sessions import Session
from livekeep.record.instrument.wrapping import Begin, Scope, name_of, wrap

P = ParamSpec("P")
R = TypeVar("R")


class ProgressMonitor(Progress):
    """A step of the running session: `with ProgressMonitor("upload", total=size, weight=3) as step: step.advance(sent)`.

    Without a session nothing is recorded. `ProgressMonitor.current()` returns the running step, else the session.
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
        """Never None: without a session, the result counts for nothing."""
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


@overload
def progress_step(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def progress_step(*, weight: float = 1.0, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def progress_step(function: Callable[P, R] | None = None, /, *, weight: float = 1.0, name: str | None = None) -> Any:
    """Make each call of a function a step of the current session; without a session it is an ordinary call."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        def prepare(target: Callable[..., Any]) -> Begin:
            step = name or str(getattr(target, "__name__", "step"))
            registered_steps.setdefault(getattr(target, "__module__", ""), {})[step] = weight
            site = Site(name_of(target), "function", None, Parameters(target, ()))

            def begin(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope:
                session = position.get()[0]
                return StepScope(step, weight) if session is not None and session.is_mine else CallScope(site, args, kwargs)

            return begin

        return wrap(function, prepare)

    return decorate if function is None else decorate(function)
