"""livekeep-exporter as a process: its responses, what it tells systemd, and ten thousand scrapes with bad neighbours."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import livekeep
from tests.exporter.full_states import CHANNEL, END, FINDINGS, PLAYER, POLLER, intend, write, write_all, write_channel
from tests.exporter.running_exporter import RunningExporter, environment_for, run
from tests.exporter.served import receive
from tests.outside import PATIENCE_SECONDS, PROJECT, wait_until

CLIENTS, SCRAPES = 50, 10_000
GROWTH_BYTES = 4 * 1024 * 1024
FOLDERS = ("sys/fs/cgroup", "sys/class/thermal/thermal_zone0", "sys/class/net", "sys/class/hwmon/hwmon0")


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExporter]:
    with RunningExporter(tmp_path_factory.mktemp("exporter")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(exporter: RunningExporter) -> None:
    write_all(exporter.states)
    # A worker's state is stale after ten seconds, which a busy machine may take.
    write_channel(CHANNEL, exporter.states, seconds_ago=-60)
    write_channel(END, exporter.states)
    intend("main", exporter.folder / "var/lib/livekeep")


@pytest.mark.parametrize("closed", FOLDERS)
def test_a_folder_of_the_kernel_s_that_may_not_be_read_costs_only_its_own_figures(tmp_path: Path, closed: str) -> None:
    for name in (*FOLDERS, "proc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/loadavg").write_text("0.50 0.25 0.10 1/100 4711\n")
    (tmp_path / closed).chmod(0)
    # Root reads what it may not, unless it has given that up.
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    try:
        with RunningExporter(tmp_path, as_user=without if os.geteuid() == 0 else ()) as running:
            assert running.figures()["host_load1"] == 0.5
            assert running.figures()["exporter_collector_success host"] == 1
    finally:
        (tmp_path / closed).chmod(0o755)


def test_the_exporter_tells_of_itself(exporter: RunningExporter) -> None:
    figures = exporter.figures()
    assert time.time() - 6000 < figures["process_start_time_seconds"] <= time.time()
    assert 0 < figures["process_cpu_seconds_total"] < 6000
    assert figures["process_resident_memory_bytes"] == pytest.approx(exporter.resident_bytes(), rel=0.2)
    # One that the test's own connection holds open.
    assert figures["process_open_fds"] == pytest.approx(exporter.descriptors(), abs=2)
    assert f'version="{livekeep.__version__}"}} 1.0\n' in exporter.get("/metrics").body.decode()


@pytest.mark.parametrize("level", ["ok", "degraded", "down"])
def test_healthz_is_what_livekeep_health_says(exporter: RunningExporter, level: str) -> None:
    if level == "ok":
        playback = replace(PLAYER.playback, buffering=False, position_changed_at=None)
        write(replace(PLAYER, stream_picture="moving", playback=playback), exporter.states)
        write(replace(POLLER, consecutive_failures=0), exporter.states)
        write(replace(FINDINGS["host"], throttled=()), exporter.states)
    elif level == "degraded":
        write(POLLER, exporter.states, 45)
    elif level == "down":
        (exporter.states / "player/state.json").unlink()
    reply = exporter.get("/healthz")
    command = [PROJECT / "bin/livekeep", "health"]
    health = subprocess.run(command, env=environment_for(exporter.folder), capture_output=True, text=True, check=False)
    # The ages go on.
    without_age = [re.sub(r"[0-9]+ s\b", "", text) for text in (reply.body.decode(), health.stdout)]
    assert without_age[0] == without_age[1]
    assert without_age[0].startswith(f"{level}: ")
    assert reply.status == (503 if level == "down" else 200)
    assert exporter.get("/healthz", method="HEAD").status == reply.status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/favicon.ico", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/nothing", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/healthz", 405),
        ("OPTIONS", "/", 405),
        ("GET", "/screen.png", 404),
    ],
)
def test_paths_and_methods(exporter: RunningExporter, method: str, path: str, status: int) -> None:
    reply = exporter.get(path, method=method)
    assert reply.status == status
    assert reply.headers.get("allow") == ("GET, HEAD" if status == 405 else None)
    assert reply.headers["cache-control"] == "no-store"


def test_ipv6(tmp_path: Path) -> None:
    with RunningExporter(tmp_path, "::1") as exporter:
        assert exporter.get("/metrics").status == 200


# As a unit


def test_systemd_is_told_and_an_idle_exporter_sleeps(tmp_path: Path) -> None:
    with RunningExporter(tmp_path) as exporter:
        exporter.get("/metrics")
        assert f"STATUS=listening on 127.0.0.1 port {exporter.port}" in exporter.systemd.messages
        before, pings = exporter.switches(), exporter.systemd.messages.count("WATCHDOG=1")
        wait_until("it works", lambda: exporter.systemd.messages.count("WATCHDOG=1") > pings + 1)
        # For each ping it waits for the loop.
        assert exporter.switches() - before <= 12
        exporter.stop()
        assert exporter.systemd.messages[-1] == "STOPPING=1"


def test_the_watchdog_sees_a_source_that_never_ends(tmp_path: Path) -> None:
    """A file of the kernel's that lets its reader wait, and then lets it go."""
    (tmp_path / "proc").mkdir()
    os.mkfifo(tmp_path / "proc/stat")
    with RunningExporter(tmp_path) as exporter:
        with socket.create_connection(("127.0.0.1", exporter.port), PATIENCE_SECONDS) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            writer = (tmp_path / "proc/stat").open("wb")  # it opens once the exporter reads
            pings = exporter.systemd.messages.count("WATCHDOG=1")
            time.sleep(4)
            # One may have been on its way.
            assert exporter.systemd.messages.count("WATCHDOG=1") <= pings + 1
            (tmp_path / "proc/stat").unlink()
            writer.close()
            assert receive(client).status == 200
        wait_until("it works again", lambda: exporter.systemd.messages.count("WATCHDOG=1") > pings + 1)
        exporter.stop()


def test_a_reload_takes_the_log_s_level_and_refuses_a_faulty_configuration(tmp_path: Path) -> None:
    with RunningExporter(tmp_path, settings='[log]\nlevel = "error"\n') as exporter:
        (exporter.states / "poller").mkdir()
        (exporter.states / "poller/state.json").write_text("{")
        exporter.get("/metrics")
        assert exporter.errors.read_text() == ""
        exporter.configure('[log]\nlevel = "loud"\n')
        exporter.reload()
        exporter.configure('[log]\nlevel = "info"\n')
        exporter.reload()
        (exporter.states / "poller/state.json").unlink()
        exporter.get("/metrics")
        assert "<6>poller: its metrics are back\n" in exporter.errors.read_text()


def test_a_port_in_use_ends_it_with_a_sentence(exporter: RunningExporter) -> None:
    ran = run(exporter.folder)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"<3>127.0.0.1:{exporter.port}: cannot listen (Address already in use); another program holds")
    assert len(ran.stderr.splitlines()) == 1


def test_the_configuration_is_checked(tmp_path: Path) -> None:
    (tmp_path / "etc/livekeep").mkdir(parents=True)
    config = tmp_path / "etc/livekeep/livekeep.toml"
    config.write_text("")
    assert run(tmp_path, "--check-config").returncode == 0
    config.write_text('[exporter]\naddress = "everywhere"\nport = 80\n')
    ran = run(tmp_path, "--check-config")
    assert ran.returncode == 78
    assert [line.split(": ")[1] for line in ran.stderr.splitlines()] == ["exporter.address", "exporter.port"]
    assert run(tmp_path).returncode == 78


@pytest.mark.parametrize("arguments", [("--help",), ("--textfile",), ("--check-config", "more")])
def test_other_arguments_are_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = run(tmp_path, *arguments)
    assert (ran.returncode, ran.stderr.startswith("usage: livekeep-exporter [")) == (2, True)


def crowd(exporter: RunningExporter, scrapes: int) -> None:
    """Good clients, slow ones, and some that never finish their request."""
    command = [sys.executable, PROJECT / "tests/machine/scraper.py", exporter.port, scrapes, "--crowd", CLIENTS]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    result = json.loads(ran.stdout)
    assert (result["failed"], result["done"] >= scrapes) == ([], True)
    wait_until("all have gone", lambda: exporter.figures()["process_open_fds"] < 30)


@pytest.mark.nightly
def test_ten_thousand_scrapes_with_bad_neighbours(exporter: RunningExporter) -> None:
    crowd(exporter, SCRAPES // 10)
    before, descriptors = exporter.resident_bytes(), exporter.descriptors()
    crowd(exporter, SCRAPES)
    wait_until("all have gone", lambda: exporter.descriptors() <= descriptors + 1)
    assert exporter.resident_bytes() - before < GROWTH_BYTES
