"""Parses a page's address: a time range, names, a metric. An address shows the same view to everyone.

Part of livekeep-web. An invalid value is ignored, with a message.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from livekeep.record.store import queries
from livekeep.record.store.queries import Filter

SECOND = 1_000_000
HOUR_SECONDS = 3600
WEEK_SECONDS = 7 * 24 * HOUR_SECONDS
RANGES: Mapping[str, tuple[int, str]] = {
    "1h": (HOUR_SECONDS, "1 hour"),
    "24h": (24 * HOUR_SECONDS, "24 hours"),
    "7d": (7 * 24 * HOUR_SECONDS, "7 days"),
    "30d": (30 * 24 * HOUR_SECONDS, "30 days"),
    "90d": (90 * 24 * HOUR_SECONDS, "90 days"),
    "365d": (365 * 24 * HOUR_SECONDS, "1 year"),
}
"""Word in the address → seconds back from now, and its label."""
METRICS: Mapping[str, str] = {
    "p95": "95th percentile",
    "p50": "median",
    "p99": "99th percentile",
    "mean": "mean",
    "max": "longest",
    "count": "calls",
    "failures": "failed calls",
}
MOMENTS = ("from", "to", "from2", "to2")
LONGEST_VALUE = 1024
MOST_FIELDS = 64
PLACE = re.compile(r"[0-9]{1,19}(?:-[0-9]{1,19})*")
LARGEST = 2**63 - 1
"""The largest values that the record can hold."""
NAMES = ("function", "kind", "machine", "session", "unit", "outcome")
"""Keys that are fields of `Filter`."""
OTHERS = ("range", *MOMENTS, "metric", "name", "priority", "text", "after", "format")
AHEAD = 60 * SECOND
"""A range up to now ends this much later: the clocks of several machines differ."""


@dataclass(frozen=True)
class View:
    """The view that an address requests. `begin` and `end` are microseconds since 1970."""

    path: str
    values: Mapping[str, str]
    begin: int
    end: int
    problems: tuple[str, ...] = ()
    begin2: int = 0
    end2: int = 0
    """The range of comparison: the equally long one before, unless the address gives another."""

    @property
    def filter(self) -> Filter:
        names: dict[str, Any] = {name: self.values[name] for name in NAMES if self.values.get(name)}
        return Filter(self.begin, self.end, **names)

    @property
    def metric(self) -> str:
        return self.values.get("metric", "") if self.values.get("metric") in METRICS else "p95"

    @property
    def range(self) -> str:
        """The word of a range that ends now, "" for one between two moments."""
        return self.values.get("range", "")

    def get(self, key: str) -> str:
        return self.values.get(key, "")

    def place(self, numbers: int = 1) -> str:
        """The start of the page within a list: the list's own token of numbers; "" for the first page."""
        text = self.get("after")
        parts = [int(part) for part in text.split("-")] if PLACE.fullmatch(text) else []
        return text if len(parts) == numbers and max(parts) <= LARGEST else ""

    def input_type(self, key: str) -> str:
        """The input type of the form's field for a moment: a date alone, unless it has a time."""
        return "datetime-local" if "T" in self.get(key) else "date"

    def address(self, path: str = "", **changes: str | int | None) -> str:
        """The address of the same view with changes: a value, or None for none. Drops the position within a list."""
        values = {key: value for key, value in self.values.items() if key != "after"}
        for key, value in changes.items():
            name = key.removesuffix("_")
            values.pop(name, None)
            if value not in (None, ""):
                values[name] = str(value)
        return address(path or self.path, values)


def address(path: str, values: Mapping[str, str]) -> str:
    return quote(path) + (f"?{urlencode(values)}" if values else "")


def view(path: str, query: str, now: float, default_range: str = "24h") -> View:
    """The view that an address requests, `now` in Unix seconds."""
    problems: list[str] = []
    try:
        given = dict(parse_qsl(query, errors="replace", max_num_fields=MOST_FIELDS))
    except ValueError:
        given = {}
        problems.append("the address has too many fields")
    known = {key: value.replace("\0", "")[:LONGEST_VALUE] for key, value in given.items() if key in (*NAMES, *OTHERS)}
    values = {key: value for key, value in known.items() if value}
    if values.get("range", default_range) not in RANGES:
        problems.append(f"there is no range “{values.pop('range')}”: one of {', '.join(RANGES)}")
    moments = {}
    for key in MOMENTS:
        try:
            if key in values:
                moments[key] = moment(values[key], is_end=key.startswith("to"))
        except ValueError as error:
            problems.append(f"{key}: {error}")
            del values[key]
    if values.get("metric", "p95") not in METRICS:
        problems.append(f"there is no metric “{values.pop('metric')}”: one of {', '.join(METRICS)}")
    end = moments.get("to", int(now * SECOND))
    if "from" in moments or "to" in moments:
        values.pop("range", None)
        begin = moments.get("from", 0)
        if begin > end:
            problems.append("the range ends before it begins")
    else:
        # At a full hour, or a full day for a week and more, so that the first bar of a chart is complete, and summaries cover
        # the range.
        seconds = RANGES[values.setdefault("range", default_range)][0]
        begin = queries.bucket_start(end - seconds * SECOND, "day" if seconds >= WEEK_SECONDS else "hour")
    end2 = moments.get("to2", begin)
    begin2 = moments.get("from2", end2 - (end - begin))
    ahead = 0 if "to" in moments else AHEAD
    return View(path, values, begin, max(begin, end) + ahead, tuple(problems), max(begin2, 0), max(end2, 0))


def moment(text: str, is_end: bool = False) -> int:
    """A date, or a date and a time, in the machine's zone unless it names one, as microseconds since 1970. `is_end`: a date means
    the end of its day. Raises `ValueError` that says what is wrong."""
    time.tzset()
    try:
        parsed = datetime.fromisoformat(text)
        if len(text) <= 10 and is_end:
            parsed += timedelta(days=1)
        return round(parsed.timestamp() * SECOND)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"“{text[:40]}” is not a date such as 2026-11-29 or 2026-11-29T14:00") from error
