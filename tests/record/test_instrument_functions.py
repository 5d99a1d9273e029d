"""A recorded function behaves as before, and each of its calls is recorded: arguments, outcome, error, parent, thread."""

import asyncio
import contextvars
import functools
import inspect
import pickle
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record import Notification, flush, monitor_execution, subscribe, track_performance
from livekeep.record.instrument.arguments import SECRET_NAME, Parameters, described
from livekeep.record.instrument.delivery import sender
from tests.record.journal_socket import JournalSocket, calls_of


class Recorded:
    """The records of this process during the block."""

    def __enter__(self) -> "Recorded":
        flush()
        self.heard: list[Notification] = []
        self._journal = JournalSocket()
        sender.sink = None
        sender.encoder.limits.clear()
        self._patch = pytest.MonkeyPatch()
        self._patch.setenv("LIVEKEEP_JOURNAL_SOCKET", str(self._journal.path))
        self._stop = subscribe(self.heard.append)
        return self

    def __exit__(self, *error: object) -> None:
        assert flush(10) or error[0]
        self._stop()
        self._journal.__exit__()
        self._patch.undo()
        sender.sink = None
        self.entries = self._journal.entries
        self.calls = [call for _name, _kind, call in calls_of(self.entries)]
        self.names = [name.rpartition(".")[2] for name, _kind, _call in calls_of(self.entries)]


class OddError(Exception):
    """An error like a job's own."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def body(ending: Any, value: Any) -> Any:
    if isinstance(ending, BaseException):
        raise ending
    return value


def plain(value: Any, ending: Any = None, *rest: Any, token: Any = None) -> Any:
    return body(ending, (value, rest))


async def coroutine(value: Any, ending: Any = None, *rest: Any, token: Any = None) -> Any:
    await asyncio.sleep(0)
    return body(ending, (value, rest))


def generator(value: Any, ending: Any = None, *rest: Any, token: Any = None) -> Iterator[Any]:
    sent = yield value
    try:
        yield sent
    except KeyError as error:
        yield str(error)
    return body(ending, rest)


async def async_generator(value: Any, ending: Any = None, *rest: Any, token: Any = None) -> AsyncIterator[Any]:
    sent = yield value
    await asyncio.sleep(0)
    try:
        yield sent
    except KeyError as error:
        yield str(error)
    body(ending, rest)


class Things:
    def method(self, value: Any, ending: Any = None, *rest: Any, token: Any = None) -> Any:
        return body(ending, (value, rest))

    @classmethod
    def of_class(cls, value: Any, ending: Any = None, *rest: Any, token: Any = None) -> Any:
        return body(ending, (cls.__name__, value, rest))

    @staticmethod
    def static(value: Any, ending: Any = None, *rest: Any, token: Any = None) -> Any:
        return body(ending, (value, rest))


def run(function: Callable[..., Any], how: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Everything observable of a call from outside."""
    seen: list[Any] = []
    try:
        result = function(*args, **kwargs)
        if inspect.iscoroutine(result):
            seen.append(asyncio.run(result))
        elif inspect.isgenerator(result):
            drive(result, how, seen)
        elif inspect.isasyncgen(result):
            asyncio.run(drive_async(result, how, seen))
        else:
            seen.append(result)
    except BaseException as error:
        seen.append((type(error), error.args, type(error.__cause__), type(error.__context__)))
    return seen


def drive(one: Any, how: str, seen: list[Any]) -> None:
    seen.append(next(one))
    if how == "close":
        one.close()
        return
    seen.append(one.throw(KeyError("thrown")) if how == "throw at first" else one.send("sent"))
    if how == "throw":
        seen.append(one.throw(KeyError("thrown")))
    try:
        seen.append(next(one))
    except StopIteration as stop:
        seen.append(("stop", stop.value))


async def drive_async(one: Any, how: str, seen: list[Any]) -> None:
    seen.append(await anext(one))
    if how == "close":
        await one.aclose()
        return
    seen.append(await one.athrow(KeyError("thrown")) if how == "throw at first" else await one.asend("sent"))
    if how == "throw":
        seen.append(await one.athrow(KeyError("thrown")))
    try:
        seen.append(await anext(one))
    except StopAsyncIteration:
        seen.append("stop")


FUNCTIONS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "plain": lambda decorate: decorate(plain),
    "coroutine": lambda decorate: decorate(coroutine),
    "generator": lambda decorate: decorate(generator),
    "async_generator": lambda decorate: decorate(async_generator),
    "method": lambda decorate: functools.partial(decorate(Things.method), Things()),
    "of_class": lambda decorate: decorate(Things.__dict__["of_class"]).__get__(None, Things),
    "static": lambda decorate: decorate(Things.__dict__["static"]).__get__(None, Things),
}
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(st.characters(), max_size=300),
    st.binary(max_size=100), st.lists(st.integers(), max_size=20),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=8), st.builds(Odd),
)  # fmt: skip
ENDINGS = st.sampled_from(
    [None, ValueError("wrong"), KeyError(("a", 1)), OddError(), KeyboardInterrupt(), SystemExit(2), asyncio.CancelledError()]
)
HOW = st.sampled_from(["to the end", "close", "throw", "throw at first"])
SECRETS = st.text(st.characters(blacklist_categories=("Zs", "Cc")), min_size=8, max_size=40)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    name=st.sampled_from(list(FUNCTIONS)),
    decorator=st.sampled_from([monitor_execution, track_performance]),
    value=VALUES,
    ending=ENDINGS,
    rest=st.lists(VALUES, max_size=3),
    secret=SECRETS,
    how=HOW,
)
def test_property_comprehensive_function_logging(
    name: str, decorator: Any, value: Any, ending: Any, rest: list[Any], secret: str, how: str
) -> None:
    args, kwargs = (value, ending, *rest), {"token": secret}
    bare = FUNCTIONS[name](lambda function: function)
    with Recorded() as recorded:
        function = FUNCTIONS[name](decorator)
        assert inspect.signature(function) == inspect.signature(bare)
        seen = run(function, how, args, kwargs)
    assert seen == run(bare, how, args, kwargs)
    (call,) = recorded.calls
    assert recorded.names == [name]
    assert call.arguments is not None
    assert call.arguments.startswith("value=")
    assert "token=[redacted]" in call.arguments or len(call.arguments) == 200
    assert secret not in str(recorded.entries)
    assert outcome_of(name, ending, how, seen) == call.outcome
    assert (call.error is not None) == (call.outcome == "failed")
    assert call.duration >= 0
    assert call.thread == "MainThread"
    assert [heard.outcome for heard in recorded.heard] == [call.outcome]


def outcome_of(name: str, ending: Any, how: str, seen: list[Any]) -> str:
    is_stepped = name in ("generator", "async_generator")
    if is_stepped and how == "close":
        return "cancelled"
    if is_stepped and how == "throw at first":
        return "failed"
    if ending is None:
        return "succeeded"
    return "cancelled" if isinstance(ending, KeyboardInterrupt | asyncio.CancelledError) else "failed"


@monitor_execution(redact=["address"])
def with_address(address: str, *, again: str = "") -> None:
    raise ValueError(f"cannot reach {address}")


@monitor_execution
def caller_of_address(clip: int) -> None:
    with_address("anna@example.org")


def test_a_redacted_value_leaves_in_no_message_and_no_traceback() -> None:
    """Not even in a caller's, which does not know it; the source line would show it, too."""
    with Recorded() as recorded, pytest.raises(ValueError, match="anna"):
        caller_of_address(17)
    assert recorded.names == ["with_address", "caller_of_address"]
    assert "anna" not in str(recorded.entries)
    assert all(call.error is not None and call.error[1] == "cannot reach [redacted]" for call in recorded.calls)


OBVIOUS = ("password", "db_passwd", "api_key", "apiKey", "key", "stream_keys", "Authorization", "auth", "TOKEN", "cookies")


@pytest.mark.parametrize("name", OBVIOUS)
def test_an_obvious_name_is_redacted(name: str) -> None:
    assert SECRET_NAME.search(name)


@pytest.mark.parametrize("name", ["clip", "path", "author", "monkey_patch", "keyword", "spinning", "authors"])
def test_an_ordinary_name_is_not(name: str) -> None:
    assert not SECRET_NAME.search(name)


def test_passwords_in_addresses_headers_and_dictionaries_are_masked() -> None:
    def fetch(url: str, options: dict[str, Any]) -> None: ...

    text = Parameters(fetch, ()).describe(("https://me:geheim@host/x?key=abcdef&n=3", {"password": "geheim", "n": 1}), {})
    assert text == "url='https://[redacted]@host/x?key=[redacted]&n=3', options={'password': [redacted], 'n': 1}"
    assert "geheim" not in Parameters(fetch, ()).describe(("Bearer geheimgeheim", {}), {})
    nested = Parameters(fetch, ["n"]).describe(("", {"n": [1], "m": {"n": 2}}), {})
    assert nested == "url='', options={'n': [redacted], 'm': {'n': [redacted]}}"


def test_descriptions_stay_short_and_never_walk_through_all() -> None:
    class Endless(list[int]):
        def __repr__(self) -> str:
            return "x" * 10_000_000

    nested: list[Any] = []
    nested.append(nested)
    for value in (list(range(10**6)), "x" * 10**6, Endless(), nested, {1: {2: {3: {4: 5}}}}, b"x" * 10**6):
        assert len(described(value)) <= 160
    assert described([1, 2, 3]) == "[1, 2, 3]"
    assert described(list(range(9))) == "[0, 1, 2, 3, 4, … 9 in all]"


def test_an_argument_is_described_as_it_was_at_the_call() -> None:
    @monitor_execution
    def changes(items: list[int], names: dict[str, int]) -> None:
        items.append(2)
        names["b"] = 2

    with Recorded() as recorded:
        changes([1], {"a": 1})
    assert recorded.calls[0].arguments == "items=[1], names={'a': 1}"


def test_arguments_live_no_longer_than_their_call() -> None:
    import weakref

    class Clip:
        def __repr__(self) -> str:
            return "Clip 17"

        @monitor_execution
        def analyse(self, other: Any) -> None: ...

    with Recorded() as recorded:
        clip = Clip()
        seen = weakref.ref(clip)
        clip.analyse(clip)
        del clip
        assert seen() is None
    assert recorded.calls[0].arguments == "other=Clip 17"


def test_a_repr_that_calls_what_is_recorded_ends() -> None:
    class Selfish:
        def __repr__(self) -> str:
            return show(self)

    @monitor_execution
    def show(one: Any) -> str:
        return "selfish"

    with Recorded() as recorded:
        assert show(Selfish()) == "selfish"
    assert [call.arguments for call in recorded.calls] == ["one=<Selfish>", "one=selfish"]


def test_parents_of_calls_recursion_and_tasks() -> None:
    @monitor_execution
    def factorial(number: int) -> int:
        return 1 if number <= 1 else number * factorial(number - 1)

    @monitor_execution
    async def leaf(number: int) -> int:
        await asyncio.sleep(0.001 * number)
        return factorial(1)

    @monitor_execution
    async def root() -> None:
        await asyncio.gather(*(leaf(number) for number in range(3)))

    with Recorded() as recorded:
        factorial(3)
        asyncio.run(root())
    by_number = {call.number: (name, call.parent) for name, call in zip(recorded.names, recorded.calls, strict=True)}
    parents = sorted((name, by_number[parent][0] if parent else "") for name, parent in by_number.values())
    assert parents == sorted(
        [("factorial", ""), ("factorial", "factorial"), ("factorial", "factorial"), ("root", "")]
        + [("leaf", "root")] * 3
        + [("factorial", "leaf")] * 3
    )


def test_a_generator_is_no_parent_of_what_its_consumer_calls() -> None:
    @monitor_execution
    def inside() -> None: ...

    @monitor_execution
    def outside() -> None: ...

    @monitor_execution
    def numbers() -> Iterator[int]:
        for number in range(2):
            inside()
            yield number

    with Recorded() as recorded:
        for _ in numbers():
            outside()
    parent = {name: call.parent for name, call in zip(recorded.names, recorded.calls, strict=True)}
    number = {name: call.number for name, call in zip(recorded.names, recorded.calls, strict=True)}
    assert parent == {"inside": number["numbers"], "outside": 0, "numbers": 0}


def test_a_thread_has_a_parent_only_when_the_job_copies_the_context() -> None:
    @monitor_execution
    def inner() -> None: ...

    @monitor_execution
    def outer() -> None:
        for target in (inner, functools.partial(contextvars.copy_context().run, inner)):
            worker = threading.Thread(target=target, name="worker")
            worker.start()
            worker.join()

    with Recorded() as recorded:
        outer()
    inners = [call for name, call in zip(recorded.names, recorded.calls, strict=True) if name == "inner"]
    (around,) = [call for name, call in zip(recorded.names, recorded.calls, strict=True) if name == "outer"]
    assert [(call.parent, call.thread) for call in inners] == [(0, "worker"), (around.number, "worker")]


def test_a_coroutine_and_a_generator_are_timed_to_their_end() -> None:
    @monitor_execution
    async def waits() -> None:
        await asyncio.sleep(0.05)

    @monitor_execution
    def yields() -> Iterator[int]:
        yield 1
        threading.Event().wait(0.05)
        yield 2

    with Recorded() as recorded:
        asyncio.run(waits())
        list(yields())
    assert all(call.duration >= 50_000 for call in recorded.calls)


def test_an_abandoned_generator_and_a_cancelled_task_are_cancelled() -> None:
    @monitor_execution
    def numbers() -> Iterator[int]:
        yield from range(10)

    @monitor_execution
    async def forever() -> None:
        await asyncio.sleep(3600)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(), 0.01)

    with Recorded() as recorded:
        for _ in numbers():
            break
        asyncio.run(impatient())
    assert [call.outcome for call in recorded.calls] == ["cancelled", "cancelled"]


def test_what_happens_at_a_generator_s_close_reaches_its_caller() -> None:
    @monitor_execution
    def stubborn() -> Iterator[int]:
        try:
            yield 1
        except GeneratorExit:
            raise ValueError("at its close") from None

    @monitor_execution
    async def stubborn_too() -> AsyncIterator[int]:
        try:
            yield 1
        except GeneratorExit:
            await asyncio.sleep(0)
            raise ValueError("at its close") from None

    async def close() -> None:
        numbers: Any = stubborn_too()
        await anext(numbers)
        await numbers.aclose()

    with Recorded() as recorded:
        numbers: Any = stubborn()
        next(numbers)
        with pytest.raises(ValueError, match="at its close"):
            numbers.close()
        with pytest.raises(ValueError, match="at its close"):
            asyncio.run(close())
    assert [call.outcome for call in recorded.calls] == ["failed", "failed"]


def test_a_wrapped_function_looks_as_before() -> None:
    wrapped = monitor_execution(plain)
    assert (wrapped.__name__, wrapped.__doc__, wrapped.__module__) == (plain.__name__, plain.__doc__, plain.__module__)
    assert inspect.iscoroutinefunction(monitor_execution(coroutine))
    assert inspect.isgeneratorfunction(monitor_execution(generator))
    assert inspect.isasyncgenfunction(monitor_execution(async_generator))
    assert pickle.loads(pickle.dumps(with_address)) is with_address  # noqa: S301 – our own
    with pytest.raises(TypeError, match="only functions"):
        monitor_execution(Things)
    assert monitor_execution(functools.partial(plain, 1))(None) == (1, ())
    assert monitor_execution(len)([1]) == 1


@pytest.mark.parametrize("decorate", [monitor_execution, track_performance])
def test_wrong_arguments_of_a_coroutine_raise_as_without(decorate: Any) -> None:
    with Recorded() as recorded:
        wrapped = decorate(coroutine)
        if sys.version_info >= (3, 12):
            with pytest.raises(TypeError, match="missing 1 required positional argument: 'value'"):
                wrapped()
        else:
            with pytest.raises(TypeError, match="missing 1 required positional argument: 'value'"):
                asyncio.run(wrapped())
        assert asyncio.run(wrapped(1)) == (1, ())
    assert [call.outcome for call in recorded.calls] == ["failed", "succeeded"]


def test_a_coroutine_that_is_never_awaited_is_named() -> None:
    with pytest.warns(RuntimeWarning, match="coroutine 'coroutine' was never awaited"):
        monitor_execution(coroutine)(1)
    assert asyncio.iscoroutinefunction(monitor_execution(coroutine))


def test_deep_recursion_ends_as_it_would_without() -> None:
    @monitor_execution
    def down(number: int) -> int:
        return down(number + 1)

    with Recorded(), pytest.raises(RecursionError):
        down(0)


def test_a_queue_that_is_broken_breaks_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recording itself fails; in any case, the function continues."""

    def breaks() -> None:
        raise MemoryError

    from livekeep.record.instrument.recording import gate

    monkeypatch.setattr(gate, "crowded", breaks)
    monkeypatch.setattr(gate, "limit", -1)
    for decorate in (monitor_execution, track_performance):
        assert decorate(plain)(1) == (1, ())
        assert asyncio.run(decorate(coroutine)(1)) == (1, ())
        with pytest.raises(ValueError, match="x"):
            decorate(plain)(1, ValueError("x"))


def test_the_causes_of_an_error_are_in_its_traceback() -> None:
    @monitor_execution
    def outer() -> None:
        try:
            {}["first"]
        except KeyError as error:
            raise ValueError("second") from error

    with Recorded() as recorded, pytest.raises(ValueError, match="second"):
        outer()
    (call,) = recorded.calls
    assert call.error is not None
    kind, message, traceback = call.error
    assert (kind, message) == ("ValueError", "second")
    assert traceback.index("KeyError: 'first'") < traceback.index("direct cause") < traceback.index('raise ValueError("second")')
    assert __file__ in traceback
    assert "recording.py" not in traceback
