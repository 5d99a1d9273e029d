"""What a call uses beside its time: processor, growth of the peak of memory, disk.

Two getrusage(2) for a call, 0.4 us each. Processor and disk are those of the thread while the body runs; memory is the process's.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from contextvars import Token
from types import MappingProxyType, TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from livekeep.record.instrument.arguments import Parameters
from livekeep.record.instrument.recording import CallScope, Place, Site, Usage
from livekeep.record.instrument.wrapping import Begin, Guarded, name_of, wrap

try:
    import resource
except ImportError:  # no Unix
    resource = None  # type: ignore[assignment]

P = ParamSpec("P")
R = TypeVar("R")

BLOCK_BYTES = 512
"""Of ru_inblock and ru_oublock, whatever the file system's are."""
KIB = 1024
WHO = getattr(resource, "RUSAGE_THREAD", getattr(resource, "RUSAGE_SELF", None))
NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


class MeasuredScope(CallScope):
    __slots__ = ("before", "cpu", "memory", "read", "written")

    def __init__(self, site: Site, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = NO_ARGUMENTS) -> None:
        super().__init__(site, args, kwargs)
        self.cpu = 0.0
        self.memory = self.read = self.written = 0

    def resume(self) -> Token[Place]:
        self.before = None if WHO is None else resource.getrusage(WHO)
        return super().resume()

    def pause(self, token: Any) -> None:
        if self.before is not None and WHO is not None:
            before, now = self.before, resource.getrusage(WHO)
            self.cpu += now.ru_utime - before.ru_utime + now.ru_stime - before.ru_stime
            self.memory += (now.ru_maxrss - before.ru_maxrss) * KIB
            self.read += (now.ru_inblock - before.ru_inblock) * BLOCK_BYTES
            self.written += (now.ru_oublock - before.ru_oublock) * BLOCK_BYTES
        super().pause(token)

    def usage(self) -> Usage | None:
        # A body that goes on in another thread would make them negative.
        figures = (round(self.cpu * 1e6), self.memory, self.read, self.written)
        return None if WHO is None else Usage(*(max(0, figure) for figure in figures))


@overload
def track_performance(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def track_performance(
    *, kind: str = "function", name: str | None = None, redact: Collection[str] = (), slow: float | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def track_performance(
    function: Callable[P, R] | None = None,
    /,
    *,
    kind: str = "function",
    name: str | None = None,
    redact: Collection[str] = (),
    slow: float | None = None,
) -> Any:
    """As `monitor_execution`, with processor time, growth of the peak of memory, and bytes read from and written to disks.

    `kind` says what the calls are: "function", "api", "database", or a word of your own.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        def prepare(target: Callable[..., Any]) -> Begin:
            return functools.partial(MeasuredScope, Site(name or name_of(target), kind, slow, Parameters(target, redact)))

        return wrap(function, prepare)

    return decorate if function is None else decorate(function)


class Tracked:
    """What `track` returns: a block whose run is recorded as a call. It can be entered again when it has ended."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.scope: Guarded | None = None
        self.token: Any = None

    def __enter__(self) -> Self:
        self.scope = Guarded(lambda _args, _kwargs: MeasuredScope(self.site), (), NO_ARGUMENTS)
        self.token = self.scope.resume()
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        if self.scope is not None:
            self.scope.pause(self.token)
            self.scope.end(error)
            self.scope = None

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.__exit__(kind, error, traceback)


def track(name: str, kind: str = "function", *, slow: float | None = None) -> Tracked:
    """Record a block as a call: `with track("GET /videos", kind="api"):`. `name` stands for many calls: no numbers in it."""
    return Tracked(Site(str(name), kind, slow))
