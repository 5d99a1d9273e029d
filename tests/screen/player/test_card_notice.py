"""The line about the card: for a minute, or until its problem is solved."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from livekeep.core import state
from livekeep.core.state import FirstbootState
from livekeep.screen.player.card_notice import ADVICE, BOOT_SECONDS, NOTICE_SECONDS, CardNotice

NOTICE, PROBLEM = "Event 123 taken from the card", "livekeep.toml on the card: is not UTF-8 text"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "firstboot").mkdir()
    return tmp_path


def write(root: Path, **told: object) -> float:
    card = state.stamped(replace(FirstbootState(), **told))  # type: ignore[arg-type]
    state.write(card, root)
    return card.written_monotonic


def test_nothing_on_the_card(root: Path) -> None:
    card, now = CardNotice(root), time.monotonic()
    assert card.lines(now, True) == ()
    assert card.next_change(now) == now + BOOT_SECONDS


def test_a_minute_from_the_first_picture_on(root: Path) -> None:
    now, card = write(root, notice=NOTICE), CardNotice(root)
    assert card.lines(now, False) == (NOTICE,)
    first = now + 100
    assert card.lines(first, True) == (NOTICE,)
    assert card.next_change(first) == first + NOTICE_SECONDS
    assert card.lines(first + NOTICE_SECONDS - 1, True) == (NOTICE,)
    assert card.lines(first + NOTICE_SECONDS, True) == ()


def test_a_player_that_starts_again_later_does_not_repeat_it(root: Path) -> None:
    now = write(root, notice=NOTICE)
    assert CardNotice(root).lines(now + BOOT_SECONDS, True) == ()


def test_a_problem_stays_until_the_program_ran_again(root: Path) -> None:
    now, card = write(root, notice=NOTICE, problems=(PROBLEM,)), CardNotice(root)
    assert card.lines(now, True) == (PROBLEM, ADVICE, NOTICE)
    assert card.lines(now + 86400, True) == (PROBLEM, ADVICE)
    later = write(root, notice="Event 124 taken from the card")
    assert card.lines(later, True) == ("Event 124 taken from the card",)
