"""The file list of a channel, refreshed regularly: the files, those still being written, and whether the storage works.

Part of livekeep-worker@CHANNEL. Listing blocks, and runs in the background. While the storage fails, the known items continue to
play, unless they are known to be gone.
"""

import logging

from livekeep.air.storage.library import REST_SECONDS, Library
from livekeep.air.storage.media import MediaFile, StorageError
from livekeep.air.worker import hot
from livekeep.air.worker.play_log import PlayLog
from livekeep.core.config import Channel
from livekeep.core.errors import LivekeepError
from livekeep.core.service import Service
from livekeep.system.background import Background

logger = logging.getLogger("livekeep.worker")

RETRY_SECONDS = 30.0
"""Longest time until a failed storage is listed again."""
HUNG_SECONDS = 60.0
"""A listing that takes this long, as from a network folder whose server is gone, is reported; it continues."""
LEAST_LISTING_SECONDS = 10.0
"""Between two listings after an item failed, which check whether the storage is the cause."""
NEVER = float("inf")


class MediaList:
    """Each pass collects a finished listing and starts the next when it is due."""

    def __init__(self, service: Service, name: str, channel: Channel, library: Library, play_log: PlayLog) -> None:
        self.next_at = 0.0
        """When the next listing begins; `NEVER` during one."""
        self.waiting: frozenset[str] = frozenset()
        """Files that are still being written."""
        self.hot_files: tuple[str, ...] = ()
        self._name, self._channel, self._library, self._play_log = name, channel, library, play_log
        self._listing: Background[tuple[MediaFile, ...]] = Background(service.wake)
        self._began = 0.0
        self._rest_seconds = REST_SECONDS
        self._failed_at: float | None = None

    @property
    def has_failed(self) -> bool:
        return self._failed_at is not None

    def one_pass(self, now: float) -> tuple[MediaFile, ...] | None:
        """The files of a new listing, an empty tuple when they are known to be gone; None if there is no new listing."""
        files = None
        result = self._listing.take(now)
        if isinstance(result, LivekeepError):
            files = self._note_failure(result, now)
        elif result is not None:
            files = result
            self.next_at = now + self._channel.rescan_seconds
            self._wait_for(frozenset(self._library.waiting), now)
            if self._failed_at is not None:
                self._play_log.regain_storage(now - self._failed_at)
                self._failed_at = None
        elif self._listing.is_busy and now - self._began > HUNG_SECONDS:
            sentence = f"{self._channel.media}: does not answer for {HUNG_SECONDS:.0f} s; does its disk or its server hang?"
            self._note_failure(StorageError("timeout", sentence), now)
        if now >= self.next_at and not self._listing.is_busy:
            self.next_at, self._began = NEVER, now
            self._listing.start(self._list)
        return files

    def check_soon(self, now: float) -> None:
        """An item failed, possibly because of the storage."""
        if not self._listing.is_busy and now - self._began >= LEAST_LISTING_SECONDS:
            self.next_at = now

    def _list(self) -> tuple[MediaFile, ...]:
        """Runs in a thread. Raises `StorageError`."""
        files = self._library.list_media()
        if self._channel.order == "hot":
            self.hot_files = hot.hot_files((file.name for file in files), hot.hot_clips())
        return files

    def _wait_for(self, waiting: frozenset[str], now: float) -> None:
        """List again soon for files that are still being written, less often the longer that lasts."""
        is_news = waiting != self.waiting
        for name in waiting - self.waiting:
            logger.info("%s: %s: is still being written; it is played once its size stops changing", self._name, name)
        self.waiting = waiting
        self._rest_seconds = REST_SECONDS if is_news else min(2 * self._rest_seconds, self._channel.rescan_seconds)
        if waiting:
            self.next_at = min(self.next_at, now + self._rest_seconds)

    def _note_failure(self, error: LivekeepError, now: float) -> tuple[MediaFile, ...] | None:
        self.next_at = now + min(self._channel.rescan_seconds, RETRY_SECONDS)
        self._play_log.lose_storage(error)
        if self._failed_at is None:
            self._failed_at = now
        return () if isinstance(error, StorageError) and error.error_type in ("empty", "no-folder") else None
