"""The doctor's questions to Vimeo, systemd and the name server, and its report as a whole."""

import json
import socket
from pathlib import Path

import pytest

from livekeep.command.doctor import account, doctor
from livekeep.command.doctor.doctor_base import Surroundings
from livekeep.core.config import Config, Vimeo
from livekeep.core.probe_results import PROBES
from tests.command.box import HERE, Box
from tests.web import Web, http

PROBE_TITLES = [kind.TITLE for name, kind in PROBES.items() if name != "youtube"]
PICTURE = (HERE / "predecessor/media/holding.png").read_bytes()
TOKEN = "made-up-token-0123456789"
STREAM = '[streams.main]\nurl = "http://media.example/live.m3u8"\n'


def set_up(box: Box, api_url: str, more: str = "") -> Box:
    box.configure(f'[vimeo]\napi_url = "{api_url}"\n{more}\n[streams.main]\nvimeo_event = "123"\n')
    box.file("etc/credstore/livekeep.vimeo-token", TOKEN)
    return box


def test_a_good_token(box: Box, api: Web) -> None:
    # A netrc does not replace it.
    box.environment["NETRC"] = str(box.file("netrc", "machine 127.0.0.1 login somebody password made-up\n"))
    check = set_up(box, api.url).check("token")
    assert (check.verdict, check.finding) == ("ok", "accepted, with the scope private")
    (request,) = api.requests
    assert (request.path, request.headers["authorization"]) == ("/oauth/verify", f"Bearer {TOKEN}")
    assert request.headers["accept"] == "application/vnd.vimeo.*+json;version=3.4"


@pytest.mark.parametrize(
    ("status", "body", "verdict", "says"),
    [
        (200, {"scope": "public edit"}, "fail", "accepted, but lacks the scope private (has edit, public)"),
        (200, {"scope": ""}, "fail", "lacks the scope private (has none)"),
        (200, {"scope": None}, "fail", "lacks the scope private (has None)"),
        (200, {}, "warn", "not Vimeo's"),
        (200, b"<html>Log in to the Wi-Fi</html>", "warn", "not Vimeo's"),
        (200, b"[" * 10_000, "warn", "not Vimeo's"),
        (200, {"scope": "x" * 3_000_000}, "warn", "not Vimeo's"),
        (401, {"error": "Something strange occurred.", "error_code": 8003}, "fail", "refuses it (401)"),
        (403, b"", "fail", "refuses it (403)"),
        (429, {"error_code": 9000}, "warn", "answered 429"),
        (503, b"", "warn", "answered 503"),
    ],
)
def test_what_the_api_says_of_the_token(box: Box, api: Web, status: int, body: object, verdict: str, says: str) -> None:
    api.answer = lambda _request: http(status, body)
    check = set_up(box, api.url).check("token")
    assert (check.verdict, says in check.finding) == (verdict, True), check
    assert check.advice
    assert TOKEN not in repr(check)


def test_a_redirect_does_not_get_the_token(box: Box, api: Web) -> None:
    api.answer = lambda _request: http(302, Location=f"{api.url}/elsewhere")
    assert "answered 302" in set_up(box, api.url).check("token").finding
    assert len(api.requests) == 1


def test_an_api_that_hangs_or_is_not_there(box: Box, api: Web) -> None:
    api.answer = lambda _request: api.hang
    check = set_up(box, api.url).check("token")
    assert (check.verdict, "did not answer within 5 s" in check.finding) == ("warn", True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        set_up(box, f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert "cannot be reached" in box.check("token").finding


def test_the_proxy_is_used_and_its_password_told_nobody(box: Box, api: Web) -> None:
    proxy = api.url.replace("//", "//user:made-up-password@")
    set_up(box, "http://api.vimeo.example", f'proxy = "{proxy}"')
    assert box.check("token").verdict == "ok"
    assert api.requests[0].path == "http://api.vimeo.example/oauth/verify"
    assert box.check("DNS").finding == "127.0.0.1 is 127.0.0.1"
    set_up(box, "http://api.vimeo.example", 'proxy = "http://user:made-up-password@127.0.0.1:1"')
    done = box.run("doctor")
    assert "made-up-password" not in done.stdout + done.stderr
    assert "the proxy rejects the request" in done.stdout


@pytest.mark.parametrize(
    ("content", "verdict", "says"),
    [(None, "fail", "no token is stored"), (b"", "fail", "contains no token"), (b"\xff\xfe", "fail", "cannot be read as text")],
)
def test_a_token_that_is_none(box: Box, api: Web, content: bytes | None, verdict: str, says: str) -> None:
    set_up(box, api.url)
    file = box.file("etc/credstore/livekeep.vimeo-token", content or b"")
    if content is None:
        file.unlink()
    check = box.check("token")
    assert (check.verdict, says in check.finding) == (verdict, True), check
    assert "sudo livekeep set-token" in check.advice
    # An encrypted one is left to the poller.
    if content is None:
        box.file("etc/credstore.encrypted/livekeep.vimeo-token", b"sealed")
        assert box.check("token").verdict == "skip"
    assert api.requests == []


def test_a_plain_url_needs_no_vimeo(box: Box) -> None:
    box.configure(STREAM)
    assert (box.check("token").verdict, box.check("DNS").verdict) == ("skip", "skip")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".example"])
def test_names_that_do_not_resolve(host: str) -> None:
    around = Surroundings(Path("/"), Config(vimeo=Vimeo(api_url=f"https://{host}")))
    assert account.check_dns(around).verdict == "fail"


@pytest.mark.parametrize(
    ("text", "verdict", "says"),
    [
        ("", "warn", "no stream is set up"),
        ('[streams.main]\nvimeo_event = ""\n', "warn", 'the stream "main" is empty'),
        ('[streams.main]\nvimeo_event = "1"\n', "ok", 'shows the stream "main"'),
        ("[poller]\nx = 1\ny = 2\n", "fail", "(and 1 more)"),
        ("= nonsense", "fail", "is not valid TOML"),
    ],
)
def test_config(box: Box, text: str, verdict: str, says: str) -> None:
    box.configure(text)
    check = box.check("config")
    assert (check.verdict, says in check.finding) == (verdict, True), check


def test_units(box: Box) -> None:
    box.configure(STREAM)
    assert box.check("units").finding.startswith("not installed: livekeep-poller.service, ")
    box.start_units()
    assert box.check("units").verdict == "ok"
    box.unit("livekeep.target", "active", "active", UnitFileState="disabled")
    assert box.check("units").finding == "running, but they will not start at boot"
    box.unit("livekeep-display.service", "failed", "failed")
    check = box.check("units")
    assert check.finding == "not running: livekeep-display (failed)"
    assert check.advice.endswith("journalctl -u livekeep-display -n 50")
    box.unit("livekeep-error-screen.service")
    assert box.check("units").finding.startswith("the error screen is on")
    box.unit_bus.close()
    assert box.check("units").verdict == "skip"


def test_a_display_manager_is_a_rival_on_the_bare_console_only(box: Box) -> None:
    box.configure(STREAM)
    box.unit("display-manager.service", UnitFileState="enabled", Id="lightdm.service")
    assert "a display manager uses the screen" in box.check("other programs").finding
    box.configure(STREAM + '[screen]\noutput = "x11"\n')
    assert box.check("other programs").verdict == "ok"
    box.unit("vimeo-monitor.service")
    assert box.check("other programs").finding == "vimeo-monitor.service runs"


def test_clock(box: Box) -> None:
    assert box.check("clock").verdict == "ok"
    (box.systemd / "clock-is-not-synchronized").touch()
    assert box.check("clock").verdict == "warn"
    box.unit_bus.close()
    assert box.check("clock").verdict == "warn"
    box.file("run/systemd/timesync/synchronized", "")
    assert box.check("clock").verdict == "ok"


def test_the_report(pi4: Box, api: Web) -> None:
    set_up(pi4, api.url).start_units()
    picture = pi4.file("usr/share/livekeep/pictures/holding.png", b"no picture")
    done = pi4.run("doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    checks = lines[: len(doctor.CHECKS)]
    assert [line.split("  ")[1 if line.startswith(("warn", "fail", "skip")) else 2].strip() for line in checks] == [
        *doctor.CHECKS
    ]
    assert f"screen.holding: {picture}: mpv cannot show it" in done.stdout
    assert "  memory limits   sudo livekeep doctor --fix" in lines
    assert lines[-1] == f"4 of {len(doctor.CHECKS)} checks need attention."
    assert "\033" not in done.stdout


def test_warnings_are_no_failure(pi4: Box, api: Web) -> None:
    set_up(pi4, api.url).start_units()
    for name in ("streamreturn", "xrandr"):
        (pi4.root / f"home/admin/.config/autostart/{name}.desktop").unlink()
    for name in ("holding", "error"):
        pi4.file(f"usr/share/livekeep/pictures/{name}.png", PICTURE)
    done = pi4.run("doctor", "--json")
    found = json.loads(done.stdout)
    absent = ("channels", "stream keys", "media", "slates", "ffmpeg", "on air", "YouTube", "record", "alerts", "web page")
    assert {check["name"]: check["verdict"] for check in found["checks"] if check["verdict"] != "ok"} == {
        "resolution": "warn",
        "memory limits": "warn",
        **dict.fromkeys((*PROBE_TITLES, "exporter", *absent), "skip"),
    }
    assert (done.returncode, found["verdict"]) == (0, "warn")


@pytest.mark.parametrize("arguments", [("--fix", "--json"), ("--yes",)])
def test_options_that_do_not_go_together(box: Box, arguments: tuple[str, ...]) -> None:
    done = box.run("doctor", *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
