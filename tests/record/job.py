"""A small job that does everything that the library records; the tests run it as a program.

    PYTHONPATH=lib python3 tests/record/job.py [--clips 5] [--calls 100] [--seconds 0] [--fail] [--crash]

It prints one line of JSON: the session's token, the names of its functions with the number of their calls. `--seconds` is its
time per clip; `--fail` ends its session with an exception; `--crash` waits to be killed within the session.
"""

import argparse
import asyncio
import contextlib
import json
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator

from livekeep.record import flush, instrument_sqlite, monitor_execution, progress_step, session, track, track_performance

calls: dict[str, int] = {}


def count(name: str) -> None:
    calls[name] = calls.get(name, 0) + 1


@monitor_execution
def ordinary(clip: int, mode: str = "hd") -> int:
    count("job.ordinary")
    return clip if mode else 0


@monitor_execution(redact=("address",))
def hidden(address: str, password: str) -> int:
    count("job.hidden")
    return len(address) + len(password)


@monitor_execution
def broken(clip: int) -> None:
    count("job.broken")
    raise ValueError(f"clip {clip} cannot be read")


@monitor_execution(slow=0.01)
def slow() -> None:
    count("job.slow")
    time.sleep(0.02)


@monitor_execution
async def coroutine(clip: int) -> int:
    count("job.coroutine")
    await asyncio.sleep(0.001)
    return ordinary(clip)


@monitor_execution
def generator(number: int) -> Iterator[int]:
    count("job.generator")
    yield from range(number)


@monitor_execution
async def async_generator(number: int) -> AsyncIterator[int]:
    count("job.async_generator")
    for item in range(number):
        yield item


@track_performance(kind="analysis")
def measured(clip: int) -> int:
    count("job.measured")
    return sum(range(clip * 10_000))


def database_and_api() -> None:
    with contextlib.closing(instrument_sqlite(sqlite3.connect(":memory:"))) as database:
        database.execute("CREATE TABLE clips (number)")
        database.execute("INSERT INTO clips VALUES (17)")
        database.execute("SELECT number FROM clips WHERE number = 17").fetchall()
    with track("GET api.example.org/videos", kind="api"):
        time.sleep(0.002)
    for name in ("CREATE TABLE clips (number)", "INSERT INTO clips VALUES (?)", "SELECT number FROM clips WHERE number = ?"):
        count(name)
    count("GET api.example.org/videos")


@progress_step(weight=1)
def fetch(clip: int, seconds: float) -> None:
    hidden(f"https://anna:secret@example.org/{clip}", "geheim")
    time.sleep(seconds / 4)


@progress_step(weight=3)
def analyse(clip: int, seconds: float) -> None:
    ordinary(clip)
    list(generator(3))
    time.sleep(seconds * 3 / 4)


async def asynchronous(clip: int) -> None:
    await asyncio.gather(coroutine(clip), coroutine(clip + 1))
    async for _ in async_generator(2):
        pass


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=5)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--crash", action="store_true")
    options = parser.parse_args()
    run = session("clip analysis", total=options.clips)
    try:
        with run:
            for clip in run.track(range(options.clips)):
                run.update(message=f"clip {clip}")
                fetch(clip, options.seconds)
                analyse(clip, options.seconds)
            for clip in range(options.calls):
                ordinary(clip)
            slow()
            measured(5)
            database_and_api()
            asyncio.run(asynchronous(7))
            with contextlib.suppress(ValueError):
                broken(3)
            worker = threading.Thread(target=ordinary, args=(1,), name="worker")
            worker.start()
            worker.join()
            if options.crash:
                flush()
                print("waiting", flush=True)
                time.sleep(600)
            if options.fail:
                broken(4)
    finally:
        print(json.dumps({"session": run.id, "calls": calls}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
