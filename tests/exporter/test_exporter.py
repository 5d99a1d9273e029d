"""livekeep-exporter as a process: what it answers, what it tells systemd, and ten thousand scrapes with bad neighbours."""

import gzip
import os
import random
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics

import livekeep
from livekeep.exporter.metrics import FAMILIES, HOST, UNITS
from tests.exporter.full_states import CHANNEL, END, FINDINGS, PLAYER, POLLER, intend, write, write_all, write_channel
from tests.exporter.running_exporter import RunningExporter, environment_for, run
from tests.exporter.served import get, receive
from tests.outside import PATIENCE_SECONDS, PROJECT, wait_until

OPENMETRICS = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
CLIENTS = 50
SCRAPES_OF_EACH = 200
BAD_NEIGHBOURS = 60
GROWTH_BYTES = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExporter]:
    with RunningExporter(tmp_path_factory.mktemp("exporter")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(exporter: RunningExporter) -> None:
    write_all(exporter.states)
    write_channel(CHANNEL, exporter.states)
    write_channel(END, exporter.states)
    intend("main", exporter.folder / "var/lib/livekeep")


def test_the_page_has_every_family_of_the_states(exporter: RunningExporter) -> None:
    reply = exporter.get("/metrics")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    told = {line.split()[2] for line in reply.body.decode().splitlines() if line.startswith("# TYPE")}
    assert told >= set(FAMILIES) - set(HOST) - set(UNITS)
    assert told <= set(FAMILIES)
    figures = exporter.figures()
    for name in ("health", "poller", "player", "channels", "build", "process", *(f"probe-{name}" for name in FINDINGS)):
        assert figures[f"exporter_collector_success {name}"] == 1, name
    assert {"exporter_collector_success host", "exporter_collector_success units"} <= set(figures)


FOLDERS = ("sys/fs/cgroup", "sys/class/thermal/thermal_zone0", "sys/class/net", "sys/class/hwmon/hwmon0")


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


def test_promtool_is_content_with_the_page(exporter: RunningExporter) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed: tests/run installs what the tests need"
    page = exporter.get("/metrics").body
    ran = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, b"")


def test_openmetrics_is_given_to_who_asks_for_it(exporter: RunningExporter) -> None:
    reply = exporter.get("/metrics", OPENMETRICS)
    # prometheus_client 0.16 calls it 0.0.1.
    assert re.fullmatch(r"application/openmetrics-text; version=(1\.0\.0|0\.0\.1); charset=utf-8", reply.headers["content-type"])
    families = {family.name: family for family in read_openmetrics(reply.body.decode())}
    assert families["livekeep_api_requests"].type == "counter"
    assert families["livekeep_api_request_duration_seconds"].type == "histogram"


def test_gzip_is_given_to_who_asks_for_it(exporter: RunningExporter) -> None:
    packed = exporter.get("/metrics", "Accept-Encoding: gzip, deflate", OPENMETRICS)
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body).endswith(b"# EOF\n")
    assert "content-encoding" not in exporter.get("/metrics", "Accept-Encoding: deflate").headers


def test_the_exporter_tells_of_itself(exporter: RunningExporter) -> None:
    figures = exporter.figures()
    assert time.time() - 600 < figures["process_start_time_seconds"] <= time.time()
    assert 0 < figures["process_cpu_seconds_total"] < 600
    assert figures["process_resident_memory_bytes"] == pytest.approx(exporter.resident_bytes(), rel=0.2)
    # One that the test's own connection holds open.
    assert figures["process_open_fds"] == pytest.approx(exporter.descriptors(), abs=2)
    assert f'version="{livekeep.__version__}"}} 1.0\n' in exporter.get("/metrics").body.decode()
    assert "process_start_time_seconds" in exporter.get("/metrics", OPENMETRICS).body.decode()


def test_a_state_that_breaks_and_comes_back(exporter: RunningExporter) -> None:
    (exporter.states / "player/state.json").write_text("{")
    figures = exporter.figures()
    assert figures["exporter_collector_success player"] == 0
    assert not [name for name in figures if name.startswith(("player_", "display_mode"))]
    assert figures["stream_state live"] == 1
    write(PLAYER, exporter.states)
    assert exporter.figures()["exporter_collector_success player"] == 1


@pytest.mark.parametrize("level", ["ok", "degraded", "down"])
def test_healthz_is_what_livekeep_health_says(exporter: RunningExporter, level: str) -> None:
    if level == "ok":
        playback = replace(PLAYER.playback, buffering=False, position_changed_at=None)
        well = replace(PLAYER, stream_picture="moving", playback=playback)
        write(well, exporter.states)
        write(replace(POLLER, consecutive_failures=0), exporter.states)
        write(replace(FINDINGS["host"], throttled=()), exporter.states)
    elif level == "degraded":
        write(POLLER, exporter.states, 45)
    elif level == "down":
        write(PLAYER, exporter.states, 45)
    reply = exporter.get("/healthz")
    told = subprocess.run(
        [PROJECT / "bin/livekeep", "health"], env=environment_for(exporter.folder), capture_output=True, text=True, check=False
    )
    # The seconds that it tells go on.
    without_age = [re.sub(r"[0-9]+ s\b", "", text) for text in (reply.body.decode(), told.stdout)]
    assert without_age[0] == without_age[1]
    assert without_age[0].startswith(f"{level}: ")
    assert reply.status == (503 if level == "down" else 200)
    assert exporter.get("/healthz", method="HEAD").status == reply.status
    assert exporter.figures()[f"health_state {level}"] == 1


def test_healthz_in_one_line(exporter: RunningExporter) -> None:
    (exporter.states / "player/state.json").unlink()
    reply = exporter.get("/healthz")
    assert reply.status == 503
    assert reply.body.decode() == f"down: livekeep-player: {exporter.states}/player/state.json: absent; its unit is not running\n"


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


def test_the_first_page_leads_to_the_others(exporter: RunningExporter) -> None:
    reply = exporter.get("/")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert all(f'href="{path}"'.encode() in reply.body for path in ("/metrics", "/healthz", "/screen.png"))


def test_a_picture_that_is_switched_off_says_how_to_switch_it_on(exporter: RunningExporter) -> None:
    assert b"exporter.screen_picture = true" in exporter.get("/screen.png").body


def test_ipv6(tmp_path: Path) -> None:
    with RunningExporter(tmp_path, "::1") as exporter:
        assert exporter.get("/metrics").status == 200


# As a unit


def test_systemd_is_told_and_an_idle_exporter_sleeps(tmp_path: Path) -> None:
    with RunningExporter(tmp_path) as exporter:
        exporter.get("/metrics")
        assert f"STATUS=listening on 127.0.0.1 port {exporter.port}" in exporter.systemd.messages
        before, pings = exporter.switches(), exporter.systemd.messages.count("WATCHDOG=1")
        time.sleep(4)
        # Of a watchdog of 4 s, it tells systemd every 1.8 s that it works, and waits for the loop each time.
        assert exporter.switches() - before <= 12
        assert exporter.systemd.messages.count("WATCHDOG=1") > pings
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
            time.sleep(0.5)
            pings = exporter.systemd.messages.count("WATCHDOG=1")
            time.sleep(4)
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


# Ten thousand scrapes


class Crowd:
    """Good clients that scrape in turn, and bad neighbours that they have to live with."""

    def __init__(self, exporter: RunningExporter) -> None:
        self.exporter = exporter
        self.scrapes = 0
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._is_over = False

    def scrape(self, number: int, count: int) -> None:
        """Half of the clients keep their connection, the others make a new one for each scrape."""
        try:
            for _ in range(count // 10):
                self.ten(number)
        except Exception as error:
            self.faults.append(f"client {number}: {error!r}")

    def ten(self, number: int) -> None:
        if number % 2:
            replies = [get(self.exporter.port, "/metrics", "Connection: close", OPENMETRICS) for _ in range(10)]
        else:
            with socket.create_connection(("127.0.0.1", self.exporter.port), PATIENCE_SECONDS * 3) as client:
                replies = []
                for _ in range(10):
                    client.sendall(f"GET /metrics HTTP/1.1\r\nHost: localhost\r\n{OPENMETRICS}\r\n\r\n".encode())
                    replies.append(receive(client))
        assert all(reply.status == 200 and reply.body.endswith(b"# EOF\n") for reply in replies)
        with self._lock:
            self.scrapes += len(replies)

    def annoy(self, number: int) -> None:
        """Connect and say nothing, say half, never read, or hang up in the middle; again and again."""
        whole = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        dice = random.Random(number)
        while not self._is_over:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                client.settimeout(PATIENCE_SECONDS)
                try:
                    client.connect(("127.0.0.1", self.exporter.port))
                    client.sendall((b"", whole[:15], whole * 8, b"nonsense\r\n\r\n")[number % 4])
                except OSError:
                    continue
                until = time.monotonic() + dice.choice((0.0, 0.2, 2.0))
                while time.monotonic() < until and not self._is_over:
                    time.sleep(0.05)

    def gather(self, scrapes_of_each: int) -> None:
        bad = [threading.Thread(target=self.annoy, args=(number,)) for number in range(BAD_NEIGHBOURS)]
        good = [threading.Thread(target=self.scrape, args=(number, scrapes_of_each)) for number in range(CLIENTS)]
        for thread in bad + good:
            thread.start()
        for thread in good:
            thread.join()
        self._is_over = True
        for thread in bad:
            thread.join()


@pytest.mark.nightly
def test_ten_thousand_scrapes_with_bad_neighbours(exporter: RunningExporter) -> None:
    warm_up = Crowd(exporter)
    warm_up.gather(20)
    wait_until("all have gone", lambda: exporter.figures()["process_open_fds"] < 30)
    before, descriptors = exporter.resident_bytes(), exporter.descriptors()
    crowd = Crowd(exporter)
    crowd.gather(SCRAPES_OF_EACH)
    assert warm_up.faults + crowd.faults == []
    assert crowd.scrapes == CLIENTS * SCRAPES_OF_EACH == 10_000
    wait_until("all have gone", lambda: exporter.descriptors() <= descriptors + 1)
    assert exporter.resident_bytes() - before < GROWTH_BYTES
    assert exporter.process.poll() is None
