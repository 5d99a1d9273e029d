"""The rooms that the tests of a module share, one for each Debian release, or for those in the module's own SUITES."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.machine import root
from tests.machine.channel import ChannelRoom
from tests.machine.screen import Screen

ROOMS = ("screen_room", "channel_room")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One set of a module's tests for each release."""
    for name in ROOMS:
        if name in metafunc.fixturenames:
            suites = getattr(metafunc.module, "SUITES", root.SUITES)
            metafunc.parametrize(name, suites, indirect=True, scope="module")


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


@pytest.fixture(scope="module")
def channel_room(request: pytest.FixtureRequest) -> Iterator[ChannelRoom]:
    """A room with livekeep's air part installed, and nothing on air."""
    with ChannelRoom(request.param) as room:
        yield room
