"""Fixtures that several modules use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livekeep.record.store.writer import Writer
from tests.record.alert_box import Box, MailServer, box_in
from tests.web import Web


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A root for the alerter."""
    with box_in(tmp_path) as made:
        yield made


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.close()


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """The only writer of a new record."""
    made = Writer(tmp_path / "record.db")
    yield made
    made.close()
