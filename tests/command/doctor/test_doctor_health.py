"""The doctor's checks of the health part: the probes' findings, the tools that they need, and the exporter's answer."""

import os
import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest.mock import patch

import pytest
from conftest import Box

from livekeep.command.doctor import health
from livekeep.command.doctor.doctor_base import Check, Surroundings, is_root
from livekeep.core import config
from livekeep.core.probe_results import (
    PROBES,
    HostResult,
    NetworkResult,
    Run,
    SpeedtestResult,
    StreamResult,
    YoutubeResult,
)
from livekeep.core.probe_results import Verdict as Found

CHECKS = {
    **{name: partial(health.check_probe, name) for name in PROBES},
    "youtube": health.check_youtube,
}


@pytest.fixture
def health_box(box: Box) -> Box:
    """The health part with all that it needs."""
    for name in PROBES:
        box.file(f"usr/lib/systemd/system/livekeep-probe-{name}.service", "")
    for tool in ("ffprobe", "fping", "librespeed-cli"):
        box.file(f"usr/bin/{tool}", "")
    box.configure()
    return box


def around(box: Box) -> Surroundings:
    etc = box.root / "etc/livekeep"
    return Surroundings(box.root, *config.load_leniently(etc / "livekeep.toml", etc / "livekeep.d"))


def check(box: Box, name: str) -> Check:
    with patch.dict(os.environ, box.environment):
        return (CHECKS | {"exporter": health.check_exporter})[name](around(box))


# The probes


@pytest.mark.parametrize("name", PROBES)
def test_what_each_probe_found(health_box: Box, name: str) -> None:
    verdicts: dict[Found, str] = {"ok": "ok", "warn": "warn", "fail": "fail", "skipped": "skip"}
    for found, verdict in verdicts.items():
        health_box.write(PROBES[name](run=Run(found, "what it saw", "do this", interval_seconds=60.0)))
        told = check(health_box, name)
        assert (told.verdict, told.finding, told.advice) == (verdict, "what it saw", "do this")
        assert told.name == PROBES[name].TITLE


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_that_is_silent(health_box: Box, name: str) -> None:
    health_box.configure(f"[probes.{name}]\ninterval_seconds = 300\n")
    health_box.write(PROBES[name](run=Run("ok", interval_seconds=300.0)), age_seconds=1000)
    told = check(health_box, name)
    assert told.verdict == "fail"
    assert told.finding.startswith("silent: last run 100")
    assert f"livekeep-probe-{name}.timer" in told.advice


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_whose_interval_is_longer_now_is_not_silent(health_box: Box, name: str) -> None:
    """The next run comes later than the last one knew."""
    health_box.configure(f"[probes.{name}]\ninterval_seconds = 86400\n")
    health_box.write(PROBES[name](run=Run("ok", "48 Mbit/s", interval_seconds=300.0)), age_seconds=1000)
    assert check(health_box, name) == Check(PROBES[name].TITLE, "ok", "48 Mbit/s")


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_whose_interval_is_shorter_now_is_given_until_its_next_run(health_box: Box, name: str) -> None:
    health_box.configure(f"[probes.{name}]\ninterval_seconds = 300\n")
    health_box.write(PROBES[name](run=Run("ok", "48 Mbit/s", interval_seconds=3600.0)), age_seconds=1000)
    assert check(health_box, name).verdict == "ok"


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_that_is_off_absent_or_new(health_box: Box, name: str) -> None:
    assert check(health_box, name) == Check(PROBES[name].TITLE, "skip", "has not run yet")
    health_box.configure(f"[probes.{name}]\nenabled = false\n")
    assert check(health_box, name).finding == f"switched off by probes.{name}.enabled"
    (health_box.root / f"usr/lib/systemd/system/livekeep-probe-{name}.service").unlink()
    told = check(health_box, name)
    missing = "the health part is not installed" if name != "youtube" else "the health part, or the channels, are not installed"
    assert (told.verdict, told.finding) == ("skip", missing)


def test_the_api_key_of_youtube(health_box: Box) -> None:
    """Only root may look for it; whether it is taken, the probe's findings say."""
    health_box.write(YoutubeResult(run=Run("ok", "main: live", interval_seconds=60.0)))
    assert check(health_box, "youtube") == Check("YouTube", "ok", "main: live")
    health_box.configure('[channels.main]\nyoutube_video = "dQw4w9WgXcQ"\n')
    told = check(health_box, "youtube")
    if not is_root():
        assert told.verdict == "ok"
        return
    assert (told.verdict, told.finding) == ("warn", "/etc/credstore/livekeep.youtube-api-key is not there")
    assert told.advice == "sudo livekeep air set-youtube-key"
    key = health_box.file("etc/credstore/livekeep.youtube-api-key", "made-up")
    key.chmod(0o644)
    assert "can be read by others than root" in check(health_box, "youtube").finding
    key.chmod(0o600)
    assert check(health_box, "youtube") == Check("YouTube", "ok", "main: live")


def test_findings_of_another_version(health_box: Box) -> None:
    health_box.file("run/livekeep/probe-host/state.json", "{}")
    told = check(health_box, "host")
    assert (told.verdict, told.advice) == ("warn", "sudo livekeep probe host")
    assert "probe-host/state.json" in told.finding


def test_nothing_to_complain_of(health_box: Box) -> None:
    health_box.write(HostResult(run=Run("ok", interval_seconds=60.0)))
    assert check(health_box, "host") == Check("host probe", "ok", "nothing to complain of")


def test_without_ffprobe(health_box: Box) -> None:
    health_box.write(StreamResult(run=Run("ok", interval_seconds=60.0)))
    (health_box.root / "usr/bin/ffprobe").unlink()
    told = check(health_box, "stream")
    assert (told.verdict, told.advice) == ("warn", "sudo apt install ffmpeg")


@pytest.mark.parametrize(
    ("tool", "more", "is_there"),
    [
        ("auto", "", True),
        ("librespeed-cli", "", True),
        ("speedtest-cli", "", False),
        ("url", "", False),
        ("url", 'download_url = "http://files.example/x"', True),
    ],
)
def test_a_tool_that_measures(health_box: Box, tool: str, more: str, is_there: bool) -> None:
    health_box.write(SpeedtestResult(run=Run("ok", "48 Mbit/s", interval_seconds=86400.0)))
    health_box.configure(f'[probes.speedtest]\ntool = "{tool}"\n{more}\n')
    told = check(health_box, "speedtest")
    assert (told.verdict == "ok") is is_there
    assert ("nothing is installed that measures" in told.finding) is not is_there


def test_no_tool_at_all(health_box: Box) -> None:
    (health_box.root / "usr/bin/librespeed-cli").unlink()
    assert "librespeed-cli" in check(health_box, "speedtest").advice
    health_box.configure('[probes.speedtest]\nupload_url = "http://files.example/x"\n')
    assert check(health_box, "speedtest").finding == "has not run yet"


def test_a_finding_reaches_the_report(health_box: Box) -> None:
    health_box.write(NetworkResult(run=Run("fail", "No host answers", "check the cable", interval_seconds=60.0)))
    done = health_box.run("doctor")
    assert done.returncode == 1
    assert re.search(r"^fail +network probe +No host answers$", done.stdout, re.MULTILINE)
    assert re.search(r"^  network probe +check the cable$", done.stdout, re.MULTILINE)


# The exporter


class Exporter:
    """Answers every GET with `status`."""

    def __init__(self, address: str, family: socket.AddressFamily) -> None:
        self.status = 200
        self.asked: list[str] = []
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exporter.asked.append(self.path)
                self.send_response(exporter.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        class Server(HTTPServer):
            address_family = family

        self.server = Server((address, 0), Handler)
        self.port = self.server.server_port


def serving(address: str, family: socket.AddressFamily) -> Iterator[Exporter]:
    exporter = Exporter(address, family)
    thread = threading.Thread(target=exporter.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield exporter
    exporter.server.shutdown()
    thread.join()
    exporter.server.server_close()


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    yield from serving("127.0.0.1", socket.AF_INET)


@pytest.fixture
def exporter_ipv6() -> Iterator[Exporter]:
    yield from serving("::1", socket.AF_INET6)


def test_it_answers(health_box: Box, exporter: Exporter) -> None:
    health_box.unit("livekeep-exporter.service")
    health_box.configure(f"[exporter]\nport = {exporter.port}\n")
    assert check(health_box, "exporter") == Check("exporter", "ok", f"http://127.0.0.1:{exporter.port} answers")
    exporter.status = 503
    assert check(health_box, "exporter").verdict == "ok", "an unwell screen is no fault of the exporter"
    assert exporter.asked == ["/healthz"] * 2
    exporter.status = 404
    told = check(health_box, "exporter")
    assert (told.verdict, told.finding) == ("fail", f"http://127.0.0.1:{exporter.port}/healthz answers 404")


@pytest.mark.parametrize("address", ["::1", "::"])
def test_it_answers_by_ipv6(health_box: Box, exporter_ipv6: Exporter, address: str) -> None:
    health_box.unit("livekeep-exporter.service")
    health_box.configure(f'[exporter]\naddress = "{address}"\nport = {exporter_ipv6.port}\n')
    assert check(health_box, "exporter").finding == f"http://[{address}]:{exporter_ipv6.port} answers"


def test_it_listens_everywhere(health_box: Box, exporter: Exporter) -> None:
    health_box.unit("livekeep-exporter.service")
    health_box.configure(f'[exporter]\naddress = "0.0.0.0"\nport = {exporter.port}\n')
    assert check(health_box, "exporter").verdict == "ok"


def test_it_does_not_answer(health_box: Box) -> None:
    health_box.unit("livekeep-exporter.service")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        health_box.configure(f"[exporter]\nport = {port}\n")
        told = check(health_box, "exporter")
        assert (told.verdict, "does not answer (the connection is refused)" in told.finding) == ("fail", True)
        silent.listen()
        told = check(health_box, "exporter")
        assert (told.verdict, "does not answer (no answer within 3 s)" in told.finding) == ("fail", True)


def test_something_else_answers(health_box: Box) -> None:
    health_box.unit("livekeep-exporter.service")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-made-up\r\n")
                connection.recv(1000)

        thread = threading.Thread(target=talk)
        thread.start()
        health_box.configure(f"[exporter]\nport = {listener.getsockname()[1]}\n")
        told = check(health_box, "exporter")
        thread.join()
    assert (told.verdict, "does not answer (" in told.finding) == ("fail", True)


def test_it_does_not_run(health_box: Box) -> None:
    health_box.unit("livekeep-exporter.service", "failed", "failed")
    told = check(health_box, "exporter")
    assert (told.verdict, told.finding) == ("fail", "not running (failed)")
    assert "journalctl -u livekeep-exporter.service" in told.advice


def test_it_is_off_absent_or_cannot_be_asked_for(health_box: Box) -> None:
    assert check(health_box, "exporter") == Check("exporter", "skip", "the health part is not installed")
    health_box.unit_bus.close()
    assert check(health_box, "exporter").verdict == "skip"
    health_box.configure("[exporter]\nenabled = false\n")
    assert check(health_box, "exporter").finding == "switched off by exporter.enabled"
