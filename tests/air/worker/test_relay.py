"""The relay on a clock of its own: one timeline whatever items come, fail, run dry or are cut by a reconnect."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from livekeep.air.worker.flv import AUDIO, FILE_HEADER, VIDEO, FlvError, Reader, Tag, encode
from livekeep.air.worker.input_buffer import InputBuffer
from livekeep.air.worker.relay import LONGEST_HOLE_MS, Relay
from livekeep.air.worker.slate_loop import SlateLoop
from livekeep.air.worker.timeline import BURST_SECONDS
from tests.air.flv_maker import FRAME_MS, SOUND_MS, item, read

STEP_SECONDS = 0.02


class Wire:
    """Drives a relay as the worker does, in steps of 20 ms; `tags` are all that went out on the present connection."""

    def __init__(self, slate_seconds: float = 2.0) -> None:
        self.relay = Relay(SlateLoop(item(slate_seconds, name=b"slate"), FRAME_MS), FRAME_MS)
        self.now = 1000.0
        self.tags: list[tuple[float, Tag]] = []
        self._reader = Reader()

    def connect(self, first_ms: int = 0) -> None:
        self.tags, self._reader = [], Reader()
        # As if the burst lay behind it.
        self.relay.connect(self.now + BURST_SECONDS, first_ms)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_SECONDS)):
            self.tags += [(self.now, tag) for tag in self._reader.feed(self.relay.take(self.now))]
            self.now += STEP_SECONDS

    def give(self, name: str, data: bytes, is_over: bool = True) -> InputBuffer:
        buffer = InputBuffer(name, FRAME_MS)
        buffer.feed(data)
        if is_over:
            buffer.end()
        self.relay.queue.append(buffer)
        return buffer

    def kinds(self) -> list[str]:
        return [change.kind + (f" {change.item.name}" if change.item else "") for change in self.relay.changes]

    def pictures(self) -> list[Tag]:
        return [tag for _when, tag in self.tags if tag.is_picture]

    def sounds(self) -> list[Tag]:
        return [tag for _when, tag in self.tags if tag.kind == AUDIO and not tag.is_sequence_header]

    def headers(self, kind: int = VIDEO) -> list[bytes]:
        return [tag.body for _when, tag in self.tags if tag.kind == kind and tag.is_sequence_header]


def shown_at(tags: Sequence[Tag]) -> list[int]:
    return sorted(tag.timestamp + tag.composition_ms for tag in tags)


def longest_step(moments: Sequence[float]) -> float:
    return max(after - before for before, after in itertools.pairwise(moments))


@pytest.fixture
def wire() -> Wire:
    wire = Wire()
    wire.connect()
    return wire


def test_items_follow_each_other_without_a_hole(wire: Wire) -> None:
    wire.give("a", item(3.0, delay_frames=2))
    wire.give("b", item(2.52))
    wire.give("c", item(4.0, delay_frames=3, sound_seconds=4.02))
    wire.run(9.9)
    assert wire.kinds() == ["began a", "ended a", "began b", "ended b", "began c", "ended c", "slate"]
    steps = shown_at(wire.pictures())
    assert longest_step(steps) <= FRAME_MS + 2 * SOUND_MS
    decoded = [tag.timestamp for _when, tag in wire.tags if tag.kind == VIDEO]
    assert decoded == sorted(decoded)
    heard = [tag.timestamp for tag in wire.sounds()]
    assert heard == sorted(heard)
    assert longest_step(heard) <= 110


def test_items_of_the_same_shape_leave_no_trace(wire: Wire) -> None:
    for name in "abcdef":
        wire.give(name, item(2.0, delay_frames=2))
    wire.run(11.9)
    assert longest_step(shown_at(wire.pictures())) <= FRAME_MS + SOUND_MS + 1
    assert longest_step([tag.timestamp for tag in wire.sounds()]) <= SOUND_MS * 2 + 1
    assert wire.headers() == [b"\x17\0\0\0\0same"]


def test_everything_is_sent_when_it_is_due(wire: Wire) -> None:
    wire.give("a", item(5.0))
    wire.run(5.0)
    began = wire.tags[0][0]
    lateness = [when - began - tag.timestamp / 1000 for when, tag in wire.tags if not tag.is_sequence_header]
    assert max(lateness) <= STEP_SECONDS + 0.001
    assert min(lateness) >= -0.001


def test_a_connection_begins_with_half_a_second_at_once() -> None:
    wire = Wire()
    wire.give("a", item(5.0))
    wire.relay.connect(wire.now)
    assert [tag.timestamp for tag in read(wire.relay.take(wire.now)) if tag.is_picture][-1] == pytest.approx(500, abs=FRAME_MS)


def test_nothing_to_play_is_the_slate_until_there_is(wire: Wire) -> None:
    wire.run(5.0)
    assert wire.kinds() == ["slate"]
    assert longest_step(shown_at(wire.pictures())) <= FRAME_MS + SOUND_MS + 1
    wire.give("a", item(2.0))
    wire.run(1.0)
    assert wire.kinds() == ["slate", "slate-left", "began a"]
    assert wire.relay.slate_seconds == pytest.approx(5.0, abs=0.05)
    assert wire.headers() == [b"\x17\0\0\0\0slate", b"\x17\0\0\0\0same"]
    assert longest_step(shown_at(wire.pictures())) <= 2 * FRAME_MS + SOUND_MS + 1


def test_an_item_that_ends_early_gives_way_at_once(wire: Wire) -> None:
    short = wire.give("a", item(10.0)[:15_000])
    wire.give("b", item(3.0))
    wire.run(9.0)
    assert wire.kinds()[:3] == ["began a", "ended a", "began b"]
    assert 0 < short.played_seconds < 9
    assert longest_step(shown_at(wire.pictures())) <= 2 * FRAME_MS + SOUND_MS + 1


def test_an_item_without_a_picture_is_passed_over(wire: Wire) -> None:
    wire.give("empty", b"")
    wire.give("cut", item(3.0)[:40])
    wire.give("b", item(1.0))
    wire.run(0.5)
    assert wire.kinds() == ["ended empty", "ended cut", "began b"]


def test_an_item_that_runs_dry_is_bridged_and_comes_back_with_a_keyframe(wire: Wire) -> None:
    data = item(20.0)
    half = len(data) // 2
    buffer = wire.give("a", data[:half], is_over=False)
    wire.run(14.0)
    assert wire.kinds() == ["began a", "slate"]
    moments = [when for when, tag in wire.tags if tag.is_picture]
    assert longest_step(moments) <= 0.3
    buffer.feed(data[half:])
    buffer.end()
    wire.run(0.1)
    assert wire.kinds() == ["began a", "slate", "slate-left", "resumed a"]
    back = next(index for index, (_when, tag) in enumerate(wire.tags) if tag.body == b"\x17\0\0\0\0same" and index > 10)
    assert next(tag for _when, tag in wire.tags[back:] if tag.is_picture).is_keyframe
    assert longest_step(shown_at(wire.pictures())) <= 2 * FRAME_MS + SOUND_MS + 1


def test_an_item_that_stays_dry_can_be_given_up(wire: Wire) -> None:
    wire.give("a", item(3.0), is_over=False)
    wire.give("b", item(2.0))
    wire.run(5.0)
    assert wire.kinds() == ["began a", "slate"]
    wire.relay.drop_interrupted()
    wire.run(0.2)
    assert wire.kinds() == ["began a", "slate", "ended a", "slate-left", "began b"]
    wire.relay.drop_interrupted()
    assert wire.kinds()[-1] == "began b"


def test_skipping(wire: Wire) -> None:
    assert not wire.relay.skip()
    wire.give("a", item(30.0))
    wire.give("b", item(2.0))
    wire.run(1.0)
    assert wire.relay.skip()
    wire.run(0.5)
    assert wire.kinds() == ["began a", "ended a", "began b"]


def test_a_reconnect_keeps_the_place(wire: Wire) -> None:
    wire.give("a", item(12.0))
    wire.run(5.0)
    before = wire.pictures()
    wire.relay.disconnect(wire.now)
    wire.now += 7.0
    wire.connect()
    wire.run(7.9)
    after = wire.pictures()
    assert wire.tags[0][1].is_sequence_header
    assert wire.headers(AUDIO)
    assert after[0].is_keyframe
    assert after[0].timestamp in (0, 1)
    # The group that was on its way is sent again, and nothing is missing behind it.
    assert len(before) + len(after) == pytest.approx(12 * 25 + (len(before) % 50), abs=3)
    assert wire.kinds() == ["began a", "ended a"][: len(wire.kinds())]


def test_a_reconnect_on_the_slate(wire: Wire) -> None:
    wire.run(3.0)
    wire.relay.disconnect(wire.now)
    wire.now += 60.0
    wire.connect()
    wire.run(3.0)
    assert wire.pictures()[0].is_keyframe
    assert wire.relay.slate_seconds == pytest.approx(6.0, abs=0.6)


def test_a_header_in_the_middle_of_an_item_is_sent_again_after_a_reconnect(wire: Wire) -> None:
    first, second = item(2.0), item(4.0, name=b"other")
    buffer = InputBuffer("a", FRAME_MS)
    buffer.feed(first)
    for tag in read(second):
        buffer._take(tag._replace(timestamp=tag.timestamp + 2000))
    buffer.end()
    wire.relay.queue.append(buffer)
    wire.run(3.0)
    assert wire.headers() == [b"\x17\0\0\0\0same", b"\x17\0\0\0\0other"]
    wire.relay.disconnect(wire.now)
    wire.connect()
    wire.run(0.1)
    assert wire.headers() == [b"\x17\0\0\0\0other"]


def test_the_timeline_may_begin_anywhere(wire: Wire) -> None:
    first = 2**31 - 1500
    wire.connect(first)
    wire.give("a", item(3.0))
    wire.run(3.0)
    times = [tag.timestamp for tag in wire.pictures()]
    assert times[0] == first
    assert times[-1] > 2**31
    assert times == sorted(times)


def test_after_a_sleep_the_timeline_goes_on_where_it_was(wire: Wire) -> None:
    wire.give("a", item(10.0))
    wire.run(2.0)
    wire.now += 600.0
    wire.run(3.0)
    times = [tag.timestamp for tag in wire.pictures()]
    assert longest_step(times) <= FRAME_MS
    assert 4900 <= times[-1] <= 5100


def test_sound_far_ahead_of_its_picture_waits_for_it(wire: Wire) -> None:
    inner = read(item(8.0))
    apart = [tag for tag in inner if tag.kind != VIDEO or tag.is_sequence_header] + [tag for tag in inner if tag.is_picture]
    wire.give("a", FILE_HEADER + b"".join(encode(tag, tag.timestamp) for tag in apart))
    wire.run(8.0)
    assert wire.kinds() == ["began a"]
    times = [tag.timestamp for _when, tag in wire.tags if not tag.is_sequence_header]
    assert times == sorted(times)
    assert len(wire.pictures()) == 200


def test_what_is_no_flv_is_refused() -> None:
    for data in (b"not a video at all", FILE_HEADER + b"\xff" * 40, b"<html>" * 10):
        with pytest.raises(FlvError):
            Reader().feed(data)
    with pytest.raises(ValueError, match="no picture"):
        SlateLoop(FILE_HEADER, FRAME_MS)


def test_bytes_may_come_in_any_pieces() -> None:
    data, random_ = item(1.0), random.Random(7)
    whole, pieces, reader, position = read(data), [], Reader(), 0
    while position < len(data):
        size = random_.choice((1, 2, 3, 11, 50, 4000))
        pieces += reader.feed(data[position : position + size])
        position += size
    assert pieces == whole


@pytest.mark.parametrize("delays", [(3, 0), (0, 3), (2, 1, 0, 4, 0), (6, 0, 6)])
def test_a_change_is_no_step_in_decoding_time(wire: Wire, delays: tuple[int, ...]) -> None:
    """Whatever an item needs for its reordering; sound and picture that do not end together are no reason either."""
    for number, delay in enumerate(delays):
        wire.give(str(number), item(2.0, delay_frames=delay, sound_seconds=2.0 + (-0.1, 0.0, 0.1)[number % 3]))
    wire.run(2.0 * len(delays) + 3.0)
    assert wire.kinds()[-1] == "slate"
    decoded = [tag.timestamp for tag in wire.pictures()]
    heard = [tag.timestamp for tag in wire.sounds()]
    assert longest_step(decoded) <= 80
    assert longest_step(heard) <= 80
    assert min(after - before for before, after in itertools.pairwise(decoded)) > 0
    assert longest_step(shown_at(wire.pictures())) <= 80
    # No picture is decoded after it is to be shown, and none twice.
    assert min(tag.composition_ms for tag in wire.pictures()) >= 0
    assert len(set(shown_at(wire.pictures()))) >= len(wire.pictures()) - 6 * len(delays)


def test_an_item_that_breaks_the_connection_twice_at_one_place_is_left(wire: Wire) -> None:
    culprit = wire.give("a", item(30.0))
    wire.give("b", item(10.0))
    wire.run(11.5)
    break_and_connect(wire)
    # The group of pictures that was on its way is sent again.
    wire.run(2.5)
    assert wire.kinds() == ["began a"]
    break_and_connect(wire)
    wire.run(0.5)
    assert wire.kinds() == ["began a", "ended a", "began b"]
    assert culprit.problem == "the connection broke twice at 12.5 s of it"
    assert culprit.is_cut


def test_a_connection_that_breaks_at_other_places_leaves_no_item(wire: Wire) -> None:
    wire.give("a", item(60.0))
    for _ in range(4):
        wire.run(8.0)
        break_and_connect(wire)
    assert wire.kinds() == ["began a"]


def test_an_ingest_that_breaks_each_connection_costs_one_item_at_most(wire: Wire) -> None:
    for name in "abcd":
        wire.give(name, item(30.0))
    for _ in range(10):
        wire.run(1.0)
        break_and_connect(wire)
    assert wire.kinds() == ["began a", "ended a", "began b"]
    # A connection that holds makes it believable again that it is the item.
    wire.relay.note_steady()
    for _ in range(2):
        wire.run(1.0)
        break_and_connect(wire)
    assert wire.kinds() == ["began a", "ended a", "began b", "ended b"]


def break_and_connect(wire: Wire) -> None:
    wire.relay.disconnect(wire.now)
    wire.relay.note_break()
    wire.connect()


def without(data: bytes, begin_ms: int, end_ms: int, *kinds: int) -> bytes:
    """The item without the tags of those kinds between two moments."""

    def stays(tag: Tag) -> bool:
        return tag.kind not in kinds or tag.is_sequence_header or not begin_ms <= tag.timestamp < end_ms

    return FILE_HEADER + b"".join(encode(tag, tag.timestamp) for tag in read(data) if stays(tag))


@pytest.mark.parametrize("delay", [0, 3])
def test_a_hole_in_the_pictures_is_left_out_and_told(wire: Wire, delay: int) -> None:
    buffer = wire.give("a", without(item(12.0, delay_frames=delay), 4000, 9000, VIDEO))
    wire.run(8.0)
    assert longest_step([tag.timestamp for tag in wire.pictures()]) <= 80
    assert longest_step([tag.timestamp for tag in wire.sounds()]) <= 80
    assert wire.kinds() == ["began a", "ended a", "slate"]
    assert buffer.played_seconds == pytest.approx(7.0 + delay * FRAME_MS / 1000, abs=0.05)
    assert buffer.problem.startswith("it has no pictures from 4.")
    assert buffer.is_cut


def test_sound_that_is_missing_is_quiet_and_counted(wire: Wire) -> None:
    buffer = wire.give("a", without(item(12.0), 4000, 9000, AUDIO))
    wire.run(11.9)
    assert longest_step([tag.timestamp for tag in wire.sounds()]) <= 2 * SOUND_MS
    assert longest_step([tag.timestamp for tag in wire.pictures()]) <= FRAME_MS
    assert buffer.quiet_ms == pytest.approx(5000, abs=50)
    # It comes when it is due, not when the item's own sound is there again.
    lateness = [when - wire.tags[0][0] - tag.timestamp / 1000 for when, tag in wire.tags if tag.kind == AUDIO]
    assert max(lateness) <= 0.1


def test_sound_behind_the_last_picture_is_no_reason_to_stand_still(wire: Wire) -> None:
    buffer = wire.give("a", item(4.0, sound_seconds=12.0))
    wire.give("b", item(3.0))
    wire.run(6.9)
    assert wire.kinds() == ["began a", "ended a", "began b"]
    assert longest_step([tag.timestamp for tag in wire.pictures()]) <= 80
    assert buffer.problem == "it has no pictures from 4.0 to 12.0 s"
    # All its pictures went out: whether that is enough is for its length to say.
    assert not buffer.is_cut


def test_an_item_of_which_only_sound_still_comes_gives_way_to_the_slate(wire: Wire) -> None:
    wire.give("a", without(item(12.0), 4000, 12_000, VIDEO), is_over=False)
    wire.run(9.0)
    assert wire.kinds() == ["began a", "slate"]
    assert longest_step([tag.timestamp for tag in wire.pictures()]) <= LONGEST_HOLE_MS + 2 * FRAME_MS
    assert longest_step([tag.timestamp for tag in wire.sounds()]) <= 80


@pytest.mark.parametrize("early_ms", [40, 100, 3000])
def test_sound_that_begins_before_its_picture_lets_no_picture_stand_still(wire: Wire, early_ms: int) -> None:
    wire.give("a", item(2.0, delay_frames=2))
    shifted = [tag._replace(timestamp=tag.timestamp + early_ms * (tag.kind == VIDEO)) for tag in read(item(4.0, delay_frames=2))]
    wire.give("b", FILE_HEADER + b"".join(encode(tag, tag.timestamp) for tag in sorted(shifted, key=lambda tag: tag.timestamp)))
    wire.run(5.9)
    assert wire.kinds() == ["began a", "ended a", "began b"]
    assert longest_step(shown_at(wire.pictures())) <= FRAME_MS + SOUND_MS + 1
    assert longest_step([tag.timestamp for tag in wire.sounds()]) <= 80


@pytest.mark.parametrize("sound_seconds", [1.9, 2.0, 2.06, 3.0])
def test_a_slate_that_begins_again_lets_no_picture_stand_still(sound_seconds: float) -> None:
    relay = Relay(SlateLoop(item(2.0, delay_frames=1, sound_seconds=sound_seconds), FRAME_MS), FRAME_MS)
    wire = Wire()
    wire.relay = relay
    wire.connect()
    wire.run(9.0)
    assert wire.kinds() == ["slate"]
    assert longest_step(shown_at(wire.pictures())) <= FRAME_MS + 1
    assert longest_step([tag.timestamp for tag in wire.sounds()]) <= 60
    assert len(wire.pictures()) == pytest.approx(9 * 25, abs=2)
