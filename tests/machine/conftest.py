"""The rooms that the tests of a module share, one per Debian release, or per release in the module's own SUITES.

The tests of one module on one release are a group: they share a room, and one process runs them in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import root
from tests.machine.channel import ChannelRoom
from tests.machine.health_part import internet
from tests.machine.record_room import RecordRoom
from tests.machine.screen import Screen
from tests.machine.services import Services

ROOMS = ("screen_room", "channel_room", "record_room")
LONGEST_FIRST = (
    "air_channel-trixie", "prometheus-trixie", "air_install-trixie", "record-trixie", "record_install-trixie", "bad_input-trixie",
    "health-trixie", "install-trixie", "air_storage-trixie", "air_control-trixie", "screen-trixie", "api_faults-bookworm",
    "record_install-bookworm", "survival-trixie", "survival-bookworm", "air_units-trixie", "air_units-bookworm",
    "wayland-trixie", "wayland-bookworm", "tv-trixie", "exporter-trixie", "secrets-trixie",
)  # fmt: skip
"""The groups that take minutes: they start first, so that none runs alone at the end."""
NIGHTLY = ("harness", "soak")
"""The modules that CI leaves out."""
EACH_TIME_ON_BOOKWORM = {
    **dict.fromkeys(("install", "packages", "air_units", "survival", "wayland", "api_faults"), ("",)),
    "air_install": ("test_one_command", "test_the_command", "test_a_second_run", "test_an_upgrade", "test_uninstalling"),
    "record_install": ("test_one_command", "test_debian", "test_the_command", "test_an_upgrade", "test_uninstalling"),
    "screen": (
        "test_goes_live_and_off", "test_a_stream_that_breaks_down_comes_back[bookworm-stops growing]",
        "test_an_encoder_that_restarts", "test_sound_alone",
    ),
    "exporter": ("test_units_are", "test_a_unit_that"),
    "air_channel": ("test_a_check_tells", "test_one_command", "test_all_items_go_out"),
}  # fmt: skip
"""By module, how the names of the tests begin that CI runs on bookworm, too: those of its installation, its systemd, mpv, ffmpeg
and desktop. Its other tests repeat the result of trixie, and run each night."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One set of a module's tests per release."""
    for name in ROOMS:
        if name in metafunc.fixturenames:
            suites = getattr(metafunc.module, "SUITES", root.SUITES)
            metafunc.parametrize(name, suites, indirect=True, scope="module")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test into its group, and the groups in order."""
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    groups: dict[str, list[pytest.Item]] = {}
    others = []
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            others.append(item)
            continue
        group = group_of(item)
        item.add_marker(pytest.mark.xdist_group(group))
        module, _, suite = group.partition("-")
        if module in NIGHTLY or (suite == "bookworm" and not item.name.startswith(EACH_TIME_ON_BOOKWORM.get(module, ()))):
            item.add_marker(pytest.mark.nightly)
        groups.setdefault(group, []).append(item)
    names = sorted(groups, key=lambda name: ranks.get(name, len(ranks)))
    items[:] = [*others, *(item for name in names for item in groups[name])]


def group_of(item: pytest.Item) -> str:
    """The module's name and the release, such as `screen-trixie`."""
    module = item.path.stem.removeprefix("test_")
    parameters = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    return "-".join([module, *(value for value in parameters if value in root.SUITES)])


@pytest.fixture(scope="module")
def screen_room(request: pytest.FixtureRequest) -> Iterator[Screen]:
    """A room with livekeep installed and running."""
    with Screen(request.param, kept=True) as room:
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
    with ChannelRoom(request.param, kept=True) as room:
        yield room


@pytest.fixture(scope="module")
def record_room(request: pytest.FixtureRequest) -> Iterator[RecordRoom]:
    """A room with livekeep's screen and record installed and running."""
    with RecordRoom(request.param, kept=True) as room:
        room.shows("holding", within=60)
        yield room


@pytest.fixture(scope="module")
def services(screen_room: Screen) -> Iterator[Services]:
    """Name resolution and a line to measure, for the room's screen."""
    with internet(screen_room) as services:
        yield services


@pytest.fixture
def box(screen: Screen, services: Services) -> Screen:
    """The screen's room with these; other rooms' modules have a box of their own."""
    assert services.port
    return screen
