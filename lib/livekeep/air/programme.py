"""The programme of a channel: lists the media, prepares what comes next, feeds the relay, and keeps the books of items and slate.

Part of livekeep-worker@CHANNEL. Listing and looking at items block, and run beside the loop; feeders are started by it.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from livekeep.air.broker import Broker
from livekeep.air.errand import Errand
from livekeep.air.feeder import Feeder
from livekeep.air.flv import FlvError
from livekeep.air.intake import LONGEST_AHEAD_SECONDS, Intake
from livekeep.air.item import Media
from livekeep.air.library import Library
from livekeep.air.media import MediaFile, NothingThereError, StorageError
from livekeep.air.playlist import Playlist
from livekeep.air.probe import ItemError, probe
from livekeep.air.profile import Plan, mode_of, plan
from livekeep.air.relay import Change, Relay
from livekeep.core import events
from livekeep.core.channels import Outcome, Played
from livekeep.core.config import Channel
from livekeep.core.errors import LivekeepError
from livekeep.core.notify import Service

logger = logging.getLogger("livekeep.worker")

PREFETCH_SECONDS = 20.0
"""So long before an item's end the next one's feeder is started."""
PROBE_SECONDS = 30.0
START_SECONDS = 30.0
"""A feeder that has given nothing to show for so long is given up."""
DRY_SECONDS = 15.0
"""So is an item that ran dry for so long."""
RETRY_SECONDS = 30.0
"""After so long what failed is tried again, when nothing else is left."""
SHORT_SECONDS, SHORT_SHARE = 1.0, 0.02
"""An item is short when it lacks more than both of these of what its file says."""
MOST_PLAYED = 10
NEVER = float("inf")


@dataclass(frozen=True)
class Prepared:
    """An item that was looked at."""

    name: str
    source: str
    media: Media
    plan: Plan


@dataclass(eq=False)
class Feed:
    """An item on its way: its feeder, and where its tags go."""

    prepared: Prepared
    feeder: Feeder
    intake: Intake
    began_monotonic: float
    is_watched: bool = False
    dry_since: float | None = None
    problem: str = ""
    is_skipped: bool = False


@dataclass
class Books:
    """What the state tells of items and slate."""

    now: Played | None = None
    next: Played | None = None
    last: tuple[Played, ...] = ()
    items_known: int = 0
    storage_problem: str = ""
    slate_reason: str = "nothing was played yet"
    items_played: int = 0
    items_short: int = 0
    items_failed: int = 0
    items_skipped: int = 0
    slates: int = 0


class Programme:
    """One pass does what can be done now, and says when it wants the next; `books` is what it did."""

    def __init__(self, service: Service, relay: Relay, name: str, channel: Channel, library: Library, broker: Broker) -> None:
        self.books = Books()
        self._service, self._relay, self._name, self._channel = service, relay, name, channel
        self._library, self._broker = library, broker
        self._playlist = Playlist(channel.order, channel.loop, Random())  # noqa: S311 – an order to play in
        self._listing: Errand[tuple[MediaFile, ...]] = Errand(service.wake)
        self._next_listing = 0.0
        self._storage_failed_at: float | None = None
        self._look: Errand[Prepared] = Errand(service.wake)
        self._looked_at = ""
        self._prepared: Prepared | None = None
        self._feeds: dict[Intake, Feed] = {}
        self._next_retry = NEVER
        self._frame_ms = 1000 / channel.frame_rate

    def one_pass(self, now: float) -> float:
        """Raises `LivekeepError` only for what no other pass can mend."""
        self._list(now)
        self._take_look(now)
        self._note_changes()
        self._give_up(now)
        self._start_look(now)
        self._start_feeder(now)
        self._watch()
        return min(self._next_listing, self._next_retry, now + 1.0)

    def skip(self) -> None:
        """Go on to the next item."""
        feed = self._feeds.get(self._relay.current) if self._relay.current else None
        if feed is None:
            logger.info("%s: nothing is being played that could be skipped", self._name)
            return
        feed.is_skipped = True
        self._relay.skip()

    def stop(self) -> None:
        for feed in self._feeds.values():
            feed.feeder.stop()

    # Which items there are

    def _list(self, now: float) -> None:
        found = self._listing.take()
        if isinstance(found, LivekeepError):
            self._note_storage_failure(found, now)
        elif found is not None:
            self._note_files(found, now)
        if now >= self._next_listing and not self._listing.is_busy:
            self._next_listing = NEVER
            self._listing.start(self._library.list_media)

    def _note_files(self, files: tuple[MediaFile, ...], now: float) -> None:
        self._next_listing = now + self._channel.rescan_seconds
        before = len(self._playlist)
        self._playlist.update(files)
        self.books.items_known = len(self._playlist)
        if len(self._playlist) != before:
            logger.info("%s: %d items to play", self._name, len(self._playlist))
        if self._storage_failed_at is not None:
            seconds = now - self._storage_failed_at
            self._storage_failed_at, self.books.storage_problem = None, ""
            self._playlist.retry()
            sentence = f"{self._name}: the media can be listed again, after {seconds:.0f} s"
            events.emit(events.STORAGE_BACK, sentence, CHANNEL=self._name, SECONDS=f"{seconds:.0f}")
        if self._prepared and self._prepared.name not in {file.name for file in files}:
            self._prepared = self.books.next = None

    def _note_storage_failure(self, error: LivekeepError, now: float) -> None:
        """The items that are known go on being played, unless they are known to be gone."""
        self._next_listing = now + min(self._channel.rescan_seconds, RETRY_SECONDS)
        problem = str(error)
        if problem != self.books.storage_problem:
            kind = error.error_type if isinstance(error, StorageError) else "other"
            events.emit(events.STORAGE_FAILED, f"{self._name}: {problem}", CHANNEL=self._name, ERROR_TYPE=kind)
        self.books.storage_problem = problem
        if self._storage_failed_at is None:
            self._storage_failed_at = now
        if isinstance(error, NothingThereError):
            self._playlist.update(())
            self.books.items_known = 0

    # What comes next

    def _start_look(self, now: float) -> None:
        if self._look.is_busy or self._prepared or self._has_next():
            return
        if now >= self._next_retry:
            self._next_retry = NEVER
            self._playlist.retry()
        found = self._playlist.next()
        if found is None:
            if len(self._playlist) and self._next_retry == NEVER:
                self._next_retry = now + RETRY_SECONDS
            return
        self._next_retry = NEVER
        self._looked_at = found.name
        self.books.next = Played(found.name)
        self._look.start(lambda: self._prepare(found.name))

    def _prepare(self, name: str) -> Prepared:
        """In a thread. Raises `ItemError` or `StorageError`."""
        source = self._broker.address_of(name)
        media = probe(source, PROBE_SECONDS, name)
        return Prepared(name, source, media, plan(media, self._channel))

    def _take_look(self, now: float) -> None:
        found = self._look.take()
        if isinstance(found, LivekeepError):
            self.books.next = None
            kind = found.error_type if isinstance(found, ItemError | StorageError) else "other"
            self._note_failure(Played(self._looked_at, outcome="failed", problem=str(found)), kind)
        elif found is not None:
            self._prepared = found
            self.books.next = Played(found.name, mode_of(found.plan), found.media.duration_seconds)
            logger.debug("%s: %s: %s", self._name, found.name, "; ".join(found.plan.reasons) or "is copied")

    def _has_next(self) -> bool:
        return any(feed.dry_since is None for intake, feed in self._feeds.items() if intake in self._relay.queue)

    def _start_feeder(self, now: float) -> None:
        prepared = self._prepared
        if prepared is None or self._has_next() or not self._is_time_for_next():
            return
        self._prepared = None
        intake = Intake(prepared.name, self._frame_ms)
        try:
            feeder = Feeder(prepared.source, prepared.name, prepared.plan, prepared.media, self._channel, channel_name=self._name)
        except LivekeepError as error:
            self._note_failure(Played(prepared.name, outcome="failed", problem=str(error)), "not-started")
            return
        self._feeds[intake] = Feed(prepared, feeder, intake, now)
        self._relay.queue.append(intake)

    def _is_time_for_next(self) -> bool:
        current = self._feeds.get(self._relay.current) if self._relay.current else None
        if current is None or current.intake.is_over:
            return True
        duration = current.prepared.media.duration_seconds
        return duration is None or duration - current.intake.played_seconds <= PREFETCH_SECONDS

    # What comes in

    def _watch(self) -> None:
        """Read from the feeders whose intake has room."""
        for feed in self._feeds.values():
            if not feed.is_watched and not feed.intake.is_over and feed.intake.ahead_seconds < LONGEST_AHEAD_SECONDS / 2:
                if feed.intake.is_full:
                    continue
                feed.is_watched = True
                self._service.watch(feed.feeder, self._reader_of(feed))

    def _reader_of(self, feed: Feed) -> Callable[[], None]:
        return lambda: self._read(feed)

    def _read(self, feed: Feed) -> None:
        data = feed.feeder.read()
        try:
            if data:
                feed.intake.feed(data)
        except FlvError as error:
            feed.problem, data = f"its feeder gives no FLV ({error})", None
        if data is None:
            feed.intake.end()
        if data is None or feed.intake.is_full:
            self._unwatch(feed)

    def _unwatch(self, feed: Feed) -> None:
        if feed.is_watched:
            feed.is_watched = False
            self._service.forget(feed.feeder)

    def _give_up(self, now: float) -> None:
        """Items that give nothing any more."""
        for feed in list(self._feeds.values()):
            if feed.dry_since is not None and now - feed.dry_since > DRY_SECONDS and not feed.intake.is_over:
                feed.problem = f"nothing came of it for {DRY_SECONDS:.0f} s"
                self._unwatch(feed)
                self._relay.drop_interrupted()
            elif feed.intake.first_ms is None and now - feed.began_monotonic > START_SECONDS and not feed.intake.is_over:
                feed.problem = f"nothing came of it within {START_SECONDS:.0f} s"
                self._unwatch(feed)
                feed.intake.end()
        self._note_changes()

    # What went out

    def _note_changes(self) -> None:
        changes, self._relay.changes = self._relay.changes, []
        for change in changes:
            if change.kind == "slate":
                self._note_slate()
            elif change.kind == "slate-left":
                sentence = f"{self._name}: the slate was on for {change.seconds:.1f} s"
                events.emit(events.SLATE_LEFT, sentence, CHANNEL=self._name, SECONDS=f"{change.seconds:.1f}")
            elif change.intake in self._feeds:
                self._note_item(change, self._feeds[change.intake])

    def _note_slate(self) -> None:
        self.books.slates += 1
        dry = next((feed for feed in self._feeds.values() if feed.intake in self._relay.queue), None)
        if dry and dry.intake.first_ms is not None and dry.dry_since is None:
            dry.dry_since = time.monotonic()
        if dry and dry.dry_since is not None:
            reason = f"{dry.prepared.name}: no more of it came in time"
        elif self.books.storage_problem:
            reason = self.books.storage_problem
        elif not len(self._playlist):
            reason = "no item is known yet"
        elif self._next_retry != NEVER:
            reason = "no item can be played"
        else:
            reason = "the next item is not ready"
        self.books.slate_reason = reason
        events.emit(events.SLATE_SHOWN, f"{self._name}: the slate is on: {reason}", CHANNEL=self._name, REASON=reason)

    def _note_item(self, change: Change, feed: Feed) -> None:
        if change.kind == "began":
            prepared = feed.prepared
            duration = prepared.media.duration_seconds
            self.books.now = Played(prepared.name, mode_of(prepared.plan), duration, time.time())
            self.books.next = None
            logger.info("%s: %s begins", self._name, prepared.name)
        elif change.kind == "resumed":
            feed.dry_since = None
        elif change.kind == "ended":
            self._close(feed)

    def _close(self, feed: Feed) -> None:
        """The item is over, in one way or another."""
        self._unwatch(feed)
        del self._feeds[feed.intake]
        feed.feeder.stop()
        is_present = self.books.now is not None and self.books.now.name == feed.prepared.name
        entry = self.books.now if is_present and self.books.now else Played(feed.prepared.name, mode_of(feed.prepared.plan))
        if is_present:
            self.books.now = None
        duration = feed.prepared.media.duration_seconds
        seconds = feed.intake.played_seconds
        outcome = outcome_of(seconds, duration, feed.is_skipped)
        problem = "" if outcome in ("played", "skipped") else feed.problem or said_last(feed.feeder.errors)
        entry = replace(entry, duration_seconds=duration, played_seconds=round(seconds, 3), outcome=outcome, problem=problem)
        if outcome == "failed":
            self._note_failure(entry, "no-picture")
            return
        self._playlist.played(entry.name)
        self._put(entry)
        self.books.items_played += outcome == "played"
        self.books.items_short += outcome == "short"
        self.books.items_skipped += outcome == "skipped"
        if outcome == "short":
            self._tell_failure(entry, "short")
        sentence = f"{self._name}: {entry.name}: {outcome}, {seconds:.1f} s"
        fields = {"CHANNEL": self._name, "ITEM": entry.name, "OUTCOME": outcome, "SECONDS": f"{seconds:.3f}", "MODE": entry.mode}
        events.emit(events.ITEM_PLAYED, sentence, **fields)

    def _note_failure(self, entry: Played, error_type: str) -> None:
        self._playlist.failed(entry.name)
        self._put(entry)
        self.books.items_failed += 1
        self._tell_failure(entry, error_type)

    def _tell_failure(self, entry: Played, error_type: str) -> None:
        of = f" of {entry.duration_seconds:.1f} s" if entry.duration_seconds else ""
        why = f": {entry.problem}" if entry.problem else ""
        events.emit(
            events.ITEM_FAILED,
            f"{self._name}: {entry.name}: only {entry.played_seconds:.1f} s{of} were played{why}",
            CHANNEL=self._name,
            ITEM=entry.name,
            ERROR_TYPE=error_type,
            SECONDS=f"{entry.played_seconds:.3f}",
            DURATION="" if entry.duration_seconds is None else f"{entry.duration_seconds:.3f}",
        )

    def _put(self, entry: Played) -> None:
        self.books.last = (entry, *self.books.last)[:MOST_PLAYED]

    def present(self) -> Played | None:
        """The item on air with what was played of it so far."""
        current = self._relay.current
        if self.books.now is None:
            return None
        seconds = current.played_seconds if current else self.books.now.played_seconds
        return replace(self.books.now, played_seconds=round(seconds, 1))


def outcome_of(seconds: float, duration_seconds: float | None, is_skipped: bool) -> Outcome:
    """How an item went of which `seconds` were played."""
    if is_skipped:
        return "skipped"
    if seconds <= 0:
        return "failed"
    if duration_seconds is None:
        return "played"
    return "short" if duration_seconds - seconds > max(SHORT_SECONDS, SHORT_SHARE * duration_seconds) else "played"


def said_last(errors: "deque[str]") -> str:
    return errors[-1] if errors else "it ended early, and nothing says why"
