"""A room: a booted machine with livekeep installed, its TV, and stand-ins for the internet, with helpers for tests.

The picture is identified by its mean colour: the shipped holding picture is bluish, the error picture reddish, the live stream
green, and a screen without any picture black.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from tests.machine import layer, root
from tests.machine.live import LiveStream
from tests.machine.machine import Machine, MachineError, wait_for
from tests.machine.network import Network
from tests.machine.standin import PROJECT
from tests.machine.tidy import Disposable
from tests.machine.tv import TV, Colour, Sampler, black
from tests.machine.vimeo import EVENT_ID, TOKEN, VimeoStandIn

SPEED_TESTS: Mapping[root.Suite, str] = {"trixie": "librespeed-cli", "bookworm": "speedtest-cli"}

Tables = Mapping[str, Mapping[str, Any]]
Settings = dict[str, dict[str, Any]]

DISPLAY, PLAYER, POLLER = "livekeep-display.service", "livekeep-player.service", "livekeep-poller.service"
ERROR_SCREEN = "livekeep-error-screen.service"
UNITS = (DISPLAY, PLAYER, POLLER)
DROP_IN = "/etc/livekeep/livekeep.d/50-test.toml"
PICTURES = "/usr/share/livekeep/pictures"

# A timer whose minute has passed.
MINUTE_GONE = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nAccuracySec=100ms\n"

FULL_HD = (1920, 1080)
# The live picture's own size: the player need not scale frames, and drops none on a busy machine.
SMALL_TV = (1280, 720)

# The longest time for a change of picture when nothing is known to slow it: the processor is shared.
SOON_SECONDS = 30.0
LAST_LOOK_SECONDS = 0.2


def kind(grid: Sequence[Colour]) -> str:
    """What a grid of colours shows: "stream", "holding", "error", "black", or "other"."""
    if black(grid):
        return "black"
    red, green, blue = (sum(colour[index] for colour in grid) / len(grid) for index in range(3))
    if green > red + 60 and green > blue + 60:
        return "stream"
    if blue > red + 40:
        return "holding"
    return "error" if red > blue + 20 else "other"


def packages_of(suite: root.Suite) -> tuple[str, ...]:
    """The packages that install.sh would install."""
    return (*root.needed_by("screen", "health"), SPEED_TESTS[suite])


def toml(tables: Tables) -> str:
    """Tables of plain values as TOML: JSON's notation of texts, numbers, booleans and lists is also TOML's."""
    lines = []
    for name, keys in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def merged(base: Tables, changes: Tables) -> Settings:
    """`base` with the keys of `changes` in their tables."""
    names = [*base, *(name for name in changes if name not in base)]
    return {name: {**base.get(name, {}), **changes.get(name, {})} for name in names}


def is_given_up(machine: Machine, unit: str) -> bool:
    """Not just temporarily: since systemd 254 a unit that will be restarted has failed, too, with "before-auto-restart"."""
    return machine.unit_property(unit, "SubState") == "failed"


def is_retried(machine: Machine, unit: str) -> None:
    """After a unit was given up and a timer waits to retry it: end the timer's minute, and wait until the unit runs."""
    timer = f"livekeep-retry@{unit.removesuffix('.service')}.timer"
    assert "OnActiveUSec=1min ;" in machine.unit_property(timer, "TimersMonotonic")
    # On a slow machine the minute may already be over.
    assert "active" in [machine.unit_property(name, "ActiveState") for name in (timer, unit)]
    folder = f"/run/systemd/system/{timer}.d"
    machine.write(f"{folder}/90-soon.conf", MINUTE_GONE)
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", timer)
    try:
        wait_for(lambda: machine.unit_property(unit, "ActiveState") == "active", 60, 0.1)
    except TimeoutError as error:
        raise MachineError(f"{unit} was not tried again; {error}\n{machine.journal(None, '--lines=40')}") from error
    # Only now: a waiting timer takes its times from the reloaded configuration.
    machine.run(["rm", "-r", folder])
    machine.systemctl("daemon-reload")


class Screen(Disposable):
    """One room. `restore()` returns it to its initial state: idle, no fault, the holding picture on the TV."""

    options: ClassVar[tuple[str, ...]] = ("--token-file", "/root/token")
    """Of install.sh."""

    def __init__(
        self,
        suite: root.Suite,
        *,
        bare: bool = False,
        outside: bool = False,
        install: bool = True,
        kept: bool = False,
        more_packages: Sequence[str] = (),
    ) -> None:
        """Nothing is made yet.

        `bare`: without packages and on the host's network; `outside`: the internet is beyond a cable; `kept`: boot the cached
        result of install.sh that all rooms share, instead of running it here.
        """
        super().__init__()
        self.suite = suite
        self.network = Network(outside=outside)
        network = None if bare else self.network
        self.tv = TV(network, *(SMALL_TV if kept else FULL_HD))
        self.live = LiveStream(network)
        self.vimeo = VimeoStandIn(network)
        packages = () if bare else (*packages_of(suite), *more_packages)
        self.machine = Machine(suite, packages=packages, network=network or "host", tv=self.tv, source=PROJECT)
        self._parts: tuple[Disposable, ...] = (self.tv, self.live, self.vimeo, self.machine)
        if network:
            self._parts = (network, *self._parts)
        self._install, self._kept = install, kept

    def _make(self) -> None:
        for part in self._parts:
            if part is self.machine and self._kept:
                self._lay()
            self._stack.enter_context(part)
        self.write_config()
        if self._install and not self._kept:
            self.install(*self.options)

    def _lay(self) -> None:
        # The settings of every room, in addition to this one's.
        files = {"/root/token": f"{TOKEN}\n", DROP_IN: toml(Screen.settings(self))}
        self.machine.layer = layer.installed(self.suite, self.machine.packages, self.options, files)
        self.machine.files = {DROP_IN: toml(self.settings())}

    # Installing and configuring

    def install(self, *options: str) -> str:
        """Run install.sh with --yes as an administrator would, from the home directory; return its output."""
        self.machine.write("/root/token", f"{TOKEN}\n", 0o600)
        done = self.machine.run(["env", "--chdir=/root", "/src/install.sh", "--yes", *options], timeout=600)
        return done.stdout + done.stderr

    def settings(self) -> Settings:
        """The base configuration of every test: faster than the defaults, so that the tests are, too."""
        return {
            "vimeo": {"api_url": self.vimeo.base_url},
            "screen": {"output": "x11", "x11_display": self.tv.display, "stall_seconds": 4.0},
            "streams.main": {"vimeo_event": EVENT_ID},
            "poller": {"interval_seconds": 1.0, "timeout_seconds": 2.0, "failures_before_error": 3},
            # The room has no internet.
            "probes.network": {"hosts": ["127.0.0.1"]},
        }

    def write_config(self, changes: Tables | None = None) -> None:
        """Write the drop-in; no service is notified."""
        self.machine.write(DROP_IN, toml(merged(self.settings(), changes or {})))

    def configure(self, changes: Tables | None = None) -> None:
        """Write the drop-in and have poller and player apply it."""
        self.write_config(changes)
        self.machine.systemctl("reload", POLLER, PLAYER)

    def restore(self) -> None:
        """Return to idle and healthy, whatever a test did."""
        self.vimeo.ok()
        self.vimeo.go_off()
        self.vimeo.token()
        self.vimeo.limit(2500)
        self.vimeo.schedule(None)
        self.live.resume()
        self.live.enforce_expiry(False)
        self.write_config()
        self.forgive()
        self.machine.systemctl("start", "livekeep.target", *UNITS)
        # A test may have left one hanging; the others are not disturbed.
        self.machine.systemctl("reload", POLLER, PLAYER)
        self.shows("holding", within=90)

    def forgive(self) -> None:
        """Reset the restart counters."""
        self.machine.systemctl("reset-failed", *UNITS, check=False)

    # What is on the screen

    def picture(self) -> str:
        """What the TV shows now."""
        return kind(self.tv.grid())

    def shows(self, picture: str, within: float = SOON_SECONDS) -> None:
        """Wait until the TV shows this."""
        with self._explained(f"the TV does not show {picture}"):
            wait_for(lambda: self.picture() == picture, within)

    def keeps(self, picture: str, seconds: float) -> None:
        """Watch the TV for that long: it shows this and nothing else."""
        with self.watched() as sampler:
            time.sleep(seconds)
        assert {sample.label for sample in sampler.samples} == {picture}, self.spans(sampler)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Sampler]:
        """Watch the TV during the block; fails at the end if it was black at any time."""
        with Sampler(self.tv, classify=kind) as sampler:
            yield sampler
            # The picture that a test just waited for belongs to the samples, too.
            time.sleep(LAST_LOOK_SECONDS)
        assert sampler.seconds("black") == 0 and not any(s.label == "black" for s in sampler.samples), self.spans(sampler)

    @staticmethod
    def spans(sampler: Sampler) -> list[tuple[float, str]]:
        """The runs of one picture as (seconds, picture), for a failing test and for the order of pictures."""
        return [(round(until - since, 2), label) for since, until, label in sampler.spans()]

    def moves(self, within: float = SOON_SECONDS) -> None:
        """Wait until the stream is on the TV and its bar moves."""
        self.shows("stream", within)
        before = self.tv.checksum()
        with self._explained("the stream stands still"):
            wait_for(lambda: self.tv.checksum() != before and self.picture() == "stream", within, 0.1)

    def goes_live(self, within: float = SOON_SECONDS) -> None:
        """On air, and on the screen."""
        self.vimeo.go_live(self.live.url)
        self.moves(within)

    # States

    def state(self, unit: Literal["poller", "player"]) -> dict[str, Any]:
        """A unit's state file; empty when it is absent."""
        done = self.machine.run(["cat", f"/run/livekeep/{unit}/state.json"], check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def line(self) -> str:
        """The text on the picture."""
        return str(self.state("player").get("line", ""))

    def says(self, words: str, within: float = SOON_SECONDS) -> None:
        """Wait until the line on the picture contains these words."""
        with self._explained(f"the line does not say {words!r} but {self.line()!r}"):
            wait_for(lambda: words in self.line(), within, 0.2)

    def knows(self, within: float = SOON_SECONDS, **wanted: Any) -> dict[str, Any]:
        """Wait until the poller's state has these values; return the state."""

        def found() -> dict[str, Any]:
            state = self.state("poller")
            return state if all(state.get(name) == value for name, value in wanted.items()) else {}

        with self._explained(f"the poller does not know {wanted}"):
            return wait_for(found, within, 0.2)

    def livekeep(self, *arguments: str, check: bool = False) -> str:
        """Return output and errors of the `livekeep` command."""
        done = self.machine.run(["livekeep", *arguments], check=check)
        return done.stdout + done.stderr

    # Units

    def main_pid(self, unit: str) -> int:
        """The pid inside the machine; 0 when it does not run."""
        return int(self.machine.unit_property(unit, "MainPID") or 0)

    def signal(self, unit: str, number: signal.Signals) -> int:
        """Send a signal to a unit's main process; its pid inside the machine."""
        pid = self.machine.main_pid(unit)
        os.kill(pid.host, number)
        return pid.inside

    def is_renewed(self, unit: str, old: int, within: float = SOON_SECONDS) -> None:
        """Wait until the unit is active in another process."""

        def renewed() -> bool:
            return self.main_pid(unit) not in (0, old) and self.machine.unit_property(unit, "ActiveState") == "active"

        with self._explained(f"{unit} was not started anew"):
            wait_for(renewed, within, 0.1)

    def memory_bytes(self, unit: str) -> int:
        """The proportional set size of a unit's main process."""
        text = Path(f"/proc/{self.machine.main_pid(unit).host}/smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))

    def descriptors(self, unit: str) -> int:
        """How many files a unit's main process has open."""
        return len(list(Path(f"/proc/{self.machine.main_pid(unit).host}/fd").iterdir()))

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise MachineError(f"{what}; {error}\n{self.report()}") from error

    def report(self) -> str:
        """The diagnostics after a failure."""
        poller, player = self.state("poller"), self.state("player")
        told = {name: poller.get(name) for name in ("state", "cause", "reason", "consecutive_failures")}
        shown = {name: player.get(name) for name in ("picture", "reason", "line", "display_up", "url_request")}
        active = self.machine.systemctl("is-active", *UNITS, ERROR_SCREEN, check=False).stdout.split()
        journal = self.machine.journal(None, "--lines=40", "--unit=livekeep*")
        return f"TV: {self.picture()}\npoller: {told}\nplayer: {shown}\nunits: {active}\n{journal}"
