"""livekeep in a virtual machine: the disk on which install.sh put it, and words for what its tests ask.

The picture is told by its mean colour, as in tests/machine: the shipped holding picture is bluish, the error picture
reddish, the live stream green.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.machine import root
from tests.machine.room import toml
from tests.machine.screen import DISPLAY, ERROR_SCREEN, PLAYER, POLLER, kind
from tests.machine.vimeo import EVENT_ID, TOKEN, VimeoStandIn

from .image import Recipe
from .stream import SmallStream
from .vm import GUEST_HOST, VM

PROJECT = Path(__file__).parents[2]
SHIPPED = (
    "bin",
    "docs",
    "etc",
    "lib",
    "packaging",
    "units",
    "install.sh",
    "uninstall.sh",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
)
API_PORT, LIVE_PORT = 80, 8080
UNITS = (DISPLAY, PLAYER, POLLER)
# What the machine's packages need besides those that install.sh would install: a login on the console.
MORE_PACKAGES = ("login",)
SOURCE = "usr/src/livekeep"
NETWORK = "[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
# Whoever reaches this login needs no password: a keystroke that got through would be seen.
LOGIN = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear - linux\n"
CONFIG = {
    "vimeo": {"api_url": f"http://{GUEST_HOST}"},
    "streams.main": {"vimeo_event": EVENT_ID},
}
SOON_SECONDS = 60.0
GRID = 8
Note = Callable[[str, float], None]
"""Takes a measured time into the report: what, seconds."""


def recipe(suite: root.Suite) -> Recipe:
    """The disk: a Debian with livekeep installed and never started."""
    return Recipe(suite, (*root.packages_of(suite), *MORE_PACKAGES), put, put_key())


def shipped() -> Iterator[Path]:
    """Every file that install.sh may use."""
    for name in SHIPPED:
        path = PROJECT / name
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


def contents() -> dict[str, str]:
    """What else the disk has: the network, the login, the configuration and the token."""
    return {
        "etc/systemd/network/50-test.network": NETWORK,
        "etc/systemd/system/getty@tty1.service.d/50-test.conf": LOGIN,
        "etc/livekeep/livekeep.d/50-test.toml": toml(CONFIG),
        "root/token": f"{TOKEN}\n",
    }


def put_key() -> str:
    """What `put` puts there, as a hash."""
    parts = [part for file in shipped() for part in (str(file).encode(), file.read_bytes())]
    return hashlib.sha256(b"\0".join([*parts, repr(contents()).encode(), Path(__file__).read_bytes()])).hexdigest()


def put(root: Path) -> None:
    """Install livekeep into the unpacked root as an administrator would, only that nothing is started there."""
    for file in shipped():
        target = root / SOURCE / file.relative_to(PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    for name, text in contents().items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    in_root(root, f"/{SOURCE}/install.sh", "--yes", "--no-start", "--token-file", "/root/token")
    in_root(root, "systemctl", "enable", "systemd-networkd.service", "getty@tty1.service")
    (root / "root/token").unlink()


def in_root(root: Path, *command: str) -> None:
    """Run a command in the unpacked root, with /proc and in process and mount namespaces of its own."""
    spaces = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={root}/proc", "chroot", str(root)]
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
    subprocess.run([*spaces, *command], check=True, env=environment)


class Box:
    """A virtual machine with livekeep, and what plays the internet."""

    def __init__(self, machine: VM, vimeo: VimeoStandIn, live: SmallStream) -> None:
        """Takes the machine and the stand-ins as they are, running or not."""
        self.machine, self.vimeo, self.live = machine, vimeo, live

    # What is on the screen

    def picture(self) -> str:
        """What the screen shows: "stream", "holding", "error", "black" or "other"."""
        return kind(self.grid())

    def grid(self) -> list[tuple[int, int, int]]:
        """The colours of 64 points, the middles of equal cells."""
        width, height, pixels = self.machine.screendump()
        cells = [(2 * index + 1) / (2 * GRID) for index in range(GRID)]
        points = [(int(x * width), int(y * height)) for y in cells for x in cells]
        places = [(y * width + x) * 3 for x, y in points]
        return [(pixels[at], pixels[at + 1], pixels[at + 2]) for at in places]

    def shows(self, picture: str, within: float = SOON_SECONDS) -> float:
        """Wait until the screen shows this; seconds that it took."""
        return self._wait_for(f"the screen does not show {picture}", lambda: self.picture() == picture, within)

    def moves(self, within: float = SOON_SECONDS) -> None:
        """Wait until the stream is on the screen and its white bar travels."""
        self.shows("stream", within)
        seen = set()

        def moved() -> bool:
            grid = tuple(self.grid())
            seen.add(grid)
            return len(seen) > 3 and kind(grid) == "stream"

        self._wait_for("the stream stands still", moved, within)

    def goes_live(self) -> None:
        """On air, at the address by which the machine reaches the stream."""
        self.vimeo.go_live(f"http://{GUEST_HOST}:{LIVE_PORT}{self.live.path}")

    def _wait_for(self, problem: str, condition: Callable[[], bool], within: float) -> float:
        try:
            # Each look costs the emulated processor some of its time.
            return self.machine.wait_for(condition, within, pause=0.5)
        except TimeoutError as error:
            raise AssertionError(f"{problem}; {error}\n{self.report()}") from error

    # What is known

    def state(self, unit: str) -> dict[str, Any]:
        """A unit's state file; empty when it is absent."""
        done = self.machine.run(f"cat /run/livekeep/{unit}/state.json", check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.code == 0 else {}
        return found

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.machine.run(f"systemctl show --value --property={name} {unit}").stdout.strip()

    def journal(self, *units: str) -> str:
        """What these units said since the boot."""
        words = " ".join(f"--unit={unit}" for unit in units)
        return self.machine.run(f"journalctl --no-pager --boot --output=short-monotonic {words}").stdout

    def report(self) -> str:
        """What a person would look at after a failure."""
        active = self.machine.run(f"systemctl is-active {' '.join((*UNITS, ERROR_SCREEN))}", check=False).stdout.split()
        states = [self.state(unit) for unit in ("poller", "player")]
        return f"the screen: {self.picture()}\nunits: {active}\n{states}\n{self.journal('livekeep*')[-4000:]}"
