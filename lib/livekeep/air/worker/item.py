"""One item, from its file to the last of its tags that the relay took. Part of livekeep-worker@CHANNEL.

An item is prepared (headers read, plan made), optionally scanned (all packets read), started (its feeder fills the buffer), and
over. The scheduler decides when; `ItemFailure` names the reason for a failure.
"""

import logging

from livekeep.air.storage.media import MediaFile
from livekeep.air.worker.feeder import Feeder
from livekeep.air.worker.flv import FlvError
from livekeep.air.worker.input_buffer import LONGEST_AHEAD_SECONDS, InputBuffer
from livekeep.air.worker.media_info import MediaInfo, scanned
from livekeep.air.worker.packets import Scan
from livekeep.air.worker.play_log import SHORT_SECONDS
from livekeep.air.worker.profile import cut_text, plan
from livekeep.core.channels import Played
from livekeep.core.config import Channel

START_SECONDS = 30.0
"""A feeder that does not deliver enough to begin within this time is given up."""
DRY_SECONDS = 15.0
"""So is an item that stays dry for this long."""
HUNGRY_SECONDS = 2.0
"""While the item on air has less buffered, it gets the storage's whole bandwidth: no other item is read."""

logger = logging.getLogger("livekeep.worker")


class Item(InputBuffer):
    """An item and its buffer. Made in a thread, then used only by the worker's main thread; its feeder ends with that thread."""

    def __init__(self, file: MediaFile, source: str, media: MediaInfo, channel: Channel, is_read: bool) -> None:
        """`source`: what ffmpeg opens. `is_read`: whether it was scanned to its end, or the scan failed."""
        super().__init__(file.name, 1000 / channel.frame_rate)
        self.file, self.source, self.media, self.is_read = file, source, media, is_read
        self.plan = plan(media, channel)
        self.feeder: Feeder | None = None
        self.is_watched = False
        """Whether the loop waits for its feeder's bytes."""
        self.has_begun = False
        """Whether any of it was sent."""
        self.is_skipped = False
        self.prepared_at = 0.0
        self._channel = channel
        self._started_at = 0.0
        self._dry_since: float | None = None
        self._failure = ""

    @property
    def entry(self) -> Played:
        """Its entry in the play log."""
        return Played(self.name, self.plan.mode, self.media.duration_seconds)

    @property
    def lack(self) -> str:
        """Why it can't be played in full; "" if no reason is known."""
        return self.media.lack or cut_text(self.media)

    @property
    def seconds_left(self) -> float | None:
        duration = self.media.duration_seconds
        return None if duration is None else duration - self.played_seconds

    def learn(self, scan: Scan) -> None:
        """Use the scan of all its packets. An item that has started plays on as it began."""
        self.media, self.is_read = scanned(self.media, scan), True
        if self.feeder is None:
            self.plan = plan(self.media, self._channel)

    def start(self, channel_name: str, now: float) -> None:
        """Raises `TemporaryError` when its feeder cannot be started."""
        self._started_at = now
        self.feeder = Feeder(self.source, self.name, self.plan, self.media, self._channel, channel_name=channel_name)

    @property
    def wants_bytes(self) -> bool:
        """Whether its buffer has room for more than a little."""
        return not self.is_over and not self.is_full and self.ahead_seconds < LONGEST_AHEAD_SECONDS / 2

    @property
    def is_hungry(self) -> bool:
        return not (self.is_over or self.is_full) and self.ahead_seconds < HUNGRY_SECONDS

    def read(self) -> bool:
        """Read the feeder's output into the buffer; whether the buffer has room for more."""
        data = self.feeder.read() if self.feeder else None
        try:
            if data:
                self.feed(data)
        except FlvError as error:
            self._failure, data = f"its feeder's output is not FLV ({error})", None
        if data is None:
            self.end()
        return not self.is_over and not self.is_full

    def stop(self) -> None:
        """Kill its feeder, if it runs."""
        if self.feeder:
            self.feeder.stop()

    def leave(self, problem: str) -> None:
        """Abandon the rest of it for this reason."""
        self._failure = problem
        self.stop()
        self.end()

    def delay_problem(self, is_waited_for: bool, now: float) -> str:
        """Why it delivers too slowly to wait any longer; "" if it doesn't.

        `is_waited_for`: it is interrupted, and the ingest accepts data.
        """
        if not is_waited_for or self.is_ready:
            self._dry_since = None
        elif self._dry_since is None:
            self._dry_since = now
        if self._dry_since is not None and now - self._dry_since > DRY_SECONDS:
            return f"it delivered nothing for {DRY_SECONDS:.0f} s"
        is_late = now - self._started_at > START_SECONDS
        if is_late and not (self.has_begun or self.is_ready or self.is_over):
            return f"it delivered too little within {START_SECONDS:.0f} s"
        return ""

    def close(self, channel_name: str) -> str:
        """End the item; what went wrong with it, as far as known."""
        self.stop()
        quiet_seconds = self.quiet_ms / 1000
        if quiet_seconds >= SHORT_SECONDS:
            logger.warning("%s: %s: has no sound for %.1f s; quiet sound replaced it", channel_name, self.name, quiet_seconds)
        errors = self.feeder.errors if self.feeder else ()
        said_last = errors[-1] if errors else "it ended early for an unknown reason"
        return self._failure or self.problem or self.lack or said_last
