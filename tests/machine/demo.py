"""The demo behind bin/livekeep-demo: a whole evening of a TV in two minutes, in a machine that is thrown away.

Boots a Debian, installs livekeep as its README says, plays Vimeo by the stand-in, and tells what the TV showed and when. Every
picture and every number comes from the pixels of the machine's screen.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.machine import root
from tests.machine.machine import MachineError
from tests.machine.screen import DISPLAY, Screen, kind

PATIENCE_SECONDS = 40.0


class DemoScreen(Screen):
    """A room with livekeep's default settings, except the addresses of Vimeo and the TV; the demo itself installs livekeep."""

    def __init__(self, suite: root.Suite, *, more_packages: Sequence[str] = ()) -> None:
        super().__init__(suite, install=False, more_packages=more_packages)

    def settings(self) -> dict[str, dict[str, object]]:
        """The minimum settings."""
        wanted = super().settings()
        del wanted["poller"], wanted["screen"]["stall_seconds"]
        # As many hosts as by default; those are unreachable from this room.
        wanted["probes.network"] = {"hosts": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]}
        return wanted

    def picture(self) -> str:
        """As on any screen, without the black bars of a turned picture."""
        grid = self.tv.grid()
        return kind([colour for colour in grid if any(colour)] or grid)

    def turn(self) -> None:
        """Mount the TV on its side, and return when the picture follows: there is black to the left of it."""
        self.write_config({"screen": {"rotate": 90}})
        self.livekeep("apply", check=True)
        left, middle = (100, self.tv.height // 2), (self.tv.width // 2, self.tv.height // 2)
        self.until("the picture is turned", lambda: not any(self.tv.pixel(*left)) and any(self.tv.pixel(*middle)))


@dataclass
class Story:
    """The events, row by row, and the pictures."""

    screen: Screen
    folder: Path
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def scene(self, what: str, act: Callable[[], object], picture: str, settle_seconds: float = 1.0) -> None:
        """Act, wait until the TV shows `picture`, record how long it took, and save a screenshot."""
        print(f"  {what} …", end="", flush=True)
        at = time.monotonic()
        act()
        self.screen.shows(picture, PATIENCE_SECONDS)
        seconds = time.monotonic() - at
        time.sleep(settle_seconds)
        file = self.folder / f"{len(self.rows) + 1}-{picture}.png"
        self.screen.tv.screenshot(file)
        print(f" {picture} after {seconds:.1f} s")
        self.rows.append((f"{at - self.began:6.1f} s", what, f"{picture} after {seconds:.1f} s", str(file)))

    def table(self) -> str:
        """The rows, aligned."""
        rows = [("at", "what happened", "what the TV showed", "picture"), *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join("  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]) for row in rows)


def tell(story: Story) -> None:
    """The evening: off air, off by a plan, on air, a fault while on air, a killed player program, off air, a refused token."""
    screen = story.screen

    def plan() -> None:
        # As systemd-timesyncd says that the clock is set.
        screen.machine.run("mkdir -p /run/systemd/timesync; touch /run/systemd/timesync/synchronized")
        screen.write_config({"schedule": {"daily": "off", "around_events": "4m"}})
        screen.livekeep("apply", check=True)

    def fail() -> None:
        screen.vimeo.fault("500")
        time.sleep(15)
        screen.vimeo.ok()

    def kill() -> None:
        screen.signal(DISPLAY, signal.SIGKILL)
        deadline = time.monotonic() + 2
        while screen.picture() == "stream" and time.monotonic() < deadline:
            time.sleep(0.005)

    soon = datetime.now(UTC) + timedelta(minutes=8)
    screen.vimeo.schedule(soon)
    story.scene("The box is installed and starts", lambda: screen.install("--token-file", "/root/token"), "holding", 3)
    story.scene('The plan says that the TV is off (daily = "off")', plan, "black")
    story.scene("The event goes live, and the TV comes on", lambda: screen.vimeo.go_live(screen.live.url), "stream", 3)
    story.scene("Vimeo's API breaks down; the stream plays on", fail, "stream", 12)
    story.scene("The player program is killed", kill, "stream")
    story.scene("The stream stands still", screen.live.stall, "holding")
    story.scene("The stream goes on", screen.live.resume, "stream")
    story.scene("The event ends", screen.vimeo.go_off, "holding")
    story.scene("Vimeo refuses the token", lambda: screen.vimeo.fault("401"), "error", 2)
    screen.vimeo.ok()
    story.scene(
        "The token is replaced, and the poller reloads", lambda: screen.machine.systemctl("reload", "livekeep-poller"), "holding"
    )
    story.scene("The TV is mounted on its side (rotate = 90)", screen.turn, "holding")


def overview(folder: Path, rows: Sequence[tuple[str, str, str, str]], names: Sequence[int]) -> Path:
    """One picture of four scenes, side by side."""
    from PIL import Image

    size, gap = (960, 540), 12
    sheet = Image.new("RGB", (2 * size[0] + 3 * gap, 2 * size[1] + 3 * gap), (24, 24, 24))
    for place, index in enumerate(names):
        with Image.open(rows[index][3]) as picture:
            column, line = place % 2, place // 2
            sheet.paste(picture.resize(size), (gap + column * (size[0] + gap), gap + line * (size[1] + gap)))
    path = folder / "overview.png"
    sheet.quantize(160).save(path, optimize=True)
    return path


def show(suite: root.Suite, folder: Path) -> None:
    print(f"Booting a Debian {suite} with a TV, a Vimeo and a live stream of its own (built first: 1 to 3 min) …")
    with DemoScreen(suite) as screen:
        story = Story(screen, folder)
        tell(story)
        print(f"\n{story.table()}\n")
        print(screen.livekeep("status"))
        print(f"The pictures, four of them at a glance: {overview(folder, story.rows, (0, 2, 5, 8))}")


def run(name: str, description: str | None, show: Callable[[root.Suite, Path], None], argv: Sequence[str] | None = None) -> int:
    """The command line of a demo; 0 when `show` showed what it must."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--suite", choices=root.SUITES, default="trixie", help="the Debian to show it on")
    parser.add_argument("--to", type=Path, default=Path("livekeep-demo"), help="the folder for all it leaves")
    options = parser.parse_args(argv)
    folder = options.to.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    # Line by line, even if the output goes to a file.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        show(options.suite, folder)
    except (MachineError, root.RootError, subprocess.CalledProcessError, TimeoutError) as error:
        print(f"livekeep-demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run("livekeep-demo", __doc__, show))
