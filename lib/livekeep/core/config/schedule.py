"""The tables [schedule] and [tv]: when a picture is wanted on the TV, and how the TV is switched.

A day's key is a day ("fri"), a range of days ("mon-fri", "sat-mon"), "daily", a date ("2026-12-24") or a range of dates
("2026-12-24-2027-01-06"). Its value is "on", "off", or one or more spans, such as "08:00-12:00, 20:00-02:00".
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

from livekeep.core.checks import OneOf, Pattern, key, open_keys

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAILY = "daily"
KINDS = ("date", "dates", "day", "days", DAILY)
"""The kinds of a day's key; the first one that covers a day applies to it."""
DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
DAY_RANGE = re.compile(f"({'|'.join(DAYS)})-({'|'.join(DAYS)})")
DATE_RANGE = re.compile(f"({DATE})-({DATE})")
SPAN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))")
DAY_MINUTES = 24 * 60
MOST_DATES = 366
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
DURATION = re.compile(r"0|([1-9][0-9]{0,5})([smh])")
LONGEST_SECONDS = 86400
ZONE_FOLDER = Path("/usr/share/zoneinfo")

Span = tuple[int, int]
"""Minutes after midnight, from and until; an end after 24:00 is on the next day."""


class DayKey:
    """The name of a day's key."""

    def problem(self, name: str) -> str | None:
        text = "must be a day such as mon, days such as mon-fri, daily, a date such as 2026-12-24, or dates such as "
        text += "2026-12-24-2027-01-06"
        if name in (*DAYS, DAILY) or DAY_RANGE.fullmatch(name):
            return None
        try:
            first, last = dates_of(name)
        except ValueError:
            return text
        if not first <= last:
            return "must begin with the earlier date"
        return None if (last - first).days < MOST_DATES else f"must be at most {MOST_DATES} days"


class DayValue:
    """The value of a day's key."""

    def problem(self, value: str) -> str | None:
        if value in ("on", "off"):
            return None
        try:
            spans = sorted(spans_of(value))
        except ValueError:
            return 'must be "on", "off" or times such as "08:00-22:00" or "08:00-12:00, 20:00-02:00"'
        if any(begin == end % DAY_MINUTES for begin, end in spans if (begin, end) != (0, DAY_MINUTES)):
            return 'must have spans that end at another time than they begin; a whole day is "on"'
        is_apart = all(end <= begin for (_, end), (begin, _) in pairwise(spans))
        return None if is_apart else "must have spans that do not overlap"


class Duration:
    """A time such as "15m", "1h" or "90s"; "0" for none."""

    def problem(self, value: str) -> str | None:
        is_good = DURATION.fullmatch(value) and seconds_of(value) <= LONGEST_SECONDS
        return None if is_good else 'must be a time such as "15m", "1h" or "90s", at most "24h", or "0"'


class TimeZone:
    """A name of the time zone database, or an empty text."""

    def problem(self, value: str) -> str | None:
        is_name = re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", value) and value != "localtime"
        is_good = value == "" or (is_name and (ZONE_FOLDER / value).is_file())
        return None if is_good else 'must be a time zone such as "Europe/Berlin"; timedatectl list-timezones shows them'


@dataclass(frozen=True)
class Schedule:
    """The week plan of the TV. Without a day's key, a picture is always wanted."""

    time_zone: str = key("", TimeZone())
    around_events: str = key("15m", Duration())
    force: bool = key(False)
    days: Mapping[str, str] = open_keys(DayKey(), DayValue())

    def has_plan(self) -> bool:
        return bool(self.days)

    def around_seconds(self) -> float:
        return seconds_of(self.around_events)

    def key_of(self, day: datetime.date) -> str:
        """The key that applies to a day; "" if none does."""
        for kind in KINDS:
            for name in self.days:
                if kind_of(name) == kind and covers(name, day):
                    return name
        return ""

    def value_of(self, day: datetime.date) -> str:
        """The value of the key that applies. A day without a key is "off", but "on" if only dates have one."""
        if name := self.key_of(day):
            return self.days[name]
        has_week = any(kind_of(name) not in ("date", "dates") for name in self.days)
        return "off" if has_week else "on"

    def spans_on(self, day: datetime.date) -> list[Span]:
        """The spans that begin on a day."""
        return list(spans_of(self.value_of(day)))

    def faults(self) -> list[str]:
        """Errors beyond the single values, each beginning with the key."""
        faults = []
        for first, second in combinations(self.days, 2):
            kind = kind_of(second)
            if kind in ("dates", "days") and kind == kind_of(first) and (shared := shared_day(first, second)):
                faults.append(f"{second}: must not share a day with {first}; {shared} is in both")
        return faults


@dataclass(frozen=True)
class Tv:
    """How the TV is switched off and on."""

    method: str = key("auto", OneOf(("auto", "cec", "blank", "black")))
    active_source: bool = key(False)
    cec_device: str = key("", Pattern(r"|/dev/cec[0-9]+", 'a device such as "/dev/cec0"'))


def kind_of(name: str) -> str:
    """One of `KINDS` for a valid name of a day's key."""
    if name in DAYS or name == DAILY:
        return "day" if name in DAYS else DAILY
    if DAY_RANGE.fullmatch(name):
        return "days"
    return "dates" if DATE_RANGE.fullmatch(name) else "date"


def dates_of(name: str) -> tuple[datetime.date, datetime.date]:
    """The first and the last day of a date or a range of dates. Raises `ValueError` for anything else."""
    found = DATE_RANGE.fullmatch(name)
    first, last = found.groups() if found else (name, name)
    if not re.fullmatch(DATE, first):
        raise ValueError(name)
    return datetime.date.fromisoformat(first), datetime.date.fromisoformat(last)


def weekdays_of(name: str) -> set[int]:
    """The days of a day, a range of days or "daily"; Monday is 0. A range may go over the end of the week."""
    if name == DAILY:
        return set(range(7))
    first, _, last = name.partition("-")
    begin = DAYS.index(first)
    return {(begin + offset) % 7 for offset in range((DAYS.index(last or first) - begin) % 7 + 1)}


def covers(name: str, day: datetime.date) -> bool:
    if kind_of(name) in ("date", "dates"):
        first, last = dates_of(name)
        return first <= day <= last
    return day.weekday() in weekdays_of(name)


def shared_day(first: str, second: str) -> str:
    """A day that two ranges of the same kind share, as a key; "" for none."""
    if kind_of(first) == "days":
        shared = weekdays_of(first) & weekdays_of(second)
        return DAYS[min(shared)] if shared else ""
    (begin, end), (other_begin, other_end) = dates_of(first), dates_of(second)
    return str(max(begin, other_begin)) if max(begin, other_begin) <= min(end, other_end) else ""


def spans_of(value: str) -> Iterator[Span]:
    """The spans of a day's value. Raises `ValueError` for a faulty one."""
    if value in ("on", "off"):
        yield from [(0, DAY_MINUTES)] if value == "on" else []
        return
    for text in value.split(","):
        found = SPAN.fullmatch(text.strip())
        if not found:
            raise ValueError(text)
        begin_hour, begin_minute, *end = (int(part) for part in found.groups() if part)
        begin, until = begin_hour * 60 + begin_minute, end[0] * 60 + end[1]
        yield begin, until if until > begin else until + DAY_MINUTES


def seconds_of(duration: str) -> float:
    """The seconds of a valid `Duration`."""
    found = DURATION.fullmatch(duration)
    return float(int(found[1]) * UNIT_SECONDS[found[2]]) if found and found[1] else 0.0
