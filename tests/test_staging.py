"""install.sh and uninstall.sh with DESTDIR: the same files with the same modes, whatever the caller's shell is like."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.outside import PROJECT

UMASKS = (0o000, 0o027, 0o077)
TEXTS = ("README.md", "CHANGELOG.md", "LICENSE")
SOURCES = ("bin", "docs", "etc", "install.d", "lib", "units", "install.sh", "uninstall.sh", *TEXTS)
PROGRAM = re.compile(r"usr/local/lib/livekeep/bin/[^/]+|usr/local/share/livekeep/uninstall\.sh")
SCRIPTS = ("install.sh", "tests/run", "bin/livekeep-demo")


def run(script: Path | str, umask: int = 0o022, cwd: Path = PROJECT, **environment: str) -> None:
    """Run one of the two under this umask, in an environment that has `environment` and a PATH."""
    ran = subprocess.run(
        ["bash", str(script)],
        env={"PATH": os.environ["PATH"]} | environment,
        cwd=cwd,
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""


def modes(stage: Path) -> dict[str, str]:
    """The mode of everything below `stage` but the links, by its path there."""
    paths = [path for path in stage.rglob("*") if not path.is_symlink()]
    return {str(path.relative_to(stage)): f"{stat.S_IMODE(path.stat().st_mode):o}" for path in paths}


def wanted_mode(stage: Path, name: str) -> str:
    if name == "etc/livekeep/livekeep.toml":
        return "640"
    if name == "etc/livekeep/livekeep.d":
        return "750"
    return "755" if (stage / name).is_dir() or PROGRAM.fullmatch(name) else "644"


def wrong(stage: Path) -> dict[str, str]:
    """What has another mode than it should."""
    return {name: mode for name, mode in modes(stage).items() if mode != wanted_mode(stage, name)}


@pytest.fixture(scope="module")
def usual_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage that was made as most are."""
    stage = tmp_path_factory.mktemp("usual")
    run(PROJECT / "install.sh", DESTDIR=str(stage))
    return stage


@pytest.fixture(scope="module")
def usual(usual_stage: Path) -> dict[str, str]:
    """Its modes."""
    return modes(usual_stage)


def test_each_file_and_folder_has_its_mode(usual_stage: Path) -> None:
    assert wrong(usual_stage) == {}


@pytest.mark.parametrize("umask", UMASKS, ids="{:03o}".format)
def test_the_umask_does_not_matter(umask: int, usual: dict[str, str], tmp_path: Path) -> None:
    run(PROJECT / "install.sh", umask, DESTDIR=str(tmp_path))
    assert modes(tmp_path) == usual
    run(PROJECT / "uninstall.sh", umask, DESTDIR=str(tmp_path))
    kept = {name: mode for name, mode in modes(tmp_path).items() if not (tmp_path / name).is_dir()}
    assert kept == {"etc/livekeep/livekeep.toml": "640"}
    assert wrong(tmp_path) == {}


@pytest.mark.parametrize("left_behind", [0o777, 0o700], ids="{:o}".format)
def test_a_run_heals_what_one_under_another_umask_left_behind(
    left_behind: int, usual_stage: Path, usual: dict[str, str], tmp_path: Path
) -> None:
    stage = tmp_path / "stage"
    shutil.copytree(usual_stage, stage, symlinks=True)
    previous = stage / "var/lib/livekeep/install/previous"
    (previous / "tree").mkdir(parents=True)
    for folder in [path for path in stage.rglob("*") if path.is_dir()]:
        folder.chmod(left_behind)
    run(PROJECT / "install.sh", DESTDIR=str(stage))
    # Anybody could have put there what root would install.
    assert previous.exists() == (left_behind == 0o700)
    shutil.rmtree(previous, ignore_errors=True)
    # What systemd and polkit have for themselves may be closed on purpose.
    ours = ("usr/local/", "etc/livekeep", "var/lib/livekeep")
    assert {name: mode for name, mode in modes(stage).items() if name.startswith(ours) and mode != usual[name]} == {}
    assert stat.S_IMODE((stage / "etc/polkit-1/rules.d").stat().st_mode) == left_behind & 0o755


def test_the_environment_does_not_matter(usual: dict[str, str], tmp_path: Path) -> None:
    """What `su` leaves out of PATH, a TMPDIR that is gone, and words that other programs listen to."""
    odd = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": "/nowhere", "POSIXLY_CORRECT": "1", "GIT_DIR": "/nowhere"}
    run(PROJECT / "install.sh", DESTDIR=str(tmp_path), LANG="xx_YY.UTF-8", GREP_OPTIONS="--color=always", **odd)
    assert modes(tmp_path) == usual


def test_the_source_s_place_and_modes_do_not_matter(usual: dict[str, str], tmp_path: Path) -> None:
    """A clone under umask 077, a blank in its name, called by a relative name with CDPATH set, and a relative DESTDIR."""
    source, decoy = tmp_path / "my clone", tmp_path / "decoy"
    source.mkdir()
    (decoy / "my clone").mkdir(parents=True)
    for name in SOURCES:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, source / name)
    for path in [source, *source.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    run("my clone/install.sh", cwd=tmp_path, CDPATH=str(decoy), DESTDIR="stage")
    found = modes(tmp_path / "stage")
    assert found == {name: mode for name, mode in usual.items() if name != "usr/local/lib/livekeep/revision"}


def test_the_folder_it_is_called_in_may_be_gone(usual: dict[str, str], tmp_path: Path) -> None:
    folder, stage = tmp_path / "gone", tmp_path / "stage"
    folder.mkdir()
    script = 'cd "$1" && rmdir "$1" && DESTDIR="$2" "$3" && DESTDIR="$2" "$4"'
    command = ["bash", "-c", script, "bash", folder, stage, PROJECT / "install.sh", PROJECT / "uninstall.sh"]
    subprocess.run(command, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    kept = {name: mode for name, mode in modes(stage).items() if not (stage / name).is_dir()}
    assert kept == {"etc/livekeep/livekeep.toml": "640"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_finds_its_own_folder_whatever_cdpath_says(name: str, tmp_path: Path) -> None:
    """Its first lines, run where CDPATH leads to a folder of the same name."""
    lines = (PROJECT / name).read_text().partition("readonly source_folder\n")[0]
    script, decoy = tmp_path / "own" / name, tmp_path / "decoy"
    script.parent.mkdir(parents=True)
    (decoy / name).parent.mkdir(parents=True)
    script.write_text(f"{lines}printf '%s' \"$source_folder\"\n")
    environment = {"PATH": os.environ["PATH"], "CDPATH": str(decoy)}
    ran = subprocess.run(["bash", name], cwd=tmp_path / "own", env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == str(tmp_path / "own")


@pytest.mark.parametrize("name", ["install.sh", "uninstall.sh"])
def test_what_the_programs_called_see_is_always_the_same(name: str, tmp_path: Path) -> None:
    """Its first lines, then what they leave behind: comm(1) fails on names sorted in another locale, dpkg without /usr/sbin."""
    lines = (PROJECT / name).read_text().partition("readonly destdir\n")[0]
    script = tmp_path / name
    script.write_text(f'{lines}printf "%s %s %s" "$(umask)" "$LC_ALL" "$PATH"')
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "en_GB.UTF-8"}
    ran = subprocess.run(["bash", script], umask=0, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "0022 C.UTF-8 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_a_user_s_folder_takes_no_file_of_another_folder_in(tmp_path: Path) -> None:
    """root disables an autostart file in a user's folder, who has made the new name a link to a folder of root's."""
    autostart, roots = tmp_path / "home/.config/autostart", tmp_path / "etc/cron.d"
    autostart.mkdir(parents=True)
    roots.mkdir(parents=True)
    file, disabled = autostart / "streamreturn.desktop", autostart / "streamreturn.desktop.disabled-by-livekeep"
    file.write_text("the user's\n")
    disabled.symlink_to(roots)
    script = (
        'source "$1/install.d/desktop.sh"; getent() { printf "u:x:1:1::%s:/bin/sh\\n" "$home_folder"; }; ask() { true; }\n'
        "note_disabled() { true; }; home_folder=$2; disable_rival_autostarts"
    )
    subprocess.run(["bash", "-euc", script, "bash", str(PROJECT), str(tmp_path / "home")], check=True)
    assert list(roots.iterdir()) == []
    assert (file.exists(), disabled.is_symlink(), disabled.read_text()) == (False, False, "the user's\n")
