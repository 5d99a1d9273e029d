"""What small copies of a picture tell, in simulated time."""

from types import SimpleNamespace
from typing import cast

import pytest

from livekeep.core.config import Screen
from livekeep.screen.player.display_connection import sample_seconds
from livekeep.screen.player.driver import Driver
from livekeep.screen.player.motion import LONGEST_GAP_SECONDS, TOLERANCE, Motion

PICTURE = bytes(range(100, 244))
BLACK, BLUE = bytes(144), bytes([30] * 144)


def copies(*pictures: bytes, every: float = 20.0) -> tuple[Motion, float]:
    """What was seen after these copies, and when the last one was."""
    motion = Motion()
    for number, picture in enumerate(pictures):
        motion.note(picture, 1000 + number * every)
    return motion, 1000 + (len(pictures) - 1) * every


def changed(part: int, by: int) -> bytes:
    return bytes([*PICTURE[:part], PICTURE[part] + by, *PICTURE[part + 1 :]])


@pytest.mark.parametrize(
    ("pictures", "seen"),
    [
        ((), ""),
        ((b"",), ""),
        ((PICTURE,), "moving"),
        ((PICTURE,) * 30, "moving"),
        ((PICTURE,) * 31, "frozen"),
        ((PICTURE, changed(3, TOLERANCE)) * 16, "frozen"),
        ((PICTURE, changed(3, TOLERANCE + 1)) * 16, "moving"),
        ((PICTURE,) * 31 + (changed(140, 9),), "moving"),
        ((BLACK,) * 3, "moving"),
        ((BLACK,) * 4, "blank"),
        ((BLUE,) * 4, "blank"),
        ((BLACK,) * 40, "blank"),
        ((PICTURE, BLACK, BLACK, PICTURE) * 9, "moving"),
        ((BLACK, BLUE) * 2, "blank"),
        ((b"", PICTURE) * 31, "frozen"),
    ],
)
def test_what_is_seen_after_a_minute_and_after_ten(pictures: tuple[bytes, ...], seen: str) -> None:
    motion, now = copies(*pictures)
    assert motion.judge(now, 60.0, 600.0) == seen


def test_what_is_not_to_be_reported_moves() -> None:
    motion, now = copies(*(BLACK,) * 100)
    assert motion.judge(now, 0.0, 600.0) == "frozen"
    assert motion.judge(now, 60.0, 0.0) == "blank"
    assert motion.judge(now, 0.0, 0.0) == "moving"


def test_a_time_without_copies_counts_for_nothing() -> None:
    motion, now = copies(*(BLACK,) * 2, every=LONGEST_GAP_SECONDS + 1)
    assert motion.judge(now, 60.0, 200.0) == "moving"


def test_a_slow_change_is_one() -> None:
    """Each copy is compared with the one that began it, not with the one before."""
    slow = [bytes(value + number // 4 for value in PICTURE[:100]) for number in range(40)]
    motion, now = copies(*slow)
    assert motion.judge(now, 60.0, 600.0) == "moving"


def test_how_often_a_copy_is_taken() -> None:
    shown = cast(Driver, SimpleNamespace(has_picture=True, motion=Motion()))
    assert sample_seconds(Screen(), shown) == 20
    assert sample_seconds(Screen(blank_seconds=3), shown) == 1
    assert sample_seconds(Screen(blank_seconds=0, frozen_seconds=30), shown) == 10
    assert sample_seconds(Screen(blank_seconds=0, frozen_seconds=0), shown) == 0
    for cost, pause in ((0.015, 20), (0.05, 50), (1.0, 120)):
        shown.motion.cost_seconds = cost
        assert sample_seconds(Screen(), shown) == pause
    for has_picture in (None, False):
        assert sample_seconds(Screen(), cast(Driver, SimpleNamespace(has_picture=has_picture, motion=Motion()))) == 0
