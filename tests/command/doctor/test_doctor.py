"""The doctor's questions to Vimeo, systemd and the name server, and its report as a whole."""

import json
import os
import socket
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from conftest import HERE, Api, Box

from livekeep.command.doctor import account, doctor
from livekeep.command.doctor.doctor_base import Surroundings
from livekeep.core import config
from livekeep.core.config import Config, Vimeo
from livekeep.core.probe_results import PROBES

PROBE_TITLES = [kind.TITLE for name, kind in PROBES.items() if name != "youtube"]
PICTURE = (HERE / "predecessor/media/holding.png").read_bytes()
TOKEN = "made-up-token-0123456789"


def set_up(box: Box, api_url: str, more: str = "") -> None:
    box.configure(f'[vimeo]\napi_url = "{api_url}"\n{more}\n[streams.main]\nvimeo_event = "123"\n')
    box.file("etc/credstore/livekeep.vimeo-token", TOKEN)


def examine(box: Box) -> dict[str, dict[str, str]]:
    """All checks, in this process: starting one for each would take long."""
    with patch.dict(os.environ, box.environment):
        etc = box.root / "etc/livekeep"
        checks = doctor.examine(Surroundings(box.root, *config.load_leniently(etc / "livekeep.toml", etc / "livekeep.d")))
    document = doctor.as_json(checks)
    assert TOKEN not in document
    return {check["name"]: check for check in json.loads(document)["checks"]}


def test_a_good_token(box: Box, api: Api) -> None:
    set_up(box, api.url)
    check = examine(box)["token"]
    assert (check["verdict"], check["finding"]) == ("ok", "accepted, with the scope private")
    assert api.asked == [("/oauth/verify", f"Bearer {TOKEN}", "application/vnd.vimeo.*+json;version=3.4")]


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
        (401, {"error": "You must provide a valid authenticated access token."}, "fail", "refuses it (401)"),
        (401, {"error": "Something strange occurred.", "error_code": 8003}, "fail", "refuses it (401)"),
        (403, b"", "fail", "refuses it (403)"),
        (429, {"error_code": 9000}, "warn", "answered 429"),
        (500, b"", "warn", "answered 500"),
        (503, b"", "warn", "answered 503"),
    ],
)
def test_what_the_api_says_of_the_token(box: Box, api: Api, status: int, body: object, verdict: str, says: str) -> None:
    set_up(box, api.url)
    api.status, api.body = status, body
    check = examine(box)["token"]
    assert check["verdict"] == verdict
    assert says in check["finding"]
    assert check["advice"]


def test_a_redirect_does_not_get_the_token(box: Box, api: Api) -> None:
    set_up(box, api.url)
    api.status, api.headers = 302, {"Location": f"{api.url}/elsewhere"}
    assert "answered 302" in examine(box)["token"]["finding"]
    assert len(api.asked) == 1


def test_an_api_that_hangs_or_is_not_there(box: Box, api: Api) -> None:
    set_up(box, api.url)
    api.delay_seconds = 60
    start = time.monotonic()
    check = examine(box)["token"]
    assert time.monotonic() - start < 24
    assert (check["verdict"], "did not answer within 5 s" in check["finding"]) == ("warn", True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        set_up(box, f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert "could not be reached" in examine(box)["token"]["finding"]


def test_the_proxy_is_used_and_its_password_told_nobody(box: Box, api: Api) -> None:
    proxy = api.url.replace("//", "//user:made-up-password@")
    set_up(box, "http://api.vimeo.example", f'proxy = "{proxy}"')
    found = examine(box)
    assert found["token"]["verdict"] == "ok"
    assert api.asked[0][0] == "http://api.vimeo.example/oauth/verify"
    assert found["DNS"]["finding"] == "127.0.0.1 is 127.0.0.1"
    set_up(box, "http://api.vimeo.example", 'proxy = "http://user:made-up-password@127.0.0.1:1"')
    done = box.run("doctor")
    assert "made-up-password" not in done.stdout + done.stderr
    assert "the proxy does not let it through" in done.stdout


def test_a_netrc_does_not_replace_the_token(box: Box, api: Api) -> None:
    set_up(box, api.url)
    box.environment["NETRC"] = str(box.file("netrc", "machine 127.0.0.1 login somebody password made-up\n"))
    examine(box)
    assert api.asked[0][1] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("content", "verdict", "says"),
    [(None, "fail", "there is none"), (b"", "fail", "holds no token"), (b"\xff\xfe", "fail", "cannot be read as text")],
)
def test_a_token_that_is_none(box: Box, api: Api, content: bytes | None, verdict: str, says: str) -> None:
    set_up(box, api.url)
    (box.root / "etc/credstore/livekeep.vimeo-token").unlink()
    if content is not None:
        box.file("etc/credstore/livekeep.vimeo-token", content)
    check = examine(box)["token"]
    assert check["verdict"] == verdict
    assert says in check["finding"]
    assert "sudo livekeep set-token" in check["advice"]
    assert api.asked == []


def test_an_encrypted_token_is_left_to_the_poller(box: Box, api: Api) -> None:
    set_up(box, api.url)
    (box.root / "etc/credstore/livekeep.vimeo-token").unlink()
    box.file("etc/credstore.encrypted/livekeep.vimeo-token", b"sealed")
    assert examine(box)["token"]["verdict"] == "skip"


def test_a_plain_url_needs_no_vimeo(box: Box) -> None:
    box.configure('[streams.main]\nurl = "http://media.example/live.m3u8"\n')
    found = examine(box)
    assert (found["token"]["verdict"], found["DNS"]["verdict"]) == ("skip", "skip")


def test_names_that_do_not_resolve() -> None:
    for host in ("nowhere.invalid", "a" * 70 + ".example"):
        around = Surroundings(Path("/"), Config(vimeo=Vimeo(api_url=f"https://{host}")))
        start = time.monotonic()
        assert account.check_dns(around).verdict == "fail"
        assert time.monotonic() - start < 20


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
    set_up(box, "http://127.0.0.1:1")
    box.configure(text + '\n[vimeo]\napi_url = "http://127.0.0.1:1"\n')
    check = examine(box)["config"]
    assert check["verdict"] == verdict
    assert says in check["finding"]


def test_units(box: Box) -> None:
    box.configure('[streams.main]\nurl = "http://media.example/live.m3u8"\n')
    assert examine(box)["units"]["finding"].startswith("not installed: livekeep-poller.service, ")
    box.start_units()
    assert examine(box)["units"]["verdict"] == "ok"
    box.unit("livekeep.target", "active", "active", UnitFileState="disabled")
    assert examine(box)["units"]["finding"] == "running, but they will not start at boot"
    box.unit("livekeep-display.service", "failed", "failed")
    check = examine(box)["units"]
    assert check["finding"] == "not running: livekeep-display (failed)"
    assert check["advice"].endswith("journalctl -u livekeep-display -n 50")
    box.unit("livekeep-error-screen.service")
    assert examine(box)["units"]["finding"].startswith("the error screen is on")
    box.unit_bus.close()
    assert examine(box)["units"]["verdict"] == "skip"


def test_a_display_manager_is_a_rival_on_the_bare_console_only(box: Box) -> None:
    stream = '[streams.main]\nurl = "http://media.example/live.m3u8"\n'
    box.configure(stream)
    box.unit("display-manager.service", UnitFileState="enabled", Id="lightdm.service")
    assert "a display manager holds the screen" in examine(box)["other programs"]["finding"]
    box.configure(stream + '[screen]\noutput = "x11"\n')
    assert examine(box)["other programs"]["verdict"] == "ok"
    box.unit("vimeo-monitor.service")
    assert examine(box)["other programs"]["finding"] == "vimeo-monitor.service runs"


def test_clock(box: Box) -> None:
    box.configure('[streams.main]\nurl = "http://media.example/live.m3u8"\n')
    assert examine(box)["clock"]["verdict"] == "ok"
    (box.systemd / "clock-is-not-synchronized").touch()
    assert examine(box)["clock"]["verdict"] == "warn"
    box.unit_bus.close()
    assert examine(box)["clock"]["verdict"] == "warn"
    box.file("run/systemd/timesync/synchronized", "")
    assert examine(box)["clock"]["verdict"] == "ok"


def test_the_report(pi4: Box, api: Api) -> None:
    set_up(pi4, api.url)
    pi4.start_units()
    picture = pi4.file("usr/share/livekeep/pictures/holding.png", b"no picture")
    done = pi4.run("doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    checks = lines[: len(doctor.CHECKS)]
    assert [line.split("  ")[1 if line.startswith(("warn", "fail", "skip")) else 2].strip() for line in checks] == [
        "config", "network", "DNS", "clock", "token", "display", "resolution", "decoder", "sound", "pictures", "memory limits",
        "disk", "units", "other programs", *PROBE_TITLES, "exporter",
        "channels", "stream keys", "media", "slates", "ffmpeg", "on air", "YouTube",
        "record", "alerts", "web page",
    ]  # fmt: skip
    assert f"screen.holding: {picture}: mpv cannot show it" in done.stdout
    assert "  memory limits   sudo livekeep doctor --fix" in lines
    assert lines[-1] == f"4 of {len(doctor.CHECKS)} want attention."
    assert "\033" not in done.stdout


def test_warnings_are_no_failure(pi4: Box, api: Api) -> None:
    set_up(pi4, api.url)
    pi4.start_units()
    for name in ("streamreturn", "xrandr"):
        (pi4.root / f"home/admin/.config/autostart/{name}.desktop").unlink()
    for name in ("holding", "error"):
        pi4.file(f"usr/share/livekeep/pictures/{name}.png", PICTURE)
    done = pi4.run("doctor", "--json")
    found = json.loads(done.stdout)
    assert {check["name"]: check["verdict"] for check in found["checks"] if check["verdict"] != "ok"} == {
        "resolution": "warn",
        "memory limits": "warn",
        **dict.fromkeys((*PROBE_TITLES, "exporter"), "skip"),
        **dict.fromkeys(("channels", "stream keys", "media", "slates", "ffmpeg", "on air", "YouTube"), "skip"),
        **dict.fromkeys(("record", "alerts", "web page"), "skip"),
    }
    assert (done.returncode, found["verdict"]) == (0, "warn")


@pytest.mark.parametrize("arguments", [("--fix", "--json"), ("--yes",)])
def test_options_that_do_not_go_together(box: Box, arguments: tuple[str, ...]) -> None:
    done = box.run("doctor", *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
