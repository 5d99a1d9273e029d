"""Measures what a call uses besides time: processor, growth of peak memory, disk.

Two getrusage(2) per call, 0.4 us each. Processor and disk are those of the thread while the body runs; memory is that of the
process. A process started by a larger one shows that one's peak in getrusage(2), because exec(2) keeps it: then the peak is read
from /proc/self/status, 10 us each.
"""

import contextlib
import functools
from collections.abc import Callable, Collection, Mapping
from contextvars import Token
from pathlib import Path
from time import perf_counter_ns
from types import MappingProxyType, SimpleNamespace, TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from livekeep.record.instrument.arguments import Parameters
from livekeep.record.instrument.recording import CallScope, Place, Site, Usage, numbers, place, record_end, thread
from livekeep.record.instrument.wrapping import Begin, Guarded, name_of, wrap

try:
    import resource
except ImportError:  # not Unix
    resource = None  # type: ignore[assignment]

P = ParamSpec("P")
R = TypeVar("R")

BLOCK_BYTES = 512
"""The unit of ru_inblock and ru_oublock, independent of the file system's block size."""
KIB = 1024
WHO = getattr(resource, "RUSAGE_THREAD", getattr(resource, "RUSAGE_SELF", None))
NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


def own_peak_kib() -> int:
    """Peak resident memory since this program began. Source: VmHWM of proc(5). Raises `OSError` or `ValueError`."""
    for line in Path("/proc/self/status").read_bytes().splitlines():
        if line.startswith(b"VmHWM:"):
            return int(line.split()[1])
    raise ValueError("no VmHWM")


def own_usage() -> Any:
    usage = resource.getrusage(cast(int, WHO))
    return SimpleNamespace(
        ru_utime=usage.ru_utime,
        ru_stime=usage.ru_stime,
        ru_maxrss=own_peak_kib(),
        ru_inblock=usage.ru_inblock,
        ru_oublock=usage.ru_oublock,
    )


def usage_reader() -> Callable[[], Any]:
    plain = functools.partial(resource.getrusage, cast(int, WHO))
    with contextlib.suppress(OSError, ValueError):
        if plain().ru_maxrss > own_peak_kib():
            return own_usage
    return plain


read_usage: Callable[[], Any] | None = None if WHO is None else usage_reader()


class MeasuredScope(CallScope):
    __slots__ = ("before", "used")

    def __init__(self, site: Site, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] = NO_ARGUMENTS) -> None:
        super().__init__(site, args, kwargs)
        self.used = (0, 0, 0, 0)

    def resume(self) -> Token[Place]:
        self.before = None if read_usage is None else read_usage()
        return super().resume()

    def pause(self, token: Any) -> None:
        if self.before is not None and read_usage is not None:
            cpu, memory, read, written = difference(self.before, read_usage())
            self.used = (self.used[0] + cpu, self.used[1] + memory, self.used[2] + read, self.used[3] + written)
        super().pause(token)

    def usage(self) -> Usage | None:
        # A body that continues in another thread would make them negative.
        return None if read_usage is None else Usage(*(max(0, figure) for figure in self.used))


def measured(site: Site, function: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper of plain functions: a faster form of `MeasuredScope`."""
    around_of, enter, next_number, clock = place.get, place.set, numbers.__next__, perf_counter_ns
    parameters, usage_now = cast(Parameters, site.parameters), cast(Callable[[], Any], read_usage)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            around = around_of()
            number = next_number()
            arguments = parameters.capture(args, kwargs) if args or kwargs else None
            before = usage_now()
            token = enter((number, around[1]))
        except Exception:  # recursion too deep, or no memory left: the function itself may still work
            return function(*args, **kwargs)
        start, failed = clock(), None
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            failed = error
            raise
        finally:
            with contextlib.suppress(Exception):
                record = (site, number, start, clock() - start, around, thread.name, arguments)
                place.reset(token)
                usage = Usage(*(max(0, figure) for figure in difference(before, usage_now())))
                record_end(record, failed, parameters.secrets(args, kwargs) if failed is not None else (), usage)
            # A traceback and its frame would keep each other alive.
            del failed

    return wrapper


def difference(before: Any, now: Any) -> tuple[int, int, int, int]:
    """Processor time in microseconds, growth of peak memory, bytes read and written."""
    return (
        round((now.ru_utime - before.ru_utime + now.ru_stime - before.ru_stime) * 1e6),
        (now.ru_maxrss - before.ru_maxrss) * KIB,
        (now.ru_inblock - before.ru_inblock) * BLOCK_BYTES,
        (now.ru_oublock - before.ru_oublock) * BLOCK_BYTES,
    )


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
    """Like `monitor_execution`, with processor time, growth of peak memory, and bytes read from and written to disks.

    `kind` is the kind of the calls: "function", "api", "database", or your own word.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        site: Site | None = None

        def prepare(target: Callable[..., Any]) -> Begin:
            nonlocal site
            site = Site(name or name_of(target), kind, slow, Parameters(target, redact))
            return functools.partial(MeasuredScope, site)

        plain = None if read_usage is None else lambda target, _begin: measured(cast(Site, site), target)
        return wrap(function, prepare, plain)

    return decorate if function is None else decorate(function)


class Tracked:
    """The result of `track`: a block whose run is recorded as a call. It can be entered again after it has ended."""

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
    """Record a block as a call: `with track("GET /videos", kind="api"):`. `name` covers many calls: don't put numbers in it."""
    return Tracked(Site(str(name), kind, slow))
