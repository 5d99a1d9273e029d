"""Shared by the tests of the virtual machines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .box import Note


@pytest.fixture
def note(record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]) -> Note:
    """Writes a measured time into the report; nothing is asserted about it."""

    def write(what: str, seconds: float) -> None:
        record_property(what, round(seconds, 1))
        with capsys.disabled():
            print(f"\n{what}: {seconds:.1f} s")

    return write
