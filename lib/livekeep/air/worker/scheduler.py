"""The scheduler of a channel: lists the media, prepares what comes next, and feeds the relay.

Part of livekeep-worker@CHANNEL. Listing the media, looking at items and reading them block, and run beside the loop; feeders are
started by it. The next item is read to its end while the present one plays. One that is not read by its turn is encoded, which
any item stands, and goes on being read for the next time.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from livekeep.air.storage.library import REST_SECONDS, Library
from livekeep.air.storage.media import MediaFile, NoFolderError, NothingThereError, StorageError, StorageTimeoutError
from livekeep.air.worker import hot
from livekeep.air.worker.feeder import Feeder
from livekeep.air.worker.flv import FlvError
from livekeep.air.worker.input_buffer import LONGEST_AHEAD_SECONDS, InputBuffer
from livekeep.air.worker.item import Media, scanned
from livekeep.air.worker.packets import Scan
from livekeep.air.worker.play_log import SHORT_SECONDS, PlayLog
from livekeep.air.worker.playlist import Playlist
from livekeep.air.worker.probe import ItemError, probe
from livekeep.air.worker.profile import Plan, cut_text, mode_of, plan
from livekeep.air.worker.relay import Change, Relay
from livekeep.air.worker.scan import Scans, scan
from livekeep.air.worker.signed_url_proxy import SignedUrlProxy
from livekeep.core.channels import Played
from livekeep.core.config import Channel
from livekeep.core.errors import LivekeepError
from livekeep.core.service import Service
from livekeep.system.background import Background

logger = logging.getLogger("livekeep.worker")

PREFETCH_SECONDS = 20.0
"""So long before an item's end the next one's feeder is started."""
ENOUGH_SECONDS = 5.0
"""So much is to be in hand: behind an item that is over sooner, the one after it is made ready too."""
MOST_WAITING = 4
"""Items that are ready at once: each may have an ffmpeg that encodes."""
PROBE_SECONDS = 30.0
START_SECONDS = 30.0
"""A feeder that has not given enough to begin with for so long is given up."""
DRY_SECONDS = 15.0
"""So is an item that ran dry for so long."""
SCAN_PATIENCE_SECONDS = 5.0
"""So long the slate stays for an item that is being read, which may be copied then."""
LAST_START_SECONDS = 10.0
"""So long before the end of the present item the next one is no longer waited for to be read."""
SHORT_START_SECONDS, SHORT_PATIENCE_SECONDS = 3.0, 1.0
"""The same where the present item is short, and how long at most."""
HUNGRY_SECONDS = 2.0
"""An item on air that has less in hand gets all that the storage gives: no other is read meanwhile."""
RETRY_SECONDS = 30.0
"""After so long what failed is tried again, when nothing else is left."""
HUNG_SECONDS = 60.0
"""A listing that takes so long, such as that of a network's folder whose server is gone, is told of; it goes on."""
LEAST_LISTING_SECONDS = 10.0
"""Between two listings, when an item fails: is it the storage?"""
FAILURES_AT_ONCE = 20
FAILURES_PAUSE_SECONDS = 1.0
"""After so many failures in a row the next item is looked at only after a pause."""
NEVER = float("inf")


@dataclass(frozen=True)
class Prepared:
    """An item that was looked at."""

    file: MediaFile
    source: str
    media: Media
    plan: Plan
    is_tried: bool = False
    """Whether all of it was read, or that failed."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def entry(self) -> Played:
        """As the play log has it."""
        return Played(self.name, mode_of(self.plan), self.media.duration_seconds)


@dataclass(eq=False)
class Feed:
    """An item on its way: its feeder, and where its tags go."""

    prepared: Prepared
    feeder: Feeder
    buffer: InputBuffer
    began_monotonic: float
    is_watched: bool = False
    has_begun: bool = False
    dry_since: float | None = None
    problem: str = ""
    is_skipped: bool = False


class Scheduler:
    """One pass does what can be done now, and says when it wants the next; `play_log` is what it did."""

    def __init__(
        self, service: Service, relay: Relay, name: str, channel: Channel, library: Library, proxy: SignedUrlProxy, scans: Scans
    ) -> None:
        self.play_log = PlayLog(name)
        self._service, self._relay, self._name, self._channel = service, relay, name, channel
        self._library, self._proxy, self._scans = library, proxy, scans
        self._playlist = Playlist(channel.order, channel.loop, Random())  # noqa: S311 – an order to play in
        self._listing: Background[tuple[MediaFile, ...]] = Background(service.wake)
        self._next_listing = 0.0
        self._listing_began = 0.0
        self._waiting: set[str] = set()
        """Files that are still being written."""
        self._hot_files: tuple[str, ...] = ()
        self._rest_seconds = REST_SECONDS
        self._storage_failed_at: float | None = None
        self._look: Background[Prepared] = Background(service.wake)
        self._looked_at = ""
        self._next_look = 0.0
        self._failures = 0
        self._prepared: Prepared | None = None
        self._prepared_at = 0.0
        self._reading: Background[Scan] = Background(service.wake)
        self._may_read = threading.Event()
        self._read_item: Prepared | None = None
        """What is being read to its end."""
        self._played_unread: tuple[Prepared, float] | None = None
        """It, when it has played meanwhile, and for how long."""
        self._feeds: dict[InputBuffer, Feed] = {}
        self._next_retry = NEVER
        self._frame_ms = 1000 / channel.frame_rate

    def one_pass(self, now: float) -> float:
        """Raises `LivekeepError` only for what no other pass can mend."""
        self._list(now)
        self._take_look(now)
        self._take_scan(now)
        self._note_changes(now)
        self._give_up(now)
        self._start_look(now)
        self._start_scan()
        self._share_storage()
        self._start_feeder(now)
        self._watch()
        if queued := self._queued():
            self.play_log.next = queued[0].prepared.entry
        elif self._prepared:
            self.play_log.next = self._prepared.entry
        if self._relay.is_on_slate:
            self.play_log.slate_reason = self._slate_reason()
        return min(self._next_listing, self._next_retry, now + 1.0)

    def skip(self) -> None:
        """Go on to the next item: from the present one, or from one that is waited for."""
        buffer = self._relay.skip()
        if buffer is None:
            logger.info("%s: nothing is being played that could be skipped", self._name)
        else:
            self._feeds[buffer].is_skipped = True

    def stop(self) -> None:
        for feed in self._feeds.values():
            feed.feeder.stop()

    # Which items there are

    def _list(self, now: float) -> None:
        found = self._listing.take(now)
        if isinstance(found, LivekeepError):
            self._note_storage_failure(found, now)
        elif found is not None:
            self._note_files(found, now)
        elif self._listing.is_busy and now - self._listing_began > HUNG_SECONDS:
            sentence = f"{self._channel.media}: gives no answer for {HUNG_SECONDS:.0f} s; does its disk or its server hang?"
            self._note_storage_failure(StorageTimeoutError(sentence), now)
        if now >= self._next_listing and not self._listing.is_busy:
            self._next_listing, self._listing_began = NEVER, now
            self._listing.start(self._list_media)

    def _list_media(self) -> tuple[MediaFile, ...]:
        """In a thread. Raises `StorageError`."""
        files = self._library.list_media()
        if self._channel.order == "hot":
            self._hot_files = hot.hot_files((file.name for file in files), hot.hot_clips())
        return files

    def _note_files(self, files: tuple[MediaFile, ...], now: float) -> None:
        self._next_listing = now + self._channel.rescan_seconds
        self._wait_for(set(self._library.waiting), now)
        self._take_over(files)
        self._playlist.favour(self._hot_files)
        if self._storage_failed_at is not None:
            self.play_log.regain_storage(now - self._storage_failed_at)
            self._storage_failed_at, self._next_look = None, now
            self._playlist.retry()

    def _wait_for(self, waiting: set[str], now: float) -> None:
        """List again soon for files that are still being written, and less and less often when that goes on."""
        is_news = waiting != self._waiting
        for name in waiting - self._waiting:
            logger.info("%s: %s: is still being written; it joins when its size is at rest", self._name, name)
        self._waiting = waiting
        self._rest_seconds = REST_SECONDS if is_news else min(2 * self._rest_seconds, self._channel.rescan_seconds)
        if waiting:
            self._next_listing = min(self._next_listing, now + self._rest_seconds)

    def _take_over(self, files: tuple[MediaFile, ...]) -> None:
        self._playlist.update(files)
        self.play_log.know(len(self._playlist))
        if self._prepared and (file := self._playlist.file(self._prepared.name)) != self._prepared.file:
            self._prepared = self.play_log.next = None
            if file:
                # Its length or its format may be another.
                self._look_at(file)

    def _note_storage_failure(self, error: LivekeepError, now: float) -> None:
        """The items that are known go on being played, unless they are known to be gone."""
        self._next_listing = now + min(self._channel.rescan_seconds, RETRY_SECONDS)
        self.play_log.lose_storage(error)
        if self._storage_failed_at is None:
            self._storage_failed_at = now
        if isinstance(error, NothingThereError | NoFolderError):
            self._take_over(())

    # What comes next

    def _start_look(self, now: float) -> None:
        if self._look.is_busy or self._prepared or now < self._next_look or self._has_enough():
            return
        if now >= self._next_retry:
            self._next_retry = NEVER
            self._playlist.retry()
        found = self._playlist.next()
        if found:
            self._next_retry = NEVER
            self._look_at(found)
        elif self._playlist.has_failed and self._next_retry == NEVER:
            self._next_retry = now + RETRY_SECONDS

    def _look_at(self, file: MediaFile) -> None:
        self._looked_at = file.name
        self.play_log.next = Played(file.name)
        self._look.start(lambda: self._prepare(file))

    def _prepare(self, file: MediaFile) -> Prepared:
        """In a thread. Raises `ItemError` or `StorageError`."""
        source = self._proxy.address_of(file.name)
        media = probe(source, PROBE_SECONDS, file.name)
        known = self._scans.load(file, self._proxy.version_of(source))
        if known:
            media = scanned(media, known)
        return Prepared(file, source, media, plan(media, self._channel), is_tried=known is not None)

    def _take_look(self, now: float) -> None:
        found = self._look.take(now)
        if isinstance(found, LivekeepError):
            self.play_log.next = None
            kind = found.error_type if isinstance(found, ItemError | StorageError) else "other"
            self.play_log.fail(Played(self._looked_at, outcome="failed", problem=str(found)), kind)
            self._note_failure(self._looked_at, now)
        elif found is not None:
            self._prepare_as(found)
            self._prepared_at = now

    def _prepare_as(self, found: Prepared) -> None:
        self._prepared = found
        self.play_log.next = found.entry
        logger.debug("%s: %s: %s", self._name, found.name, "; ".join(found.plan.reasons) or "is copied")

    def _start_scan(self) -> None:
        """Read the next item to its end, one at a time."""
        item = self._prepared
        if item is None or item.is_tried or self._reading.is_busy:
            return
        self._read_item = item
        self._reading.start(lambda: self._read_all(item))

    def _share_storage(self) -> None:
        """Reading ahead rests while an item on air needs the storage for itself."""
        buffer = self._relay.current or self._relay.interrupted
        is_hungry = buffer and not (buffer.is_over or buffer.is_full) and buffer.ahead_seconds < HUNGRY_SECONDS
        if is_hungry:
            self._may_read.clear()
        else:
            self._may_read.set()

    def _read_all(self, item: Prepared) -> Scan:
        """In a thread. Raises `ItemError`."""
        found = scan(item.source, item.media, item.name, may_read=self._may_read)
        self._scans.keep(item.file, self._proxy.version_of(item.source), found)
        return found

    def _take_scan(self, now: float) -> None:
        found, item = self._reading.take(now), self._read_item
        if found is None or item is None:
            return
        self._read_item = None
        if isinstance(found, LivekeepError):
            logger.info("%s: %s", self._name, found)
            known = replace(item, is_tried=True)
        else:
            media = scanned(item.media, found)
            known = Prepared(item.file, item.source, media, plan(media, self._channel), is_tried=True)
        if self._prepared is item:
            self._prepare_as(known)
        for feed in self._feeds.values():
            if feed.prepared is item:
                # It plays as it was begun; its length is known now.
                feed.prepared = replace(item, media=known.media, is_tried=True)
        if self._played_unread and self._played_unread[0] is item:
            self.play_log.judge_late(known.entry, self._played_unread[1], lack_of(known.media))
        self._played_unread = None

    def _note_failure(self, name: str, now: float) -> None:
        """An item failed: when that is the storage's fault, or goes on, the others need not fail as quickly."""
        self._playlist.failed(name)
        self._failures += 1
        if self.play_log.storage_problem:
            self._next_look = now + RETRY_SECONDS
        elif self._failures >= FAILURES_AT_ONCE:
            self._next_look = now + FAILURES_PAUSE_SECONDS
        if not self._listing.is_busy and now - self._listing_began >= LEAST_LISTING_SECONDS:
            self._next_listing = now

    def _queued(self) -> list[Feed]:
        """What is ready, or about to be, in its order."""
        queued = (buffer for buffer in self._relay.queue if buffer is not self._relay.interrupted and not buffer.is_empty)
        return [self._feeds[buffer] for buffer in queued]

    def _has_enough(self) -> bool:
        """Whether nothing more need be made ready now."""
        queued = self._queued()
        lengths = [feed.prepared.media.duration_seconds or ENOUGH_SECONDS for feed in queued]
        return bool(queued) and (len(queued) >= MOST_WAITING or sum(lengths) + (self._seconds_left() or 0.0) >= ENOUGH_SECONDS)

    def _start_feeder(self, now: float) -> None:
        prepared = self._prepared
        if prepared is None or self._has_enough() or not self._is_time_for_next() or self._waits_for_scan(prepared, now):
            return
        self._prepared = None
        buffer = InputBuffer(prepared.name, self._frame_ms)
        try:
            feeder = Feeder(prepared.source, prepared.name, prepared.plan, prepared.media, self._channel, channel_name=self._name)
        except LivekeepError as error:
            self.play_log.fail(Played(prepared.name, outcome="failed", problem=str(error)), "not-started")
            self._note_failure(prepared.name, now)
            return
        self._feeds[buffer] = Feed(prepared, feeder, buffer, now)
        self._relay.queue.append(buffer)

    def _is_time_for_next(self) -> bool:
        current = self._feeds.get(self._relay.current) if self._relay.current else None
        if current is None or current.buffer.is_over:
            return True
        left = self._seconds_left()
        return left is None or left <= PREFETCH_SECONDS

    def _seconds_left(self) -> float | None:
        """Of the present item, when there is one and its length is known."""
        current = self._feeds.get(self._relay.current) if self._relay.current else None
        duration = current.prepared.media.duration_seconds if current else None
        return None if current is None or duration is None else duration - current.buffer.played_seconds

    def _waits_for_scan(self, prepared: Prepared, now: float) -> bool:
        """Whether the item had better begin when it is read, since it may be copied then."""
        if prepared.is_tried or self._read_item is not prepared:
            return False
        waited, left = now - self._prepared_at, self._seconds_left()
        if self._relay.current is None:
            return waited < SCAN_PATIENCE_SECONDS
        return left is not None and (
            left > LAST_START_SECONDS or (left > SHORT_START_SECONDS and waited < SHORT_PATIENCE_SECONDS)
        )

    # What comes in

    def _watch(self) -> None:
        """Read from the feeders whose buffer has room."""
        for feed in self._feeds.values():
            if not feed.is_watched and not feed.buffer.is_over and feed.buffer.ahead_seconds < LONGEST_AHEAD_SECONDS / 2:
                if feed.buffer.is_full:
                    continue
                feed.is_watched = True
                self._service.watch(feed.feeder, self._reader_of(feed))

    def _reader_of(self, feed: Feed) -> Callable[[], None]:
        return lambda: self._read(feed)

    def _read(self, feed: Feed) -> None:
        data = feed.feeder.read()
        try:
            if data:
                feed.buffer.feed(data)
        except FlvError as error:
            feed.problem, data = f"its feeder gives no FLV ({error})", None
        if data is None:
            feed.buffer.end()
        if data is None or feed.buffer.is_full:
            self._unwatch(feed)

    def _unwatch(self, feed: Feed) -> None:
        if feed.is_watched:
            feed.is_watched = False
            self._service.forget(feed.feeder)

    def _give_up(self, now: float) -> None:
        """Items of which nothing comes any more, or nothing that belongs to them."""
        for feed in list(self._feeds.values()):
            buffer = feed.buffer
            if not buffer.is_over and self._proxy.was_replaced(feed.prepared.source):
                feed.problem = "it was replaced or removed in the bucket while it was read"
                self._unwatch(feed)
                feed.feeder.stop()
                buffer.end()
            is_dry = buffer is self._relay.interrupted and not buffer.is_ready and self._relay.is_connected
            if not is_dry:
                feed.dry_since = None
            elif feed.dry_since is None:
                feed.dry_since = now
            if feed.dry_since is not None and now - feed.dry_since > DRY_SECONDS:
                feed.problem = f"nothing came of it for {DRY_SECONDS:.0f} s"
                self._unwatch(feed)
                self._relay.drop_interrupted()
            elif not (feed.has_begun or buffer.is_ready or buffer.is_over) and now - feed.began_monotonic > START_SECONDS:
                feed.problem = f"not enough came of it within {START_SECONDS:.0f} s"
                self._unwatch(feed)
                buffer.end()
        self._note_changes(now)

    # What went out

    def _note_changes(self, now: float) -> None:
        changes, self._relay.changes = self._relay.changes, []
        for change in changes:
            if change.kind == "slate":
                self.play_log.show_slate(self._slate_reason())
            elif change.kind == "slate-left":
                self.play_log.leave_slate(change.seconds)
            elif change.buffer in self._feeds:
                self._note_item(change, self._feeds[change.buffer], now)

    def _slate_reason(self) -> str:
        dry = self._feeds.get(self._relay.interrupted) if self._relay.interrupted else None
        if dry:
            return f"{dry.prepared.name}: no more of it came in time"
        if self.play_log.storage_problem:
            return self.play_log.storage_problem
        if not len(self._playlist) and self._waiting:
            return f"{min(self._waiting)}: is still being written"
        if not len(self._playlist):
            return "no item is known yet"
        if self._next_retry != NEVER:
            return "no item can be played"
        is_over = not (self._channel.loop or self._look.is_busy or self._prepared or self._queued() or self._playlist.peek())
        return "everything was played" if is_over else "the next item is not ready"

    def _note_item(self, change: Change, feed: Feed, now: float) -> None:
        if change.kind == "began":
            feed.has_begun, self._failures = True, 0
            self.play_log.begin(feed.prepared.entry)
        elif change.kind == "ended":
            self._close(feed, now)

    def _close(self, feed: Feed, now: float) -> None:
        """The item is over, in one way or another."""
        self._unwatch(feed)
        del self._feeds[feed.buffer]
        feed.feeder.stop()
        problem = feed.problem or feed.buffer.problem or lack_of(feed.prepared.media) or said_last(feed.feeder.errors)
        is_cut, quiet_seconds = feed.buffer.is_cut, feed.buffer.quiet_ms / 1000
        outcome = self.play_log.end(feed.prepared.entry, feed.buffer.played_seconds, feed.is_skipped, problem, is_cut)
        if quiet_seconds >= SHORT_SECONDS:
            logger.warning("%s: %s: has no sound for %.1f s: quiet sound went out", self._name, feed.prepared.name, quiet_seconds)
        if outcome == "played" and feed.prepared is self._read_item:
            # What its header says of its length is not yet known to be true.
            self._played_unread = feed.prepared, feed.buffer.played_seconds
        if outcome == "failed":
            self._note_failure(feed.prepared.name, now)
        else:
            self._playlist.played()

    def present(self) -> Played | None:
        """The item on air with what was played of it so far."""
        current = self._relay.current
        if self.play_log.now is None:
            return None
        seconds = current.played_seconds if current else self.play_log.now.played_seconds
        return replace(self.play_log.now, played_seconds=round(seconds, 1))


def lack_of(media: Media) -> str:
    """Why not all of an item can go out; "" where nothing says so."""
    return media.lack or cut_text(media)


def said_last(errors: "deque[str]") -> str:
    return errors[-1] if errors else "it ended early, and nothing says why"
