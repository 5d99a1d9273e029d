"""The player's connection to the display: polls it, detects that it hangs or lost the TV, and has systemd restart it."""

import logging
from pathlib import Path

from livekeep.core import events
from livekeep.core.config import Screen
from livekeep.core.errors import LivekeepError
from livekeep.core.service import Service
from livekeep.screen.player.display_socket import DisplayGoneError
from livekeep.screen.player.driver import Driver
from livekeep.screen.player.mpv import Mpv
from livekeep.system import drm
from livekeep.system.background import Background

logger = logging.getLogger("livekeep.player")

ASK_PLAYING_SECONDS = 1.0
ASK_IDLE_SECONDS = 5.0
METRICS_SECONDS = 10.0
HUNG_SECONDS = 6.0
SAMPLE_SECONDS = 20.0
"""Between two copies of the picture, each 15 ms of a core at 1080p and as much of mpv's time; longer where copies are slow."""
LONGEST_SAMPLE_SECONDS = 120.0
NO_OUTPUT_SECONDS = 15.0
BETWEEN_RESTARTS_SECONDS = 60.0
"""A TV that comes and goes must not use up the restart limit: five within five minutes."""
DISPLAY_UNIT = "livekeep-display.service"
"""The only unit that polkit lets this program restart."""


class DisplayConnection:
    """`display` is the connection, None while there is none; `restarts` counts those that this program requested."""

    def __init__(self, service: Service, root: Path, screen: Screen) -> None:
        self._service, self._root = service, root
        self.watch_connector(screen)
        self.display: Driver | None = None
        self.restarts = 0
        self._connected = self._asked = self._metrics = self._sampled = 0.0
        self._restarted = float("-inf")
        self._restart_call: Background[str] = Background(service.wake, "restart")

    def watch_connector(self, screen: Screen) -> None:
        self._connectors = drm.Watch(screen.connector)

    def reach(self, screen: Screen, now: float) -> bool:
        """Connect if necessary, process the display's messages, poll it when due; whether this is a new connection."""
        result = self._restart_call.take(now)
        if isinstance(result, LivekeepError):
            logger.error("%s cannot be restarted: %s", DISPLAY_UNIT, result)
        is_new = self.display is None and self._connect(screen, now)
        if self.display is None:
            return False
        try:
            self.display.receive()
            self._supervise(self.display, screen, now)
        except DisplayGoneError as error:
            self.drop(error)
        return is_new

    def drop(self, error: DisplayGoneError | None = None) -> None:
        """Close the connection."""
        if error:
            logger.info("display: %s", error)
        if self.display is not None:
            self._service.forget(self.display)
            self.display.close()
            self.display = None

    def next_due(self, now: float) -> float:
        """The latest time (monotonic) to poll the display or give it up."""
        if self.display is None:
            return now + ASK_IDLE_SECONDS
        if self.display.waiting_since is not None:
            return self.display.waiting_since + HUNG_SECONDS
        return self._asked + ask_seconds(self.display)

    def _connect(self, screen: Screen, now: float) -> bool:
        kind: type[Driver] = Mpv
        if screen.player == "vlc":
            # Half a megabyte that few need.
            from livekeep.screen.player.vlc import Vlc as kind  # noqa: N813, PLC0415
        try:
            self.display = kind(self._root / f"display/{kind.name}.sock")
        except DisplayGoneError:
            # It starts, waits for a TV, or is about to be restarted: its socket shows when it is ready.
            return False
        self._connected = self._asked = now
        self._service.watch(self.display, lambda: None)
        return True

    def _supervise(self, display: Driver, screen: Screen, now: float) -> None:
        may_restart = now - self._restarted > BETWEEN_RESTARTS_SECONDS and not display.is_released
        if display.is_released:
            # The time to open the screen begins when it is taken again.
            self._connected = now
        # On a desktop, the desktop itself handles a TV that comes back.
        if screen.resolved_output() == "drm" and self._connectors.came_back(now) and may_restart:
            name = self._connectors.name
            events.emit(events.DISPLAY_RECONNECTED, f"The TV on {name} is back: the display is restarted", CONNECTOR=name)
            self._restart(now)
        elif display.waiting_since is not None and now - display.waiting_since > HUNG_SECONDS:
            seconds = now - display.waiting_since
            sentence = f"{display.name} has not answered for {seconds:.0f} s: it is restarted"
            events.emit(events.DISPLAY_HUNG, sentence, SECONDS=f"{seconds:.1f}")
            self._restart(now)
        elif display.has_output is False and now - self._connected > NO_OUTPUT_SECONDS:
            logger.error("%s has no output on the screen: it is restarted", display.name)
            self._restart(now)
        elif display.waiting_since is None and now - self._asked >= ask_seconds(display) - 0.01:
            with_metrics = not is_idle(display) and now - self._metrics >= METRICS_SECONDS
            display.ask(with_metrics)
            self._asked = now
            self._metrics = now if with_metrics else self._metrics
            pause = sample_seconds(screen, display)
            if pause and now - self._sampled >= pause - 0.01:
                self._sampled = now
                display.sample_picture()

    def _restart(self, now: float) -> None:
        """Request that systemd restart the display, without blocking."""

        def restart() -> str:
            # 0.7 MB that the player needs only for this.
            from livekeep.system import dbus, systemd  # noqa: PLC0415

            return str(dbus.call_once(systemd.job("restart", DISPLAY_UNIT))[0])

        self._restarted = now
        self.restarts += 1
        if not self._restart_call.is_busy:
            self._restart_call.start(restart)
        self.drop()


def is_idle(display: Driver) -> bool:
    return display.stream.phase in ("none", "ended")


def sample_seconds(screen: Screen, display: Driver) -> float:
    """The pause between two copies of the stream's picture, 0 for none at all.

    A fault's detection time covers three copies; on a slow board the pause is a thousand times a copy's duration, to avoid
    dropped frames.
    """
    wanted = [seconds for seconds in (screen.blank_seconds, screen.frozen_seconds) if seconds]
    if not wanted or not display.has_picture:
        return 0.0
    return min(max(min(SAMPLE_SECONDS, min(wanted) / 3), 1000 * display.motion.cost_seconds), LONGEST_SAMPLE_SECONDS)


def ask_seconds(display: Driver) -> float:
    return ASK_IDLE_SECONDS if is_idle(display) and display.empty_since is None else ASK_PLAYING_SECONDS
