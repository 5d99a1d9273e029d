"""The exporter's units: how well they are shut in, and that they come back for ever."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from livekeep.system import screen_picture as picture
from tests.outside import PROJECT

UNITS = PROJECT / "units"
EXPOSURE = {"livekeep-exporter.service": 1.2, "livekeep-screen-picture.service": 1.2}


def settings(name: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / name)
    return parser


@pytest.mark.parametrize("name", EXPOSURE)
def test_a_unit_is_shut_in(tmp_path: Path, name: str) -> None:
    shutil.copy(UNITS / name, tmp_path / name)
    folder = tmp_path / f"{name}.d"
    folder.mkdir()
    own = UNITS / f"{name}.d"
    for drop_in in [UNITS / "livekeep-.service.d/50-sandbox.conf", *(own.iterdir() if own.is_dir() else [])]:
        shutil.copy(drop_in, folder / drop_in.name)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", tmp_path / name]
    environment = {"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", ran.stdout)
    assert found, ran.stdout + ran.stderr
    assert float(found[1]) <= EXPOSURE[name], ran.stdout


def test_the_exporter_comes_back_for_ever() -> None:
    unit = settings("livekeep-exporter.service")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    assert "livekeep.target" not in (UNITS / "livekeep-exporter.service").read_text(), "it goes on when the screen is off"


def test_the_picture_s_unit_puts_the_file_where_the_exporter_waits_for_it() -> None:
    service = settings(picture.UNIT)["Service"]
    folder = f"/run/{service['RuntimeDirectory']}"
    assert service["ExecStartPost"].split()[-1] == f"/run/livekeep/{picture.FILE}"
    assert f"/run/livekeep/{picture.FILE}".startswith(f"{folder}/")
    assert service["ExecStart"].split()[1:] == ["screenshot", service["ExecStartPost"].split()[2]]
    assert service["Group"] == "livekeep"
