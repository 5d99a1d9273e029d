"""The streams that a player program shows, as fixtures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outside import LiveStream, live_stream


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveStream]:
    with live_stream(tmp_path / "live") as stream:
        yield stream


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStream]:
    """A stream for the tests that neither stall nor end it."""
    with live_stream(tmp_path_factory.mktemp("endless") / "live") as stream:
        yield stream
