"""When the stream is next on air, from the API's data on an event or a video. Pure; times are Unix seconds.

In this order: `next_occurrence_time`, the schedule's `start_time`, the times of its `rrule` (RFC 5545: daily and weekly rules) or
weekly fields, the clip's `scheduled_start_time`. A start that has just passed still counts: the stream can be late.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any

from livekeep.system.vimeo import moment

LATE_SECONDS = 30 * 60.0
"""How long after its start a stream that is not live counts as late, not as over."""
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
FARTHEST_DAYS = 370


def next_start(document: Any, now: float) -> float | None:
    """The next start, or one that passed less than `LATE_SECONDS` ago; None if unknown."""
    if not isinstance(document, Mapping):
        return None
    announced, schedule = [moment(document.get("next_occurrence_time"))], document.get("schedule")
    if isinstance(schedule, Mapping):
        if schedule.get("type") != "weekly" and not schedule.get("rrule"):
            announced.append(moment(schedule.get("start_time")))
        announced += [from_rrule(schedule, document.get("time_zone"), now), from_weekdays(schedule, now)]
    for holder in (document, document.get("streamable_clip")):
        live = holder.get("live") if isinstance(holder, Mapping) else None
        if isinstance(live, Mapping):
            announced.append(moment(live.get("scheduled_start_time")))
    return next((start for start in announced if still_to_come(start, now) is not None), None)


def kept(previous: float | None, announced: float | None, now: float) -> float | None:
    """The start to show: a recent one stays for a while, even if the API already reports the next."""
    if previous is not None and previous <= now < previous + LATE_SECONDS:
        return previous
    return still_to_come(announced, now)


def still_to_come(start: float | None, now: float) -> float | None:
    return start if start is not None and now < start + LATE_SECONDS else None


def from_weekdays(schedule: Mapping[str, Any], now: float) -> float | None:
    """A weekly schedule: `daily_time` on `weekdays`, 1 for Monday to 7 for Sunday, both in UTC."""
    days, text = schedule.get("weekdays"), schedule.get("daily_time")
    if not isinstance(days, list) or not isinstance(text, str):
        return None
    try:
        at = time.fromisoformat(text)
    except ValueError:
        return None
    zone = at.tzinfo or UTC
    wanted = {number for number in range(1, 8) if number in days or str(number) in days}
    first = moment(schedule.get("scheduled_time")) or 0.0
    try:
        today = datetime.fromtimestamp(max(now - LATE_SECONDS, first), zone).date()
    except (ValueError, OverflowError, OSError):
        return None
    for ahead in range(9):
        day = today + timedelta(days=ahead)
        start = datetime.combine(day, at.replace(tzinfo=zone)).timestamp()
        if day.isoweekday() in wanted and start > now - LATE_SECONDS and start >= first:
            return start
    return None


def from_rrule(schedule: Mapping[str, Any], event_zone: object, now: float) -> float | None:
    """A daily or weekly rule with INTERVAL, BYDAY, UNTIL and COUNT; None for any other, to avoid a wrong time."""
    text = schedule.get("rrule")
    begin = moment(schedule.get("start_time"))
    begin = moment(schedule.get("scheduled_time")) if begin is None else begin
    if not isinstance(text, str) or begin is None:
        return None
    # The bare rule, or a line that begins with RRULE:.
    match = re.search(r"(?:^|RRULE:)\s*(FREQ=[^\s]+|[A-Z]+=[^\s]+)", text.upper())
    rule = dict(part.split("=", 1) for part in (match[1] if match else "").split(";") if "=" in part)
    days = rule.get("BYDAY", "").split(",") if rule.get("BYDAY") else []
    known = {"FREQ", "INTERVAL", "BYDAY", "UNTIL", "COUNT", "WKST"}
    if set(rule) - known or rule.get("FREQ") not in ("DAILY", "WEEKLY") or not set(days) <= set(WEEKDAYS):
        return None
    zone = zone_named(schedule.get("time_zone")) or zone_named(event_zone) or UTC
    try:
        last = until(rule.get("UNTIL", ""), zone)
    except (ValueError, OverflowError):
        return None
    count = int(rule["COUNT"]) if rule.get("COUNT", "").isdecimal() else None
    for number, start in enumerate(occurrences(begin, zone, rule, days, now)):
        if start > last or (count is not None and number >= count):
            return None
        if start > now - LATE_SECONDS:
            return start
    return None


def occurrences(begin: float, zone: tzinfo, rule: Mapping[str, str], days: list[str], now: float) -> Iterator[float]:
    """The starts from `begin` on, in the local time of `zone`, until well after `now`."""
    interval = max(int(rule["INTERVAL"]), 1) if rule.get("INTERVAL", "").isdecimal() else 1
    first = datetime.fromtimestamp(begin, zone)
    week = first.date() - timedelta(days=first.weekday())
    wanted = {WEEKDAYS.index(day) for day in days} or ({first.weekday()} if rule["FREQ"] == "WEEKLY" else set(range(7)))
    for ahead in range(max(int((now - begin) / 86400), 0) + FARTHEST_DAYS):
        day = first.date() + timedelta(days=ahead)
        step = (day - week).days // 7 if rule["FREQ"] == "WEEKLY" else ahead
        if step % interval == 0 and day.weekday() in wanted:
            yield datetime.combine(day, first.time(), zone).timestamp()


def until(text: str, zone: tzinfo) -> float:
    """The last moment of a rule, infinite without one; a date without a time counts to its end. Raises `ValueError`."""
    if not text:
        return math.inf
    last = datetime.fromisoformat(text)
    if "T" not in text:
        last = datetime.combine(last.date(), time.max)
    return (last if last.tzinfo else last.replace(tzinfo=zone)).timestamp()


def zone_named(name: object) -> tzinfo | None:
    if not isinstance(name, str) or not name:
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - rarely needed

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None
