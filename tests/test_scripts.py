"""The shell scripts that people call: their result does not depend on the caller's shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.outside import PROJECT

SCRIPTS = ("install.sh", "packaging/build", "packaging/image", "tests/run", "bin/livekeep-demo")
USUAL = "0022 C.UTF-8 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_finds_its_own_folder_whatever_cdpath_says(name: str, tmp_path: Path) -> None:
    """Its first lines, run where CDPATH leads to a folder of the same name."""
    lines = (PROJECT / name).read_text().partition("readonly source_folder")[0]
    script, decoy = tmp_path / "own" / name, tmp_path / "decoy"
    script.parent.mkdir(parents=True)
    (decoy / name).parent.mkdir(parents=True)
    script.write_text(f"{lines}printf '%s' \"$source_folder\"\n")
    environment = {"PATH": os.environ["PATH"], "CDPATH": str(decoy)}
    ran = subprocess.run(["bash", name], cwd=tmp_path / "own", env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == str(tmp_path / "own")


@pytest.mark.parametrize("name", ["install.sh", "uninstall.sh", "bin/livekeep-setup"])
def test_the_programs_called_see_the_same_environment_always(name: str, tmp_path: Path) -> None:
    """Its first lines, then what they leave behind: dpkg fails without /usr/sbin."""
    lines = (PROJECT / name).read_text().partition("\nusage() {")[0]
    script = tmp_path / "script"
    script.write_text(f'{lines}\nprintf "%s %s %s" "$(umask)" "$LC_ALL" "$PATH"')
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "en_GB.UTF-8"}
    ran = subprocess.run(["bash", script], umask=0, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == USUAL


@pytest.mark.parametrize("options", [["--nonsense"], ["--output", "paper"], ["--event", "sunday"], ["--token-file", "/nowhere"]])
def test_setup_refuses_a_wrong_option(options: list[str]) -> None:
    ran = subprocess.run([PROJECT / "bin/livekeep-setup", "--check", *options], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("livekeep setup: ")
    assert options[-1] in ran.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "to which file?"),
        (["--nonsense", "a.img"], "--nonsense: unknown option"),
        (["--size"], "--size needs a value"),
        (["a.img", "b.img"], "b.img: only one output file, it is a.img"),
        (["--arch", "riscv64", "a.img"], "--arch: must be amd64 or arm64, is riscv64"),
        (["--suite", "sid", "a.img"], "--suite: must be trixie or bookworm, is sid"),
        (["--size", "4", "a.img"], "--size: must be a number with M or G, such as 4G, is 4"),
        (["--user", "me", "a.img"], "--user and --ssh-key belong together"),
        (["--user", "me", "--ssh-key", "/etc/hostname", "a.img"], "--ssh-key: must be a public key's file, is /etc/hostname"),
        (["--time-zone", "Mars", "a.img"], "--time-zone: must be one of /usr/share/zoneinfo, is Mars"),
        (["--files", "/nowhere", "a.img"], "--files: must be a folder, is /nowhere"),
    ],
)
def test_image_refuses_a_wrong_option(options: list[str], complaint: str, tmp_path: Path) -> None:
    ran = subprocess.run([PROJECT / "packaging/image", *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"packaging/image: {complaint}"), ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_user_s_folder_takes_no_file_of_another_folder_in(tmp_path: Path) -> None:
    """root disables an autostart file in a user's folder, who has made the new name a link to a folder of root's."""
    autostart, roots = tmp_path / "home/.config/autostart", tmp_path / "etc/cron.d"
    autostart.mkdir(parents=True)
    roots.mkdir(parents=True)
    file, disabled = autostart / "streamreturn.desktop", autostart / "streamreturn.desktop.disabled-by-livekeep"
    file.write_text("the user's\n")
    disabled.symlink_to(roots)
    script = (
        'source <(sed "/^main \\"/d" "$1/bin/livekeep-setup"); ask() { true; }\n'
        'getent() { printf "u:x:1:1::%s:/bin/sh\\n" "$home_folder"; }\n'
        "note_disabled() { true; }; home_folder=$2; disable_rival_autostarts"
    )
    subprocess.run(["bash", "-euc", script, "bash", str(PROJECT), str(tmp_path / "home")], check=True)
    assert list(roots.iterdir()) == []
    assert (file.exists(), disabled.is_symlink(), disabled.read_text()) == (False, False, "the user's\n")
