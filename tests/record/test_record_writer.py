"""livekeep.record.store.writer: entries of a journal become rows, each once, whatever is in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from entries import Job

from livekeep.record.store.writer import Writer

BEGAN = 1_700_000_000_000_000


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path / "record.db")
    yield writer
    writer.close()


def rows(writer: Writer, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in writer.connection.execute(query)]


def test_calls_of_an_entry_are_rows(writer: Writer) -> None:
    job = Job()
    writer.ingest([job.entry(calls=[("fetch", BEGAN, 1500, "succeeded"), ("cut", BEGAN + 5, 20, "failed")])])
    found = rows(
        writer,
        "SELECT f.name, c.id / 1000, c.duration, c.outcome FROM calls c JOIN functions f ON f.id = c.function ORDER BY c.id",
    )
    assert found == [("fetch", BEGAN, 1500, 0), ("cut", BEGAN + 5, 20, 1)]
    assert rows(writer, "SELECT machine_id, hostname FROM machines") == [("1" * 32, "box")]
    assert rows(
        writer, "SELECT period, count, failures, sum FROM summaries s JOIN functions f ON f.id = s.function WHERE f.name = 'cut'"
    ) == [
        ("day", 1, 1, 20),
        ("hour", 1, 1, 20),
    ]
