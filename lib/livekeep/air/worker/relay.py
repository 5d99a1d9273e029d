"""The relay: one timeline for everything sent, items and slate, without gaps or jumps. Pure.

The caller passes the time (seconds of any steady clock); the result is the bytes that are due. Each item starts where video and
audio of the one before it ended; late data is sent immediately. When an item is missing or runs dry, the slate plays from its
first picture until an item is ready. Each connection has a separate timeline: after a reconnect the last group of pictures is
sent again, so that nothing of the item is lost. If the connection breaks twice at one place of an item, the relay skips the item.

No stream has a gap on the timeline, even if the item has holes. Where video is missing, the item continues at the next picture
and drops its audio until then; where audio is missing, the slate's quiet audio replaces it.

Implemented here because no ffmpeg muxer joins different inputs on one timeline over one connection, with a slate as soon as one
fails.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from livekeep.air.worker.flv import AUDIO, SOUND_FRAME_MS, VIDEO, Tag
from livekeep.air.worker.input_buffer import InputBuffer
from livekeep.air.worker.slate_loop import SlateLoop
from livekeep.air.worker.timeline import Timeline

UNDERRUN_SECONDS = 0.1
"""How long the relay waits for an item that has run dry, before it sends the slate."""
LONGEST_HOLE_MS = 500.0
"""Pictures that are missing for longer are a hole in the item; so is audio that is late by this much."""
REPORTED_MS = 1000.0
"""The shortest hole that is reported."""
SAME_PLACE_MS = 3000.0
"""Two connections that broke within this span of an item broke at the same place."""
MOST_KEPT = 2000
"""Tags kept for the next connection: more than any valid group of pictures has."""

Kind = Literal["began", "ended", "slate", "slate-left", "resumed"]
Source = TypeVar("Source", bound=InputBuffer)
"""An item."""


@dataclass(frozen=True)
class Change(Generic[Source]):
    """An action of the relay, for the play log. `item` is the one concerned; `seconds` is how long the slate was on."""

    kind: Kind
    item: Source | None = None
    seconds: float = 0.0


class Relay(Generic[Source]):
    """Add buffers with `queue`, get bytes with `take`. `changes` lists the relay's actions; its reader empties it."""

    def __init__(self, slate: SlateLoop, frame_ms: float, metadata: bytes = b"") -> None:
        """`metadata`: the first bytes of each connection (`flv.metadata`)."""
        self.queue: deque[Source] = deque()
        self.changes: list[Change[Source]] = []
        self.current: Source | None = None
        self.is_on_slate = False
        self.slate_seconds = 0.0
        self.interrupted: Source | None = None
        """The item that has run dry and that the relay waits for."""
        self._slate, self._frame_ms = slate, frame_ms
        self._timeline = Timeline(slate, frame_ms, metadata)
        self._hole_ms = max(LONGEST_HOLE_MS, 3 * frame_ms)
        self._broke_at: tuple[Source, float] | None = None
        self._has_left = False
        self._kept: list[Tag] = []
        self._slate_began = self._slate_seen = 0.0

    @property
    def media_seconds(self) -> float:
        """The timeline sent, over all connections."""
        return self._timeline.media_seconds

    @property
    def drift_seconds(self) -> float:
        """How late the newest tag was sent, relative to its time on the timeline."""
        return self._timeline.drift_seconds

    # Connections

    def connect(self, now: float, first_ms: int = 0) -> None:
        """Begin a connection: send all headers, and the last pictures again."""
        self._timeline.connect(now, first_ms)
        if self.current:
            if len(self._kept) < MOST_KEPT:
                self.current.put_back(self._kept)
            else:
                self.current.leave_to_keyframe()
            self._place(self.current)
        elif self.is_on_slate:
            self._slate_seen = now
            self._slate.rewind()
            self._timeline.place(self._slate.tags, self._slate.tags, self._slate.headers)
        self._kept = []

    def disconnect(self, now: float) -> None:
        """The connection has ended: the items wait, and the slate's time stops."""
        if self.is_on_slate:
            self._count_slate(now)
        self._timeline.disconnect()

    def note_break(self) -> None:
        """The connection that was on air broke: an item at whose place that happens twice is skipped.

        Only one item is, until `note_steady`: if each item breaks the connection, the items are not the cause.
        """
        item = self.current
        if item is None:
            return
        before, self._broke_at = self._broke_at, (item, item.played_to_ms)
        is_same = before is not None and before[0] is item and abs(item.played_to_ms - before[1]) <= SAME_PLACE_MS
        if is_same and not self._has_left:
            self._has_left = True
            item.problem = f"the connection broke twice at {item.place(item.played_to_ms)} s of it"
            item.is_cut = True
            self.skip()

    def note_steady(self) -> None:
        """The connection has been stable for long enough."""
        self._has_left, self._broke_at = False, None

    @property
    def is_connected(self) -> bool:
        return self._timeline.is_connected

    def timestamp_ms(self, now: float) -> float:
        """The clock's position on this connection's timeline."""
        return self._timeline.at(now)

    # Sending

    def take(self, now: float) -> bytes:
        """The bytes due at `now`. Call it only while connected."""
        self._timeline.limit_ms = self._timeline.at(now)
        while self._step(now):
            pass
        return self._timeline.take()

    def due(self, now: float) -> float:
        """When `take` will next return bytes, as far as known; in the clock's time."""
        if not self.is_connected:
            return math.inf
        if self.current and (head := self._head(self.current)):
            wanted = self._timeline.time_of(head)
        elif self.is_on_slate:
            wanted = self._timeline.time_of(self._slate.peek())
        else:
            wanted = self._timeline.end_ms
        return max(now, self._timeline.clock_of(wanted))

    def skip(self) -> Source | None:
        """Skip the current item, or else the one being waited for; None when there is neither."""
        item, self.current = self.current, None
        if item is None and self.queue:
            item = self.queue.popleft()
        if item:
            self._end(item)
        return item

    def drop_interrupted(self) -> None:
        """Stop waiting for the item that ran dry, if there is one."""
        if self.interrupted:
            self.queue.remove(self.interrupted)
            self._end(self.interrupted)

    def _step(self, now: float) -> bool:
        """Do the next action that is due; whether there can be more."""
        if self.current:
            return self._step_item(self.current, now)
        if self.queue and self.queue[0].is_empty:
            self._end(self.queue.popleft())
        elif self.queue and self.queue[0].is_ready and self._can_begin():
            self._begin(now)
        elif self.is_on_slate:
            tag = self._slate.peek()
            if self._timeline.time_of(tag) > self._timeline.limit_ms:
                return False
            self._timeline.fill_sound(self._timeline.time_of(tag))
            self._timeline.send(self._slate.pop())
            self._count_slate(now)
        elif self._timeline.end_ms > self._timeline.limit_ms and self._timeline.has_sent:
            return False
        else:
            self._show_slate(now)
        return True

    def _step_item(self, item: Source, now: float) -> bool:
        """Send the item's next tag when it is due; whether there can be more."""
        tag = self._head(item)
        if tag is None and item.is_over:
            self._end(item)
            self.current = None
            return True
        if tag is None:
            if self._timeline.limit_ms < self._timeline.end_ms + UNDERRUN_SECONDS * 1000:
                return False
            self._interrupt(item, now)
            return True
        if self._is_beyond_pictures(item, tag):
            self._leave_hole(item, now)
            return True
        if self._timeline.time_of(tag) > self._timeline.limit_ms:
            return False
        item.pop(tag)
        before_ms = self._timeline.ends[AUDIO]
        may_come = tag.kind == VIDEO and not (item.sounds or item.is_over)
        self._timeline.fill_sound(self._timeline.time_of(tag), LONGEST_HOLE_MS if may_come else 0.0)
        item.quiet_ms += self._timeline.ends[AUDIO] - before_ms
        # Quiet audio has replaced audio that comes too late.
        if tag.kind == VIDEO or tag.is_sequence_header or self._timeline.time_of(tag) >= self._timeline.last[AUDIO]:
            self._timeline.send(tag)
            self._keep(tag)
        return True

    def _head(self, item: Source) -> Tag | None:
        """The item's next tag on the timeline."""
        if self._timeline.is_new and item.pictures and item.sounds:
            return min(item.pictures[0], item.sounds[0], key=self._timeline.time_of)
        return item.head

    def _is_beyond_pictures(self, item: Source, tag: Tag) -> bool:
        """Whether the item's next tag is in a hole between its pictures, or after the last of them."""
        if item.taken_ms is None or tag.is_sequence_header:
            return False
        if tag.kind == VIDEO:
            return tag.timestamp - item.taken_ms > self._hole_ms
        if tag.timestamp + SOUND_FRAME_MS / 2 < item.played_to_ms:
            return False
        if item.pictures:
            return item.pictures[0].timestamp - item.taken_ms > self._hole_ms
        return item.is_over or tag.timestamp - item.played_to_ms > self._hole_ms

    def _leave_hole(self, item: Source, now: float) -> None:
        """Continue the item at its next picture."""
        picture = item.pictures[0] if item.pictures else None
        began_ms = item.played_to_ms
        if picture is None and not item.is_over:
            item.problem = f"no picture came after {item.place(began_ms)} s of it"
            self._interrupt(item, now)
            return
        until_ms = picture.timestamp if picture else item.sounds[-1].timestamp
        # A header that travels with the pictures has the timestamp of the picture after it.
        item.drop_sounds(until_ms + picture.composition_ms * picture.is_picture if picture else math.inf)
        if until_ms - began_ms >= REPORTED_MS:
            item.problem = f"it has no pictures from {item.place(began_ms)} to {item.place(until_ms)} s"
        if picture:
            item.is_cut = item.is_cut or until_ms - began_ms >= REPORTED_MS
            item.left_out_ms += until_ms - (item.taken_ms or 0) - self._frame_ms
            item.taken_ms = None
            sound_ms = self._timeline.ends[AUDIO] - item.sounds[0].timestamp if item.sounds else -math.inf
            self._timeline.offset_ms = max(self._timeline.last[VIDEO] + self._frame_ms - until_ms, sound_ms)

    def _count_slate(self, now: float) -> None:
        self.slate_seconds += now - self._slate_seen
        self._slate_seen = now

    def _keep(self, tag: Tag) -> None:
        """Keep the tags of the current group of pictures."""
        if tag.is_keyframe:
            self._kept = [tag]
        elif self._kept and len(self._kept) < MOST_KEPT:
            self._kept.append(tag)

    # Switching

    def _can_begin(self) -> bool:
        """Whether the slate, if it is on, can end here: every picture that should be shown before the next one has been sent."""
        if not self.is_on_slate:
            return True
        following = self._slate.next_of(VIDEO)
        shown_ms = following.timestamp + following.composition_ms + self._timeline.offset_ms
        return following.is_keyframe or shown_ms >= self._timeline.ends[VIDEO] - 1

    def _begin(self, now: float) -> None:
        item = self.queue.popleft()
        is_back, self.interrupted = item is self.interrupted, None
        if self.is_on_slate:
            # Pictures are sent earlier than they are shown: the audio for the last of them is still to come.
            while self._slate.peek().timestamp + self._timeline.offset_ms + SOUND_FRAME_MS / 2 < self._timeline.ends[VIDEO]:
                tag = self._slate.pop()
                if tag.kind == AUDIO:
                    self._timeline.send(tag)
            self.is_on_slate = False
            self._count_slate(now)
            self.changes.append(Change("slate-left", seconds=now - self._slate_began))
        self.current = item
        self._kept = []
        self._place(item)
        self.changes.append(Change("resumed" if is_back else "began", item))

    def _place(self, item: Source) -> None:
        """Place the item where both video and audio have ended."""
        item.taken_ms = None
        if first := next((tag for tag in item.pictures if tag.is_picture), None):
            # Audio from before the first picture would freeze the last picture of the item before.
            item.drop_sounds(first.timestamp + first.composition_ms - SOUND_FRAME_MS / 2)
        self._timeline.place(item.pictures, item.sounds, item.headers)

    def _end(self, item: Source) -> None:
        if item is self.interrupted:
            self.interrupted = None
        self._kept = []
        self.changes.append(Change("ended", item))

    def _interrupt(self, item: Source, now: float) -> None:
        """The item has run dry: send the slate until it has buffered more."""
        item.interrupt()
        self.current = None
        self.interrupted = item
        self.queue.appendleft(item)
        self._show_slate(now)

    def _show_slate(self, now: float) -> None:
        self.is_on_slate = True
        self._slate_began = self._slate_seen = now
        self._slate.rewind()
        self._kept = []
        self._timeline.place(self._slate.tags, self._slate.tags, self._slate.headers)
        self.changes.append(Change("slate"))
