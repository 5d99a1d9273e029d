"""The types of every verdict: a level with its sentence, and the verdict on the machine, which is the worst of its parts.

| level    | the screen                                                     | a channel                                          |
|----------|----------------------------------------------------------------|----------------------------------------------------|
| ok       | the right picture, no problem; or off on purpose               | on air with its items                              |
| degraded | the right picture (or within a minute), but with a problem     | on air without items or not visible, just off air  |
| down     | no picture, a wrong one, or the error picture                  | off air for longer, given up, worker gone or stuck |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from livekeep.core.state import State

Level = Literal["ok", "degraded", "down"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""In order of severity; the index is the exit code of `livekeep health`."""


@dataclass(frozen=True)
class Health:
    level: Level
    sentence: str
    """What is shown and its problem, in one line."""


@dataclass(frozen=True)
class Clock:
    """One time on both clocks: Unix seconds, and seconds of CLOCK_MONOTONIC."""

    now: float
    now_monotonic: float


@dataclass(frozen=True)
class Verdict:
    """`screen` is None on a machine installed without the screen; `channels` has those that count, by name."""

    screen: Health | None
    channels: Mapping[str, Health]

    def whole(self) -> Health:
        """The worst verdict, with its own sentence."""
        parts = [*([self.screen] if self.screen else []), *self.channels.values()]
        if not parts:
            return Health("ok", "no channel is meant to be on air")
        worst = max(parts, key=lambda health: LEVELS.index(health.level))
        if worst.level == "ok":
            *others, last = self.channels or [""]
            on_air = (
                f"channels {', '.join(others)} and {last} are on air" if others else f"channel {last} is on air" if last else ""
            )
            return Health("ok", "; ".join(filter(None, (self.screen.sentence if self.screen else "", on_air))))
        more = sum(health.level != "ok" for health in parts) - 1
        return Health(worst.level, f"{worst.sentence} (and {more} more)" if more else worst.sentence)


def age(written: State, clock: Clock) -> str:
    return f"{clock.now_monotonic - written.written_monotonic:.0f} s"


def sentence(start: str, reason: str) -> str:
    return f"{start}: {reason}" if reason else start
