"""The doctor's checks of the health part: the probes' findings, the tools that they need, and the exporter's answer."""

import re
import socket
from collections.abc import Iterator

import pytest

from livekeep.command.doctor.doctor_base import is_root
from livekeep.core.probe_results import (
    PROBES,
    HostResult,
    NetworkResult,
    Run,
    SpeedtestResult,
    StreamResult,
    Verdict,
    YoutubeResult,
)
from tests.command.box import Box
from tests.web import Web, http

TITLES = {name: kind.TITLE for name, kind in PROBES.items()}


@pytest.fixture
def health_box(box: Box) -> Box:
    """The health part with all that it needs."""
    for name in ("exporter", "probe-youtube"):
        box.file(f"usr/lib/systemd/system/livekeep-{name}.service", "")
    for tool in ("ffprobe", "fping", "librespeed-cli"):
        box.file(f"usr/bin/{tool}", "")
    box.configure()
    box.unit("livekeep-exporter.service")
    return box


# The probes


def last_run(box: Box, name: str, configured: str, recorded: float, age: float) -> tuple[str, str]:
    """The check of a probe whose last result is `age` seconds old and has the interval `recorded`."""
    box.configure(f"[probes.{name}]\n{configured}\n")
    box.write(PROBES[name](run=Run("ok", "48 Mbit/s", interval_seconds=recorded)), age_seconds=age)
    check = box.check(TITLES[name])
    assert (f"livekeep-probe-{name}.timer" in check.advice) == (check.verdict == "fail")
    return check.verdict, check.finding


@pytest.mark.parametrize("name", PROBES)
def test_what_each_probe_found(health_box: Box, name: str) -> None:
    verdicts: dict[Verdict, str] = {"ok": "ok", "warn": "warn", "fail": "fail", "skipped": "skip"}
    for found, verdict in verdicts.items():
        health_box.write(PROBES[name](run=Run(found, "what it saw", "do this", interval_seconds=60.0)))
        check = health_box.check(TITLES[name])
        assert (check.verdict, check.finding, check.advice) == (verdict, "what it saw", "do this")
    verdict, finding = last_run(health_box, name, "interval_seconds = 300", 300.0, 1000)
    assert (verdict, finding.startswith("silent: last run 1")) == ("fail", True), finding
    # The next run comes later than the last one knew, or as it knew.
    assert last_run(health_box, name, "interval_seconds = 86400", 300.0, 1000) == ("ok", "48 Mbit/s")
    assert last_run(health_box, name, "interval_seconds = 300", 3600.0, 1000) == ("ok", "48 Mbit/s")


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_that_is_off_absent_or_new(health_box: Box, name: str) -> None:
    assert health_box.check(TITLES[name]).finding == "has not run yet"
    health_box.configure(f"[probes.{name}]\nenabled = false\n")
    assert health_box.check(TITLES[name]).finding == f"disabled by probes.{name}.enabled"
    for unit, part in (("probe-youtube", "air"), ("exporter", "health")):
        (health_box.root / f"usr/lib/systemd/system/livekeep-{unit}.service").unlink()
        if name == "youtube" or part == "health":
            assert health_box.check(TITLES[name]).finding == f"the {part} part is not installed (install.sh --with {part})"


def test_the_api_key_of_youtube(health_box: Box) -> None:
    """Only root may look for it; whether it is accepted, the probe's result says."""
    health_box.write(YoutubeResult(run=Run("ok", "main: live", interval_seconds=60.0)))
    good = health_box.check("YouTube")
    assert (good.verdict, good.finding) == ("ok", "main: live")
    health_box.configure('[channels.main]\nyoutube_video = "dQw4w9WgXcQ"\n')
    check = health_box.check("YouTube")
    if not is_root():
        assert check.verdict == "ok"
        return
    assert (check.verdict, check.finding) == ("warn", "/etc/credstore/livekeep.youtube-api-key does not exist")
    assert check.advice == "sudo livekeep air set-youtube-key"
    key = health_box.file("etc/credstore/livekeep.youtube-api-key", "made-up")
    key.chmod(0o644)
    check = health_box.check("YouTube")
    assert (check.verdict, "can be read by other users than root" in check.finding) == ("warn", True)
    key.chmod(0o600)
    assert health_box.check("YouTube") == good


def test_a_result_of_another_version_and_one_without_a_reason(health_box: Box) -> None:
    health_box.file("run/livekeep/probe-host/state.json", "{}")
    check = health_box.check("host probe")
    assert (check.verdict, check.advice) == ("warn", "sudo livekeep probe host")
    assert "probe-host/state.json" in check.finding
    health_box.write(HostResult(run=Run("ok", interval_seconds=60.0)))
    check = health_box.check("host probe")
    assert (check.verdict, check.finding) == ("ok", "no problem found")


def test_without_ffprobe(health_box: Box) -> None:
    health_box.write(StreamResult(run=Run("ok", interval_seconds=60.0)))
    (health_box.root / "usr/bin/ffprobe").unlink()
    check = health_box.check(TITLES["stream"])
    assert (check.verdict, check.advice) == ("warn", "sudo apt install ffmpeg")


@pytest.mark.parametrize(
    ("settings", "is_there"),
    [
        ('tool = "auto"', True),
        ('tool = "librespeed-cli"', True),
        ('tool = "speedtest-cli"', False),
        ('tool = "url"', False),
        ('tool = "url"\ndownload_url = "http://files.example/x"', True),
    ],
)
def test_a_tool_that_measures(health_box: Box, settings: str, is_there: bool) -> None:
    health_box.write(SpeedtestResult(run=Run("ok", "48 Mbit/s", interval_seconds=86400.0)))
    health_box.configure(f"[probes.speedtest]\n{settings}\n")
    check = health_box.check(TITLES["speedtest"])
    assert (check.verdict == "ok", check.finding == "48 Mbit/s") == (is_there, is_there), check


def test_no_tool_at_all(health_box: Box) -> None:
    (health_box.root / "usr/bin/librespeed-cli").unlink()
    assert "librespeed-cli" in health_box.check(TITLES["speedtest"]).advice
    health_box.configure('[probes.speedtest]\ndownload_url = "http://files.example/x"\n')
    assert health_box.check(TITLES["speedtest"]).finding == "has not run yet"


def test_a_result_reaches_the_report(health_box: Box) -> None:
    health_box.write(NetworkResult(run=Run("fail", "No host answers", "check the cable", interval_seconds=60.0)))
    done = health_box.run("doctor")
    assert done.returncode == 1
    assert re.search(r"^fail +network probe +No host answers$", done.stdout, re.MULTILINE)
    assert re.search(r"^  network probe +check the cable$", done.stdout, re.MULTILINE)


# The exporter


@pytest.fixture(params=["127.0.0.1"])
def exporter(request: pytest.FixtureRequest) -> Iterator[Web]:
    with Web(lambda _request: http(200), host=request.param) as web:
        yield web


def check_exporter(box: Box, port: int, address: str = "127.0.0.1") -> tuple[str, str]:
    box.configure(f'[exporter]\naddress = "{address}"\nport = {port}\n')
    check = box.check("exporter")
    return check.verdict, check.finding


def test_it_answers(health_box: Box, exporter: Web) -> None:
    assert check_exporter(health_box, exporter.port) == ("ok", f"http://127.0.0.1:{exporter.port} answers")
    assert check_exporter(health_box, exporter.port, "0.0.0.0")[0] == "ok"
    exporter.answer = lambda _request: http(503)
    assert check_exporter(health_box, exporter.port)[0] == "ok", "an unhealthy screen is no fault of the exporter"
    assert exporter.paths() == ["/healthz"] * 3
    exporter.answer = lambda _request: http(404)
    assert check_exporter(health_box, exporter.port) == ("fail", f"http://127.0.0.1:{exporter.port}/healthz answers 404")


@pytest.mark.parametrize("exporter", ["::1"], indirect=True)
@pytest.mark.parametrize("address", ["::1", "::"])
def test_it_answers_by_ipv6(health_box: Box, exporter: Web, address: str) -> None:
    assert check_exporter(health_box, exporter.port, address) == ("ok", f"http://[{address}]:{exporter.port} answers")


def test_it_does_not_answer(health_box: Box) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        verdict, finding = check_exporter(health_box, port)
        assert (verdict, "does not answer (the connection is refused)" in finding) == ("fail", True)
        silent.listen()
        verdict, finding = check_exporter(health_box, port)
        assert (verdict, "does not answer (no answer within 3 s)" in finding) == ("fail", True)


def test_something_else_answers(health_box: Box, exporter: Web) -> None:
    exporter.answer = lambda _request: b"SSH-2.0-made-up\r\n"
    verdict, finding = check_exporter(health_box, exporter.port)
    assert (verdict, "does not answer (" in finding) == ("fail", True)


def test_it_does_not_run(health_box: Box) -> None:
    health_box.unit("livekeep-exporter.service", "failed", "failed")
    check = health_box.check("exporter")
    assert (check.verdict, check.finding) == ("fail", "not running (failed)")
    assert "journalctl -u livekeep-exporter.service" in check.advice


def test_it_cannot_be_asked_for_or_is_off(health_box: Box) -> None:
    health_box.unit_bus.close()
    check = health_box.check("exporter")
    assert (check.verdict, "is dbus.service running?" in check.finding) == ("skip", True), check
    health_box.configure("[exporter]\nenabled = false\n")
    assert health_box.check("exporter").finding == "disabled by exporter.enabled"
