"""A room: a booted machine with livekeep installed, its TV, and stand-ins for the internet, with helpers for tests.

The picture is identified by its mean colour: the shipped holding picture is bluish, the error picture reddish, the live stream
green, and a screen without any picture black.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from tests.machine import layer, root
from tests.machine.live import LiveStream
from tests.machine.machine import Machine, MachineError, wait_for
from tests.machine.room import DROP_IN, SOON_SECONDS, Room, Settings, Tables, toml
from tests.machine.tv import TV, Colour, Sampler, black
from tests.machine.vimeo import EVENT_ID, TOKEN, VimeoStandIn

DISPLAY, PLAYER, POLLER = "livekeep-display.service", "livekeep-player.service", "livekeep-poller.service"
ERROR_SCREEN = "livekeep-error-screen.service"
UNITS = (DISPLAY, PLAYER, POLLER)
PICTURES = "/usr/share/livekeep/pictures"

# A timer whose minute has passed.
MINUTE_GONE = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nAccuracySec=100ms\n"

FULL_HD = (1920, 1080)
# The live picture's own size: the player need not scale frames, and drops none on a busy machine.
SMALL_TV = (1280, 720)

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


class Screen(Room):
    """One room. `restore()` returns it to its initial state: idle, no fault, the holding picture on the TV."""

    options: ClassVar[tuple[str, ...]] = ("--token-file", "/root/token")

    def __init__(
        self, suite: root.Suite, *, more_packages: Sequence[str] = (), bare: bool = False, kept: bool = False, **how: bool
    ) -> None:
        super().__init__(suite, (*root.packages_of(suite), *more_packages), bare=bare, kept=kept, **how)
        network = None if bare else self.network
        self.tv = self.machine.tv = TV(network, *(SMALL_TV if kept else FULL_HD))
        self.live = LiveStream(network)
        self.vimeo = VimeoStandIn(network)
        self.parts += [self.tv, self.live, self.vimeo]

    def _lay(self) -> None:
        # The settings of every room, in addition to this one's.
        files = {"/root/token": f"{TOKEN}\n", DROP_IN: toml(Screen.settings(self))}
        self.machine.layer = layer.installed(self.suite, self.machine.packages, self.options, files)
        self.machine.files = {DROP_IN: toml(self.settings())}

    def install(self, *options: str, check: bool = True) -> str:
        self.machine.write("/root/token", f"{TOKEN}\n", 0o600)
        return super().install(*options, check=check)

    def settings(self) -> Settings:
        return {
            **super().settings(),
            "vimeo": {"api_url": self.vimeo.base_url},
            "screen": {"output": "x11", "x11_display": self.tv.display, "stall_seconds": 4.0},
            "streams.main": {"vimeo_event": EVENT_ID},
            "poller": {"interval_seconds": 1.0, "timeout_seconds": 2.0, "failures_before_error": 3},
        }

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
        return self.json_of(f"{unit}/state.json")

    def line(self) -> str:
        """The text on the picture."""
        return str(self.state("player").get("line", ""))

    def says(self, words: str, within: float = SOON_SECONDS) -> None:
        """Wait until the line on the picture contains these words."""
        with self._explained(f"the line does not say {words!r}"):
            wait_for(lambda: words in self.line(), within, 0.2)

    def knows(self, within: float = SOON_SECONDS, **wanted: Any) -> dict[str, Any]:
        """Wait until the poller's state has these values; return the state."""

        def known() -> dict[str, Any]:
            state = self.state("poller")
            return state if all(state.get(name) == value for name, value in wanted.items()) else {}

        return self.until(f"the poller knows {wanted}", known, within)

    def report(self) -> str:
        poller, player = self.state("poller"), self.state("player")
        told = {name: poller.get(name) for name in ("state", "cause", "reason", "consecutive_failures")}
        shown = {name: player.get(name) for name in ("picture", "reason", "line", "display_up", "url_request")}
        return f"TV: {self.picture()}\npoller: {told}\nplayer: {shown}\n{super().report()}"
