"""The facts that all packets of an item reveal: real length, holes, keyframes, the worst second of its bit rate. Pure.

Headers are often wrong and always incomplete, so an item is copied only when all its packets are known. The scanner takes packets
one by one in the order of the file; its memory use is bounded.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

HOLE_SECONDS = 0.5
"""Between two packets; a longer step is a hole."""
SOUND_HOLE_SECONDS = 0.1
"""The same for audio, which has no repeated pictures."""
BACK_SECONDS = 0.1
"""A timestamp that goes back by more restarts the timestamps; less is jitter."""
LEAP_SECONDS = 10.0
"""Where a container can restart its timestamps (MPEG), a larger step forward is a restart, as it is for ffmpeg."""
RESTARTING = ("mpegts", "mpeg")
"""The containers whose timestamps ffmpeg itself joins."""
MOST_HOLES = 200
"""Per stream; further ones are not recorded."""
SAME_LENGTH = 0.06
"""Packets whose lengths differ by no more than this fraction count as equal; those of 44.1 and 48 kHz are 8 % apart."""
RUN = 40
"""Packets that are measured together."""
REORDERED = 40
"""More pictures than any decoder delays for reordering."""

Kind = Literal["video", "audio"]


class Packet(NamedTuple):
    kind: Kind
    pts_seconds: float | None
    dts_seconds: float | None
    duration_seconds: float | None
    size_bytes: int
    is_keyframe: bool
    is_left_out: bool
    """By an edit list."""


class Hole(NamedTuple):
    """A time for which a stream has no packets; on the timeline of `Scan`."""

    start_seconds: float
    seconds: float


class Restart(NamedTuple):
    """A restart of the timestamps."""

    moment_seconds: float
    """On the timeline of `Scan`."""
    shift_seconds: float
    """The offset that joins them, for all times from here on."""


@dataclass(frozen=True)
class Track:
    """One stream by its packets. Times are seconds on one timeline from the item's first packet, timestamp restarts joined."""

    packets: int = 0
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    bits: int = 0
    worst_second_bits: int = 0
    """The most bits within one second."""
    holes: tuple[Hole, ...] = ()
    left_out: int = 0
    """Packets that an edit list leaves out."""
    has_all_times: bool = True
    shortest_step_seconds: float | None = None
    longest_step_seconds: float | None = None
    mean_step_seconds: float | None = None
    """Between two pictures in presentation order."""
    starts_with_keyframe: bool = False
    keyframe_seconds: float = 0.0
    """The longest distance between two keyframes, or from the last one to the end."""
    changes_length: bool = False
    """Whether its packets differ in length, as audio packets do when the sampling rate changes."""

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True)
class Scan:
    """An item by all its packets."""

    video: Track
    audio: Track | None = None
    restarts: tuple[Restart, ...] = ()
    damage: str = ""
    """ffprobe's messages about damaged packets; "" if there are none."""
    cut_off: bool = False
    """The container's index lists more data than the file has."""

    @property
    def shared_holes(self) -> tuple[Hole, ...]:
        """Holes that video and audio share. A video-only item has none: a still picture can be intended."""
        return tuple(overlaps(self.video.holes, self.audio.holes)) if self.audio else ()

    @property
    def seconds(self) -> float:
        """How long there is something to play."""
        tracks = [track for track in (self.video, self.audio) if track and track.packets]
        whole = max((track.end_seconds for track in tracks), default=0.0) - min(
            (track.start_seconds for track in tracks), default=0.0
        )
        return whole - sum(hole.seconds for hole in self.shared_holes)

    def as_document(self) -> dict[str, Any]:
        return {
            "video": vars(self.video),
            "audio": self.audio and vars(self.audio),
            "restarts": self.restarts,
            "damage": self.damage,
            "cut_off": self.cut_off,
        }


def scan_of(document: dict[str, Any]) -> Scan:
    """From `Scan.as_document`. Raises `ValueError`, `TypeError` or `KeyError` for an invalid document."""
    audio = document["audio"]
    return Scan(
        track_of(document["video"]),
        track_of(audio) if audio else None,
        tuple(Restart(float(moment), float(shift)) for moment, shift in document["restarts"]),
        str(document["damage"]),
        bool(document["cut_off"]),
    )


def track_of(document: dict[str, Any]) -> Track:
    return Track(**{**document, "holes": tuple(Hole(float(start), float(seconds)) for start, seconds in document["holes"])})


def overlaps(ones: Iterable[Hole], others: Iterable[Hole]) -> Iterable[Hole]:
    """The common parts that are long enough to be holes. Both inputs are sorted and free of overlaps."""
    waiting = deque(others)
    for one in ones:
        while waiting and waiting[0].start_seconds + waiting[0].seconds <= one.start_seconds:
            waiting.popleft()
        for other in waiting:
            start = max(one.start_seconds, other.start_seconds)
            end = min(one.start_seconds + one.seconds, other.start_seconds + other.seconds)
            if end - start > HOLE_SECONDS:
                yield Hole(start, end - start)
            if other.start_seconds + other.seconds > one.start_seconds + one.seconds:
                break


@dataclass
class Course:
    """The state of one stream during the scan."""

    hole_seconds: float
    packets: int = 0
    left_out: int = 0
    restarts: int = 0
    bits: int = 0
    worst_bits: int = 0
    start: float | None = None
    end: float = 0.0
    last_dts: float | None = None
    expected: float = 0.0
    """When the next packet should come, in the file's own time."""
    step: float = 0.0
    """The usual step between packets."""
    has_all_times: bool = True
    starts_with_keyframe: bool = False
    key_seconds: float | None = None
    keyframe_seconds: float = 0.0
    holes: list[Hole] = field(default_factory=list)
    showing: list[float] = field(default_factory=list)
    first_shown: float | None = None
    last_shown: float | None = None
    shortest: float | None = None
    longest: float | None = None
    second: deque[tuple[float, int]] = field(default_factory=deque)
    second_bits: int = 0
    run: int = 0
    """Packets without a hole since `run_began`."""
    run_began: float = 0.0
    shortest_run: float | None = None
    longest_run: float | None = None

    def step_to(self, dts: float, duration_seconds: float | None, shift: float) -> None:
        """Record the next packet in decoding order; `shift` leads from the file's own time to the timeline."""
        is_hole = False
        if self.last_dts is not None:
            begins = self.last_dts + min(self.step or HOLE_SECONDS, HOLE_SECONDS)
            is_hole = dts - begins > self.hole_seconds
            if is_hole and len(self.holes) < MOST_HOLES:
                self.holes.append(Hole(begins + shift, dts - begins))
        # Many packets in a row are measured together: a single one is too imprecise because of rounding.
        self.run += 1
        if is_hole or self.last_dts is None:
            self.run, self.run_began = 1, dts
        elif self.run > RUN:
            seconds = dts - self.run_began
            self.shortest_run = min(self.shortest_run or seconds, seconds)
            self.longest_run = max(self.longest_run or seconds, seconds)
            self.run, self.run_began = 1, dts
        if not is_hole and self.last_dts is not None and dts > self.last_dts:
            self.step = dts - self.last_dts
        self.last_dts, self.expected = dts, dts + (duration_seconds or self.step)

    def add_size(self, moment: float, bits: int) -> None:
        self.bits += bits
        self.second.append((moment, bits))
        self.second_bits += bits
        while self.second[0][0] <= moment - 1.0 + 1e-6:
            self.second_bits -= self.second.popleft()[1]
        self.worst_bits = max(self.worst_bits, self.second_bits)

    def show(self, pts: float) -> None:
        """Record the next picture in presentation order."""
        if self.last_shown is not None:
            step = pts - self.last_shown
            self.shortest = step if self.shortest is None else min(self.shortest, step)
            self.longest = step if self.longest is None else max(self.longest, step)
        else:
            self.first_shown = pts
        self.last_shown = pts

    def track(self, zero: float) -> Track:
        """The stream after its last packet, on a timeline that begins at `zero`."""
        while self.showing:
            self.show(heapq.heappop(self.showing))
        # From the last keyframe to the last picture.
        if self.key_seconds is not None and self.last_shown is not None:
            self.keyframe_seconds = max(self.keyframe_seconds, self.last_shown - self.key_seconds)
        start = self.start if self.start is not None else zero
        steps, span = self.packets - 1, (self.last_shown or 0.0) - (self.first_shown or 0.0)
        return Track(
            packets=self.packets,
            start_seconds=round(start - zero, 6),
            end_seconds=round(max(self.end, start) - zero, 6),
            bits=self.bits,
            worst_second_bits=self.worst_bits,
            holes=tuple(Hole(round(hole.start_seconds - zero, 6), round(hole.seconds, 6)) for hole in self.holes),
            left_out=self.left_out,
            has_all_times=self.has_all_times,
            shortest_step_seconds=None if self.shortest is None else round(self.shortest, 6),
            longest_step_seconds=None if self.longest is None else round(self.longest, 6),
            mean_step_seconds=span / steps if self.shortest is not None and steps > 0 else None,
            starts_with_keyframe=self.starts_with_keyframe,
            keyframe_seconds=round(self.keyframe_seconds, 6),
            changes_length=(self.shortest_run or 0.0) < (self.longest_run or 0.0) * (1 - SAME_LENGTH),
        )


class Scanner:
    """Pass it each packet with `take`; `result` is the scan."""

    def __init__(self, container: str) -> None:
        """`container`: ffprobe's format_name."""
        self._may_leap = container in RESTARTING
        self._courses: dict[str, Course] = {"video": Course(HOLE_SECONDS), "audio": Course(SOUND_HOLE_SECONDS)}
        self._shifts: list[float] = [0.0]
        """The offset after each restart, the same for both streams."""
        self._restarts: list[Restart] = []

    def take(self, packet: Packet) -> None:
        course = self._courses[packet.kind]
        if packet.is_left_out:
            course.left_out += 1
            return
        course.packets += 1
        if course.packets == 1:
            course.starts_with_keyframe = packet.is_keyframe
        course.has_all_times = course.has_all_times and packet.pts_seconds is not None
        times = [moment for moment in (packet.dts_seconds, packet.pts_seconds) if moment is not None]
        if not times:
            return
        dts, pts = times[0], times[-1]
        # The first pictures of Matroska have no decoding time, and presentation times are out of order.
        if packet.kind == "audio" or packet.dts_seconds is not None:
            self._note_restart(course, dts)
            course.step_to(dts, packet.duration_seconds, self._shifts[course.restarts])
        shift = self._shifts[course.restarts]
        pts += shift
        # An MP4 packet's duration extends to the next packet, even across a hole.
        length = min(packet.duration_seconds or course.step, max(course.step, HOLE_SECONDS))
        course.start = pts if course.start is None else min(course.start, pts)
        course.end = max(course.end, pts + length)
        course.add_size(dts + shift, packet.size_bytes * 8)
        if packet.is_keyframe:
            if course.key_seconds is not None:
                course.keyframe_seconds = max(course.keyframe_seconds, pts - course.key_seconds)
            course.key_seconds = pts
        if packet.kind == "video":
            heapq.heappush(course.showing, pts)
            if len(course.showing) > REORDERED:
                course.show(heapq.heappop(course.showing))

    def result(self, damage: str = "", cut_off: bool = False) -> Scan:
        video, audio = self._courses["video"], self._courses["audio"]
        zero = min((course.start for course in (video, audio) if course.start is not None), default=0.0)
        return Scan(
            video.track(zero),
            audio.track(zero) if audio.packets else None,
            tuple(Restart(round(moment - zero, 6), round(shift, 6)) for moment, shift in self._restarts),
            damage,
            cut_off,
        )

    def _note_restart(self, course: Course, dts: float) -> None:
        """Join restarted timestamps to those before. The first stream to restart sets the offset for both."""
        if course.last_dts is None:
            return
        leaps = self._may_leap and dts - course.expected > LEAP_SECONDS
        if dts + BACK_SECONDS >= course.last_dts and not leaps:
            return
        course.restarts += 1
        if course.restarts == len(self._shifts):
            line = self._shifts[-1] + course.expected
            # Not before the end of the other stream.
            line = max(line, *(other.end for other in self._courses.values() if other.packets))
            if len(self._restarts) < MOST_HOLES:
                self._restarts.append(Restart(line, line - dts - self._shifts[-1]))
            self._shifts.append(line - dts)
        course.last_dts = None
