"""The play log of a channel: the results of its items, slate and storage, for the state, the journal and the events.

Part of livekeep-worker@CHANNEL; the scheduler writes it.
"""

import logging
import time
from dataclasses import replace

from livekeep.air.storage.media import StorageError
from livekeep.air.worker.media_info import ItemFailure
from livekeep.core import events
from livekeep.core.channels import Outcome, Played
from livekeep.core.errors import LivekeepError

logger = logging.getLogger("livekeep.worker")

SHORT_SECONDS, SHORT_SHARE = 1.0, 0.02
"""An item is short when it lacks more than both of these of the length that its file states."""
MOST_PLAYED = 10


class PlayLog:
    """Its fields go into the state; each method records one event."""

    def __init__(self, channel: str) -> None:
        self.now: Played | None = None
        self.next: Played | None = None
        self.last: tuple[Played, ...] = ()
        self.items_known = 0
        self.storage_problem = ""
        self.slate_problem = ""
        self.slate_reason = "nothing was played yet"
        self.items_played = 0
        self.items_short = 0
        self.items_failed = 0
        self.items_skipped = 0
        self.slates = 0
        self._channel = channel

    def know(self, items: int) -> None:
        if items != self.items_known:
            logger.info("%s: %d items to play", self._channel, items)
        self.items_known = items

    def begin(self, item: Played) -> None:
        self.now, self.next = replace(item, started_at=time.time()), None
        logger.info("%s: %s begins", self._channel, item.name)

    def end(self, item: Played, seconds: float, is_skipped: bool, problem: str, is_cut: bool = False) -> Outcome:
        """Record the end of an item of which `seconds` were played; its outcome.

        `problem`: what is wrong with it, if anything. `is_cut`: it was not sent in full, whatever length its header stated.
        """
        if self.now and self.now.name == item.name:
            item, self.now = self.now, None
        outcome = outcome_of(seconds, item.duration_seconds, is_skipped)
        if is_cut and outcome == "played":
            outcome = "short"
        if outcome in ("played", "skipped"):
            problem = ""
        entry = replace(item, played_seconds=round(seconds, 3), outcome=outcome, problem=problem)
        if outcome == "failed":
            self.fail(entry, ItemFailure.NO_PICTURE)
            return outcome
        self._put(entry)
        self.items_played += outcome == "played"
        self.items_short += outcome == "short"
        self.items_skipped += outcome == "skipped"
        if outcome == "short":
            self._report_failure(entry, ItemFailure.SHORT)
        sentence = f"{self._channel}: {item.name}: {outcome}, {seconds:.1f} s"
        fields = {"ITEM": item.name, "OUTCOME": outcome, "SECONDS": f"{seconds:.3f}", "MODE": item.mode}
        events.emit(events.ITEM_PLAYED, sentence, CHANNEL=self._channel, **fields)
        return outcome

    def judge_late(self, item: Played, seconds: float, problem: str) -> None:
        """Correct the outcome of an item that counted as played: its real length is known only now, after its end."""
        if outcome_of(seconds, item.duration_seconds, is_skipped=False) != "short":
            return
        self.items_short += 1
        problem = problem or "its header states less than its length, and the rest was not played"
        entry = replace(item, played_seconds=round(seconds, 3), outcome="short", problem=problem)
        self.last = tuple(entry if old.name == item.name and old.outcome == "played" else old for old in self.last)
        self._report_failure(entry, ItemFailure.SHORT)

    def fail(self, entry: Played, error_type: str) -> None:
        """Nothing of an item could be played."""
        self._put(entry)
        self.items_failed += 1
        self._report_failure(entry, error_type)

    def note_slate(self, problem: str) -> None:
        """Why the slate is not the channel's own, or is not cached; "" if there is no problem."""
        self.slate_problem = problem
        if problem:
            events.emit(events.SLATE_FAULTY, f"{self._channel}: {problem}", CHANNEL=self._channel, REASON=problem)

    def show_slate(self, reason: str) -> None:
        self.slates += 1
        self.slate_reason = reason
        events.emit(events.SLATE_SHOWN, f"{self._channel}: the slate is on: {reason}", CHANNEL=self._channel, REASON=reason)

    def leave_slate(self, seconds: float) -> None:
        sentence = f"{self._channel}: the slate was on for {seconds:.1f} s"
        events.emit(events.SLATE_LEFT, sentence, CHANNEL=self._channel, SECONDS=f"{seconds:.1f}")

    def lose_storage(self, error: LivekeepError) -> None:
        """The media can't be listed. The same reason is reported once."""
        problem = str(error)
        if problem != self.storage_problem:
            kind = error.error_type if isinstance(error, StorageError) else "other"
            events.emit(events.STORAGE_FAILED, f"{self._channel}: {problem}", CHANNEL=self._channel, ERROR_TYPE=kind)
        self.storage_problem = problem

    def regain_storage(self, seconds: float) -> None:
        self.storage_problem = ""
        sentence = f"{self._channel}: the media can be listed again, after {seconds:.0f} s"
        events.emit(events.STORAGE_BACK, sentence, CHANNEL=self._channel, SECONDS=f"{seconds:.0f}")

    def _report_failure(self, entry: Played, error_type: str) -> None:
        of = f" of {entry.duration_seconds:.1f} s" if entry.duration_seconds else ""
        why = f": {entry.problem}" if entry.problem else ""
        events.emit(
            events.ITEM_FAILED,
            f"{self._channel}: {entry.name}: only {entry.played_seconds:.1f} s{of} were played{why}",
            CHANNEL=self._channel,
            ITEM=entry.name,
            ERROR_TYPE=error_type,
            SECONDS=f"{entry.played_seconds:.3f}",
            DURATION="" if entry.duration_seconds is None else f"{entry.duration_seconds:.3f}",
        )

    def _put(self, entry: Played) -> None:
        self.last = (entry, *self.last)[:MOST_PLAYED]


def outcome_of(seconds: float, duration_seconds: float | None, is_skipped: bool) -> Outcome:
    """The outcome of an item of which `seconds` were played."""
    if is_skipped:
        return "skipped"
    if seconds <= 0:
        return "failed"
    if duration_seconds is None:
        return "played"
    return "short" if duration_seconds - seconds > max(SHORT_SECONDS, SHORT_SHARE * duration_seconds) else "played"
