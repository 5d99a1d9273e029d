"""Decides when an alert begins, persists and ends, from the findings of a rule. Pure; time is passed in.

A finding is about one subject: a function, a session, a machine, a channel. Condition and alert differ:

| condition                 | alert                                                                              |
|---------------------------|------------------------------------------------------------------------------------|
| begins to hold            | begins after `for_seconds`, and not within the cooldown after its last end          |
| holds on                  | open; a reminder each `repeat_seconds`                                              |
| holds no longer           | over once that has been so for a while, so that a metric on the edge does not flap  |
| begins again soon         | the cooldown doubles each time, up to a day: what flaps cannot flood                |
"""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from livekeep.core.config.record import Alert

OVER_SECONDS = {"verdict": 60.0, "figure": 60.0}
"""How long the condition must not hold before the alert ends, by kind. Windows and periods are slow by themselves."""
ROW_SECONDS = 600.0
"""An alert that begins within this time after its cooldown counts as a repetition."""
LONGEST_COOLDOWN_SECONDS = 86400.0
FLAPPING_TIMES = 3

Action = Literal["", "begin", "over", "remind"]


@dataclass(frozen=True)
class Finding:
    """A rule's condition holds for `subject`."""

    subject: str
    sentence: str
    """What is wrong, in one line."""
    since: float
    """Unix seconds, as far as known."""
    why: str = ""
    log: str = ""
    """The last log lines, or a traceback."""


@dataclass(frozen=True)
class Ended:
    """The newest ended alert of a rule and subject."""

    over_at: float
    times: int


@dataclass(frozen=True)
class Clock:
    """One moment: Unix seconds, which may step, and monotonic seconds."""

    wall: float
    steady: float


@dataclass(frozen=True)
class Standing:
    """The state of a rule for a subject. `…_since` are steady seconds."""

    is_open: bool = False
    bad_since: float | None = None
    good_since: float | None = None
    announced_at: float | None = None
    """When its newest message was made, Unix seconds."""
    times: int = 1


@dataclass(frozen=True)
class Decision:
    standing: Standing
    action: Action = ""
    wait: float | None = None
    """Seconds until the next decision if nothing changes; None for never."""


def decide(rule: Alert, standing: Standing, is_bad: bool, ended: Ended | None, clock: Clock) -> Decision:
    """Decide from the current condition."""
    if not standing.is_open:
        return when_closed(rule, standing, ended, clock) if is_bad else Decision(Standing())
    if is_bad:
        standing = replace(standing, good_since=None)
        if standing.announced_at is None:
            return Decision(standing)
        elapsed = clock.wall - standing.announced_at
        if elapsed >= rule.repeat_seconds:
            return Decision(standing, "remind")
        # If the clock stepped back to before the message, count from now.
        return Decision(standing, wait=min(rule.repeat_seconds, max(rule.repeat_seconds - elapsed, 0.0)))
    since = clock.steady if standing.good_since is None else standing.good_since
    wait = since + OVER_SECONDS.get(rule.kind, 0.0) - clock.steady
    return Decision(replace(standing, good_since=since), wait=wait) if wait > 0 else Decision(Standing(), "over")


def when_closed(rule: Alert, standing: Standing, ended: Ended | None, clock: Clock) -> Decision:
    """While the condition holds, and no alert is open."""
    since = clock.steady if standing.bad_since is None else standing.bad_since
    # A metric's samples already show how long the condition has held.
    held = rule.for_seconds if rule.kind == "verdict" else 0.0
    cooling, times = 0.0, 1
    # No cooldown when the clock stepped back to before the end.
    if ended is not None and clock.wall >= ended.over_at:
        cooling = max(ended.over_at + cooldown_of(rule, ended) - clock.wall, 0.0)
        in_a_row_seconds = cooldown_of(rule, ended) + rule.for_seconds + ROW_SECONDS
        times = ended.times + 1 if clock.wall - ended.over_at < in_a_row_seconds else 1
    wait = max(since + held - clock.steady, cooling)
    if wait > 0:
        return Decision(Standing(bad_since=since), wait=wait)
    return Decision(Standing(is_open=True, bad_since=since, times=times), "begin")


def cooldown_of(rule: Alert, ended: Ended) -> float:
    """How long after its end the alert cannot begin again."""
    doubled = rule.cooldown_seconds * 2.0 ** min(ended.times - 1, 20)
    return min(doubled, max(LONGEST_COOLDOWN_SECONDS, rule.cooldown_seconds))


def fits(pattern: str, name: str) -> bool:
    """Whether a name matches a pattern with * and ?; a pattern equal to the name always matches."""
    return pattern in ("", "*", name) or fnmatchcase(name, pattern)


def channels_of(rule_channels: tuple[str, ...], severity: str, known: dict[str, str]) -> list[str]:
    """The channels that get a message. `known`: the least severity of each.

    Unknown names are ignored. If no channel is left, all get it: a superfluous message is better than none.
    """
    ranks = ("info", "warning", "critical")
    named = [name for name in rule_channels if name in known]
    return [name for name in named or known if ranks.index(severity) >= ranks.index(known[name])]
