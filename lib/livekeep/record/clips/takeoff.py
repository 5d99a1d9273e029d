"""Which clips take off, when a take-off begins and when it ends. Pure.

A take-off begins with a score that chance rarely produces. From then on the clip is compared with its usual plays before, not
with its newest day, which the take-off itself raises. It ends when the clip's plays fall below twice the usual, or after three
days, which are a new usual.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from livekeep.record.clips.course import HOUR
from livekeep.record.clips.score import Score, size_around, surprise

BEGIN_SCORE = 5.0
"""One in 100,000 per clip and run; see docs/how-to/clips.md for the rate of false alarms."""
BEGIN_RATIO = 3.0
BEGIN_PLAYS = 10
END_RATIO = 2.0
LONGEST_SECONDS = 3 * 86400.0
SLACK_SECONDS = 60.0
REST_SECONDS = 12 * 3600.0
"""For this long after the end of a take-off the clip cannot begin another: the longest window still includes the first."""


@dataclass(frozen=True, slots=True)
class Takeoff:
    """`id` is 0 for one that has just begun. `usual`: plays an hour; `size`: of the distribution around it."""

    id: int
    clip: int
    began: float
    usual: float
    size: float
    score: float
    reason: str = ""
    ended: float | None = None


class Recent(NamedTuple):
    """The plays of a clip in a window that ends now. `weight`: its hours, weighted by the usual plays of the whole source."""

    plays: int
    hours: float
    weight: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """A clip as the list shows it."""

    clip: int
    score: float
    ratio: float
    plays: int
    hours: float
    reason: str
    is_hot: bool = False


def begins(score: Score, recent: Sequence[Recent] = ()) -> bool:
    """Whether a clip's take-off begins by its score. It must persist in the newest of `recent`, the shortest one."""
    is_over = bool(recent) and recent[0].plays < END_RATIO * score.usual * recent[0].weight
    return score.score >= BEGIN_SCORE and score.ratio >= BEGIN_RATIO and score.plays >= BEGIN_PLAYS and not is_over


def begin(score: Score) -> Takeoff:
    return Takeoff(0, score.clip, score.begin, score.usual, score.size, score.score, reason_of(score))


def go_on(takeoff: Takeoff, recent: Sequence[Recent], now: float) -> tuple[Takeoff, Ranked]:
    """Update a take-off in progress with the plays of the last hours: it ends, or continues with a new reason."""
    # If all of it is younger than the shortest window, that window is used.
    within = [it for it in recent if now - it.hours * HOUR >= takeoff.began - SLACK_SECONDS] or recent[:1]
    ratio, newest = max((it.plays / max(takeoff.usual * it.weight, 1e-9), it) for it in within)
    expected = takeoff.usual * newest.weight
    score = surprise(newest.plays, expected, size_around(expected, takeoff.size))
    reason = f"{times(ratio)} its usual rate for {duration((now - takeoff.began) / HOUR)}"
    is_over = ratio < END_RATIO or now - takeoff.began > LONGEST_SECONDS
    after = replace(takeoff, score=max(score, takeoff.score), reason=reason, ended=now if is_over else None)
    return after, Ranked(takeoff.clip, score, ratio, newest.plays, newest.hours, reason, is_hot=not is_over)


def ranked(score: Score, is_hot: bool) -> Ranked:
    return Ranked(score.clip, score.score, score.ratio, score.plays, score.hours, reason_of(score), is_hot)


def in_order(entries: Mapping[int, Ranked]) -> list[Ranked]:
    """Those that take off first, then by score, ratio and plays."""
    return sorted(entries.values(), key=lambda it: (not it.is_hot, -it.score, -it.ratio, -it.plays, it.clip))


def reason_of(score: Score) -> str:
    """As text, such as "9 × its usual rate for 3 h"."""
    if score.is_new:
        return f"{times(score.ratio)} what is usual for clips of its age, in its first {duration(score.hours)}"
    return f"{times(score.ratio)} its usual rate for {duration(score.hours)}"


def times(ratio: float) -> str:
    return f"{ratio:.0f} ×" if ratio >= 4 else f"{ratio:.2g} ×"


def duration(hours: float) -> str:
    if hours < 1:
        return f"{max(round(hours * 60), 1)} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
