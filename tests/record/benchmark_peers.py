"""What peers of the record take: Prefect and MLflow with their own servers and SQLite, beside library and writer in the same run.

    python3 -m tests.record.benchmark_peers [--calls 300] [--folder DIR]

By hand, not a test; as root, for the servers have a network of their own. Makes a virtual environment with both in DIR
(/var/cache/livekeep-record-bench/peers). A call is a task of one flow in Prefect, a trace in MLflow. The list has the newest
200 calls, as the servers' pages ask for it.
"""

import argparse
import contextlib
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PROJECT = Path(__file__).parents[2]
PEERS = ("prefect==3.9.1", "mlflow==3.17.2")
FOLDER = Path("/var/cache/livekeep-record-bench/peers")
REST_SECONDS = 30.0
PAGES = 20
LONGEST_SECONDS = 900.0
PREFECT_JOB = """
import sys
from prefect import flow, task

@task
def work(number):
    return number

@flow
def job(calls):
    for number in range(calls):
        work(number)

job(int(sys.argv[1]))
"""
MLFLOW_JOB = """
import sys
import mlflow

mlflow.set_experiment("job")

@mlflow.trace
def work(number):
    return number

for number in range(int(sys.argv[1])):
    work(number)
mlflow.flush_trace_async_logging(terminate=True)
"""


OWN_CALLS = 100
"""This many times the calls: a few hundred take no time."""
OWN_JOB = """
import sys
from livekeep.record import flush, monitor_execution

@monitor_execution
def work(number):
    return number

for number in range(int(sys.argv[1])):
    work(number)
    if number % 20_000 == 19_999:
        flush(30)
"""


def written(folder: Path, job: str) -> Path:
    file = folder / "job.py"
    file.write_text(job)
    return file


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read() or b"null")


def wait_for(what: str, holds: Callable[[], bool], seconds: float = LONGEST_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except (OSError, ValueError):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


def pss_megabytes(root: int) -> float:
    """Of a process and its descendants."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family and pid not in family}:
        family |= more
    total = 0
    for pid in family:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


@contextlib.contextmanager
def server(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def measured(
    name: str,
    calls: int,
    job: Path,
    environment: dict[str, str],
    process: int,
    count: Callable[[], int],
    page: Callable[[], object],
) -> None:
    time.sleep(REST_SECONDS)
    idle = pss_megabytes(process)
    began = time.monotonic()
    done = subprocess.run([sys.executable, str(job), str(calls)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}'s job failed: {done.stderr[-2000:]}")
    job_seconds = time.monotonic() - began
    wait_for("all calls are in the database", lambda: count() >= calls)
    seconds = time.monotonic() - began
    pages = []
    for _ in range(PAGES):
        at = time.monotonic()
        page()
        pages.append(time.monotonic() - at)
    print(
        f"{name}: {calls} calls in {seconds:.1f} s (the job itself {job_seconds:.1f} s), {calls / seconds:,.0f} a second; "
        f"server at rest {idle:.0f} MB PSS; list of the newest 200: {statistics.median(pages) * 1000:.0f} ms",
        flush=True,
    )


def own(calls: int, folder: Path) -> None:
    from livekeep.record.recorder.imports import Import
    from livekeep.record.store import queries, schema
    from livekeep.record.store.writer import Writer

    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "lib"), "LIVEKEEP_EVENTS": str(folder / "events.jsonl")}
    began = time.monotonic()
    subprocess.run([sys.executable, str(written(folder, OWN_JOB)), str(calls)], env=environment, check=True)
    writer, imported = Writer(folder / "record.db"), Import(folder / "events.jsonl", 0)
    recorded = writer.ingest(imported.entries()).calls
    seconds = time.monotonic() - began
    with contextlib.closing(schema.open_read_only(folder / "record.db")) as connection:
        at = time.monotonic()
        queries.calls(connection, queries.Filter(), 200)
        page = time.monotonic() - at
    writer.close()
    print(
        f"livekeep: {recorded} calls in {seconds:.1f} s, {recorded / seconds:,.0f} a second; "
        f"list of the newest 200: {page * 1000:.0f} ms",
        flush=True,
    )


def prefect(calls: int, folder: Path) -> None:
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ, "PREFECT_HOME": str(folder), "PREFECT_API_URL": api, "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "WARNING",
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    done = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    with server(command, environment, folder / "log") as process:
        wait_for("Prefect's server answers", lambda: bool(ask(f"{api}/health")), 600)
        measured(
            "Prefect", calls, written(folder, PREFECT_JOB), environment, process.pid,
            lambda: int(ask(f"{api}/task_runs/count", done)),
            lambda: ask(f"{api}/task_runs/filter", {"limit": 200, "sort": "EXPECTED_START_TIME_DESC"}),
        )  # fmt: skip


def mlflow(calls: int, folder: Path) -> None:
    port = free_port()
    url, store = f"http://127.0.0.1:{port}", folder / "mlflow.db"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": url, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    command = [
        str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{store}", "--default-artifact-root", str(folder / "artifacts"),
    ]  # fmt: skip

    def answers() -> bool:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)

    def count() -> int:
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM trace_info").fetchone()[0])

    def page() -> object:
        experiment = ask(f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=job")["experiment"]["experiment_id"]
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        return ask(f"{url}/api/3.0/mlflow/traces/search", {"locations": [place], "max_results": 200})

    with server(command, environment, folder / "log") as process:
        wait_for("MLflow's server answers", answers, 600)
        measured("MLflow", calls, written(folder, MLFLOW_JOB), environment, process.pid, count, page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for measure in (prefect, mlflow):
            with TemporaryDirectory() as folder:
                measure(options.calls, Path(folder))
        return 0
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with TemporaryDirectory() as folder:
        own(options.calls * OWN_CALLS, Path(folder))
    python = options.folder / "bin/python3"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", options.folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS], check=True)
    command = ["unshare", "--net", str(python), __file__, "--inside", "--calls", str(options.calls)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
