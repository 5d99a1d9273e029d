"""The service loop in a process of its own, with a real datagram socket in systemd's place."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

from tests.outside import LIBRARY, PATIENCE_SECONDS, NotifySocket, program, wait_until

HEAD = """
import os, sys, threading, time
from livekeep.core.service import Service
passes = 0
def say(text):
    print(text, flush=True)
service = Service()
"""
PLAIN = """
def one_pass(now):
    service.status("at work")
    say("pass")
    return float("inf")
service.run(one_pass, lambda: say("reload"))
say("end")
"""


class Start(Protocol):
    def __call__(self, script: str, watchdog_usec: str = "") -> AbstractContextManager[subprocess.Popen[bytes]]: ...


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifySocket]:
    with NotifySocket(tmp_path / "notify") as listener:
        yield listener


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def start(systemd: NotifySocket, output: Path) -> Start:
    def run(script: str, watchdog_usec: str = "") -> AbstractContextManager[subprocess.Popen[bytes]]:
        environment = {"PYTHONPATH": str(LIBRARY), "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": watchdog_usec}
        return program([sys.executable, "-c", HEAD + script], env=environment, stdout=output.open("wb"))

    return run


def test_a_status_is_one_line_whatever_it_says(start: Start, systemd: NotifySocket) -> None:
    """A server's text with a line break would be a message of its own: here, that another process is the service."""
    script = PLAIN.replace('"at work"', r'"at work\nMAINPID=1\n\x1b[2J\ud800"')
    with start(script):
        systemd.wait_for("WATCHDOG=1")
        assert systemd.messages == [r"STATUS=at work\nMAINPID=1\n\x1b[2J\ud800", "READY=1", "WATCHDOG=1"]


def test_ready_comes_after_the_first_pass_and_each_pass_feeds_the_watchdog(start: Start, systemd: NotifySocket) -> None:
    with start(PLAIN) as process:
        systemd.wait_for("WATCHDOG=1")
        assert systemd.messages == ["STATUS=at work", "READY=1", "WATCHDOG=1"]
        assert not systemd.receive(0.3), "it waits without working"
        process.terminate()
        systemd.wait_for("STOPPING=1")
        assert process.wait(PATIENCE_SECONDS) == 0
        assert systemd.messages[3:] == ["STOPPING=1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_wait(start: Start, systemd: NotifySocket, output: Path, number: int) -> None:
    with start(PLAIN) as process:
        systemd.wait_for("WATCHDOG=1")
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert output.read_text().endswith("end\n")


def test_reload_is_told_before_and_after(start: Start, systemd: NotifySocket, output: Path) -> None:
    with start(PLAIN) as process:
        systemd.wait_for("WATCHDOG=1")
        before = time.monotonic_ns() // 1000
        process.send_signal(signal.SIGHUP)
        systemd.wait_for("WATCHDOG=1", after=3)
        reloading, ready, _watchdog = systemd.messages[3:]
        found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)
        assert found
        assert before <= int(found[1]) <= time.monotonic_ns() // 1000
        assert ready == "READY=1"
        assert output.read_text() == "pass\nreload\npass\n"


def test_the_watchdog_is_fed_twice_in_its_time(start: Start, systemd: NotifySocket) -> None:
    with start(PLAIN, "4000000"):
        at = systemd.wait_for("WATCHDOG=1")
        moments = [time.monotonic()]
        for _ in range(2):
            at = systemd.wait_for("WATCHDOG=1", after=at + 1)
            moments.append(time.monotonic())
        # On a busy machine one or the other is late.
        assert min(later - earlier for earlier, later in itertools.pairwise(moments)) <= 2.0
        assert moments[-1] - moments[0] > 2.0


def test_a_pass_that_hangs_does_not_feed_the_watchdog(start: Start, systemd: NotifySocket) -> None:
    script = "def one_pass(now):\n    say('in')\n    time.sleep(60)\nservice.run(one_pass, lambda: None)"
    with start(script, "200000"):
        assert not systemd.receive(1.0)


def test_a_thread_a_file_and_the_time_wanted_each_bring_a_pass(start: Start, systemd: NotifySocket, output: Path) -> None:
    script = """
reading, writing = os.pipe()
def ready():
    say(os.read(reading, 9).decode())
    service.forget(reading)
service.watch(reading, ready)
def one_pass(now):
    global passes
    passes += 1
    say(f"pass {passes}")
    if passes == 1:
        threading.Timer(0.1, service.wake).start()
    if passes == 2:
        os.write(writing, b"data")
    return now + (0.1 if passes == 3 else 1000)
service.run(one_pass, lambda: None)
"""
    with start(script):
        wait_until("four passes", lambda: "pass 4" in output.read_text())
        assert output.read_text() == "pass 1\npass 2\ndata\npass 3\npass 4\n"


def test_a_burst_of_wakes_neither_blocks_nor_loses_a_signal(output: Path) -> None:
    script = """
def flood():
    for _ in range(100000):
        service.wake()
thread = threading.Thread(target=flood)
thread.start()
def reload():
    thread.join()
    say("reload")
service.run(lambda now: now + 1000, reload)
"""
    # Without systemd: it would read the thousands of pings.
    command = [sys.executable, "-c", HEAD + "say('up')" + script]
    with program(command, env={"PYTHONPATH": str(LIBRARY)}, stdout=output.open("wb")) as process:
        wait_until("the flood", lambda: output.read_text() == "up\n")
        process.send_signal(signal.SIGHUP)
        wait_until("the reload", lambda: output.read_text() == "up\nreload\n")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_the_status_goes_out_when_it_changes(start: Start, systemd: NotifySocket) -> None:
    script = """
def one_pass(now):
    global passes
    passes += 1
    service.status("ab"[passes // 3 % 2])
    return now + 0.02
service.run(one_pass, lambda: None)
"""
    with start(script):
        for _ in range(40):
            assert systemd.receive(PATIENCE_SECONDS)
    told = [line for line in systemd.messages if line.startswith("STATUS")]
    assert told == ["STATUS=a", "STATUS=b"] * (len(told) // 2) + ["STATUS=a"] * (len(told) % 2)
    assert len(told) > 2


def test_children_do_not_speak_for_the_unit(start: Start, output: Path) -> None:
    script = "import subprocess\nos.environ.update(WATCHDOG_PID='1')\nService()\nsubprocess.run('env')"
    with start(script, "1000000") as process:
        assert process.wait(PATIENCE_SECONDS) == 0
    assert not re.search(r"NOTIFY_SOCKET|WATCHDOG", output.read_text())


def test_without_systemd_it_runs_all_the_same(output: Path) -> None:
    environment = {"PYTHONPATH": str(LIBRARY), "PATH": os.environ["PATH"]}
    with program([sys.executable, "-c", HEAD + PLAIN], env=environment, stdout=output.open("wb")) as process:
        wait_until("the first pass", lambda: output.read_text() == "pass\n")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
