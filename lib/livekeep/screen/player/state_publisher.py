"""Publishes the player's state: its state file, its status line, and the event of a picture change."""

import dataclasses
import logging
import time
from pathlib import Path

from livekeep.core import events, state
from livekeep.core.errors import TemporaryError
from livekeep.core.service import Service
from livekeep.core.state import Picture, Playback, PlayerState
from livekeep.screen.player.display_connection import DisplayConnection
from livekeep.screen.player.playback_session import Counts

logger = logging.getLogger("livekeep.player")

STATE_SECONDS = 10.0
"""The state is written at each change, and this often for its metrics."""


class StatePublisher:
    """`shown` is the picture on the screen."""

    def __init__(self, service: Service, root: Path) -> None:
        self._service, self._root = service, root
        self.shown: Picture = "none"
        self._since = time.time()
        self._written: PlayerState | None = None
        self._write_failed = False

    def note_shown(self, picture: Picture, reason: str) -> None:
        """The screen shows `picture`; emits an event when that is new."""
        if picture != self.shown:
            sentence = f"On the screen: {picture}. {reason}"
            events.emit(events.PICTURE_CHANGED, sentence, PICTURE=picture, PREVIOUS=self.shown, REASON=reason)
            self.shown, self._since = picture, time.time()

    def write(self, fresh: PlayerState, connection: DisplayConnection, counts: Counts, now: float) -> None:
        """Write `fresh` with the display's metrics when more than metrics changed, and every ten seconds."""
        display = connection.display
        fresh = dataclasses.replace(
            fresh,
            picture=self.shown,
            since=self._since,
            picture_file=display.current if display and self.shown in ("holding", "error") else "",
            display_up=display is not None and display.has_output is not False,
            display_restarts=connection.restarts,
        )
        if self._written and now - self._written.written_monotonic < STATE_SECONDS:
            known = dataclasses.replace(self._written, playback=Playback(), written_at=0.0, written_monotonic=0.0)
            if fresh == known:
                return
        playback, wall = display.playback() if display else Playback(), time.time()
        if display and display.stream.phase == "playing":
            seen = display.motion.changed
            playback = dataclasses.replace(
                playback,
                position_changed_at=wall - (now - display.stream.changed_monotonic),
                picture_changed_at=None if seen is None else wall - (now - seen),
            )
        playback = dataclasses.replace(playback, **dataclasses.asdict(counts))
        self._written = state.stamped(dataclasses.replace(fresh, playback=playback))
        self._service.status(f"{self.shown}: {fresh.reason}")
        try:
            state.write(self._written, self._root)
            self._write_failed = False
        except TemporaryError as error:
            if not self._write_failed:
                logger.error("%s", error)  # noqa: TRY400 – the sentence is complete
            self._write_failed = True
