"""The packages without install.sh: from a signed repository by apt, and into an image that boots later.

The tests of a room build on each other in order, like the life of a fleet.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.machine import root
from tests.machine.machine import wait_for
from tests.machine.room import DROP_IN, toml
from tests.machine.screen import DISPLAY, PLAYER, POLLER, UNITS, Screen
from tests.machine.standin import PROJECT
from tests.machine.test_install import EVERYWHERE, KEPT, installed
from tests.machine.vimeo import TOKEN

SOURCES = ("bin", "docs", "etc", "lib", "packaging", "units", "README.md", "CHANGELOG.md", "LICENSE")
VERSIONS = ("1.0.0", "1.1.0")
REPOSITORY, KEY = "/srv/repository", "fleet@example.org"
# Like configuration management: non-interactive.
APT = "apt-get -q -y -o Dpkg::Use-Pty=false"
# As docs/how-to/install.md says; the first line is the answer to the package's only question.
UNATTENDED = """\
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Origins-Pattern { "origin=livekeep"; };
"""
UPGRADE_LOG = "/var/log/unattended-upgrades/unattended-upgrades.log"


def build(target: Path, version: str) -> list[Path]:
    """Build this checkout's packages as another version, with the same display."""
    source = target / "source"
    for name in SOURCES:
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
        source.mkdir(parents=True, exist_ok=True)
        copy(PROJECT / name, source / name)
    (source / "lib/livekeep/__init__.py").write_text(f'"""livekeep."""\n\n__version__ = "{version}"\n', encoding="utf-8")
    subprocess.run([source / "packaging/build", target / "built"], check=True)
    return sorted((target / "built").glob("*.deb"))


@contextlib.contextmanager
def signed(folder: Path, packages: Sequence[Sequence[Path]]) -> Iterator[list[Path]]:
    """A repository for each set of packages, signed with one key."""
    keys = folder / "keys"
    keys.mkdir(mode=0o700)
    environment = os.environ | {"GNUPGHOME": str(keys)}
    make = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", KEY]
    subprocess.run(make, env=environment, check=True, capture_output=True)
    made = []
    for number, files in enumerate(packages):
        made.append(folder / f"repository-{number}")
        command = [PROJECT / "packaging/repository", made[-1], KEY, *files]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    yield made
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """One with the first version, and one with both."""
    folder = tmp_path_factory.mktemp("packages")
    older, newer = (build(folder / version, version) for version in VERSIONS)
    with signed(folder, [older, [*older, *newer]]) as made:
        yield made


@pytest.fixture(scope="module", params=root.SUITES)
def box(request: pytest.FixtureRequest, repositories: list[Path]) -> Iterator[Screen]:
    """A machine with this repository only; on trixie with unattended-upgrades."""
    more = ("unattended-upgrades",) if request.param == "trixie" else ()
    with Screen(request.param, install=False, more_packages=more) as screen:
        # It upgrades when the test says so.
        screen.machine.systemctl("stop", "apt-daily.timer", "apt-daily-upgrade.timer")
        screen.machine.copy_in(repositories[0], REPOSITORY)
        screen.machine.run("rm -rf /etc/apt/sources.list*; mkdir /etc/apt/sources.list.d")
        screen.machine.run(f"cp {REPOSITORY}/livekeep.gpg /usr/share/keyrings")
        line = f"deb [signed-by=/usr/share/keyrings/livekeep.gpg] file:{REPOSITORY} ./\n"
        screen.machine.write("/etc/apt/sources.list.d/livekeep.list", line)
        screen.machine.write("/root/token", f"{TOKEN}\n", 0o600)
        yield screen


def apt(box: Screen, words: str) -> str:
    done = box.machine.run(f"{APT} {words} </dev/null", timeout=300)
    return done.stdout + done.stderr


def test_apt_installs_from_a_signed_repository(box: Screen) -> None:
    told = apt(box, "update")
    assert "W:" not in told
    apt(box, "install --no-install-recommends livekeep-screen livekeep-health")
    assert installed(box.machine) == VERSIONS[0]
    box.machine.run(["livekeep", "setup", "--yes", "--token-file", "/root/token"], timeout=120)
    box.shows("holding")
    assert box.machine.failed_units() == ""


def upgrade(box: Screen) -> None:
    """To the newer version: on trixie as the timer of unattended-upgrades does, on bookworm by apt."""
    if box.suite == "bookworm":
        apt(box, "upgrade")
        return
    box.machine.write("/etc/apt/apt.conf.d/52fleet", UNATTENDED)
    box.machine.run(["systemctl", "start", "apt-daily-upgrade.service"], timeout=300)
    told = box.machine.read(UPGRADE_LOG)
    assert "Packages that will be upgraded: livekeep livekeep-health livekeep-screen" in told
    assert "All upgrades installed" in told


def test_an_unattended_upgrade_keeps_the_stream_on_the_screen(box: Screen, repositories: list[Path]) -> None:
    """And back to the previous version: no question, no configuration change, no display restart."""
    machine = box.machine
    machine.run("sed -i 's/^slideshow_seconds = .*/slideshow_seconds = 11/' /etc/livekeep/livekeep.toml")
    config = machine.read("/etc/livekeep/livekeep.toml")
    machine.copy_in(repositories[1], REPOSITORY)
    apt(box, "update")
    box.goes_live()
    older = " ".join(f"{name}={VERSIONS[0]}" for name in ("livekeep", "livekeep-screen", "livekeep-health"))
    steps: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: upgrade(box), VERSIONS[1]),
        (lambda: apt(box, f"install --allow-downgrades {older}"), VERSIONS[0]),
    )
    for change, version in steps:
        pids = {unit: box.main_pid(unit) for unit in UNITS}
        with box.watched() as sampler:
            change()
            box.is_renewed(PLAYER, pids[PLAYER])
            box.is_renewed(POLLER, pids[POLLER])
            box.moves()
        assert {sample.label for sample in sampler.samples} == {"stream"}, box.spans(sampler)
        assert box.main_pid(DISPLAY) == pids[DISPLAY]
        assert installed(machine) == version
        assert machine.run(["livekeep", "version"]).stdout == f"livekeep {version}\n"
        assert machine.read("/etc/livekeep/livekeep.toml") == config
        assert machine.run("find /etc -name '*.dpkg-*'").stdout == ""
        for unit in ("livekeep-exporter.service", "livekeep-probe-network.timer"):
            wait_for(lambda unit=unit: machine.unit_property(unit, "ActiveState") == "active", 60)  # type: ignore[misc]
        assert machine.failed_units() == ""
    box.vimeo.go_off()
    box.shows("holding")


def test_an_upgrade_does_not_stop_at_a_faulty_configuration(box: Screen) -> None:
    """The packages are installed anyway; the command reports the error."""
    box.machine.write("/etc/livekeep/livekeep.d/90-faulty.toml", "[screen]\nnonsense = 1\n")
    told = apt(box, "upgrade")
    assert "nonsense" in told
    assert installed(box.machine) == VERSIONS[1]
    box.machine.run("rm /etc/livekeep/livekeep.d/90-faulty.toml")
    box.restore()


def test_apt_removes_a_part_and_then_all(box: Screen) -> None:
    """The screen is not affected; configuration and token stay until they are purged."""
    machine, before = box.machine, box.main_pid(DISPLAY)
    with box.watched():
        apt(box, "remove livekeep-health")
        box.keeps("holding", 2)
    assert box.main_pid(DISPLAY) == before
    units = machine.systemctl("list-units", "--all", "--no-legend", "--plain", "livekeep-exporter*", "livekeep-probe-*")
    assert units.stdout == ""
    assert machine.run(["livekeep", "health"], check=False).returncode == 0
    apt(box, "remove livekeep")
    assert machine.systemctl("list-units", "--all", "--no-legend", "--plain", "livekeep*").stdout == ""
    assert machine.run("ps -eo user:32 | grep '^livekeep'", check=False).stdout == ""
    assert machine.exists("/etc/livekeep/livekeep.toml")
    assert machine.exists("/etc/credstore/livekeep.vimeo-token")
    apt(box, "purge livekeep livekeep-screen livekeep-health")
    found = machine.run(EVERYWHERE).stdout.split()
    own = ("/etc/apt/sources.list.d", "/usr/share/keyrings", REPOSITORY, "/var/lib/apt/lists", "/var/cache/apt")
    assert [path for path in found if not path.startswith((*KEPT, *own))] == []
    assert machine.run("getent passwd | grep livekeep", check=False).stdout == ""
    assert machine.failed_units() == ""


class Image(Screen):
    """A room whose machine was installed before its first boot: install.sh with DESTDIR."""

    def __init__(self, suite: root.Suite, folder: Path) -> None:
        super().__init__(suite, kept=True)
        self._folder = folder

    def _lay(self) -> None:
        disk, image, token = (self._folder / name for name in ("disk", "image", "token"))
        for path in (disk, image):
            path.mkdir()
        token.write_text(f"{TOKEN}\n", encoding="utf-8")
        subprocess.run(["mount", "-t", "tmpfs", "livekeep-image", disk], check=True)
        self._stack.callback(subprocess.run, ["umount", "--lazy", disk], check=True)
        for name in ("upper", "work"):
            (disk / name).mkdir()
        options = f"lowerdir={root.ready(self.suite, self.machine.packages)},upperdir={disk}/upper,workdir={disk}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "livekeep-image", image], check=True)
        try:
            drop_in = image / DROP_IN.removeprefix("/")
            drop_in.parent.mkdir(parents=True)
            drop_in.write_text(toml(self.settings()), encoding="utf-8")
            command = ["unshare", "--pid", "--fork", PROJECT / "install.sh", "--yes", "--event", "1234567", "--token-file", token]
            environment = {"PATH": os.environ["PATH"], "DESTDIR": str(image)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        finally:
            subprocess.run(["umount", image], check=True)
        self.machine.layer = disk / "upper"


@pytest.mark.parametrize("suite", root.SUITES)
def test_an_image_shows_the_picture_at_its_first_boot(suite: root.Suite, tmp_path: Path) -> None:
    with Image(suite, tmp_path) as room:
        room.shows("holding", within=90)
        assert 'vimeo_event = "1234567"' in room.machine.read("/etc/livekeep/livekeep.toml")
        assert room.machine.unit_property("livekeep-exporter.service", "ActiveState") == "active"
        assert room.machine.run("stat -c '%a %U' /etc/credstore/livekeep.vimeo-token").stdout == "600 root\n"
        assert not room.machine.exists("/var/lib/livekeep/packages/token")
        assert room.machine.failed_units() == ""
