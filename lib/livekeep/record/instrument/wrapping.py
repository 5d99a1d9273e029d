"""Wraps functions of any kind: the scope begins and ends with the function's body.

Coroutines and generators are followed to their end, not to their creation. An error in a scope never reaches the function.
"""

import contextlib
import functools
import inspect
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from livekeep.record.wire import Outcome

P = ParamSpec("P")
R = TypeVar("R")

CANCELLATIONS = {"CancelledError", "Cancelled", "TerminatedError"}
"""Exceptions of asyncio and of libraries with the same names, which are not imported for this; and of lifecycle.py."""


class Scope:
    """Surrounds one run of a function."""

    __slots__ = ()

    def resume(self) -> Any:
        """The body starts or resumes; the result is passed to `pause`."""

    def pause(self, token: Any) -> None:
        """The body has yielded, or ended."""

    def end(self, error: BaseException | None) -> None:
        """The body has ended; comes after the last `pause`."""


class Guarded:
    """A scope whose errors never reach the job."""

    __slots__ = ("scope",)

    def __init__(self, begin: Callable[[tuple[Any, ...], Mapping[str, Any]], Scope], args: tuple[Any, ...], kwargs: Any) -> None:
        try:
            self.scope = begin(args, kwargs)
        except Exception:
            self.scope = Scope()

    def resume(self) -> Any:
        try:
            return self.scope.resume()
        except Exception:
            return None

    def pause(self, token: Any) -> None:
        # For example, a generator that ends in a different context than it began in.
        with contextlib.suppress(Exception):
            self.scope.pause(token)

    def end(self, error: BaseException | None) -> None:
        with contextlib.suppress(Exception):
            self.scope.end(error)


Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], Scope]


def wrap(
    function: Callable[P, R], prepare: Callable[[Callable[..., Any]], Begin], plain: Callable[..., Any] | None = None
) -> Callable[P, R]:
    """Wrap `function` in a scope per run. `plain` is a faster way for functions that are not coroutines or generators."""
    if isinstance(function, classmethod | staticmethod):
        return cast(Callable[P, R], type(function)(wrap(function.__func__, prepare, plain)))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"only functions can be recorded, not {function!r}")
    begin = prepare(function)
    wrapper: Callable[..., Any]
    if inspect.iscoroutinefunction(function):
        wrapper = coroutine_wrapper(function, begin)
    elif inspect.isasyncgenfunction(function):
        wrapper = async_generator_wrapper(function, begin)
    elif inspect.isgeneratorfunction(function):
        wrapper = generator_wrapper(function, begin)
    else:
        wrapper = (plain or plain_wrapper)(function, begin)
    return cast(Callable[P, R], functools.wraps(function)(wrapper))


def plain_wrapper(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = Guarded(begin, args, kwargs)
        token = scope.resume()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            scope.pause(token)
            scope.end(error)
            raise
        scope.pause(token)
        scope.end(None)
        return result

    return wrapper


def coroutine_wrapper(function: Callable[..., Coroutine[Any, Any, Any]], begin: Begin) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run(body: Coroutine[Any, Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        scope = Guarded(begin, args, kwargs)
        try:
            result = await steps(body, scope)
        except BaseException as error:
            scope.end(error)
            raise
        scope.end(None)
        return result

    def wrapper(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        try:
            body = function(*args, **kwargs)
        except BaseException as error:
            Guarded(begin, args, kwargs).end(error)
            raise
        return run(body, args, kwargs)

    async def awaited(*args: Any, **kwargs: Any) -> Any:
        return await wrapper(*args, **kwargs)

    # Before Python 3.12 only a function's code marks it as a coroutine function: there wrong arguments raise when it is awaited.
    mark = getattr(inspect, "markcoroutinefunction", None)
    return mark(wrapper) if mark else awaited


def generator_wrapper(function: Callable[..., Generator[Any, Any, Any]], begin: Begin) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        scope = Guarded(begin, args, kwargs)
        try:
            result = yield from follow(function(*args, **kwargs), scope)
        except BaseException as error:
            scope.end(error)
            raise
        scope.end(None)
        return result

    return wrapper


def follow(body: Any, scope: Guarded) -> Generator[Any, Any, Any]:
    """Run `body`, a generator or a coroutine, as `yield from` does; the scope pauses while it waits. Source: PEP 380."""
    step = functools.partial(body.send, None)
    while True:
        token = scope.resume()
        try:
            item = step()
        except StopIteration as stop:
            return stop.value
        finally:
            scope.pause(token)
        try:
            sent = yield item
        except GeneratorExit:
            token = scope.resume()
            try:
                body.close()
            finally:
                scope.pause(token)
            raise
        except BaseException as error:
            step = functools.partial(body.throw, error)
        else:
            step = functools.partial(body.send, sent)


steps = types.coroutine(follow)


def async_generator_wrapper(function: Callable[..., AsyncGenerator[Any, Any]], begin: Begin) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        scope = Guarded(begin, args, kwargs)
        try:
            body = function(*args, **kwargs)
            step = body.__anext__()
            while True:
                try:
                    item = await steps(awaitable(step), scope)
                except StopAsyncIteration:
                    break
                try:
                    sent = yield item
                except GeneratorExit:
                    await steps(awaitable(body.aclose()), scope)
                    raise
                except BaseException as error:
                    step = body.athrow(error)
                else:
                    step = body.asend(sent)
        except BaseException as error:
            scope.end(error)
            raise
        scope.end(None)

    return wrapper


async def awaitable(step: Awaitable[Any]) -> Any:
    """`step`, of an async generator, as a coroutine with `send`, `throw` and `close`."""
    return await step


def finished(error: BaseException | None) -> Outcome:
    if error is None:
        return "succeeded"
    if isinstance(error, GeneratorExit | KeyboardInterrupt) or type(error).__name__ in CANCELLATIONS:
        return "cancelled"
    if isinstance(error, SystemExit):
        return "succeeded" if error.code in (None, 0) else "failed"
    return "failed"


def name_of(function: Callable[..., Any]) -> str:
    """Module and qualified name; for a program itself its file's name, since every program is called __main__."""
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    if module in ("__main__", "__mp_main__"):
        module = program_module(getattr(function, "__globals__", {}))
    return f"{module}.{name.replace('.<locals>', '')}".strip(".")


def program_module(variables: Mapping[str, Any]) -> str:
    """From the global variables of a program, also when a child of multiprocessing imports it."""
    if spec := variables.get("__spec__"):
        return str(spec.name).removesuffix(".__main__")
    return Path(variables.get("__file__") or "__main__").stem
