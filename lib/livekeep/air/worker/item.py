"""One item on its way to the ingest: from its file to the last of its tags that the relay took. Part of livekeep-worker@CHANNEL.

It is prepared (its headers are known, and with them what becomes of it), perhaps read to its end (all its packets are known),
started (its feeder fills the buffer), and over. The scheduler says when; what it fails by is `ItemFailure`.
"""

import logging

from livekeep.air.storage.media import MediaFile
from livekeep.air.worker.feeder import Feeder
from livekeep.air.worker.flv import FlvError
from livekeep.air.worker.input_buffer import LONGEST_AHEAD_SECONDS, InputBuffer
from livekeep.air.worker.media_info import MediaInfo, scanned
from livekeep.air.worker.packets import Scan
from livekeep.air.worker.play_log import SHORT_SECONDS
from livekeep.air.worker.profile import cut_text, mode_of, plan
from livekeep.core.channels import Played
from livekeep.core.config import Channel

START_SECONDS = 30.0
"""A feeder that has not given enough to begin with for so long is given up."""
DRY_SECONDS = 15.0
"""So is an item that ran dry for so long."""
HUNGRY_SECONDS = 2.0
"""An item on air that has less in hand gets all that the storage gives: no other is read meanwhile."""

logger = logging.getLogger("livekeep.worker")


class Item:
    """Made in a thread, from then on used by the worker's main thread alone; its feeder ends with that."""

    def __init__(self, file: MediaFile, source: str, media: MediaInfo, channel: Channel, is_read: bool) -> None:
        """`source`: what ffmpeg opens. `is_read`: whether all of it was read, or that failed."""
        self.file, self.source, self.media, self.is_read = file, source, media, is_read
        self.plan = plan(media, channel)
        self.buffer = InputBuffer(file.name, 1000 / channel.frame_rate)
        self.feeder: Feeder | None = None
        self.is_watched = False
        """Whether the loop waits for its feeder's bytes."""
        self.has_begun = False
        """Whether something of it went out."""
        self.is_skipped = False
        self.prepared_at = 0.0
        self._channel = channel
        self._started_at = 0.0
        self._dry_since: float | None = None
        self._problem = ""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def entry(self) -> Played:
        """As the play log has it."""
        return Played(self.name, mode_of(self.plan), self.media.duration_seconds)

    @property
    def lack(self) -> str:
        """Why not all of it can go out; "" where nothing says so."""
        return self.media.lack or cut_text(self.media)

    @property
    def seconds_left(self) -> float | None:
        duration = self.media.duration_seconds
        return None if duration is None else duration - self.buffer.played_seconds

    def learn(self, scan: Scan) -> None:
        """All its packets are known. One that has started plays on as it began."""
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
        buffer = self.buffer
        return not buffer.is_over and not buffer.is_full and buffer.ahead_seconds < LONGEST_AHEAD_SECONDS / 2

    @property
    def is_hungry(self) -> bool:
        return not (self.buffer.is_over or self.buffer.is_full) and self.buffer.ahead_seconds < HUNGRY_SECONDS

    def read(self) -> bool:
        """Take what the feeder has; whether it can take more."""
        data = self.feeder.read() if self.feeder else None
        try:
            if data:
                self.buffer.feed(data)
        except FlvError as error:
            self._problem, data = f"its feeder gives no FLV ({error})", None
        if data is None:
            self.buffer.end()
        return not self.buffer.is_over and not self.buffer.is_full

    def stop(self) -> None:
        """Kill its feeder, if that runs."""
        if self.feeder:
            self.feeder.stop()

    def leave(self, problem: str) -> None:
        """No more of it will come, for this reason."""
        self._problem = problem
        self.stop()
        self.buffer.end()

    def is_dry_for_long(self, is_waited_for: bool, now: float) -> bool:
        """Whether nothing came of it for too long; `is_waited_for`: whether it is interrupted, and the ingest takes more."""
        if not is_waited_for or self.buffer.is_ready:
            self._dry_since = None
        elif self._dry_since is None:
            self._dry_since = now
        if self._dry_since is None or now - self._dry_since <= DRY_SECONDS:
            return False
        self._problem = f"nothing came of it for {DRY_SECONDS:.0f} s"
        return True

    def starts_too_slowly(self, now: float) -> bool:
        is_late = now - self._started_at > START_SECONDS
        return is_late and not (self.has_begun or self.buffer.is_ready or self.buffer.is_over)

    def close(self, channel_name: str) -> str:
        """It is over, in one way or another; what is wrong with it, as far as something says so."""
        self.stop()
        quiet_seconds = self.buffer.quiet_ms / 1000
        if quiet_seconds >= SHORT_SECONDS:
            logger.warning("%s: %s: has no sound for %.1f s: quiet sound went out", channel_name, self.name, quiet_seconds)
        errors = self.feeder.errors if self.feeder else ()
        said_last = errors[-1] if errors else "it ended early, and nothing says why"
        return self._problem or self.buffer.problem or self.lack or said_last
