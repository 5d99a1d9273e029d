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
from typing import Literal

from livekeep.air.worker.flv import AUDIO, VIDEO, Tag
from livekeep.air.worker.input_buffer import InputBuffer
from livekeep.air.worker.slate_loop import SOUND_FRAME_MS, SlateLoop
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


@dataclass(frozen=True)
class Change:
    """An action of the relay, for the play log. `buffer` is the item concerned; `seconds` is how long the slate was on."""

    kind: Kind
    buffer: InputBuffer | None = None
    seconds: float = 0.0


class Relay:
    """Add buffers with `queue`, get bytes with `take`. `changes` lists the relay's actions; its reader empties it."""

    def __init__(self, slate: SlateLoop, frame_ms: float, metadata: bytes = b"") -> None:
        """`metadata`: the first bytes of each connection (`flv.metadata`)."""
        self.queue: deque[InputBuffer] = deque()
        self.changes: list[Change] = []
        self.current: InputBuffer | None = None
        self.is_on_slate = False
        self.slate_seconds = 0.0
        self.interrupted: InputBuffer | None = None
        """The item that has run dry and that the relay waits for."""
        self._slate, self._frame_ms = slate, frame_ms
        self._timeline = Timeline(slate, frame_ms, metadata)
        self._hole_ms = max(LONGEST_HOLE_MS, 3 * frame_ms)
        self._broke_at: tuple[InputBuffer, float] | None = None
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
        buffer = self.current
        if buffer is None:
            return
        before, self._broke_at = self._broke_at, (buffer, buffer.played_to_ms)
        is_same = before is not None and before[0] is buffer and abs(buffer.played_to_ms - before[1]) <= SAME_PLACE_MS
        if is_same and not self._has_left:
            self._has_left = True
            buffer.problem = f"the connection broke twice at {buffer.place(buffer.played_to_ms)} s of it"
            buffer.is_cut = True
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

    def skip(self) -> InputBuffer | None:
        """Skip the current item, or else the one being waited for; None when there is neither."""
        buffer, self.current = self.current, None
        if buffer is None and self.queue:
            buffer = self.queue.popleft()
        if buffer is self.interrupted:
            self.interrupted = None
        if buffer:
            self._end(buffer)
        return buffer

    def drop_interrupted(self) -> InputBuffer | None:
        """Stop waiting for an item that ran dry; that item, if there was one."""
        buffer, self.interrupted = self.interrupted, None
        if buffer and buffer in self.queue:
            self.queue.remove(buffer)
            self._end(buffer)
        return buffer

    def _step(self, now: float) -> bool:
        """Do the next action that is due; whether there can be more."""
        if self.current:
            return self._step_item(self.current, now)
        if self.queue and self.queue[0].is_empty:
            self._end(self.queue.popleft())
        elif self.queue and self.queue[0].is_ready and self._can_begin():
            self._begin(now)
        elif self.is_on_slate:
            return self._step_slate(now)
        elif self._timeline.end_ms > self._timeline.limit_ms and self._timeline.has_sent:
            return False
        else:
            self._show_slate(now)
        return True

    def _step_item(self, buffer: InputBuffer, now: float) -> bool:
        """Send the item's next tag when it is due; whether there can be more."""
        tag = self._head(buffer)
        if tag is None and buffer.is_over:
            self._end(buffer)
            self.current = None
            return True
        if tag is None:
            if self._timeline.limit_ms < self._timeline.end_ms + UNDERRUN_SECONDS * 1000:
                return False
            self._interrupt(buffer, now)
            return True
        if self._is_beyond_pictures(buffer, tag):
            self._leave_hole(buffer, now)
            return True
        if self._timeline.time_of(tag) > self._timeline.limit_ms:
            return False
        buffer.pop(tag)
        before_ms = self._timeline.ends[AUDIO]
        may_come = tag.kind == VIDEO and not (buffer.sounds or buffer.is_over)
        self._timeline.fill_sound(self._timeline.time_of(tag), LONGEST_HOLE_MS if may_come else 0.0)
        buffer.quiet_ms += self._timeline.ends[AUDIO] - before_ms
        # Quiet audio has replaced audio that comes too late.
        if tag.kind == VIDEO or tag.is_sequence_header or self._timeline.time_of(tag) >= self._timeline.last[AUDIO]:
            self._timeline.send(tag)
            self._keep(tag)
        return True

    def _head(self, buffer: InputBuffer) -> Tag | None:
        """The item's next tag on the timeline."""
        if self._timeline.is_new and buffer.pictures and buffer.sounds:
            return min(buffer.pictures[0], buffer.sounds[0], key=self._timeline.time_of)
        return buffer.head

    def _is_beyond_pictures(self, buffer: InputBuffer, tag: Tag) -> bool:
        """Whether the item's next tag is in a hole between its pictures, or after the last of them."""
        if buffer.taken_ms is None or tag.is_sequence_header:
            return False
        if tag.kind == VIDEO:
            return tag.timestamp - buffer.taken_ms > self._hole_ms
        if tag.timestamp + SOUND_FRAME_MS / 2 < buffer.played_to_ms:
            return False
        if buffer.pictures:
            return buffer.pictures[0].timestamp - buffer.taken_ms > self._hole_ms
        return buffer.is_over or tag.timestamp - buffer.played_to_ms > self._hole_ms

    def _leave_hole(self, buffer: InputBuffer, now: float) -> None:
        """Continue the item at its next picture."""
        picture = buffer.pictures[0] if buffer.pictures else None
        began_ms = buffer.played_to_ms
        if picture is None and not buffer.is_over:
            buffer.problem = f"no picture came after {buffer.place(began_ms)} s of it"
            self._interrupt(buffer, now)
            return
        until_ms = picture.timestamp if picture else buffer.sounds[-1].timestamp
        # A header that travels with the pictures has the timestamp of the picture after it.
        buffer.drop_sounds(until_ms + picture.composition_ms * picture.is_picture if picture else math.inf)
        if until_ms - began_ms >= REPORTED_MS:
            buffer.problem = f"it has no pictures from {buffer.place(began_ms)} to {buffer.place(until_ms)} s"
        if picture:
            buffer.is_cut = buffer.is_cut or until_ms - began_ms >= REPORTED_MS
            buffer.left_out_ms += until_ms - (buffer.taken_ms or 0) - self._frame_ms
            buffer.taken_ms = None
            sound_ms = self._timeline.ends[AUDIO] - buffer.sounds[0].timestamp if buffer.sounds else -math.inf
            self._timeline.offset_ms = max(self._timeline.last[VIDEO] + self._frame_ms - until_ms, sound_ms)

    def _step_slate(self, now: float) -> bool:
        tag = self._slate.peek()
        if self._timeline.time_of(tag) > self._timeline.limit_ms:
            return False
        self._timeline.fill_sound(self._timeline.time_of(tag))
        self._timeline.send(self._slate.pop())
        self._count_slate(now)
        return True

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
        buffer = self.queue.popleft()
        is_back, self.interrupted = buffer is self.interrupted, None
        if self.is_on_slate:
            self._leave_slate(now)
        self.current = buffer
        self._kept = []
        self._place(buffer)
        self.changes.append(Change("resumed" if is_back else "began", buffer))

    def _place(self, buffer: InputBuffer) -> None:
        """Place the item where both video and audio have ended."""
        buffer.taken_ms = None
        if first := next((tag for tag in buffer.pictures if tag.is_picture), None):
            # Audio from before the first picture would freeze the last picture of the item before.
            buffer.drop_sounds(first.timestamp + first.composition_ms - SOUND_FRAME_MS / 2)
        self._timeline.place(buffer.pictures, buffer.sounds, buffer.headers)

    def _end(self, buffer: InputBuffer) -> None:
        self._kept = []
        self.changes.append(Change("ended", buffer))

    def _interrupt(self, buffer: InputBuffer, now: float) -> None:
        """The item has run dry: send the slate until it has buffered more."""
        buffer.interrupt()
        self.current = None
        self.interrupted = buffer
        self.queue.appendleft(buffer)
        self._show_slate(now)

    def _show_slate(self, now: float) -> None:
        self.is_on_slate = True
        self._slate_began = self._slate_seen = now
        self._slate.rewind()
        self._kept = []
        self._timeline.place(self._slate.tags, self._slate.tags, self._slate.headers)
        self.changes.append(Change("slate"))

    def _leave_slate(self, now: float) -> None:
        # Pictures are sent earlier than they are shown: the audio for the last of them is still to come.
        while self._slate.peek().timestamp + self._timeline.offset_ms + SOUND_FRAME_MS / 2 < self._timeline.ends[VIDEO]:
            tag = self._slate.pop()
            if tag.kind == AUDIO:
                self._timeline.send(tag)
        self.is_on_slate = False
        self._count_slate(now)
        self.changes.append(Change("slate-left", seconds=now - self._slate_began))
