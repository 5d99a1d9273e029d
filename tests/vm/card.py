"""A card image in a virtual machine: UEFI boots it, and its disk is as forgetful as a card's cache.

nbdkit serves the disk and keeps what was written in memory until the machine flushes it. A power cut kills both, so that
all writes since the last flush are lost, and a flush that is under way is done in part.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.machine import root

from .box import shipped
from .image import AGENT, AGENT_UNIT, Image, digest
from .vm import VM

PROJECT = Path(__file__).parents[2]
FIRMWARE = "/usr/share/ovmf/OVMF.fd"
# A card is larger than the image: its last partition grows.
GROWN_BYTES = 256 << 20
# Of the first partition, as mtools takes it.
BOOT_PARTITION = "@@1M"
ENTRY = "loader/entries/livekeep.conf"


def made_of() -> str:
    """What an image is made of, as a hash: all of the project's files that it may contain, and the agent."""
    return digest(*(f"{file}\0{file.read_bytes().hex()}" for file in shipped()), AGENT.read_text(), AGENT_UNIT)


def build_card(suite: root.Suite, *options: str) -> Path:
    """The image that packaging/image makes with these options, and the tests' agent on it; from the cache if it is there."""
    target = root.cache() / f"vm-card-{suite}-{digest(made_of(), *options)}" / "card.img"
    with root.locked(target.parent):
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory() as files:
                write_agent(Path(files))
                command = [PROJECT / "packaging/image", "--arch", "amd64", "--suite", suite, "--files", files, *options, target]
                subprocess.run(command, check=True)
    return target


def write_agent(files: Path) -> None:
    """The tests' agent, enabled."""
    units = files / "etc/systemd/system"
    (units / "sysinit.target.wants").mkdir(parents=True)
    (units / "vm-agent.service").write_text(AGENT_UNIT)
    (units / "sysinit.target.wants/vm-agent.service").symlink_to("../vm-agent.service")
    program = files / "usr/local/sbin/vm-agent"
    program.parent.mkdir(parents=True)
    program.write_text(AGENT.read_text())
    program.chmod(0o755)


class CardMachine(VM):
    """A machine with this card in it. While it is off, the card's FAT partition can be read and written, as with a laptop."""

    # As a real box: the image's kernel starts it again after a panic.
    RESET_OPTIONS = ()

    def __init__(self, card: Path, *, serve: Mapping[int, int]) -> None:
        """Takes a copy of the image."""
        super().__init__(Image(card, Path(), Path()), serve=serve)
        entry = self.read_boot(ENTRY).decode().rstrip()
        self.write_boot(ENTRY, f"{entry} console=ttyS0\n".encode())

    def _make_disk(self) -> None:
        self.disk = self.directory / "card.img"
        subprocess.run(["cp", "--sparse=always", self._image.disk, self.disk], check=True)
        with self.disk.open("r+b") as file:
            file.truncate(self.disk.stat().st_size + GROWN_BYTES)
        self._server: subprocess.Popen[bytes] | None = None

    def _disk_options(self) -> dict[str, str]:
        socket = self.directory / f"nbd-{self._boot}"
        return {"-bios": FIRMWARE, "-drive": f"file=nbd+unix:///?socket={socket},if=virtio,format=raw,cache=writeback"}

    def power_on(self) -> None:
        """Power on without waiting for the machine."""
        socket = self.directory / f"nbd-{self._boot + 1}"
        command = ["nbdkit", "--foreground", "--exit-with-parent", "--unix", str(socket)]
        self._server = subprocess.Popen([*command, "--filter=cache", "file", str(self.disk), "cache=writeback"])
        deadline = time.monotonic() + 10
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        super().power_on()

    def power_cut(self) -> None:
        """From one moment to the next."""
        for process in (self._process, self._server):
            if process is not None:
                process.kill()
        self.stop()

    def stop(self) -> None:
        """Power off without asking the guest, if it is on; what QEMU has is written."""
        super().stop()
        if self._server is not None:
            self._server.terminate()
            self._server.wait()
            self._server = None

    # The card in a laptop

    def read_boot(self, name: str) -> bytes:
        """A file of the FAT partition. Raises FileNotFoundError."""
        done = subprocess.run(["mtype", "-i", f"{self.disk}{BOOT_PARTITION}", f"::{name}"], capture_output=True, check=False)
        if done.returncode:
            raise FileNotFoundError(name)
        return done.stdout

    def write_boot(self, name: str, content: bytes) -> None:
        """Write a file of the FAT partition."""
        subprocess.run(["mcopy", "-o", "-i", f"{self.disk}{BOOT_PARTITION}", "-", f"::{name}"], input=content, check=True)

    def boot_files(self) -> list[str]:
        """The names in the FAT partition's top folder."""
        command = ["mdir", "-b", "-i", f"{self.disk}{BOOT_PARTITION}", "::"]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return [line.removeprefix("::/") for line in done.stdout.splitlines()]
