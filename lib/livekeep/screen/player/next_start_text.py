"""The unobtrusive line on the holding picture: when the stream is next on. Pure; local time."""

import time

from livekeep.core.text import local_time

COUNTDOWN_SECONDS = 600
OVERDUE_SECONDS = 1800
"""How long after its start a stream that is not live yet is still "starting soon"."""
DAY_SECONDS = 86400
FARTHEST_SECONDS = 1000 * DAY_SECONDS


def next_start_text(next_start: float | None, now: float) -> str:
    """Text for `next_start` (Unix seconds) at `now`: a weekday, a date, a countdown, or "" if there is nothing to show."""
    if next_start is None or not -OVERDUE_SECONDS <= next_start - now <= FARTHEST_SECONDS:
        return ""
    remaining = int(next_start - now + 0.999)
    if remaining <= 0:
        return "Starting soon"
    if remaining <= COUNTDOWN_SECONDS:
        return f"Live in {remaining // 60}:{remaining % 60:02d}"
    start, today = local_time(next_start), local_time(now)
    clock = time.strftime("%H:%M", start)
    if start[:3] == today[:3]:
        return f"Next: today {clock}"
    if next_start - now < 6 * DAY_SECONDS:
        return f"Next: {time.strftime('%A', start)} {clock}"
    return f"Next: {time.strftime('%A', start)}, {start.tm_mday} {time.strftime('%B', start)}, {clock}"


def next_change(next_start: float | None, now: float) -> float:
    """When (Unix seconds) the line can next change, at the latest."""
    if next_start is None:
        return now + DAY_SECONDS
    remaining = next_start - now
    if 0 < remaining <= COUNTDOWN_SECONDS:
        return now + (remaining % 1.0 or 1.0)
    if remaining > COUNTDOWN_SECONDS:
        return min(next_start - COUNTDOWN_SECONDS, now + 60.0)
    return now + 60.0
