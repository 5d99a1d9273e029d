"""Whether a picture is wanted on the TV now, why, and until when. Pure; times are Unix seconds.

A picture is wanted in the spans of the plan ([schedule]), while the stream is live, and `around_events` before a known start and
after the stream was live. Something switched by hand holds until the next change that would have been made without it, or until
an event comes near or goes live.
A time of the plan is reached when the clock first shows it or a later one. So a span that begins in the hour that is skipped in
spring begins at the end of that hour, and in the hour that comes twice in autumn the first one counts.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from typing import get_args

from livekeep.core.config import Schedule
from livekeep.core.config.schedule import DAY_MINUTES, DAYS
from livekeep.core.state import TvByHand, TvEvent

EVENTS: tuple[TvEvent, ...] = get_args(TvEvent)
LOOKAHEAD_DAYS = 35
"""A later change is not searched for; livekeep-tv runs every hour."""


@dataclass(frozen=True)
class Events:
    """What is known of the stream. `last_live`: the last moment at which it was live, if it is not now."""

    is_live: bool = False
    last_live: float | None = None
    next_start: float | None = None


@dataclass(frozen=True)
class Decision:
    """The result: `until` is the next change that is known; `by_hand` is what is still in force, None for nothing."""

    is_wanted: bool
    reason: str
    until: float | None = None
    event: TvEvent = "none"
    by_hand: TvByHand | None = None


@dataclass(frozen=True, order=True)
class Interval:
    """A time in which a picture is wanted, its end excluded."""

    begin: float
    end: float
    reason: str = ""
    is_event: bool = False

    def contains(self, now: float) -> bool:
        return self.begin <= now < self.end


def decide(
    schedule: Schedule, zone: tzinfo, events: Events, now: float, is_clock_set: bool, by_hand: TvByHand | None
) -> Decision:
    """The decision for `now`. As long as the clock is not set, nothing is switched off as planned."""
    anyway = decide_anyway(schedule, zone, events, now, is_clock_set)
    kept = kept_by_hand(by_hand, anyway, now)
    if kept is None:
        return anyway
    ends = [interval.begin for interval in of_events(schedule, zone, events, now) if interval.begin > now]
    ends += [] if anyway.until is None else [anyway.until]
    return Decision(kept.is_on, "switched by hand", min(ends, default=None), anyway.event, kept)


def decide_anyway(schedule: Schedule, zone: tzinfo, events: Events, now: float, is_clock_set: bool) -> Decision:
    """The decision without what was switched by hand."""
    expected = list(of_events(schedule, zone, events, now))
    is_near = any(interval.contains(now) for interval in expected)
    event: TvEvent = "live" if events.is_live and is_near else "near" if is_near else "none"
    if not schedule.has_plan():
        return Decision(True, "there is no plan", event=event)
    if not is_clock_set:
        return Decision(True, "the clock is not set yet", event=event)
    # One that is skipped as a whole when the clock is changed is empty.
    intervals = sorted(interval for interval in [*expected, *of_plan(schedule, zone, now)] if interval.begin < interval.end)
    current = [interval for interval in intervals if interval.contains(now)]
    if not current:
        begin = min((interval.begin for interval in intervals if interval.begin > now), default=None)
        return Decision(False, f"the plan ({plan_text(schedule, local(now, zone).date())})", begin)
    end = end_of(intervals, now)
    # An event is the better reason only where the plan is none.
    reason = min(current, key=lambda interval: (interval.is_event and not events.is_live, not interval.is_event)).reason
    return Decision(True, reason, end if end <= now + LOOKAHEAD_DAYS * 86400 else None, event)


def kept_by_hand(by_hand: TvByHand | None, anyway: Decision, now: float) -> TvByHand | None:
    """What was switched by hand, if it still holds, with what ends it brought up to date."""
    if by_hand is None or by_hand.is_on_anyway != anyway.is_wanted:
        return None
    # A stream that was live when it was switched by hand may drop out and come back.
    if EVENTS.index(anyway.event) > EVENTS.index(by_hand.event):
        return None
    # A change and its reverse may have passed since the last run.
    if by_hand.until is not None and by_hand.until <= now:
        return None
    return replace(by_hand, event=by_hand.event if anyway.event != "none" else "none", until=anyway.until)


def switched_by_hand(is_on: bool, anyway: Decision, now: float) -> TvByHand:
    """What `livekeep tv on` or `off` sets."""
    return TvByHand(is_on=is_on, at=now, is_on_anyway=anyway.is_wanted, event=anyway.event, until=anyway.until)


def of_events(schedule: Schedule, zone: tzinfo, events: Events, now: float) -> Iterator[Interval]:
    """The times around events; none if only the plan counts."""
    around = schedule.around_seconds()
    if schedule.force:
        return
    if events.is_live:
        yield Interval(-math.inf, math.inf, "the stream is live", True)
    if not around:
        return
    if events.last_live is not None:
        reason = f"the stream was live until {clock_time(events.last_live, zone)}"
        yield Interval(events.last_live, events.last_live + around, reason, True)
    if events.next_start is not None:
        verb = "starts at" if now < events.next_start else "is due since"
        reason = f"the stream {verb} {clock_time(events.next_start, zone)}"
        yield Interval(events.next_start - around, events.next_start + around, reason, True)


def of_plan(schedule: Schedule, zone: tzinfo, now: float) -> Iterator[Interval]:
    """The spans of the plan from yesterday on, whose last one can reach into today, in the order of their begin."""
    yesterday = local(now, zone).date() - timedelta(days=1)
    for ahead in range(LOOKAHEAD_DAYS + 3):
        day = yesterday + timedelta(days=ahead)
        reason = f"the plan ({plan_text(schedule, day)})"
        for begin, end in sorted(schedule.spans_on(day)):
            yield Interval(moment_of(day, begin, zone), moment_of(day, end, zone), reason)


def plan_text(schedule: Schedule, day: date) -> str:
    """What the plan says on a day, such as "mon-fri 08:00-22:00"."""
    return f"{schedule.key_of(day) or DAYS[day.weekday()]} {schedule.value_of(day)}"


def end_of(intervals: Iterable[Interval], now: float) -> float:
    """When the first moment after `now` comes that is in none of the intervals, which are sorted."""
    end = now
    for interval in intervals:
        if interval.begin > end:
            break
        end = max(end, interval.end)
    return end


def moment_of(day: date, minutes: int, zone: tzinfo) -> float:
    """When the clock first shows this time of the day, or a later one; from 24:00 on it is the next day's."""
    day += timedelta(days=minutes // DAY_MINUTES)
    wall = datetime.combine(day, time(minutes % DAY_MINUTES // 60, minutes % 60))
    moment = wall.replace(tzinfo=zone).timestamp()
    if local(moment, zone).replace(tzinfo=None) == wall:
        return moment
    # The time is skipped: search for the end of the gap, before which the clock shows less.
    low, high = wall.replace(tzinfo=zone, fold=1).timestamp(), moment
    while high - low > 1:
        middle = (low + high) // 2
        is_before = local(middle, zone).replace(tzinfo=None) < wall
        low, high = (middle, high) if is_before else (low, middle)
    return high


def local(moment: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(moment, zone)


def clock_time(moment: float, zone: tzinfo) -> str:
    try:
        return f"{local(moment, zone):%H:%M}"
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
