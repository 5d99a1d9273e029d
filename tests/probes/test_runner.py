"""livekeep.probes.runner: what a run keeps of the one before, when it logs, and what it does when it cannot write."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from livekeep.core import state
from livekeep.core.probe_results import NetworkResult, Run, Verdict
from livekeep.probes import runner
from livekeep.probes.runner import Judgement
from tests.outside import LIBRARY

PROGRAM = """
import json, sys
from livekeep.core import events
from livekeep.core.config import Config
from livekeep.core.errors import exit_with_sentence
from livekeep.core.probe_results import NetworkResult, Ping
from livekeep.probes import runner

verdict, reason = sys.argv[1:]

def measure(settings: Config, previous: NetworkResult, now: float) -> tuple[NetworkResult, runner.Judgement]:
    seen = sum(entry.sent_total for entry in previous.pings)
    return NetworkResult(pings=(Ping("a.example", "ipv4", sent_total=seen + 1),)), runner.Judgement(verdict, reason, "do this")

sys.exit(exit_with_sentence(lambda: runner.run_once(NetworkResult, measure)))
"""
"""A probe whose verdict is its argument."""


def run_probe(
    root: Path, verdict: Verdict = "ok", reason: str = "", largest_file_bytes: int = 1_000_000
) -> subprocess.CompletedProcess[str]:
    environment = {
        "LIVEKEEP_ROOT": str(root),
        "PYTHONPATH": str(LIBRARY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
    }
    if largest_file_bytes < 1_000_000:
        # What notes the lines that were run writes files too.
        environment["LIVEKEEP_UNMEASURED"] = "1"
    command = ["prlimit", f"--fsize={largest_file_bytes}", sys.executable, "-c", PROGRAM, verdict, reason]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def written(root: Path) -> NetworkResult:
    return state.read(NetworkResult, root / "run/livekeep")


# The record of a run


@pytest.mark.parametrize(
    ("verdict", "counts", "last_success"),
    [("ok", (3, 1, 1), 2000.0), ("warn", (3, 1, 1), 2000.0), ("fail", (2, 2, 1), 900.0), ("skipped", (2, 1, 2), 900.0)],
)
def test_outcomes_are_counted(verdict: Verdict, counts: tuple[int, int, int], last_success: float) -> None:
    before = Run("ok", "", "", 500.0, 1000.0, 900.0, 1.0, 30.0, 2, 1, 1)
    found = runner.next_run(before, Judgement(verdict, "why", "what to do"), 2000.0, 0.5, 45.0)
    assert (found.successes, found.failures, found.skips) == counts
    assert (found.last_success, found.last_run) == (last_success, 2000.0)
    assert found.since == (500.0 if verdict == "ok" else 2000.0)
    assert (found.reason, found.advice, found.duration_seconds, found.interval_seconds) == ("why", "what to do", 0.5, 45.0)


def test_the_reason_may_change_while_the_verdict_stands() -> None:
    before = Run("fail", "no cable", "", 500.0, 1000.0)
    found = runner.next_run(before, Judgement("fail", "no answer"), 2000.0, 0.5, 30.0)
    assert (found.since, found.reason) == (500.0, "no answer")


# The findings of the run before


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"file": "probe-host/state.json", "version": 1}', "\0" * 300_000])
def test_findings_that_cannot_be_read_are_begun_anew(tmp_path: Path, content: str | None) -> None:
    file = state.path_of(NetworkResult, tmp_path)
    file.parent.mkdir()
    if content is not None:
        file.write_text(content)
    assert runner.last_result(NetworkResult, tmp_path) == NetworkResult()


# A whole run, as a process


def test_a_run_carries_on_from_the_one_before(tmp_path: Path) -> None:
    runs = []
    for verdict in ("ok", "ok", "fail", "fail", "skipped"):
        ran = run_probe(tmp_path, verdict, f"it is {verdict}")
        assert (ran.returncode, ran.stdout) == (0, "")
        runs.append(written(tmp_path))
    assert [found.pings[0].sent_total for found in runs] == [1, 2, 3, 4, 5]
    assert [found.run.since == found.run.last_run for found in runs] == [True, False, True, False, True]
    assert runs[1].run.since == runs[0].run.since
    assert (runs[-1].run.successes, runs[-1].run.failures, runs[-1].run.skips) == (2, 2, 1)
    assert runs[-1].run.last_success == runs[1].run.last_run
    assert (runs[-1].run.reason, runs[-1].run.advice) == ("it is skipped", "do this")
    assert runs[-1].written_at >= runs[-1].run.last_run
    assert runs[-1].written_monotonic > runs[0].written_monotonic


def test_a_fault_in_the_configuration_does_not_stop_the_probe(tmp_path: Path) -> None:
    (tmp_path / "etc/livekeep").mkdir(parents=True)
    (tmp_path / "etc/livekeep/livekeep.toml").write_text("[probes.network]\ninterval_seconds = 7\npackets = 0\nodd = 1\n")
    assert run_probe(tmp_path).returncode == 0
    assert written(tmp_path).run.interval_seconds == 7


def test_a_state_that_cannot_be_written_is_a_temporary_error(tmp_path: Path) -> None:
    """A limit of the process plays the full disk."""
    run_probe(tmp_path)
    before = written(tmp_path)
    ran = run_probe(tmp_path, largest_file_bytes=100)
    assert ran.returncode == 1
    assert "probe-network/state.json: cannot be written (File too large); is /run full? See df /run" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert written(tmp_path) == before
    assert [file.name for file in (tmp_path / "run/livekeep/probe-network").iterdir()] == ["state.json"]
