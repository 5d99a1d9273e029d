"""livekeep import-env: the .env's syntax, what becomes of each setting, and what is written."""

import os
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import pytest

from livekeep.command.config import predecessor
from livekeep.core.errors import LivekeepError
from tests.command.box import HERE, Box
from tests.outside import UNPRIVILEGED

TOKEN = "made-up-token-0123456789abcdef"
SECRETS = (TOKEN, "made-up-key", "made-up-secret", "made-up-secret-too")
OWN = '[stream]\nselected = "main"\n[streams.main]\nvimeo_event = ""\n'
DROP_IN = "etc/livekeep/livekeep.d/20-imported.toml"


def home(box: Box) -> Path:
    """vimeo-monitor's folder as it lies in somebody's home; returns its .env."""
    folder = box.root / "home/admin/vimeo-monitor"
    shutil.copytree(HERE / "predecessor", folder)
    box.configure(OWN)
    return (folder / "dotenv").rename(folder / ".env")


@pytest.fixture
def env(box: Box) -> Path:
    box.environment["LIVEKEEP_TEST_WAS_RUN"] = str(box.root / "was-run")
    return home(box)


def import_text(box: Box, text: str | bytes, *options: str) -> subprocess.CompletedProcess[str]:
    """Import a .env with this text, which lies alone in its folder."""
    box.configure(OWN)
    return box.run("import-env", str(box.file("alone/.env", text)), *options)


def imported(box: Box) -> dict[str, object]:
    return tomllib.loads((box.root / DROP_IN).read_text())


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
    assert (box.root / DROP_IN).stat().st_mode & 0o777 == 0o640
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


@pytest.mark.parametrize(
    ("setting", "warning"),
    [
        (
            "HEALTH_METRICS_HOST=0.0.0.0",
            'exporter.address = "0.0.0.0": everybody who reaches this box over the network can read its',
        ),
        ("HEALTH_METRICS_HOST=::", 'exporter.address = "::": everybody who reaches'),
        ("HEALTH_METRICS_HOST=127.0.0.1", ""),
        ("HEALTH_NETWORK_SPEEDTEST_INTERVAL=300", "probes.speedtest: 288 speed tests a day use about 21.6 GB"),
        ("HEALTH_NETWORK_SPEEDTEST_INTERVAL=86400", ""),
    ],
)
def test_what_exceeds_the_defaults_is_imported_with_a_warning(box: Box, setting: str, warning: str) -> None:
    done = import_text(box, f"{setting}\n")
    assert done.returncode == 0
    assert imported(box)
    warnings = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert [line for line in warnings if not line.startswith(f"warning: {warning}")] == []
    assert len(warnings) == bool(warning)


def test_dry_run_writes_nothing(box: Box, env: Path) -> None:
    before = sorted(box.root.rglob("*"))
    done = box.run("import-env", str(env), "--dry-run")
    assert done.returncode == 0
    assert '[streams.stream-1]\nvimeo_event = "1000001"' in done.stdout
    assert sorted(box.root.rglob("*")) == before
    assert TOKEN not in done.stdout


def test_a_second_time_changes_nothing_and_a_changed_one_is_kept(box: Box, env: Path) -> None:
    target = box.root / DROP_IN
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
    done, alone = import_text(box, "STREAM_SELECTION=2\n"), box.root / "alone/.env"
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
    done = import_text(box, "VIMEO_ACCESS_TOKEN=your_vimeo_access_token\nVIMEO_STREAM_ID=987\n")
    assert done.returncode == 0
    assert imported(box) == {"streams": {"main": {"vimeo_event": "987"}}, "stream": {"selected": "main"}}
    assert "ignored: empty, or the sample's placeholder" in done.stdout
    assert not (box.root / "etc/credstore").exists()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("CHECK_INTERVAL=0", "must be from 1 to 3600"),
        ("MAX_RETRIES=many", "is not a whole number"),
        ("LOG_LEVEL=LOUD", 'must be one of "debug", "info", "warning", "error"'),
        ("VIMEO_STREAM_ID=abc", "must be the event's number"),
        ("STATIC_IMAGE_PATH=.env", "mpv cannot show it; is it a picture, and complete? livekeep's own picture is shown"),
        ("HEALTH_METRICS_PORT=80", "must be from 1024 to 65535"),
        ("HEALTH_METRICS_HOST=everywhere", "must be an IP address"),
        ("HEALTH_NETWORK_PING_HOSTS=", "must be a text or a list"),
        ("HEALTH_STREAM_ENABLED=perhaps", "must be true or false"),
        ("HEALTH_SOMETHING=1", "unknown to livekeep"),
    ],
)
def test_a_setting_that_cannot_be_imported_is_ignored_with_the_reason(box: Box, setting: str, complaint: str) -> None:
    done = import_text(box, f"{setting}\n")
    assert done.returncode == 0, done.stderr
    assert f"ignored: {complaint}" in done.stdout
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
    done = import_text(box, content)
    assert (done.returncode, says in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  export  A = b c  # why\r\nB='d # e' # f\n", {"A": "b c", "B": "d # e"}),
        ("A=\nB\nC=''\n=d\n", {"A": "", "C": "", "": ""}),
        ("A=x\nB=${A}/y\nC=${NONE:-z}\nD=${HOME}\n", {"A": "x", "B": "x/y", "C": "z", "D": ""}),
        ('A="never closed\nB=c\n', {"": "", "B": "c"}),
    ],
)
def test_dotenv_syntax(text: str, expected: dict[str, str]) -> None:
    """What python-dotenv leaves to its user: invalid lines, names without a value, variables of this process."""
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


def test_every_health_setting_is_imported(box: Box) -> None:
    done = import_text(box, HEALTH)
    assert done.returncode == 0, done.stderr
    assert imported(box) == {
        "exporter": {"address": "0.0.0.0"},
        "probes": {
            "host": {"enabled": True, "interval_seconds": 10},
            "network": {"enabled": True, "interval_seconds": 30, "hosts": ["8.8.8.8", "1.1.1.1", "vimeo.com"]},
            "speedtest": {"enabled": False, "interval_seconds": 300},
            "stream": {"enabled": True, "interval_seconds": 60, "timeout_seconds": 15},
        },
    }


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_picture_that_the_owner_of_the_file_may_not_read_is_not_published(mode: int) -> None:
    """root copies it for all to read: a user's .env may name a picture of somebody else's."""
    if os.geteuid() != 0:
        pytest.skip("only root can have files of two users")
    with tempfile.TemporaryDirectory(prefix="livekeep-test-") as name:
        Path(name).chmod(0o755)
        box = Box(Path(name) / "root")
        env = home(box)
        (private,) = (env.parent / "media").glob("*.png")
        private.chmod(mode)
        os.chown(env, UNPRIVILEGED, UNPRIVILEGED)
        done = box.run("import-env", str(env))
        assert (box.root / "var/lib/livekeep/pictures/holding.png").exists() == (mode == 0o644), done.stderr
        if mode == 0o600:
            assert f"{private}: cannot be read (the owner of {env} may not read it)" in done.stderr
