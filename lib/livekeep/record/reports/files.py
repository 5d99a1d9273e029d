"""The files of reports, and the last reported period. livekeep-report writes them, livekeep-web reads them."""

import contextlib
import datetime
import json
import re
from dataclasses import dataclass
from pathlib import Path

from livekeep.core import files, paths
from livekeep.core.errors import TemporaryError
from livekeep.record.reports.period import Kind, Period, period_of

FOLDER = paths.ROOT / "var/lib/livekeep/reports"
NAME = re.compile(r"(?:daily-(\d{4}-\d\d-\d\d)|weekly-(\d{4}-W\d\d))\.(pdf|html|txt)")
LARGEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class ReportFile:
    name: str
    kind: Kind
    period: Period
    size_bytes: int


def stored(folder: Path = FOLDER) -> tuple[ReportFile, ...]:
    """The reports of the timers, the newest period first. Raises `TemporaryError`."""
    try:
        sizes = [(path.name, path.stat().st_size) for path in folder.iterdir() if NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TemporaryError(f"{folder}: cannot be read ({error.strerror})") from error
    rows = []
    for name, size in sizes:
        with contextlib.suppress(ValueError, OverflowError):
            kind, first = first_day(name)
            rows.append(ReportFile(name, kind, period_of(kind, first), size))
    return tuple(sorted(rows, key=lambda row: (row.period.end, row.name), reverse=True))


def first_day(name: str) -> tuple[Kind, datetime.date]:
    """The first day of the file `name`. Raises `ValueError` for another name, and for an invalid date."""
    match = NAME.fullmatch(name)
    if not match:
        raise ValueError(f"{name}: is no report")
    if match[1]:
        return "daily", datetime.date.fromisoformat(match[1])
    return "weekly", datetime.date.fromisoformat(f"{match[2]}-1")


def content(name: str, folder: Path = FOLDER) -> bytes:
    """Raises `ValueError` for a name that is not a report's, and `OSError`."""
    first_day(name)
    return files.read(folder / name, LARGEST_BYTES)


def write(name: str, made: bytes, folder: Path = FOLDER) -> None:
    """Raises `TemporaryError`."""
    try:
        files.replace(folder / name, made)
    except OSError as error:
        raise TemporaryError(f"{folder / name}: cannot be written ({error.strerror})") from error


def remembered(kind: Kind, folder: Path = FOLDER) -> datetime.date | None:
    """The first day of the newest reported period; None when there was none, or it cannot be read."""
    try:
        return datetime.date.fromisoformat(json.loads(files.read(folder / f"{kind}.json", 4096))["reported"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(kind: Kind, first: datetime.date, folder: Path = FOLDER) -> None:
    """Raises `TemporaryError`."""
    write(f"{kind}.json", json.dumps({"reported": str(first)}).encode(), folder)


def remove_old(before: float, folder: Path = FOLDER) -> int:
    """Remove the reports on periods that ended before that moment; return their number. Raises `TemporaryError`."""
    old = [row for row in stored(folder) if row.period.end < before]
    try:
        for row in old:
            (folder / row.name).unlink(missing_ok=True)
    except OSError as error:
        raise TemporaryError(f"{error.filename}: cannot be removed ({error.strerror})") from error
    return len(old)
