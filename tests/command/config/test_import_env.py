"""livekeep import-env: the .env's syntax, what becomes of each setting, and what is written."""

import os
import shutil
import tempfile
import tomllib
from pathlib import Path

import pytest
from conftest import HERE, Box

from livekeep.command.config import predecessor
from livekeep.core.errors import LivekeepError
from tests.outside import UNPRIVILEGED

TOKEN = "made-up-token-0123456789abcdef"
SECRETS = (TOKEN, "made-up-key", "made-up-secret", "made-up-secret-too")
OWN = '[stream]\nselected = "main"\n[streams.main]\nvimeo_event = ""\n'


@pytest.fixture
def env(box: Box) -> Path:
    """vimeo-monitor's folder as it lies in somebody's home."""
    folder = box.root / "home/admin/vimeo-monitor"
    shutil.copytree(HERE / "predecessor", folder)
    (folder / "dotenv").rename(folder / ".env")
    box.configure(OWN)
    box.environment["LIVEKEEP_TEST_WAS_RUN"] = str(box.root / "was-run")
    return folder / ".env"


def imported(box: Box) -> dict[str, object]:
    return tomllib.loads((box.root / "etc/livekeep/livekeep.d/20-imported.toml").read_text())


def test_takes_it_all_over(box: Box, env: Path) -> None:
    box.start_units()
    done = box.run("import-env", str(env))
    assert done.returncode == 0, done.stderr
    holding = str(box.root / "var/lib/livekeep/pictures/holding.png")
    assert imported(box) == {
        "streams": {f"stream-{number}": {"vimeo_event": f"100000{number}"} for number in range(1, 7)},
        "stream": {"selected": "stream-3"},
        "log": {"level": "warning"},
        "poller": {"interval_seconds": 15, "failures_before_error": 3},
        "screen": {"holding": holding},
        "exporter": {"enabled": True, "port": 8080},
    }
    assert Path(holding).read_bytes() == (env.parent / "media/holding.png").read_bytes()
    assert (box.root / "etc/credstore/livekeep.vimeo-token").read_text() == TOKEN
    assert (box.root / "etc/livekeep/livekeep.d/20-imported.toml").stat().st_mode & 0o777 == 0o640
    assert not (box.root / "was-run").exists(), "the predecessor's code is not run"
    assert box.run("check-config").stdout == "ok\n"
    assert "* stream-3  Vimeo event 1000003" in box.run("select").stdout
    assert box.told() == [
        "reset-failed livekeep-poller.service",
        "try-restart livekeep-poller.service",
        "try-reload-or-restart livekeep-player.service",
    ]


def test_the_report_names_each_line_and_no_secret(box: Box, env: Path) -> None:
    done = box.run("import-env", str(env))
    rows = {line.split()[1]: line for line in done.stdout.splitlines() if line[:1].isdigit()}
    assert rows["VIMEO_TOKEN"].split(maxsplit=2) == ["4", "VIMEO_TOKEN", "the credential livekeep.vimeo-token"]
    assert rows["STREAM_SELECTION"].endswith('stream.selected = "stream-3"')
    assert rows["LOG_LEVEL"].endswith('log.level = "warning"')
    assert rows["CHECK_INTERVAL"].endswith("poller.interval_seconds = 15")
    assert rows["VIMEO_KEY"].endswith("ignored: not needed: the token alone is enough")
    assert rows["ERROR_IMAGE_PATH"].endswith("ignored: there is no such file; livekeep's own picture is shown")
    assert rows["LOG_FILE"].endswith("ignored: not needed: the journal keeps and rotates the log")
    assert rows["SOMETHING_ELSE"].endswith("ignored: unknown to livekeep")
    assert "VLC_ARGS" in rows
    assert rows["HEALTH_METRICS_PORT"].split(maxsplit=2)[2] == "exporter.port = 8080"
    assert "To apply the settings of exporter and probes: sudo livekeep apply" in done.stdout
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    everything = [path for path in box.root.rglob("*") if path.is_file() and path != env and "credstore" not in path.parts]
    assert not [path for path in everything if TOKEN.encode() in path.read_bytes()]


@pytest.mark.parametrize(("address", "is_warned"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False)])
def test_an_exporter_that_the_network_can_read_is_not_taken_over_without_a_word(box: Box, address: str, is_warned: bool) -> None:
    box.configure(OWN)
    done = box.run("import-env", str(box.file("home/.env", f"HEALTH_METRICS_HOST={address}\n")))
    assert done.returncode == 0
    assert imported(box) == {"exporter": {"address": address}}
    warning = f'warning: exporter.address = "{address}": everybody who reaches this box over the network can read its metrics'
    assert (warning in done.stdout) == is_warned
    assert ('set "127.0.0.1" in ' in done.stdout) == is_warned


def test_speed_tests_that_come_often_are_not_taken_over_without_a_word(box: Box) -> None:
    box.configure(OWN)
    done = box.run("import-env", str(box.file("home/.env", "HEALTH_NETWORK_SPEEDTEST_INTERVAL=300\n")))
    assert "warning: probes.speedtest: 288 speed tests a day use about 21.6 GB" in done.stdout
    done = box.run("import-env", str(box.file("home/.env", "HEALTH_NETWORK_SPEEDTEST_INTERVAL=86400\n")))
    assert "warning" not in done.stdout


def test_dry_run_writes_nothing(box: Box, env: Path) -> None:
    before = sorted(box.root.rglob("*"))
    done = box.run("import-env", str(env), "--dry-run")
    assert done.returncode == 0
    assert '[streams.stream-1]\nvimeo_event = "1000001"' in done.stdout
    assert sorted(box.root.rglob("*")) == before
    assert TOKEN not in done.stdout


def test_a_second_time_changes_nothing_and_a_changed_one_is_kept(box: Box, env: Path) -> None:
    target = box.root / "etc/livekeep/livekeep.d/20-imported.toml"
    assert box.run("import-env", str(env)).returncode == 0
    first = target.read_text()
    assert "is unchanged" in box.run("import-env", str(env)).stdout
    assert len(list(target.parent.iterdir())) == 1
    target.write_text(first + "# mine\n")
    done = box.run("import-env", str(env))
    backup = next(path for path in target.parent.iterdir() if path != target)
    assert backup.name in done.stdout
    assert backup.name.startswith("20-imported.toml.livekeep-")
    assert (target.read_text(), backup.read_text()) == (first, first + "# mine\n")
    assert box.run("check-config").stdout == "ok\n"


def test_the_streams_can_be_found_elsewhere(box: Box, env: Path) -> None:
    alone = box.file("alone/.env", "STREAM_SELECTION=2\n")
    done = box.run("import-env", str(alone))
    assert done.returncode == 0
    assert "the event numbers were not found; give vimeo-monitor's folder with --source-tree" in done.stdout
    assert box.run("import-env", str(alone), "--source-tree", str(env.parent)).returncode == 0
    assert imported(box)["stream"] == {"selected": "stream-2"}
    code = str(env.parent / "src/vimeo_monitor/config.py")
    assert box.run("import-env", str(alone), "--streams", code).returncode == 0
    done = box.run("import-env", str(alone), "--source-tree", str(alone.parent))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{alone.parent}/src/vimeo_monitor/config.py: cannot be read")


def test_a_stream_by_its_own_number(box: Box) -> None:
    box.configure(OWN)
    env = box.file("x/.env", "VIMEO_ACCESS_TOKEN=your_vimeo_access_token\nVIMEO_STREAM_ID=987\n")
    done = box.run("import-env", str(env))
    assert done.returncode == 0
    assert imported(box) == {"streams": {"main": {"vimeo_event": "987"}}, "stream": {"selected": "main"}}
    assert "ignored: empty, or the sample's placeholder" in done.stdout
    assert not (box.root / "etc/credstore").exists()


def test_values_out_of_range_are_left_with_the_reason(box: Box) -> None:
    box.configure(OWN)
    env = box.file("x/.env", "CHECK_INTERVAL=0\nMAX_RETRIES=many\nLOG_LEVEL=LOUD\nVIMEO_STREAM_ID=abc\nSTREAM_SELECTION=\n")
    done = box.run("import-env", str(env))
    assert done.returncode == 0
    assert "ignored: must be from 1 to 3600" in done.stdout
    assert "ignored: is not a whole number" in done.stdout
    assert 'ignored: must be one of "debug", "info", "warning", "error"' in done.stdout
    assert "ignored: must be the event's number" in done.stdout
    assert imported(box) == {}


def test_what_is_no_picture_is_left(box: Box) -> None:
    box.configure(OWN)
    box.file("x/note.png", "not a picture")
    done = box.run("import-env", str(box.file("x/.env", "STATIC_IMAGE_PATH=note.png\n")))
    assert "ignored: mpv cannot show it; is it a picture, and complete? livekeep's own picture is shown" in done.stdout
    assert imported(box) == {}


def test_a_configuration_that_is_not_sound_is_not_added_to(box: Box, env: Path) -> None:
    box.configure(OWN + "[poller]\ntimeout_seconds = 0\n")
    done = box.run("import-env", str(env))
    assert done.returncode == 78
    assert "poller.timeout_seconds: must be from 0.5 to 60, is 0" in done.stderr
    assert not (box.root / "etc/credstore").exists()
    assert list((box.root / "etc/livekeep/livekeep.d").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "sets nothing"), (b"# only\n", "sets nothing"), (b"\xff\xfeA\0", "is not UTF-8")]
)
def test_files_that_are_no_env(box: Box, content: bytes, says: str) -> None:
    box.configure(OWN)
    done = box.run("import-env", str(box.file("x/.env", content)))
    assert done.returncode == 1
    assert says in done.stderr


SYNTAX = [
    ("A=b", {"A": "b"}),
    ("\ufeffA=b".lstrip("\ufeff") + "\r\nB=c\r\n", {"A": "b", "B": "c"}),
    ("  export  A = b c  # why\n", {"A": "b c"}),
    ("A=b#c\nB='d # e' # f\nC=\"g # h\"# i\n", {"A": "b#c", "B": "d # e", "C": "g # h"}),
    ('A="line 1\nline 2"\nB=x\n', {"A": "line 1\nline 2", "B": "x"}),
    ('A="a\\nb\\"c\\""\nB=\'a\\nb\\\'c\'\n', {"A": 'a\nb"c"', "B": "a\\nb'c"}),
    ("A=\nB\nC=''\n=d\n", {"A": "", "C": "", "": ""}),
    ("A=1\nA=2\n", {"A": "2"}),
    ("A=x\nB=${A}/y\nC=${NONE:-z}\nD=${NONE}\n", {"A": "x", "B": "x/y", "C": "z", "D": ""}),
    ("'A b'=c\n", {"A b": "c"}),
    ('A="never closed\nB=c\n', {"": "", "B": "c"}),
]


@pytest.mark.parametrize(("text", "expected"), SYNTAX)
def test_dotenv_syntax(text: str, expected: dict[str, str]) -> None:
    assert {entry.name: entry.value for entry in predecessor.parse(text)} == expected


def test_dotenv_lines_are_counted_and_values_not_shown() -> None:
    entries = predecessor.parse('# one\n\nA="2\n3"\n\nexport B=6\n')
    assert [(entry.name, entry.line) for entry in entries] == [("A", 3), ("B", 6)]
    assert "2" not in repr(entries[0])


@pytest.mark.parametrize(
    "source",
    [
        "self.streams = {1: '12', 2: 34}",
        "class A:\n streams: dict = {1: '12', 2: '34'}",
        "streams = load()\nx.streams = {'1': '12', '2': '34'}",
    ],
)
def test_streams_are_read_from_the_code(source: str) -> None:
    assert predecessor.read_streams(source, Path("config.py")) == {"1": "12", "2": "34"}


@pytest.mark.parametrize(
    "source", ["", "x = 1", "streams = {", "streams = {1: f()}", "streams = {1: 'x/y'}", "streams = {}", "(" * 5000]
)
def test_code_without_streams(source: str) -> None:
    with pytest.raises(LivekeepError, match=r"^config\.py: "):
        predecessor.read_streams(source, Path("config.py"))


HEALTH = """\
HEALTH_METRICS_HOST=0.0.0.0
HEALTH_HARDWARE_ENABLED=yes
HEALTH_HARDWARE_INTERVAL=10
HEALTH_NETWORK_ENABLED=TRUE
HEALTH_NETWORK_INTERVAL=30
HEALTH_NETWORK_PING_HOSTS=8.8.8.8,1.1.1.1, vimeo.com
HEALTH_NETWORK_SPEEDTEST_ENABLED=false
HEALTH_NETWORK_SPEEDTEST_INTERVAL=300
HEALTH_STREAM_ENABLED=1
HEALTH_STREAM_INTERVAL=60
HEALTH_STREAM_FFPROBE_TIMEOUT=15
"""


def test_takes_over_every_health_setting(box: Box, env: Path) -> None:
    env.write_text(HEALTH)
    done = box.run("import-env", str(env))
    assert done.returncode == 0, done.stderr
    taken = imported(box)
    assert taken["exporter"] == {"address": "0.0.0.0"}
    assert taken["probes"] == {
        "host": {"enabled": True, "interval_seconds": 10},
        "network": {"enabled": True, "interval_seconds": 30, "hosts": ["8.8.8.8", "1.1.1.1", "vimeo.com"]},
        "speedtest": {"enabled": False, "interval_seconds": 300},
        "stream": {"enabled": True, "interval_seconds": 60, "timeout_seconds": 15},
    }


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("HEALTH_METRICS_PORT=80", "must be from 1024 to 65535"),
        ("HEALTH_METRICS_HOST=everywhere", "must be an IP address"),
        ("HEALTH_NETWORK_INTERVAL=soon", "is not a whole number"),
        ("HEALTH_NETWORK_PING_HOSTS=", "must be a text or a list"),
        ("HEALTH_STREAM_ENABLED=perhaps", "must be true or false"),
        ("HEALTH_SOMETHING=1", "unknown to livekeep"),
    ],
)
def test_a_health_setting_that_cannot_be_taken_is_left(box: Box, env: Path, setting: str, complaint: str) -> None:
    env.write_text(f"{setting}\nLOG_LEVEL=info\n")
    done = box.run("import-env", "--dry-run", str(env))
    assert done.returncode == 0, done.stderr
    assert f"ignored: {complaint}" in done.stdout
    assert "\n[exporter]" not in done.stdout
    assert "\n[probes" not in done.stdout


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_picture_that_the_owner_of_the_file_may_not_read_is_not_published(mode: int) -> None:
    """root copies it for all to read: a user's .env may name a picture of somebody else's."""
    if os.geteuid() != 0:
        pytest.skip("only root can have files of two users")
    with tempfile.TemporaryDirectory(prefix="livekeep-test-") as name:
        Path(name).chmod(0o755)
        box = Box(Path(name) / "root")
        folder = box.root / "home/admin/vimeo-monitor"
        shutil.copytree(HERE / "predecessor", folder)
        (folder / "dotenv").rename(folder / ".env")
        box.configure(OWN)
        (private,) = (folder / "media").glob("*.png")
        private.chmod(mode)
        os.chown(folder / ".env", UNPRIVILEGED, UNPRIVILEGED)
        done = box.run("import-env", str(folder / ".env"))
        assert (box.root / "var/lib/livekeep/pictures/holding.png").exists() == (mode == 0o644), done.stderr
        if mode == 0o600:
            assert f"{private}: cannot be read (the owner of {folder / '.env'} may not read it)" in done.stderr
