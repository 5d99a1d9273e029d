"""The words of every verdict: a level with its sentence, and the verdict on the machine, which is the worst of its parts.

| level    | the screen                                                     | a channel                                          |
|----------|----------------------------------------------------------------|----------------------------------------------------|
| ok       | the right picture, and nothing points to trouble               | on air with its items                              |
| degraded | the right picture (or within a minute), but something is wrong | on air without them or unseen, or just off air     |
| down     | no picture, a wrong one, or one that tells of an error         | off air for longer, given up, or its worker is not |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from livekeep.core.state import State

Level = Literal["ok", "degraded", "down"]
LEVELS: tuple[Level, ...] = ("ok", "degraded", "down")
"""In order of gravity; the index is the exit code of `livekeep health`."""


@dataclass(frozen=True)
class Health:
    level: Level
    sentence: str
    """What is shown and what is wrong with it, in one line."""


@dataclass(frozen=True)
class Clock:
    """One moment on both clocks: Unix seconds, and seconds of CLOCK_MONOTONIC."""

    now: float
    now_monotonic: float


@dataclass(frozen=True)
class Verdict:
    """`screen` is None on a machine that was installed without the screen; `channels` has those that count, by name."""

    screen: Health | None
    channels: Mapping[str, Health]

    def whole(self) -> Health:
        """The worst of all, in its own words."""
        parts = [*([self.screen] if self.screen else []), *self.channels.values()]
        if not parts:
            return Health("ok", "no channel is meant to be on air")
        worst = max(parts, key=lambda health: LEVELS.index(health.level))
        if worst.level == "ok":
            return Health("ok", "; ".join(filter(None, (self.screen.sentence if self.screen else "", all_on_air(self.channels)))))
        others = sum(health.level != "ok" for health in parts) - 1
        return Health(worst.level, f"{worst.sentence} (and {others} more)" if others else worst.sentence)


def all_on_air(verdicts: Mapping[str, Health]) -> str:
    """That all of these are on air; "" for none."""
    *others, last = verdicts or [""]
    return f"channels {', '.join(others)} and {last} are on air" if others else f"channel {last} is on air" if last else ""


def age(written: State, clock: Clock) -> str:
    return f"{clock.now_monotonic - written.written_monotonic:.0f} s"


def sentence(start: str, reason: str) -> str:
    return f"{start}: {reason}" if reason else start
