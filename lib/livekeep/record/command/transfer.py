"""livekeep record export, import, check."""

import argparse
import contextlib
import io
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from livekeep.core.errors import LivekeepError
from livekeep.record import figures, reading
from livekeep.record.command.main import wanted_of
from livekeep.record.store import export, queries, requests, upkeep
from livekeep.system import terminal

IMPORT_SECONDS = 600.0


def run_export(connection: sqlite3.Connection, arguments: argparse.Namespace, now: float) -> int:
    wanted = wanted_of(arguments, now)
    with stream_to(arguments.output) as stream:
        export.export(connection, arguments.table, wanted, arguments.format, stream)
    return 0


@contextlib.contextmanager
def stream_to(name: str | None) -> Iterator[TextIO]:
    """A file, or standard output. Raises `LivekeepError` when it cannot be written."""
    if name is None:
        stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=False)
        yield stream
        stream.flush()
        stream.detach()
        return
    try:
        with Path(name).open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise LivekeepError(f"{name}: cannot be written ({error.strerror})") from error


def run_import(arguments: argparse.Namespace, record: Path) -> int:
    """Pass the file to the recorder, and wait until it is in the record."""
    try:
        request = requests.request_import(arguments.file, record)
    except PermissionError as error:
        if Path(error.filename or "") == arguments.file:
            raise LivekeepError(f"{arguments.file}: cannot be read ({error.strerror})") from error
        raise LivekeepError("only root may change the record; run this with sudo") from error
    except OSError as error:
        raise LivekeepError(f"{error.filename or arguments.file}: {error.strerror}") from error
    is_done = requests.wait(request, IMPORT_SECONDS)
    if arguments.json:
        terminal.say_block(terminal.json_text({"file": str(arguments.file), "is_imported": is_done}))
    elif is_done:
        terminal.say(f"{arguments.file}: is in the record; see: livekeep record sessions")
    if not is_done:
        raise LivekeepError("the recorder has not taken it yet, and will when it runs: systemctl status livekeep-recorder")
    return 0


def run_check(arguments: argparse.Namespace, record: Path) -> int:
    """Exit code 1 when the database is damaged."""
    began = time.monotonic()
    size = 0
    span: tuple[int, int] | None = None
    try:
        with reading.opened(record) as connection:
            faults = upkeep.check(connection)
            size = record.stat().st_size
            span = None if faults else queries.period(connection)
    except LivekeepError as error:
        if not isinstance(error.__cause__, sqlite3.DatabaseError) or isinstance(error.__cause__, sqlite3.OperationalError):
            raise
        faults = (str(error.__cause__),)
    if arguments.json:
        terminal.say_block(terminal.json_text({"file": str(record), "is_sound": not faults, "faults": faults, "bytes": size}))
        return 1 if faults else 0
    if faults:
        terminal.say(f"{record}: is damaged; the recorder sets it aside and goes on with its last copy:")
        for fault in faults:
            terminal.say(f"  {fault}")
        return 1
    span_text = f", from {figures.moment(span[0] / 1e6)} to {figures.moment(span[1] / 1e6)}" if span else ", and empty"
    terminal.say(f"{record}: sound, {figures.size(size)}{span_text} (checked in {figures.duration(time.monotonic() - began)})")
    return 0
