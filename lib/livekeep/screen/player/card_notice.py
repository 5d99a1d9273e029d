"""The line on the picture about the card: what livekeep-firstboot took over, for a minute, or why not, until that is fixed."""

import contextlib
from pathlib import Path

from livekeep.core import state
from livekeep.core.errors import TemporaryError
from livekeep.core.state import FirstbootState

NOTICE_SECONDS = 60.0
"""How long the TV says what was taken over, from the first picture on."""
BOOT_SECONDS = 900.0
"""A player that starts later than this does not say it again."""
ADVICE = "Correct the file in any computer, and put the card back"


class CardNotice:
    """Follows livekeep-firstboot's state."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._card = FirstbootState()
        self._began: float | None = None
        """When the notice came onto the picture."""

    def lines(self, now: float, has_picture: bool) -> tuple[str, ...]:
        """The lines for the picture that is on the screen, none at all mostly."""
        card = FirstbootState()
        # Usually there is nothing on the card, and no state.
        with contextlib.suppress(TemporaryError):
            card = state.read(FirstbootState, self._root)
        if card != self._card:
            self._card, self._began = card, None
        if self._began is None and has_picture:
            self._began = now
        is_new = now - card.written_monotonic < BOOT_SECONDS and (self._began is None or now - self._began < NOTICE_SECONDS)
        notice = (card.notice,) if card.notice and is_new else ()
        return (*((card.problems[0], ADVICE) if card.problems else ()), *notice)

    def next_change(self, now: float) -> float:
        """When the notice goes, at the latest; far away if there is none."""
        remaining = NOTICE_SECONDS if self._began is None else self._began + NOTICE_SECONDS - now
        return now + remaining if self._card.notice and remaining > 0 else now + BOOT_SECONDS
