"""livekeep.record.store.export: the exported data equals the record."""

import csv
import io
import json
import tempfile
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record import wire
from livekeep.record.store import export, queries, schema
from livekeep.record.store.export_tables import TABLES
from livekeep.record.store.queries import Filter
from livekeep.record.store.writer import Writer
from tests.record.entries import NOW, Job, event
from tests.record.made_record import make

texts = st.one_of(
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=20),
    st.sampled_from(
        ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "'quoted", "\t=1", "a,b;c", 'say "x"', "two\nlines", "\r", "ñ🎬"]
    ),
)
errors = st.one_of(st.none(), st.tuples(texts, texts, texts))
numbers = st.one_of(st.none(), st.integers(0, 2**53))
calls = st.lists(
    st.tuples(texts, st.integers(0, 10**12), st.integers(0, 10**12), st.sampled_from(["succeeded", "failed", "cancelled"]),
              st.one_of(st.none(), texts), errors, numbers, numbers, numbers, numbers),
    max_size=12,
)  # fmt: skip


def fill(folder: Path, made: list[Any], name: str) -> Connection:
    writer = Writer(folder / "record.db")
    job = Job(unit="=job.service", hostname="@box")
    lines: list[list[Any]] = [
        ["s", "token", {"name": name, "began": NOW, "ended": NOW + 1_500_001, "outcome": "failed", "message": name, "done": 2.5}],
        ["t", "token", 1, {"name": name, "began": NOW, "outcome": "running", "weight": 0.1}],
    ]
    for number, (function, start, duration, outcome, text, error, *metrics) in enumerate(made, 1):
        call = ["c", number, number, NOW + start, duration, outcome, 0, "token", text, text, error, *metrics]
        lines += [["f", number, function, "function"], call]
    writer.ingest([job.raw(wire.encode(lines), len(made)), event("picture-changed", name, PICTURE=name)])
    writer.add_sample("1" * 32, "@box", NOW, {"cpu_percent": 12.5, "memory_bytes": 10**9})
    writer.add_sample("1" * 32, "@box", NOW, {"memory_bytes": 5, "cpu_percent": 0.1}, "=job.service")
    writer.commit()
    writer.close()
    return schema.open_read_only(folder / "record.db")


def exported(connection: Connection, table: str, form: export.Format, wanted: Filter = Filter()) -> list[dict[str, Any]]:  # noqa: B008
    """Read it back, using only what is documented."""
    stream = io.StringIO(newline="")
    count = export.export(connection, table, wanted, form, stream)
    text = stream.getvalue()
    if form == "json":
        rows = [json.loads(line, parse_float=Decimal) for line in text.split("\n") if line]
    else:
        rows = [
            {name: cell[1:] if cell.startswith("'") else cell for name, cell in row.items()}
            for row in csv.DictReader(io.StringIO(text, newline=""), strict=True)
        ]
    assert len(rows) == count
    return rows


def moment(text: str) -> int:
    """Exactly: a float would lose the last digits."""
    at = datetime.fromisoformat(text)
    assert at.tzinfo
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond


@given(calls, texts)
@settings(deadline=None, max_examples=80, derandomize=True)
def test_data_export_completeness(made: list[Any], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        connection = fill(Path(folder), made, name)
        expected = list(reversed(queries.calls(connection, Filter(), 100).rows))
        assert len(expected) == len(made)
        read = {form: exported(connection, "calls", form) for form in ("csv", "json")}  # type: ignore[arg-type]
        for form, rows in read.items():
            assert [as_told(row) for row in rows] == [as_known(call, form) for call in expected]
        connection.close()


def as_told(row: dict[str, Any]) -> tuple[Any, ...]:
    def number(value: Any) -> Any:
        return value if value in (None, "") else int(value)

    seconds = row["cpu_seconds"]
    return (
        int(row["id"]), moment(row["began_at"]), int(Decimal(row["duration_seconds"]) * 1_000_000), row["function"], row["kind"],
        row["outcome"], row["hostname"], row["unit"], number(row["session"]), int(row["number"]), int(row["parent"]),
        row["thread"] or "", seconds if seconds in (None, "") else int(Decimal(seconds) * 1_000_000), number(row["memory_bytes"]),
        number(row["read_bytes"]), number(row["written_bytes"]), row["arguments"], row["error_type"], row["error_message"],
        row["error_traceback"],
    )  # fmt: skip


def as_known(call: queries.Call, form: str) -> tuple[Any, ...]:
    """CSV does not distinguish a missing text from an empty one."""

    def known(value: Any) -> Any:
        return "" if value is None and form == "csv" else value

    error = call.error
    metrics = map(known, (call.cpu, call.memory_bytes, call.read_bytes, call.written_bytes, call.arguments))
    reported = (error.type, error.message, error.traceback) if error else (known(None),) * 3
    return (
        call.id, call.began_at, call.duration, call.name, call.kind, call.outcome, call.hostname, call.unit, known(call.session),
        call.number, call.parent, call.thread, *metrics, *reported,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "json"])
def test_every_table_is_exported_whole(tmp_path: Path, form: export.Format) -> None:
    made = make(tmp_path / "record.db", 3000, 2, NOW)
    connection = schema.open_read_only(made.file)
    sql = {name: name.replace("-", "_") for name in TABLES} | {
        "errors": "(SELECT 1 FROM calls WHERE outcome = 1 GROUP BY function, error)"
    }
    for name in TABLES:
        rows = exported(connection, name, form)
        assert len(rows) == connection.execute(f"SELECT count(*) FROM {sql[name]}").fetchone()[0], name  # noqa: S608
        assert not rows or list(rows[0]) == list(TABLES[name].columns)
    connection.close()


def test_times_are_local_and_lose_no_microsecond(tmp_path: Path) -> None:
    connection = fill(tmp_path, [], "n")
    (row,) = exported(connection, "sessions", "json")
    assert moment(row["began_at"]) == NOW
    assert moment(row["ended_at"]) == NOW + 1_500_001
    assert row["duration_seconds"] == Decimal("1.500001")
    (step,) = exported(connection, "steps", "csv")
    assert (step["ended_at"], step["duration_seconds"], step["weight"]) == ("", "", "0.1")
    (reported,) = exported(connection, "events", "json", Filter(event="picture*"))
    assert reported["fields"] == {"PICTURE": "n"}
    connection.close()


def test_a_filter_holds_for_an_export(tmp_path: Path) -> None:
    made = [
        ("a", 0, 5, "succeeded", None, None),
        ("b", 10, 5, "failed", None, ("E", "m", "t")),
        ("b", 20, 5, "succeeded", None, None),
    ]
    connection = fill(tmp_path, made, "n")
    assert [row["function"] for row in exported(connection, "calls", "csv", Filter(function="b"))] == ["b", "b"]
    assert [row["error_type"] for row in exported(connection, "calls", "csv", Filter(outcome="failed"))] == ["E"]
    assert len(exported(connection, "calls", "csv", Filter(begin=NOW + 10, end=NOW + 20))) == 1
    assert [row["count"] for row in exported(connection, "errors", "json")] == [1]
    assert exported(connection, "samples", "json", Filter(machine="other")) == []
    assert {row["period"] for row in exported(connection, "summaries", "json", Filter(function="a"))} == {"hour", "day"}
    connection.close()


def test_no_cell_of_a_foreign_text_is_a_formula(tmp_path: Path) -> None:
    connection = fill(tmp_path, [("=cmd()", 0, 5, "failed", "@x", ("+e", "-m", "=t"))], "=name")
    for table in TABLES:
        stream = io.StringIO(newline="")
        export.export(connection, table, Filter(), "csv", stream)
        for row in csv.reader(io.StringIO(stream.getvalue(), newline="")):
            assert not [cell for cell in row if cell.startswith(("=", "+", "@", "-"))], table
    connection.close()
