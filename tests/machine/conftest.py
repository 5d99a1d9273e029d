"""The room that the tests of a module share, one for each Debian release."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine import root
from tests.machine.screen import Screen


@pytest.fixture(scope="module", params=root.SUITES)
def screen_room(request: pytest.FixtureRequest) -> Iterator[Screen]:
    """A room with livekeep installed and running."""
    with Screen(request.param) as room:
        room.shows("holding", within=60)
        yield room


@pytest.fixture
def screen(screen_room: Screen) -> Screen:
    """That room, idle, with the holding picture on the TV."""
    screen_room.restore()
    return screen_room
