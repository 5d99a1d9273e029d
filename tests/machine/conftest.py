"""The room that the tests of a module share, one for each Debian release, or for those in the module's own SUITES."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine import root
from tests.machine.screen import Screen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One set of a module's tests for each release."""
    if "screen_room" in metafunc.fixturenames:
        suites = getattr(metafunc.module, "SUITES", root.SUITES)
        metafunc.parametrize("screen_room", suites, indirect=True, scope="module")


@pytest.fixture(scope="module")
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
