"""Parses times and time ranges from the command line: "yesterday", "7d", "2026-11-28", "2026-11-28 14:00".

Pure; uses the machine's time zone, `now` is passed in. Times are Unix seconds.
"""

import datetime
import re
import time

from livekeep.core.text import local_time
from livekeep.record.store.summaries import day_of

SECOND = 1_000_000
SPAN = re.compile(r"([0-9]{1,6})(min|m|h|d|w)")
SECONDS = {"min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
EXAMPLES = '"yesterday", "7d" (ago), a day such as 2026-11-28, or a moment such as "2026-11-28 14:00"'


def time_range(begin: str, end: str, now: float) -> tuple[float, float]:
    """From the beginning of `begin` to the end of `end`: a day given as the end is included. "" means now.

    Raises `ValueError` that says what is wrong.
    """
    first, last = span("--from", begin, now)[0], span("--to", end, now)[1]
    if first >= last:
        raise ValueError(f"--from {begin or 'now'} is not before --to {end or 'now'}")
    return first, last


def span(option: str, text: str, now: float) -> tuple[float, float]:
    """A day from midnight to midnight; a moment has no length. Raises `ValueError` that names `option`."""
    today = datetime.date(*local_time(now)[:3])
    if text in ("", "now"):
        return now, now
    if text in ("today", "yesterday"):
        return whole_day(today - datetime.timedelta(text == "yesterday"))
    if ago := SPAN.fullmatch(text):
        at = now - int(ago[1]) * SECONDS[ago[2]]
        return at, at
    try:
        if DAY.fullmatch(text):
            return whole_day(datetime.date.fromisoformat(text))
        at = datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{option} {text}: must be {EXAMPLES}") from error
    return at, at


def whole_day(day: datetime.date) -> tuple[float, float]:
    return midnight(day), midnight(day + datetime.timedelta(1))


def midnight(day: datetime.date) -> float:
    """The moment at which `day` begins here; a day has 23 to 25 hours."""
    time.tzset()
    noon = time.mktime((day.year, day.month, day.day, 12, 0, 0, 0, 0, -1))
    return day_of(int(noon) * SECOND) / SECOND
