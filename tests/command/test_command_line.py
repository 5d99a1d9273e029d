"""The command as a whole: its subcommands and exit codes, what it loads, and who may use it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import livekeep
from livekeep.command.main import LAUNCHERS, SUBCOMMANDS
from livekeep.core.probe_results import SpeedtestResult
from livekeep.core.state import Playback, PlayerState, PollerState
from tests.command.box import CONFIG, REPOSITORY, Box, as_nobody


def live() -> tuple[PollerState, PlayerState]:
    now = time.time()
    playing = Playback(position_seconds=9.5, position_changed_at=now)
    return PollerState("live", since=now - 60), PlayerState(
        "stream", now - 60, "The stream is live", display_up=True, playback=playing
    )


def test_version(box: Box) -> None:
    assert box.run("version").stdout == f"livekeep {livekeep.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [(), ("dance",), ("status", "--jso"), ("screenshot",), ("import-env", "a", "--streams", "b", "--source-tree", "c")],
)
def test_wrong_usage(box: Box, arguments: tuple[str, ...]) -> None:
    done = box.run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: livekeep")


@pytest.mark.parametrize("name", [name for name in SUBCOMMANDS if name not in LAUNCHERS])
def test_every_subcommand_explains_itself(box: Box, name: str) -> None:
    done = box.run(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: livekeep {name}")


@pytest.mark.parametrize("name", LAUNCHERS)
def test_what_belongs_to_an_absent_part_says_how_to_install_it(tmp_path: Path, name: str) -> None:
    shutil.copytree(REPOSITORY / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__", "record", "screen"))
    (tmp_path / "bin").mkdir()
    shutil.copy(REPOSITORY / "bin/livekeep", tmp_path / "bin")
    program = [sys.executable, "-I", tmp_path / "bin/livekeep", name, "--help"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    part = LAUNCHERS[name]
    assert done.stderr == f"the {part} part is not installed: run install.sh --with {part}\n"


def test_health_loads_nothing_heavy(box: Box) -> None:
    """A monitor may ask every few seconds."""
    box.write(*live())
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(REPOSITORY / "bin/livekeep"), "health"],
        capture_output=True, text=True, check=False, timeout=60, env=box.environment | {"LIVEKEEP_UNMEASURED": "1"},
    )  # fmt: skip
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "livekeep.status.health" in loaded
    others = {"livekeep.command.doctor.doctor", "livekeep.command.config.import_env"}
    assert loaded & {"requests", "PIL", "subprocess", "systemd", *others} == set()


def test_health_says_ok_degraded_and_down_by_its_exit_code(box: Box) -> None:
    poller, player = live()
    box.write(poller, player)
    done = box.run("health")
    assert (done.returncode, done.stdout) == (0, "ok: the stream is shown: The stream is live\n")
    (box.root / "run/livekeep/poller/state.json").unlink()
    done = box.run("health")
    assert done.returncode == 1
    assert done.stdout.startswith("degraded: the stream is shown, but livekeep-poller: ")
    assert done.stdout.count("\n") == 1
    box.write(player, age_seconds=300)
    done = box.run("health")
    assert done.returncode == 2
    assert done.stdout.startswith("down: livekeep-player is stuck: its state is 3")
    box.file("run/livekeep/error-screen/picture.png", b"")
    assert box.run("health").stdout.startswith("down: the error screen is on")


@pytest.mark.parametrize("content", [b"", b'{"file": "player/state.json", "version": 1}', b"[" * 100_000, b"\xff\xfe"])
def test_a_broken_state_is_named_in_one_line(box: Box, content: bytes) -> None:
    box.file("run/livekeep/player/state.json", content)
    done = box.run("health")
    assert done.returncode == 2
    assert "player/state.json" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_check_config(box: Box) -> None:
    box.configure()
    done = box.run("check-config")
    assert (done.returncode, done.stdout) == (0, "ok\n")
    box.configure('[poller]\ninterval_seconds = 0\ncolour = 3\n[screen]\nvolume = "loud"\n')
    done = box.run("check-config")
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 3
    assert all(line.startswith(f"{box.root}/etc/livekeep/livekeep.toml: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize("name", ["hall.toml.txt", "hall.conf", "HALL.TOML"])
def test_check_config_and_doctor_name_what_is_not_read(box: Box, name: str) -> None:
    box.configure()
    ignored = box.file(f"etc/livekeep/livekeep.d/{name}", "[screen]\nvolume = 0\n")
    done = box.run("check-config")
    assert done.stdout == f"ok\nwarning: {ignored}: is not read: give it a name that ends with .toml, or remove it\n"
    check = box.check("config")
    assert check.verdict == "warn"
    assert check.finding == f"valid, but not read in /etc/livekeep/livekeep.d: {name}"
    assert check.advice == "give the files names that end with .toml, or remove them"


def test_check_config_says_what_frequent_speed_tests_use(box: Box) -> None:
    box.configure(CONFIG + "[probes.speedtest]\ninterval_seconds = 300\nduration_seconds = 15\n")
    # 288 × 15 s × (50 + 10) Mbit/s
    assert "288 speed tests a day use about 32.4 GB" in box.run("check-config").stdout
    box.write(SpeedtestResult(download_bytes_per_second=1e6, upload_bytes_per_second=1e6))
    assert "use about 8.6 GB, at 15 s in each direction with 8 Mbit/s down and 8 up\n" in box.run("check-config").stdout
    box.configure(CONFIG + "[probes.speedtest]\ninterval_seconds = 300\nenabled = false\n")
    assert box.run("check-config").stdout == "ok\n"


def test_who_may_not_read_the_states_is_told_what_to_do(open_box: Box) -> None:
    open_box.write(*live())
    folder = open_box.root / "run/livekeep/player"
    for name in ("poller", "player"):
        (open_box.root / f"run/livekeep/{name}/state.json").chmod(0o644)
    folder.chmod(0o750 if os.geteuid() == 0 else 0)
    for subcommand, code in (("health", 3), ("status", 1)):
        done = as_nobody(open_box, subcommand)
        assert done.returncode == code
        assert done.stderr == (
            f"{folder}/state.json: may be read by root and group livekeep only; run with sudo, "
            "or once: sudo adduser $USER livekeep, and log in again\n"
        )
    folder.chmod(0o755)
    assert as_nobody(open_box, "health").returncode == 0


def test_who_may_not_write_is_told_to_use_sudo(open_box: Box) -> None:
    config = open_box.configure(CONFIG)
    config.chmod(0o444)
    env = open_box.file("env", "CHECK_INTERVAL=20\n")
    for folder in ("etc/livekeep/livekeep.d", "etc/livekeep", "etc"):
        (open_box.root / folder).chmod(0o555)
    token = open_box.file("token", "made-up-token")
    for arguments in (("select", "Youth, 2nd hall"), ("set-token", str(token)), ("import-env", str(env))):
        done = as_nobody(open_box, *arguments)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.endswith("(Permission denied); run this with sudo\n")
    assert config.read_text() == CONFIG
    for folder in ("etc", "etc/livekeep", "etc/livekeep/livekeep.d"):
        (open_box.root / folder).chmod(0o755)


def test_a_reader_that_goes_away_is_no_traceback(box: Box) -> None:
    box.write(*live())
    box.start_units()
    process = subprocess.Popen(box.command("status"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=box.environment)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 1
