"""Switches the TV by the configured method, and publishes how that went.

The state tells the player what to show: without a wanted picture and with the methods "blank" and "black" it shows none. With
"cec" it goes on, in case somebody switches the TV on by its remote control.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from livekeep.core import events, state
from livekeep.core.config import Config
from livekeep.core.state import TvState
from livekeep.screen.tv import blanking
from livekeep.screen.tv.blanking import BlankingError
from livekeep.system import cec
from livekeep.system.cec import CecError

logger = logging.getLogger("livekeep.tv")

NO_DEVICE = CecError("this machine has no HDMI-CEC device; see: ls /dev/cec*; set tv.method to another method")


@dataclass(frozen=True)
class Switch:
    """One change. `before` is the last state; waiting for the TV ends when `is_outdated`."""

    settings: Config
    before: TvState
    takes_input: bool
    root: Path
    is_outdated: Callable[[], bool]

    def apply(self, fresh: TvState) -> TvState:
        """Switch the TV as `fresh` says. Returns the published state with method and problem."""
        fresh = replace(fresh, method=self.before.method, power="unknown", problem="", advice="")
        result = self.publish(self.on(fresh) if fresh.is_wanted else self.off(fresh))
        report(result)
        return result

    def on(self, fresh: TvState) -> TvState:
        # The picture is there when the TV is.
        fresh = self.publish(fresh)
        try:
            if self.before.method == "blank":
                blanking.switch(self.settings.screen, True, self.root)
        except BlankingError as error:
            fresh = replace(fresh, problem=error.problem, advice=error.advice)
        return self.by_cec(fresh)[0]

    def off(self, fresh: TvState) -> TvState:
        fresh, is_off = self.by_cec(fresh)
        return fresh if is_off or self.settings.tv.method == "cec" else self.by_output(fresh)

    def by_output(self, fresh: TvState) -> TvState:
        """The state after the output was switched off, or with a black picture where that cannot be done."""
        fresh = replace(fresh, method="black")
        if self.settings.tv.method == "black":
            return fresh
        try:
            blanking.check(self.settings.screen)
        except BlankingError as error:
            if self.settings.tv.method == "blank":
                return replace(fresh, problem=error.problem, advice=error.advice)
            logger.info("the output is not switched off: %s", error)
            return fresh
        blank = self.publish(replace(fresh, method="blank"))
        try:
            blanking.switch(self.settings.screen, False, self.root)
        except BlankingError as error:
            return replace(fresh, problem=error.problem, advice=error.advice)
        return blank

    def by_cec(self, fresh: TvState) -> tuple[TvState, bool]:
        """The state after the TV was told, and whether it did what it was told, as far as it says."""
        if self.settings.tv.method not in ("auto", "cec"):
            return fresh, False
        # With "auto", a TV that never knew CEC is none to complain about.
        is_expected = self.settings.tv.method == "cec" or self.before.method == "cec"
        try:
            tv = cec.find(self.settings.tv.cec_device, self.settings.screen.connector)
            if tv is None:
                raise NO_DEVICE
            tv.switch(fresh.is_wanted, self.takes_input)
            is_expected = True
            fresh = self.publish(replace(fresh, method="cec"))
            return replace(fresh, power=tv.confirm(fresh.is_wanted, self.takes_input, self.is_outdated)), True
        except CecError as error:
            if is_expected:
                return replace(fresh, problem=error.problem, advice=error.advice), False
            logger.info("not over HDMI-CEC: %s", error)
            return fresh, False

    def publish(self, fresh: TvState) -> TvState:
        fresh = state.stamped(fresh)
        state.write(fresh, self.root)
        return fresh


def report(result: TvState) -> None:
    """One event for the change, and one for a problem."""
    what = "on" if result.is_wanted else "off"
    fields = {"STATE": what, "METHOD": result.method, "REASON": result.reason}
    events.emit(events.TV_SWITCHED, f"The TV is switched {what}: {result.reason}", **fields)
    if result.problem:
        advice = f"; {result.advice}" if result.advice else ""
        events.emit(events.TV_NOT_SWITCHED, f"{result.problem}{advice}", **fields)
