"""The cost of the library for jobs, and the accuracy of its time left, compared with others in the same run. Not a test.

    tests/record/benchmark_instrument.py [--rounds 200] [--folder DIR]

Creates a virtual environment in DIR (/tmp/livekeep-benchmark), with this checkout and, from the Python index, the peers. `--own`
omits the peers and the environment.
"""

import argparse
import contextlib
import json
import logging
import os
import platform
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

PROJECT = Path(__file__).parents[2]
PEERS = ("opentelemetry-sdk==1.45.2", "structlog==26.1.0", "tqdm==4.70.1")
CALLS = 2000
"""Calls per round: the capacity of OpenTelemetry's batch processor; records are sent between two rounds, untimed."""
SUSTAINED = 200_000
ITEMS = 20
"""Of each step of a simulated run."""
READER = """
import re, socket, sys
calls = 0
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
    journal.bind(sys.argv[1])
    print("ready", flush=True)
    while (entry := journal.recv(1 << 22)) != b"end":
        calls += sum(map(int, re.findall(rb"^LIVEKEEP_COUNT=([0-9]+)$", entry, re.MULTILINE)))
    print(calls, flush=True)
"""


@contextlib.contextmanager
def journal() -> Iterator[list[int]]:
    """A socket that a separate process empties, like the journal's; afterwards the yielded object holds the number of calls."""
    received: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        with subprocess.Popen([sys.executable, "-c", READER, path], stdout=subprocess.PIPE) as reader:
            assert reader.stdout
            reader.stdout.readline()
            os.environ["LIVEKEEP_JOURNAL_SOCKET"] = path
            yield received
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", path)
            received.append(int(reader.stdout.readline()))


def per_call(function: Callable[..., Any], args: tuple[Any, ...], between: Callable[[], object], rounds: int) -> list[float]:
    """Microseconds per call, of each round."""
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        for _ in range(CALLS):
            function(*args)
        taken.append((time.perf_counter_ns() - begun) / CALLS / 1000)
        between()
    return taken


def nothing() -> None:
    """A recorded function."""


def two(clip: int, mode: str) -> None:
    """A recorded function with parameters."""


Subject = tuple[Callable[..., Any], Callable[..., Any], Callable[[], object]]
"""Without parameters, with two, and the action between two rounds."""


def livekeep() -> Subject:
    from livekeep.record import flush, monitor_execution

    return monitor_execution(nothing), monitor_execution(two), flush


def livekeep_measured() -> Subject:
    from livekeep.record import flush, track_performance

    return track_performance(nothing), track_performance(two), flush


def opentelemetry() -> Subject:
    from opentelemetry.sdk.trace import TracerProvider  # type: ignore[import-not-result]
    from opentelemetry.sdk.trace.export import (  # type: ignore[import-not-result]
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class Nowhere(SpanExporter):  # type: ignore[misc]
        def export(self, _spans: Any) -> Any:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("benchmark")

    def without() -> None:
        with tracer.start_as_current_span("nothing"):
            nothing()

    def with_two(clip: int, mode: str) -> None:
        with tracer.start_as_current_span("two", attributes={"clip": clip, "mode": mode}):
            two(clip, mode)

    return without, with_two, provider.force_flush


def structlog_json() -> Subject:
    import structlog  # type: ignore[import-not-result]

    stream = Path("/dev/null").open("w", encoding="utf-8")  # noqa: SIM115 – as long as the process
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    log = structlog.get_logger()

    def without() -> None:
        nothing()
        log.info("nothing")

    def with_two(clip: int, mode: str) -> None:
        two(clip, mode)
        log.info("two", clip=clip, mode=mode)

    return without, with_two, stream.flush


def logging_file() -> Subject:
    log = logging.getLogger("benchmark")
    folder = tempfile.mkdtemp(prefix="livekeep-benchmark-")
    log.addHandler(logging.FileHandler(f"{folder}/log"))
    log.handlers[0].setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    log.propagate = False
    log.setLevel(logging.INFO)

    def without() -> None:
        nothing()
        log.info("nothing")

    def with_two(clip: int, mode: str) -> None:
        two(clip, mode)
        log.info("two clip=%s mode=%s", clip, mode)

    return without, with_two, lambda: None


OWN: dict[str, Callable[[], Subject]] = {
    "@monitor_execution": livekeep,
    "@track_performance": livekeep_measured,
}
OTHERS: dict[str, Callable[[], Subject]] = {
    "OpenTelemetry span, batch processor": opentelemetry,
    "structlog, JSON": structlog_json,
    "logging to a file": logging_file,
}


def sustained(calls: int) -> dict[str, float]:
    """Calls as fast as the queue accepts them, to the last datagram: the cost of each to the whole process."""
    from livekeep.record import flush, monitor_execution

    work = monitor_execution(two)
    cpu, begun = time.process_time(), time.perf_counter()
    for number in range(calls):
        work(number, "hd")
        if number % 20_000 == 19_999:
            flush(30)
    flush(30)
    return {
        "sustained calls a second": calls / (time.perf_counter() - begun),
        "sustained processor us a call": (time.process_time() - cpu) / calls * 1e6,
    }


def costs(subjects: dict[str, Callable[[], Subject]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Microseconds above the bare call, without and with two parameters: the median, and the fastest tenth of the rounds.

    The subjects alternate. On a busy machine the fastest tenth shows the cost of the code itself.
    """
    made = {name: make() for name, make in subjects.items()}
    bare = median(per_call(nothing, (), lambda: None, rounds)), median(per_call(two, (17, "hd"), lambda: None, rounds))
    taken: dict[str, list[list[float]]] = {name: [[], []] for name in made}
    for _ in range(5):
        for name, (without, with_two, between) in made.items():
            taken[name][0] += per_call(without, (), between, rounds // 5 + 1)
            taken[name][1] += per_call(with_two, (17, "hd"), between, rounds // 5 + 1)
    return {
        name: [(median(one) - bare[place], quantiles(one, n=10)[0] - bare[place]) for place, one in enumerate(both)]
        for name, both in taken.items()
    }


# Time left, over simulated runs: steps of unequal items, each run with its own speed


def made_run(usual: dict[str, float], generator: random.Random) -> dict[str, list[float]]:
    speed = generator.lognormvariate(0, 0.3)
    return {name: [seconds * speed * generator.lognormvariate(0, 0.2) for _ in range(ITEMS)] for name, seconds in usual.items()}


def errors_of_time_left(jobs: int, peer: Callable[[], Callable[[float], float]] | None) -> tuple[list[float], list[float]]:
    """At each item's end in the second to fifth runs: ours, and the peer's. `peer` makes what receives each item's seconds."""
    from livekeep.record.instrument import forecast
    from livekeep.record.instrument.forecast import Now, Run, StepNow, StepRun

    generator = random.Random(17)
    ours, others = [], []
    for _ in range(jobs):
        usual = {f"step {number}": generator.lognormvariate(0, 1) for number in range(6)}
        past: list[Run] = []
        for turn in range(5):
            run = made_run(usual, generator)
            whole, elapsed, steps = sum(map(sum, run.values())), 0.0, dict[str, StepNow]()
            items, done = sum(map(len, run.values())), 0
            seconds_per_item = peer() if peer else None
            for name, durations in run.items():
                for place, seconds in enumerate(durations, 1):
                    elapsed, done = elapsed + seconds, done + 1
                    spent = sum(durations[:place])
                    is_over = place == len(durations)
                    steps[name] = StepNow(1, spent) if is_over else StepNow(0, 0.0, 1, spent, place / len(durations))
                    average = seconds_per_item(seconds) if seconds_per_item else 0.0
                    left = whole - elapsed
                    if turn and done < items:
                        estimate = forecast.left(past, Now(elapsed, None, 0.0, done / items, steps)) or 0.0
                        ours.append(abs(estimate - left) / left)
                        others.append(abs(average * (items - done) - left) / left)
            past.append(Run(whole, None, {name: StepRun(1, sum(durations)) for name, durations in run.items()}))
    return ours, others


def tqdm_average() -> Callable[[float], float]:
    """tqdm's estimate: its moving averages of the items and of the time."""
    from tqdm.std import EMA  # type: ignore[import-untyped]

    items, seconds = EMA(0.3), EMA(0.3)
    return lambda taken: float(seconds(taken) / items(1))


def measure(rounds: int, with_peers: bool) -> dict[str, Any]:
    from livekeep.record.instrument.delivery import sender

    with journal() as received:
        result: dict[str, Any] = {"costs": costs({**OWN, **(OTHERS if with_peers else {})}, rounds)}
        result |= sustained(SUSTAINED if with_peers else 20_000)
    # Dropped calls count as sent.
    result["lost calls"] = sender.sent - received[0]
    ours, others = errors_of_time_left(40, tqdm_average if with_peers else None)
    result["time left"] = {"livekeep": median(ours), **({"tqdm": median(others)} if with_peers else {})}
    return result


def report(result: dict[str, Any]) -> None:
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {platform.platform()}")
    print("\nus for each call, above the bare call, in the median (fastest tenth of the rounds):")
    print(f"  {'':36} {'no parameters':>17} {'two parameters':>17}")
    for name, both in result["costs"].items():
        print(f"  {name:36}", *(f"{f'{middle:.2f} ({fast:.2f})':>17}" for middle, fast in both))
    print(f"\nsustained: {result['sustained calls a second']:,.0f} calls a second to the journal's socket,")
    print(f"  {result['sustained processor us a call']:.1f} us of processor a call in all, its sending included")
    print(f"  lost, of all calls of this run: {result['lost calls']:,}")
    print("\ntime left, error in the median, second to fifth run:")
    for name, error in result["time left"].items():
        print(f"  {name:10} {error:.1%}")


def environment(folder: Path) -> Path:
    """A Python environment with this checkout and the peers."""
    python = folder / "bin/python3"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    # pip builds in the folder itself.
    with tempfile.TemporaryDirectory() as copy:
        source = Path(copy) / "livekeep"
        shutil.copytree(PROJECT, source, ignore=shutil.ignore_patterns(".git", "__pycache__", "build", "docs", "tests"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--upgrade", source, *PEERS], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/livekeep-benchmark"))
    parser.add_argument("--own", action="store_true", help="the library alone, with this Python; prints JSON")
    parser.add_argument("--peers", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.own or options.peers:
        result = measure(options.rounds, options.peers)
        print(json.dumps(result)) if options.own else report(result)
        return 0
    python = environment(options.folder)
    return subprocess.run([python, __file__, "--peers", "--rounds", str(options.rounds)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
