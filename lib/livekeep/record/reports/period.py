"""Periods of reports: days and weeks from local midnight to local midnight. Pure; uses the machine's time zone.

A timer determines when, not which period: each day and each week that is over gets one report, whenever the timer elapses. So a
late run, after the box was off, still reports on the right day, and a repeated run makes no second report.
"""

import datetime
from dataclasses import dataclass
from typing import Literal

from livekeep.core.text import local_time
from livekeep.record import figures
from livekeep.record.moments import midnight

Kind = Literal["daily", "weekly"]
KINDS: tuple[Kind, ...] = ("daily", "weekly")
DAYS: dict[Kind, int] = {"daily": 1, "weekly": 7}
MOST_CAUGHT_UP: dict[Kind, int] = {"daily": 7, "weekly": 4}
"""Reports per run, after a box was off for long."""
Date = datetime.date


@dataclass(frozen=True)
class Period:
    """Times are Unix seconds; `end` is exclusive."""

    begin: float
    end: float
    before: float
    """The beginning of the period of comparison, which ends at `begin`."""
    kind: Kind | None = None
    """None: a period that a user chose."""

    @property
    def stem(self) -> str:
        """The base name of its files."""
        first = date_of(self.begin)
        if self.kind == "weekly":
            year, week, _day = first.isocalendar()
            return f"weekly-{year}-W{week:02}"
        return f"daily-{first}" if self.kind == "daily" else f"report-{first}-{last_date(self)}"

    @property
    def label(self) -> str:
        """For people, such as "Saturday 28 November 2026"."""
        first, last = date_of(self.begin), last_date(self)
        if self.kind == "daily":
            return f"{first:%A} {written(first)}"
        days = written(first)
        if first != last:
            # Without the parts that both share.
            begin = written(first) if first.year != last.year else f"{first.day} {first:%B}"
            days = f"{first.day if (first.year, first.month) == (last.year, last.month) else begin} – {written(last)}"
        if self.kind == "weekly":
            return f"Week {first.isocalendar()[1]}: {days}"
        return days if self.is_of_whole_days() else f"{figures.moment(self.begin)} – {figures.moment(self.end)}"

    @property
    def compared(self) -> str:
        """The period of comparison, as text after "than in"."""
        return {"daily": "the seven days before", "weekly": "the week before", None: "as long a time before"}[self.kind]

    def is_of_whole_days(self) -> bool:
        return all(midnight(date_of(moment)) == moment for moment in (self.begin, self.end))


def written(day: Date) -> str:
    return f"{day.day} {day:%B %Y}"


def date_of(moment: float) -> Date:
    there = local_time(moment)
    return datetime.date(there.tm_year, there.tm_mon, there.tm_mday)


def last_date(period: Period) -> Date:
    return date_of(period.end - 1)


def period_of(kind: Kind, first: Date) -> Period:
    """The day or week that begins on `first`."""
    days = datetime.timedelta(DAYS[kind])
    # A day is compared with the seven days before: a single previous day is often of another kind.
    before = first - datetime.timedelta(7)
    return Period(midnight(first), midnight(first + days), midnight(before), kind)


def newest(kind: Kind, now: float) -> Date:
    """The first day of the newest day or week that has ended at `now`."""
    today = date_of(now)
    monday = today - datetime.timedelta(today.weekday())
    return (today if kind == "daily" else monday) - datetime.timedelta(DAYS[kind])


def due(kind: Kind, now: float, reported: Date | None, began: float | None) -> list[Period]:
    """The periods that a run at `now` reports on, the oldest first.

    `reported` is the first day of the newest period already reported, None for none. `began` is when the record begins, None
    while it is empty: earlier periods are not reported.
    """
    last, days = newest(kind, now), datetime.timedelta(DAYS[kind])
    if began is None:
        return []
    # If `reported` is far in the future, the clock was wrong. A step back over one midnight is possible, though.
    if reported is None or reported > last + 2 * days:
        firsts = [last]
    else:
        missed = max(0, (last - reported).days // DAYS[kind])
        firsts = [last - days * number for number in reversed(range(min(missed, MOST_CAUGHT_UP[kind])))]
    return [period for period in (period_of(kind, first) for first in firsts) if period.end > began]


def chosen(begin: float, end: float) -> Period:
    """A period that a user chose, compared with an equally long one before it. Raises `ValueError` when it is empty."""
    if not begin < end:
        raise ValueError("it must end after it begins")
    period = Period(begin, end, begin - (end - begin))
    if not period.is_of_whole_days():
        return period
    first, last = date_of(begin), date_of(end)
    return Period(begin, end, midnight(first - (last - first)))
