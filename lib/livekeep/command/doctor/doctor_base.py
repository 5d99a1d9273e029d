"""Shared by the doctor's checks: their result, their input, and reading the kernel's small files."""

import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from livekeep.core.config import Config
from livekeep.system import dbus, process, systemd
from livekeep.system.systemd import Unit

Verdict = Literal["ok", "warn", "fail", "skip"]
PI = "Raspberry Pi"
LARGEST_BYTES = 64 * 1024
TIMEOUT_SECONDS = 20.0


class Result(NamedTuple):
    """The result of a check, or a part of it. `advice` says what to do, or ""."""

    verdict: Verdict
    finding: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """A result with the name of its check."""

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

    def is_installed(self, unit: str) -> bool:
        return self.path(f"/usr/lib/systemd/system/{unit}").exists()


def is_root() -> bool:
    return os.geteuid() == 0


def as_user(name: str, group: str = "") -> dict[str, Any]:
    """The arguments for `process.run` to run a program as that user, in its own group or in `group`; none if there is no such
    user, or this is not root."""
    try:
        user = pwd.getpwnam(name)
        gid = grp.getgrnam(group).gr_gid if group else user.pw_gid
    except KeyError:
        return {}
    return {"user": user.pw_uid, "group": gid, "extra_groups": []} if is_root() else {}


def may_read(path: Path, user: dict[str, Any]) -> bool:
    """Whether a user, from `as_user`, may read a file, or list and enter a folder; assumed if this cannot be tried."""
    if not user:
        return True
    tests = ("-r", path, "-a", "-x", path) if path.is_dir() else ("-r", path)
    return process.run(("test", *tests), TIMEOUT_SECONDS, process.environment(), **user).exit_code == 0


def summary(faults: Sequence[Result], good: str) -> Result:
    """The most severe fault, and the number of others; `good` if there is none."""
    if not faults:
        return Result("ok", good)
    first = next((fault for fault in faults if fault.verdict == "fail"), faults[0])
    return first._replace(finding=f"{first.finding} (and {len(faults) - 1} more)") if len(faults) > 1 else first
