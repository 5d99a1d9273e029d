"""packaging/build: what each package holds, with which modes; the same content makes the same package; lintian is content."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest

from livekeep import __version__
from livekeep.exporter import process
from tests.outside import PROJECT

PACKAGING = PROJECT / "packaging"
PACKAGES = tuple(sorted(path.parent.name for path in PACKAGING.glob("*/control")))
PARTS = ("screen", "health", "air", "record")
SOURCES = ("bin", "docs", "etc", "lib", "packaging", "units", "README.md", "CHANGELOG.md", "LICENSE")
LIBRARY = "usr/lib/python3/dist-packages/livekeep"


def build(source: Path, target: Path, umask: int = 0o022, **environment: str) -> dict[str, Path]:
    """The packages of this checkout by their names."""
    command = ["bash", source / "packaging/build", target]
    path = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, umask=umask, env=path | environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return {path.name.partition("_")[0]: path for path in target.glob("*.deb")}


def clone(target: Path) -> Path:
    """A copy of what is built from, without git."""
    target.mkdir()
    for name in SOURCES:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(PROJECT / name, target / name)
    return target


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return build(PROJECT, tmp_path_factory.mktemp("packages"))


def members(package: Path) -> dict[str, tarfile.TarInfo]:
    """What a package puts onto a machine, by its path there."""
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(content)) as archive:
        return {member.name.removeprefix("./"): member for member in archive if member.name != "."}


def field(package: Path, name: str) -> str:
    return subprocess.run(["dpkg-deb", "-f", package, name], check=True, capture_output=True, text=True).stdout.strip()


def test_each_package_is_built(packages: Mapping[str, Path]) -> None:
    assert set(packages) == {"livekeep", *(f"livekeep-{part}" for part in PARTS)}
    versions = {field(path, "Version") for path in packages.values()}
    assert len(versions) == 1
    assert versions.pop().startswith(__version__)
    assert all(field(path, "Architecture") == "all" for path in packages.values())


def test_a_part_depends_on_the_core_of_its_version(packages: Mapping[str, Path]) -> None:
    for part in PARTS:
        path = packages[f"livekeep-{part}"]
        assert f"livekeep (= {field(path, 'Version')})" in field(path, "Depends").split(", ")


def test_the_exporter_finds_the_revision_of_the_source(packages: Mapping[str, Path]) -> None:
    place = process.REVISION_FILE.relative_to(PROJECT / "lib")
    assert f"usr/lib/python3/dist-packages/{place}" in members(packages["livekeep"])


def test_each_file_has_its_mode_and_belongs_to_root(packages: Mapping[str, Path]) -> None:
    for path in packages.values():
        for name, member in members(path).items():
            is_program = re.fullmatch(r"usr/bin/livekeep|usr/lib/livekeep/[^/]+", name)
            expected = 0o777 if member.issym() else 0o755 if member.isdir() or is_program else 0o644
            assert (member.mode, member.uid, member.gid) == (expected, 0, 0), name


def test_the_programs_of_all_units_are_shipped(packages: Mapping[str, Path]) -> None:
    shipped = {f"/{name}" for path in packages.values() for name in members(path)}
    texts = [path.read_text(encoding="utf-8") for path in (PROJECT / "units").rglob("*") if path.is_file()]
    programs = {
        program
        for text in texts
        for program in re.findall(r"^Exec\w+=[-+!:@]*(/usr/(?:lib/livekeep/|bin/livekeep)[^ \n]*)", text, re.MULTILINE)
    }
    assert "/usr/lib/livekeep/livekeep-poller" in programs
    assert programs - shipped == set()


def test_the_same_content_makes_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the umask, the place and the environment are."""
    source = clone(tmp_path / "a clone")
    usual = build(source, tmp_path / "usual")
    os.utime(source / "lib/livekeep/core", (0, 0))
    odd = build(source, tmp_path / "odd", 0o077, CDPATH="/usr", GIT_DIR="/nowhere", TMPDIR="/nowhere", LANG="xx_YY.UTF-8")
    assert {name: path.read_bytes() for name, path in odd.items()} == {name: path.read_bytes() for name, path in usual.items()}
    assert {field(path, "Version") for path in usual.values()} == {__version__}


@pytest.mark.parametrize(
    ("tagged", "later", "expected"),
    [("", 1, "{own}~1.g{hash}"), ("v{own}", 0, "{own}"), ("v{own}", 2, "{own}+2.g{hash}")],
    ids=["before the release", "the release", "after the release"],
)
def test_a_version_sorts_as_the_history_does(tagged: str, later: int, expected: str, tmp_path: Path) -> None:
    source = clone(tmp_path / "source")

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-C", str(source), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "First")
    if tagged:
        git("tag", "--annotate", "--message", "Release", tagged.format(own=__version__))
        for _ in range(later):
            git("commit", "--quiet", "--allow-empty", "--message", "More")
    subprocess.run([source / "packaging/build", tmp_path / "built", "livekeep"], check=True)
    found = field(next((tmp_path / "built").iterdir()), "Version")
    pattern = re.escape(expected.format(own=__version__, hash="HASH")).replace("HASH", "[0-9a-f]+")
    assert re.fullmatch(pattern, found), found


def test_versions_sort() -> None:
    ordered = ("0.0.9", "0.1.0~304.gfaaa9712", "0.1.0~305.g0aaa9712", "0.1.0", "0.1.0+2.gfaaa9712", "0.1.1~400.g0")
    for older, newer in itertools.pairwise(ordered):
        subprocess.run(["dpkg", "--compare-versions", older, "lt", newer], check=True)


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    source = clone(tmp_path / "source")
    shutil.rmtree(source / "lib/livekeep/air")
    done = subprocess.run([source / "packaging/build", tmp_path / "built"], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "livekeep-air/files: there is no lib/livekeep/air" in done.stderr


def test_lintian_says_nothing(packages: Mapping[str, Path]) -> None:
    lintian = shutil.which("lintian")
    assert lintian, "lintian is not installed: tests/run installs what the tests need"
    done = subprocess.run([lintian, "--allow-root", *packages.values()], capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("script", sorted(PACKAGING.glob("*/p*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_shellcheck_accepts_a_maintainer_script(script: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    assert shellcheck, "shellcheck is not installed: tests/run installs what the tests need"
    text = (PACKAGING / "functions.sh").read_text(encoding="utf-8") + script.read_text(encoding="utf-8")
    done = subprocess.run([shellcheck, "--shell=sh", "-"], input=text, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_a_repository_is_signed_and_complete(packages: Mapping[str, Path], tmp_path: Path) -> None:
    keys, folder = tmp_path / "keys", tmp_path / "repository"
    keys.mkdir(mode=0o700)
    environment = os.environ | {"GNUPGHOME": str(keys)}
    make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "fleet@example.org"]
    subprocess.run(make, check=True, env=environment, capture_output=True)
    try:
        command = [PACKAGING / "repository", folder, "fleet@example.org", *packages.values()]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        verify = ["gpgv", "--keyring", folder / "livekeep.gpg", folder / "InRelease"]
        subprocess.run(verify, check=True, env=environment, capture_output=True)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)
    listed = re.findall(r"^Package: (.*)$", (folder / "Packages").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(packages)


def test_a_repository_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    command = [PACKAGING / "repository", tmp_path / "repository", "nobody@example.org"]
    done = subprocess.run(command, env=os.environ | {"GNUPGHOME": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "gpg --quick-generate-key nobody@example.org" in done.stderr
