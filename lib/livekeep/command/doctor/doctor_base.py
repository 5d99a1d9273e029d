"""Shared by the doctor's checks: their result, their input, and reading the kernel's small files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from livekeep.core.config import Config
from livekeep.system import dbus, systemd
from livekeep.system.systemd import Unit

Verdict = Literal["ok", "warn", "fail", "skip"]
PI = "Raspberry Pi"
LARGEST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Check:
    """One result. `advice` says what to do, or ""."""

    name: str
    verdict: Verdict
    finding: str
    advice: str = ""


@dataclass(frozen=True)
class Surroundings:
    """The checks' input: the file tree below `root`, and the configuration with its problems."""

    root: Path
    config: Config
    problems: tuple[str, ...] = ()

    def path(self, absolute: str | Path) -> Path:
        """A path of the machine, moved below `root`; a path already below it is unchanged."""
        path = Path(absolute)
        return path if path.is_relative_to(self.root) else self.root / str(path).lstrip("/")

    def units(self, *names: str) -> tuple[Unit, ...]:
        """The units as the machine's systemd reports them. Raises `BusError`."""
        return systemd.read_units(names, self.path(dbus.SYSTEM_BUS))

    def machine_path(self, name: str | Path) -> str:
        """A path on the machine itself, without the prefix `root`."""
        path = Path(name)
        return str(Path("/") / path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def read(self, absolute: str | Path) -> str:
        """A small file of the kernel or the system; "" if it is absent or cannot be read."""
        try:
            with self.path(absolute).open("rb") as file:
                return file.read(LARGEST_BYTES).decode("utf-8", "replace").strip("\0\n ")
        except OSError:
            return ""

    def board(self) -> str:
        """The Raspberry Pi's model, such as "Raspberry Pi 4 Model B Rev 1.4"; "" on other machines."""
        model = self.read("/proc/device-tree/model")
        return model if model.startswith(PI) else ""

    def boot_file(self) -> Path | None:
        """cmdline.txt on a Raspberry Pi's boot partition, at its path in bookworm and later or in older releases."""
        places = (self.path("/boot/firmware/cmdline.txt"), self.path("/boot/cmdline.txt"))
        return next((place for place in places if self.board() and place.is_file()), None)

    def uid(self, name: str) -> int | None:
        """The uid of a local user of the machine below `root`."""
        for line in self.read("/etc/passwd").splitlines():
            user, _password, uid, *_rest = [*line.split(":"), "", "", ""]
            if user == name and uid.isdecimal():
                return int(uid)
        return None


def is_root() -> bool:
    return os.geteuid() == 0
