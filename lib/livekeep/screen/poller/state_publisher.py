"""Publishes livekeep-poller's state, secret URL and events. Does all the poller's writing.

Writes poller/state.json, stream/stream.json (the signed URL, for livekeep-player alone), and poller/on_air.json, whose change
starts livekeep-tv.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from livekeep.core import events, state
from livekeep.core.errors import TemporaryError
from livekeep.core.state import OnAir, PollerState, StreamUrl
from livekeep.screen.poller.transitions import status_line
from livekeep.screen.poller.vimeo import expiry_of

WRITE_SECONDS = 10.0
"""A state older than this suggests that its writer is stuck."""

logger = logging.getLogger("livekeep.poller")


class StatePublisher:
    """The newest state of the stream, and its copy in the files; `written_monotonic` is infinite before the first write."""

    def __init__(self, root: Path, set_status: Callable[[str], None]) -> None:
        self.now = PollerState()
        self._root = root
        self._set_status = set_status
        self.written_monotonic = math.inf
        self._failed: set[type] = set()
        # As a unit it finds both folders; a manual run creates them.
        for kind, mode in ((PollerState, 0o750), (StreamUrl, 0o700)):
            with contextlib.suppress(OSError):
                state.path_of(kind, root).parent.mkdir(mode=mode, parents=True, exist_ok=True)
        self._on_air: OnAir | None = None
        with contextlib.suppress(TemporaryError):
            self._on_air = replace(state.read(OnAir, root), written_at=0.0, written_monotonic=0.0)

    def publish(self, fresh: PollerState, url: StreamUrl | None = None) -> None:
        """Publish `fresh`: first the secret, then the state, then an event if the stream's state changed.

        `url` is the one to play now; without it, a live stream keeps its current URL.
        """
        if fresh.state != "live":
            state.remove(StreamUrl, self._root)
            fresh = replace(fresh, url_obtained_monotonic=None, url_expires=None)
        elif url:
            self._write(url)
            fresh = replace(fresh, url_obtained_monotonic=url.obtained_monotonic, url_expires=expiry_of(url.url))
        previous, self.now = self.now, fresh
        self.write()
        on_air = on_air_of(fresh)
        if on_air and on_air != self._on_air:
            self._on_air = on_air
            self._write(on_air)
        if fields_of_event(previous) != fields_of_event(fresh):
            sentence = (
                f'The stream "{fresh.selected}" is {fresh.state}' if fresh.state != "error" else f'Stream "{fresh.selected}"'
            )
            sentence += f": {fresh.reason}" if fresh.reason else ""
            sentence += f"; {fresh.advice}" if fresh.advice else ""
            events.emit(
                events.STREAM_REFUSED if fresh.cause in ("refused", "bad-config") else events.STREAM_STATE_CHANGED,
                sentence,
                STREAM=fresh.selected,
                STATE=fresh.state,
                CAUSE=fresh.cause,
                PREVIOUS=previous.state,
            )
        self._set_status(status_line(fresh))

    def write(self) -> None:
        """Write the current state."""
        self.written_monotonic = time.monotonic()
        self._write(self.now)

    def forget(self) -> None:
        """The unit ends: remove the state, which reports that. on_air.json stays: a restart must not switch the TV."""
        state.remove(StreamUrl, self._root)
        state.remove(PollerState, self._root)

    def _write(self, content: state.State) -> None:
        try:
            state.write(state.stamped(content), self._root)
            self._failed.discard(type(content))
        except TemporaryError as error:
            if type(content) not in self._failed:
                logger.error("%s", error)  # noqa: TRY400 - the sentence is complete
            self._failed.add(type(content))


def fields_of_event(known: PollerState) -> tuple[str, ...]:
    """Which stream, and its state."""
    return known.selected, known.source, known.state, known.cause


def on_air_of(known: PollerState) -> OnAir | None:
    """What livekeep-tv needs; None while there is no answer yet, because the last run's may still be true."""
    if known.last_success is None and known.cause in ("", "outage", "rate-limited"):
        return None
    is_live = known.state == "live" or known.live_since is not None
    return OnAir(is_live=is_live, next_start=known.next_start, source=known.source)
