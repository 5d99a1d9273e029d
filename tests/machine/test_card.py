"""A stock image and one file on its card, made by `livekeep card`: cloud-init installs livekeep, and the TV shows the stream.

cloud-init is Debian's, set up as Raspberry Pi OS (trixie) does it. The boot partition is a folder of the machine.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.machine.machine import Machine
from tests.machine.room import toml
from tests.machine.screen import Screen
from tests.machine.standin import PROJECT
from tests.machine.test_packages import build, signed
from tests.machine.vimeo import EVENT_ID, TOKEN

REPOSITORY = "/srv/repository"
# https://github.com/RPi-Distro/pi-gen, stage2/04-cloud-init
SEED = """\
datasource_list: [ NoCloud, None ]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
ssh_deletekeys: false
ssh_genkeytypes: []
"""
META_DATA = "dsmode: local\ninstance_id: rpios-image\n"
SSID, PASSWORD = 'Pfärré "1" 😀', "pass\\word 'and' more"
# Each file of the machine; the processes' memory is not meant, nor what systemd passes to the poller.
SEARCH = "find / /run /tmp -xdev -path /src -prune -o -type f -exec grep -lsF --binary-files=text -e {secret} {{}} + | sort"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A signed repository with this checkout's packages."""
    folder = tmp_path_factory.mktemp("card")
    with signed(folder, [build(folder / "1.0.0", "1.0.0")]) as (repository,):
        yield repository


class Box(Screen):
    """A stock image, with the packages that livekeep needs: the room has no internet."""

    def settings(self) -> dict[str, dict[str, object]]:
        return {**super().settings(), "streams.main": {"vimeo_event": EVENT_ID}}

    def write_config(self, changes: object = None) -> None:
        """All settings come from the card."""

    def prepare(self, folder: Path, repository: Path | None, *arguments: str) -> None:
        """Put user-data onto the card, as a first boot finds it."""
        machine = self.machine
        machine.run("rm -rf /etc/apt/sources.list*; mkdir /etc/apt/sources.list.d")
        machine.write("/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg", SEED)
        machine.run("mkdir -p /boot/firmware")
        for name, secret in (("token", TOKEN), ("wifi", PASSWORD), ("password", "correct horse")):
            (folder / name).write_text(f"{secret}\n", encoding="utf-8")
        (folder / "livekeep.toml").write_text(toml(self.settings()), encoding="utf-8")
        machine.write("/boot/firmware/user-data", user_data(folder, repository, *arguments))
        machine.write("/boot/firmware/meta-data", META_DATA)
        machine.run("cloud-init clean --logs --seed", check=False)

    def until_installed(self) -> None:
        self.until("cloud-init has ended", lambda: "done" in self.machine.run("cloud-init status", check=False).stdout, 180)
        gone = "! test -e /etc/systemd/system/install-livekeep.service"
        self.until("the packages are installed", lambda: self.machine.run(gone, check=False).returncode == 0, 300)


def user_data(folder: Path, repository: Path | None, *more: str) -> str:
    """What an ordinary machine prints, without libraries."""
    source: Sequence[str] = ("--packages-on-card",)
    if repository:
        source = ("--repository", f"file:{REPOSITORY}", "--repository-key", str(repository / "livekeep.gpg"))
    command = [
        sys.executable, "-I", "-S", str(PROJECT / "bin/livekeep"), "card", "--settings", str(folder / "livekeep.toml"),
        "--token-file", str(folder / "token"), "--wifi", SSID, "--wifi-password-file", str(folder / "wifi"), "--country", "DE",
        "--hostname", "hall", "--password-file", str(folder / "password"), "--time-zone", "Europe/Berlin", *source, *more,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def places_of(machine: Machine, secret: str) -> list[str]:
    return machine.run(SEARCH.format(secret=secret), check=False, timeout=300).stdout.split()


@pytest.mark.nightly
@pytest.mark.parametrize("source", ["repository", "card"])
def test_from_a_stock_image_to_the_stream(packages: Path, tmp_path: Path, source: str) -> None:
    with Box("trixie", install=False, more_packages=("cloud-init",)) as box:
        machine = box.machine
        if source == "repository":
            machine.copy_in(packages, REPOSITORY)
        else:
            machine.copy_in(packages, "/boot/firmware")
        box.prepare(tmp_path, packages if source == "repository" else None)
        assert "/boot/firmware/user-data" in places_of(machine, TOKEN)
        machine.reboot()
        box.until_installed()
        box.says(f"Event {EVENT_ID} taken from the card, and the token", within=120)
        box.shows("holding")
        box.goes_live()
        assert " ".join(places_of(machine, TOKEN)) == "/etc/credstore/livekeep.vimeo-token"
        assert machine.run("hostname").stdout == "hall\n"
        assert machine.run("readlink /etc/localtime").stdout.endswith("/Europe/Berlin\n")
        keyfile = "/etc/NetworkManager/system-connections/livekeep-wifi.nmconnection"
        assert machine.run(["stat", "-c", "%U %a", keyfile]).stdout == "root 600\n"
        assert "psk=pass\\\\word 'and' more\n" in machine.read(keyfile)
        assert machine.run("getent shadow admin").stdout.startswith("admin:$6$")
        assert machine.failed_units() == ""
        # cloud-init reads the user-data again, and copies it; what was set by hand since stays.
        machine.run(["livekeep", "set-token"], input="another-token")
        machine.reboot()
        box.until("cloud-init has ended", lambda: "done" in machine.run("cloud-init status", check=False).stdout, 180)
        assert machine.read("/etc/credstore/livekeep.vimeo-token") == "another-token"
        assert places_of(machine, TOKEN) == []
        assert "taken from the card" not in box.line()
        # A corrected password of the Wi-Fi is in force at the next boot.
        changed = machine.read("/boot/firmware/user-data").replace(" more", " less")
        machine.write("/boot/firmware/user-data", changed)
        machine.reboot()
        box.until("the new password", lambda: "less\n" in machine.read(keyfile), 120)
