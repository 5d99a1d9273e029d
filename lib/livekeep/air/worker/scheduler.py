"""The scheduler of a channel: prepares the next items, starts their feeders in time, and feeds the relay.

Part of livekeep-worker@CHANNEL. Preparing and scanning items block, and run in the background; the loop starts the feeders. The
next item is scanned while the current one plays. If the scan is not finished when its turn comes, the item is transcoded, which
works for any item, and the scan continues for the next time.
"""

import functools
import logging
import threading
from dataclasses import replace
from random import Random

from livekeep.air.storage.library import Library
from livekeep.air.storage.media import MediaFile, StorageError
from livekeep.air.worker.item import Item
from livekeep.air.worker.media_info import ItemError, ItemFailure, scanned
from livekeep.air.worker.media_list import NEVER, RETRY_SECONDS, MediaList
from livekeep.air.worker.packets import Scan
from livekeep.air.worker.play_log import PlayLog
from livekeep.air.worker.playlist import Playlist
from livekeep.air.worker.probe import probe
from livekeep.air.worker.relay import Relay
from livekeep.air.worker.scan import Scans, scan
from livekeep.air.worker.signed_url_proxy import SignedUrlProxy
from livekeep.core.channels import Played
from livekeep.core.config import Channel
from livekeep.core.errors import LivekeepError
from livekeep.core.service import Service
from livekeep.system.background import Background

logger = logging.getLogger("livekeep.worker")

PREFETCH_SECONDS = 20.0
"""How long before an item's end the next one's feeder starts."""
ENOUGH_SECONDS = 5.0
"""The least that is buffered ahead: if the next item is shorter, the one after it is prepared too."""
MOST_WAITING = 4
"""Most items ready at once: each may have an ffmpeg that encodes."""
PROBE_SECONDS = 30.0
SCAN_PATIENCE_SECONDS = 5.0
"""How long the slate stays for an item that is being scanned, because a finished scan may allow copying it."""
LAST_START_SECONDS = 10.0
"""This long before the current item's end, the scheduler stops waiting for the next item's scan."""
SHORT_START_SECONDS, SHORT_PATIENCE_SECONDS = 3.0, 1.0
"""The same for a short current item, and the longest wait."""
FAILURES_AT_ONCE = 20
FAILURES_PAUSE_SECONDS = 1.0
"""After this many failures in a row, the next item is prepared only after a pause."""


class Scheduler:
    """One pass does what is possible now, and returns when the next is due; `play_log` records the results."""

    def __init__(
        self,
        service: Service,
        relay: Relay[Item],
        name: str,
        channel: Channel,
        library: Library,
        proxy: SignedUrlProxy,
        scans: Scans,
    ) -> None:
        self.play_log = PlayLog(name)
        self._service, self._relay, self._name, self._channel = service, relay, name, channel
        self._proxy, self._scans = proxy, scans
        self._playlist = Playlist(channel.order, channel.loop, Random())  # noqa: S311 – an order to play in
        self._media_list = MediaList(service, name, channel, library, self.play_log)
        self._preparing: Background[Item] = Background(service.wake)
        self._preparing_name = ""
        self._next_preparation = 0.0
        self._next_retry = NEVER
        self._failures = 0
        self._next_item: Item | None = None
        self._scanning: Background[Scan] = Background(service.wake)
        self._may_scan = threading.Event()
        self._being_scanned: Item | None = None
        self._played_unscanned: Item | None = None
        """The item being scanned, if it has played in the meantime."""
        self._started: list[Item] = []

    def one_pass(self, now: float) -> float:
        """Raises `LivekeepError` only for faults that no later pass can fix."""
        self._list(now)
        self._take_prepared(now)
        self._scan(now)
        self._note_changes(now)
        self._give_up(now)
        self._note_changes(now)
        self._prepare_next(now)
        self._start_next(now)
        for item in self._started:
            # Wait for data from the feeders whose buffer has room.
            if item.feeder and not item.is_watched and item.wants_bytes:
                item.is_watched = True
                self._service.watch(item.feeder, functools.partial(self._read, item))
        if queued := self._queued():
            self.play_log.next = queued[0].entry
        elif self._next_item:
            self.play_log.next = self._next_item.entry
        if self._relay.is_on_slate:
            self.play_log.slate_reason = self._slate_reason()
        return min(self._media_list.next_at, self._next_retry, now + 1.0)

    def skip(self) -> None:
        """Skip to the next item: from the current one, or from one that is waited for."""
        if item := self._relay.skip():
            item.is_skipped = True
        else:
            logger.info("%s: nothing is being played that could be skipped", self._name)

    def stop(self) -> None:
        for item in self._started:
            item.stop()

    # Preparation

    def _list(self, now: float) -> None:
        had_failed = self._media_list.has_failed
        files = self._media_list.one_pass(now)
        if files is None:
            return
        self._playlist.update(files)
        self._playlist.favour(self._media_list.hot_files)
        self.play_log.know(len(self._playlist))
        if self._next_item and (file := self._playlist.file(self._next_item.name)) != self._next_item.file:
            self._next_item = self.play_log.next = None
            if file:
                # Its length or format may differ.
                self._prepare(file)
        if had_failed and not self._media_list.has_failed:
            self._next_preparation = now
            self._playlist.retry()

    def _prepare_next(self, now: float) -> None:
        if self._preparing.is_busy or self._next_item or now < self._next_preparation or self._has_enough():
            return
        if now >= self._next_retry:
            self._next_retry = NEVER
            self._playlist.retry()
        file = self._playlist.next()
        if file:
            self._next_retry = NEVER
            self._prepare(file)
        elif self._playlist.has_failed and self._next_retry == NEVER:
            self._next_retry = now + RETRY_SECONDS

    def _prepare(self, file: MediaFile) -> None:
        def prepared() -> Item:
            """Runs in a thread. Raises `ItemError` or `StorageError`."""
            source = self._proxy.address_of(file.name)
            media = probe(source, PROBE_SECONDS, file.name)
            known = self._scans.load(file, self._proxy.version_of(source))
            return Item(file, source, scanned(media, known) if known else media, self._channel, is_read=known is not None)

        self._preparing_name = file.name
        self.play_log.next = Played(file.name)
        self._preparing.start(prepared)

    def _take_prepared(self, now: float) -> None:
        result = self._preparing.take(now)
        if isinstance(result, LivekeepError):
            self.play_log.next = None
            kind = result.error_type if isinstance(result, ItemError | StorageError) else ItemFailure.OTHER
            self.play_log.fail(Played(self._preparing_name, outcome="failed", problem=str(result)), kind)
            self._slow_down(self._preparing_name, now)
        elif result is not None:
            self._next_item, result.prepared_at = result, now
            self._note_next(result)

    def _note_next(self, item: Item) -> None:
        self.play_log.next = item.entry
        logger.debug("%s: %s: %s", self._name, item.name, "; ".join(item.plan.reasons) or "is copied")

    def _slow_down(self, name: str, now: float) -> None:
        """An item failed: pause further attempts if the storage is the cause, or failures continue."""
        self._playlist.failed(name)
        self._failures += 1
        if self.play_log.storage_problem:
            self._next_preparation = now + RETRY_SECONDS
        elif self._failures >= FAILURES_AT_ONCE:
            self._next_preparation = now + FAILURES_PAUSE_SECONDS
        self._media_list.check_soon(now)

    def _scan(self, now: float) -> None:
        """Scan the next item, one at a time, and only while no item on air needs the storage's bandwidth."""
        result, item = self._scanning.take(now), self._being_scanned
        if result is not None and item is not None:
            self._being_scanned = None
            if isinstance(result, LivekeepError):
                logger.info("%s: %s", self._name, result)
                item.is_read = True
            else:
                item.learn(result)
            if item is self._next_item:
                self._note_next(item)
            if item is self._played_unscanned:
                self.play_log.judge_late(item.entry, item.played_seconds, item.lack)
            self._played_unscanned = None
        following = self._next_item
        if following and not following.is_read and not self._scanning.is_busy:
            self._being_scanned = following
            self._scanning.start(functools.partial(self._scan_all, following))
        on_air = self._relay.current or self._relay.interrupted
        if on_air and on_air.is_hungry:
            self._may_scan.clear()
        else:
            self._may_scan.set()

    def _scan_all(self, item: Item) -> Scan:
        """Runs in a thread. Raises `ItemError`."""
        packets = scan(item.source, item.media, item.name, may_read=self._may_scan)
        self._scans.keep(item.file, self._proxy.version_of(item.source), packets)
        return packets

    # Started items

    def _queued(self) -> list[Item]:
        """The items that are ready, or nearly ready, in order."""
        return [item for item in self._relay.queue if item is not self._relay.interrupted and not item.is_empty]

    def _has_enough(self) -> bool:
        """Whether no further item needs to be prepared now."""
        queued = self._queued()
        lengths = [item.media.duration_seconds or ENOUGH_SECONDS for item in queued]
        current = self._relay.current
        left = (current.seconds_left if current else None) or 0.0
        return bool(queued) and (len(queued) >= MOST_WAITING or sum(lengths) + left >= ENOUGH_SECONDS)

    def _start_next(self, now: float) -> None:
        item, current = self._next_item, self._relay.current
        if item is None or self._has_enough():
            return
        left = current.seconds_left if current and not current.is_over else None
        if (left is not None and left > PREFETCH_SECONDS) or self._waits_for_scan(item, now):
            return
        self._next_item = None
        try:
            item.start(self._name, now)
        except LivekeepError as error:
            self.play_log.fail(Played(item.name, outcome="failed", problem=str(error)), ItemFailure.NOT_STARTED)
            self._slow_down(item.name, now)
            return
        self._started.append(item)
        self._relay.queue.append(item)

    def _waits_for_scan(self, item: Item, now: float) -> bool:
        """Whether the item should wait for its scan, since it may then be copied."""
        if item.is_read or self._being_scanned is not item:
            return False
        waited = now - item.prepared_at
        current = self._relay.current
        if current is None:
            return waited < SCAN_PATIENCE_SECONDS
        left = current.seconds_left
        return left is not None and (
            left > LAST_START_SECONDS or (left > SHORT_START_SECONDS and waited < SHORT_PATIENCE_SECONDS)
        )

    def _read(self, item: Item) -> None:
        if not item.read():
            self._unwatch(item)

    def _unwatch(self, item: Item) -> None:
        if item.is_watched and item.feeder:
            item.is_watched = False
            self._service.forget(item.feeder)

    def _give_up(self, now: float) -> None:
        """Give up items that deliver no more data, or whose object was replaced in the bucket."""
        for item in self._started:
            is_waited_for = item is self._relay.interrupted and self._relay.is_connected
            problem = item.delay_problem(is_waited_for, now)
            if problem and is_waited_for:
                self._relay.drop_interrupted()
            if not item.is_over and self._proxy.was_replaced(item.source):
                problem = "it was replaced or removed in the bucket while it was read"
            if problem:
                self._unwatch(item)
                item.leave(problem)

    # Results

    def _note_changes(self, now: float) -> None:
        changes, self._relay.changes = self._relay.changes, []
        for change in changes:
            item = change.item
            if change.kind == "slate":
                self.play_log.show_slate(self._slate_reason())
            elif change.kind == "slate-left":
                self.play_log.leave_slate(change.seconds)
            elif item and change.kind == "began":
                item.has_begun, self._failures = True, 0
                self.play_log.begin(item.entry)
            elif item and change.kind == "ended":
                self._close(item, now)

    def _close(self, item: Item, now: float) -> None:
        self._unwatch(item)
        self._started.remove(item)
        problem, played_seconds = item.close(self._name), item.played_seconds
        outcome = self.play_log.end(item.entry, played_seconds, item.is_skipped, problem, item.is_cut)
        if outcome == "played" and item is self._being_scanned:
            # The header's length is not yet confirmed.
            self._played_unscanned = item
        if outcome == "failed":
            self._slow_down(item.name, now)
        else:
            self._playlist.played()

    def _slate_reason(self) -> str:
        dry, waiting = self._relay.interrupted, self._media_list.waiting
        if dry:
            return f"{dry.name}: it did not continue in time"
        if self.play_log.storage_problem:
            return self.play_log.storage_problem
        if not len(self._playlist) and waiting:
            return f"{min(waiting)}: is still being written"
        if not len(self._playlist):
            return "no item is known yet"
        if self._next_retry != NEVER:
            return "no item can be played"
        is_coming = self._preparing.is_busy or self._next_item or self._queued() or self._playlist.peek()
        return "the next item is not ready" if self._channel.loop or is_coming else "everything was played"

    def present(self) -> Played | None:
        """The item on air with its progress."""
        current = self._relay.current
        if self.play_log.now is None:
            return None
        seconds = current.played_seconds if current else self.play_log.now.played_seconds
        return replace(self.play_log.now, played_seconds=round(seconds, 1))
