"""Recorded calls, and the queue in which they wait until they are sent (delivery.py).

A call costs one tuple; other work is deferred until the batch is sent. The call's place (its number and session) is a context
variable, so that tasks and copied contexts know their parent; a thread of the job starts without one.
"""

import contextlib
import functools
import threading
import types
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar, Token
from itertools import count
from time import perf_counter_ns
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast, overload

from livekeep.core.events import Event
from livekeep.record.instrument import failure
from livekeep.record.instrument.arguments import Captured, Parameters
from livekeep.record.instrument.failure import Failure
from livekeep.record.instrument.wrapping import Begin, Scope, finished, name_of, wrap
from livekeep.record.wire import Outcome

P = ParamSpec("P")
R = TypeVar("R")

Place = tuple[int, str | None]
"""The running call, or 0, and the session's token."""
place: ContextVar[Place] = ContextVar("livekeep_place", default=(0, None))
numbers = count(1)

MOST_QUEUED = 50_000
"""Calls that wait to be sent: about 15 MB. Further ones are dropped and counted."""
MANY = 2_000
"""With this many calls, the batch is sent before the half second is over."""


own_threads: set[int] = set()
"""The library's own threads; their calls are not recorded."""


class Thread(threading.local):
    """Per thread: its name, and which exception passes to which call, so that only the innermost call reports it."""

    def __init__(self) -> None:
        self.name: str | None = None if threading.get_ident() in own_threads else threading.current_thread().name
        self.passing = (0, 0)


thread = Thread()


class Usage(NamedTuple):
    """What a call used; None where the kernel does not report it."""

    cpu: int | None
    """Microseconds."""
    memory: int | None
    """Growth of peak resident memory, bytes."""
    read: int | None
    written: int | None


class Site:
    """A function, or a place in the code, with recorded calls."""

    __slots__ = ("kind", "name", "parameters", "slow_ns")

    def __init__(self, name: str, kind: str, slow_seconds: float | None = None, parameters: Parameters | None = None) -> None:
        self.name = failure.clean(name)
        self.kind = failure.clean(kind)
        self.slow_ns = None if slow_seconds is None else int(slow_seconds * 1e9)
        self.parameters = parameters

    def text(self, captured: Captured) -> str | None:
        if captured is None or self.parameters is None:
            return captured if isinstance(captured, str) else None
        return self.parameters.text(captured)


Plain = tuple[Site, int, int, int, Place, str | None, Captured]
"""Site, number, start, duration, place, thread, arguments: the `CallRecord` of a successful call."""


class CallRecord(NamedTuple):
    """A call that has ended."""

    site: Site
    number: int
    start: int
    """perf_counter_ns."""
    duration: int
    """Nanoseconds."""
    place: Place
    """The place around the call."""
    thread: str | None
    arguments: Captured
    outcome: Outcome
    failure: Failure | None
    usage: Usage | None
    has_entry: bool
    """Whether the failure is the call's own: no inner call reported it."""


class EntryRecord(NamedTuple):
    """An event with a separate journal entry."""

    event: Event
    message: str
    fields: Mapping[str, object]
    lines: tuple[list[Any], ...] = ()
    comes_in_order: bool = False
    """After the calls before it in the queue, not after the batch."""


queue: deque[Any] = deque()
"""Never replaced: the wrappers hold its methods."""


class Gate:
    """How many records may wait before the sender must take them: 0 while the sender sleeps."""

    __slots__ = ("crowded", "is_closed", "limit")

    def __init__(self) -> None:
        self.limit = 0
        self.is_closed = False
        self.crowded: Callable[[], None] = queue.clear


gate = Gate()


def put(record: Any) -> None:
    queue.append(record)
    if len(queue) > gate.limit:
        gate.crowded()


class CallScope(Scope):
    """A call from beginning to end, for everything except plain functions (see `recorded`)."""

    __slots__ = ("arguments", "around", "mine", "number", "secrets", "site", "start")

    def __init__(self, site: Site, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = types.MappingProxyType({})) -> None:
        self.site = site
        self.around = place.get()
        self.number = next(numbers)
        self.mine: Place = (self.number, self.around[1])
        self.arguments: Captured = None
        self.secrets: list[str] = []
        if site.parameters is not None and (args or kwargs):
            self.arguments = site.parameters.capture(args, kwargs)
            self.secrets = site.parameters.secrets(args, kwargs)
        self.start = perf_counter_ns()

    def resume(self) -> Token[Place]:
        return place.set(self.mine)

    def pause(self, token: Any) -> None:
        place.reset(token)

    def usage(self) -> Usage | None:
        return None

    def end(self, error: BaseException | None) -> None:
        duration = perf_counter_ns() - self.start
        self.finish(duration, error, self.usage())

    def finish(self, duration: int, error: BaseException | None, usage: Usage | None) -> None:
        record = (self.site, self.number, self.start, duration, self.around, thread.name, self.arguments)
        if error is None and usage is None:
            put(record)
        else:
            record_end(record, error, self.secrets, usage)


def record_end(record: Plain, error: BaseException | None, secrets: Collection[str] = (), usage: Usage | None = None) -> None:
    """Queue a call that failed or was measured."""
    outcome: Outcome = finished(error)
    noted = failure.capture(error, secrets) if error is not None and outcome == "failed" else None
    is_first = False
    if noted is not None:
        _site, number, _start, _duration, around, *_rest = record
        is_first = thread.passing != (id(error), number)
        thread.passing = (id(error), around[0])
    put(CallRecord(*record, outcome, noted, usage, is_first))


def recorded(site: Site, function: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of plain functions: a form of `CallScope` that takes less than a microsecond."""
    around_of, enter, leave = place.get, place.set, place.reset
    next_number, clock, append, waiting = numbers.__next__, perf_counter_ns, queue.append, queue.__len__
    capture = cast(Parameters, site.parameters).capture
    here, door = thread, gate

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            around = around_of()
            number = next_number()
            arguments = capture(args, kwargs) if args or kwargs else None
            token = enter((number, around[1]))
        except Exception:
            return function(*args, **kwargs)
        start = clock()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            fail((site, number, start, clock() - start, around, here.name, arguments), token, error, args, kwargs)
            raise
        duration = clock() - start
        try:
            leave(token)
            append((site, number, start, duration, around, here.name, arguments))
            if waiting() > door.limit:
                door.crowded()
        except Exception:  # noqa: S110 – an error in the recording never reaches the job
            pass
        return result

    return wrapper


def fail(record: Plain, token: Token[Place], error: BaseException, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    with contextlib.suppress(Exception):
        place.reset(token)
        record_end(record, error, cast(Parameters, record[0].parameters).secrets(args, kwargs))


@overload
def monitor_execution(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def monitor_execution(
    *, name: str | None = None, kind: str = "function", redact: Collection[str] = (), slow: float | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def monitor_execution(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    kind: str = "function",
    redact: Collection[str] = (),
    slow: float | None = None,
) -> Any:
    """Record each call of a function, method, coroutine, generator or async generator.

    `redact` names parameters whose values never leave the process, in addition to names that match arguments.SECRET_NAME. A call
    that takes `slow` seconds or more gets a separate journal entry. Raises `TypeError` when it decorates a class.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        site: Site | None = None

        def prepare(target: Callable[..., Any]) -> Begin:
            nonlocal site
            site = Site(name or name_of(target), kind, slow, Parameters(target, redact))
            return functools.partial(CallScope, site)

        return wrap(function, prepare, lambda target, _begin: recorded(cast(Site, site), target))

    return decorate if function is None else decorate(function)
