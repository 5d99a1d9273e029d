"""livekeep-tv: switches the TV off and on, as the plan, the events and the operator say.

Unit: livekeep-tv.service, which runs this once at each occasion: at boot, every hour, at the times of the plan, when the poller
reports that the stream went live or when it starts next, when the clock is set, and after `livekeep tv on` or `off`.
Reads: the configuration, poller/on_air.json, tv/by_hand.json. Writes: tv/state.json, and removes tv/by_hand.json when it is over.

`plan` decides, `switching` switches, `wake_up` sets the timer for the next change. The TV is switched only when the decision
changes, so that a TV that somebody switches with its own remote control stays as it is until the next change.
"""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from livekeep.core import config, log, paths, state
from livekeep.core.config import Config
from livekeep.core.errors import ConfigError, TemporaryError
from livekeep.core.state import AnyState, OnAir, TvByHand, TvState
from livekeep.screen.tv import blanking, wake_up
from livekeep.screen.tv.plan import Decision, Events, decide
from livekeep.screen.tv.switching import Switch
from livekeep.system import clock

TABLES = ("schedule", "tv", "screen")
MOST_PASSES = 20
"""In one run; each is for a change that came while the TV was being switched."""
EARLY_SECONDS = 5
WAIT_SECONDS = 0.1
CLOCK_CHECK_SECONDS = 30.0
"""How often a clock that is not set yet is checked."""

logger = logging.getLogger("livekeep.tv")


@dataclass(frozen=True)
class Occasion:
    """What a run has to take into account."""

    on_air: OnAir
    by_hand: TvByHand | None


def main(argv: Sequence[str] | None = None) -> int:
    """`reconcile` is what the unit runs; the rest is `livekeep tv`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["reconcile"]:
        return reconcile(paths.STATE_DIRECTORY)
    from livekeep.screen.tv import command  # noqa: PLC0415 - the unit starts faster without it

    return command.main(arguments)


def reconcile(root: Path) -> int:
    """Bring the TV into the wanted state. Raises `ConfigError`: then it stays as it is."""
    settings = read_settings()
    log.set_up(settings.log.level)
    result = read(TvState, root) or TvState()
    for _ in range(MOST_PASSES):
        occasion = read_occasion(root)
        result = one_pass(settings, occasion, result, root)
        # The timer starts it a little early, because Python takes seconds to start on a slow board.
        while result.until is not None and result.until - time.time() < EARLY_SECONDS and not is_outdated(occasion, result, root):
            time.sleep(WAIT_SECONDS)
        if is_outdated(occasion, result, root):
            continue
        if result.until is not None:
            wake_up.at(result.until - EARLY_SECONDS)
        elif settings.schedule.has_plan() and not result.is_clock_set:
            wake_up.after(CLOCK_CHECK_SECONDS)
        # A start of this unit while it runs would be lost.
        if not is_outdated(occasion, result, root):
            break
    return 0


def one_pass(settings: Config, occasion: Occasion, before: TvState, root: Path) -> TvState:
    """Decide, and switch the TV if that is a change; returns the new state."""
    now = time.time()
    is_live, last_live = occasion.on_air.is_live, last_live_of(occasion, before, now)
    is_clock_set = before.is_clock_set or is_clock_set_now()
    decision = decide_now(settings, occasion, replace(before, is_clock_set=is_clock_set), now)
    if decision.by_hand is None and occasion.by_hand is not None:
        state.remove(TvByHand, root)
    elif decision.by_hand is not None and decision.by_hand != occasion.by_hand:
        state.write(decision.by_hand, root)
    fresh = replace(
        before,
        is_wanted=decision.is_wanted,
        since=before.since if before.since and before.is_wanted == decision.is_wanted else now,
        reason=decision.reason,
        until=decision.until,
        by_hand=decision.by_hand is not None,
        is_live=is_live,
        last_live=last_live,
        is_clock_set=is_clock_set,
    )
    begins = is_live and not before.is_live and now - (before.last_live or 0.0) >= settings.schedule.around_seconds()
    takes_input = begins and settings.tv.active_source and fresh.is_wanted
    is_new_by_hand = decision.by_hand is not None and decision.by_hand.at > before.written_at
    is_first = settings.schedule.has_plan() and is_clock_set and not before.is_clock_set
    if fresh.is_wanted != before.is_wanted or is_new_by_hand or is_first or takes_input:
        return Switch(settings, before, takes_input, root, lambda: is_outdated(occasion, fresh, root)).apply(fresh)
    if not fresh.is_wanted and fresh.method == "blank" and settings.screen.resolved_output() == "drm":
        blanking.keep_off()
    fresh = state.stamped(fresh)
    state.write(fresh, root)
    return fresh


def decide_now(settings: Config, occasion: Occasion, before: TvState, now: float) -> Decision:
    """The decision for `now`, Unix seconds."""
    events = Events(occasion.on_air.is_live, last_live_of(occasion, before, now), occasion.on_air.next_start)
    is_clock_set = before.is_clock_set or is_clock_set_now()
    return decide(settings.schedule, zone_of(settings.schedule.time_zone), events, now, is_clock_set, occasion.by_hand)


def last_live_of(occasion: Occasion, before: TvState, now: float) -> float | None:
    return now if occasion.on_air.is_live or before.is_live else before.last_live


def is_clock_set_now() -> bool:
    return bool(clock.is_synchronized(paths.ROOT) or clock.was_synchronized(paths.ROOT))


def is_outdated(occasion: Occasion, result: TvState, root: Path) -> bool:
    """Whether something has changed since the decision was made."""
    seen, newest = occasion, read_occasion(root)
    is_switched = newest.by_hand is not None and (seen.by_hand is None or newest.by_hand.at != seen.by_hand.at)
    return newest.on_air != seen.on_air or is_switched or (result.until is not None and time.time() >= result.until)


def read_settings() -> Config:
    """Raises `ConfigError` for problems in the tables that concern the TV."""
    settings, problems = config.load_leniently()
    if concerning := [problem for problem in problems if config.concerns(problem, *TABLES)]:
        raise ConfigError(concerning)
    return settings


def read_occasion(root: Path) -> Occasion:
    return Occasion(read(OnAir, root) or OnAir(), read(TvByHand, root))


def read(kind: type[AnyState], root: Path) -> AnyState | None:
    """A state; None if there is none that can be read, as after an upgrade."""
    try:
        return state.read(kind, root)
    except TemporaryError as error:
        logger.debug("%s", error)
        return None


def zone_of(name: str) -> tzinfo:
    """The time zone of the plan; "" for the machine's."""
    if name:
        return ZoneInfo(name)
    try:
        with (paths.ROOT / "etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC
