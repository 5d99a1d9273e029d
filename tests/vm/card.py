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
from typing import ClassVar

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
FOREIGN = Path("/proc/sys/fs/binfmt_misc")
ENTRY = "loader/entries/livekeep.conf"


def made_of() -> str:
    """What an image is made of, as a hash: all of the project's files that it may contain, and the agent."""
    return digest(*(f"{file}\0{file.read_bytes().hex()}" for file in shipped()), AGENT.read_text(), AGENT_UNIT)


def build_card(suite: root.Suite, *options: str, architecture: str = "amd64") -> Path:
    """The image that packaging/image makes with these options, and the tests' agent on it; from the cache if it is there."""
    target = root.cache() / f"vm-card-{suite}-{digest(made_of(), architecture, *options)}" / "card.img"
    with root.locked(target.parent):
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            if architecture != "amd64":
                allow_foreign_programs()
            with tempfile.TemporaryDirectory() as files:
                write_agent(Path(files))
                given = ["--arch", architecture, "--suite", suite, "--files", files, *options]
                subprocess.run([PROJECT / "packaging/image", *given, target], check=True)
    return target


def allow_foreign_programs() -> None:
    """The kernel hands them to qemu-user. In a container, the list of those that it knows is not mounted."""
    if not (FOREIGN / "status").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", FOREIGN], check=True)
    subprocess.run(["update-binfmts", "--enable"], check=True)


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
        self._prepare_boot()

    def _prepare_boot(self) -> None:
        entry = self.read_boot(ENTRY).decode().rstrip()
        self.write_boot(ENTRY, f"{entry} console=ttyS0\n".encode())
        self._firmware = {"-bios": FIRMWARE}

    def _make_disk(self) -> None:
        self.disk = self.directory / "card.img"
        subprocess.run(["cp", "--sparse=always", self._image.disk, self.disk], check=True)
        with self.disk.open("r+b") as file:
            file.truncate(self.disk.stat().st_size + GROWN_BYTES)
        self._server: subprocess.Popen[bytes] | None = None

    def _disk_options(self) -> dict[str, str]:
        socket = self.directory / f"nbd-{self._boot}"
        return {**self._firmware, "-drive": f"file=nbd+unix:///?socket={socket},if=virtio,format=raw,cache=writeback"}

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


class PiCardMachine(CardMachine):
    """The card of a Raspberry Pi on a board with such a processor; QEMU does the firmware's part, which config.txt describes."""

    PROGRAM = "qemu-system-aarch64"
    BOARD: ClassVar = {"-M": "virt", "-cpu": "cortex-a72"}

    def _prepare_boot(self) -> None:
        config = dict(line.replace(" ", "=", 1).split("=", 1) for line in self._lines("config.txt") if line[0] not in "#[")
        options = " ".join([*self._lines("cmdline.txt"), "console=ttyAMA0"])
        for name in ("kernel", "initramfs"):
            (self.directory / name).write_bytes(self.read_boot(config[name]))
        self._firmware = {
            "-kernel": str(self.directory / "kernel"),
            "-initrd": str(self.directory / "initramfs"),
            "-append": options,
        }

    def _lines(self, name: str) -> list[str]:
        return [line.strip() for line in self.read_boot(name).decode().splitlines() if line.strip()]
