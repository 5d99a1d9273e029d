"""Both states as the operator's command reads them: a state, or the error that says why there is none."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from livekeep.core import health, paths, state
from livekeep.core.errors import LivekeepError
from livekeep.core.health import Clock, Health
from livekeep.core.state import PlayerState, PollerState, State, StateAbsentError, StateBrokenError

AnyState = TypeVar("AnyState", bound=State)


@dataclass(frozen=True)
class Reading:
    """What the units wrote, all at one moment."""

    poller: PollerState | StateAbsentError | StateBrokenError
    player: PlayerState | StateAbsentError | StateBrokenError
    error_screen_active: bool
    clock: Clock

    def health(self) -> Health:
        return health.verdict(self.poller, self.player, self.error_screen_active, self.clock)


def take(root: Path = paths.STATE_DIRECTORY) -> Reading:
    """Read both states now. Raises `LivekeepError` when this user may not read them."""
    clock = Clock(time.time(), time.monotonic())
    try:
        return Reading(look(PollerState, root), look(PlayerState, root), health.error_screen_is_active(root), clock)
    except PermissionError as error:
        raise LivekeepError(
            f"{error.filename}: may be read by root and group livekeep only; run with sudo, "
            "or once: sudo adduser $USER livekeep, and log in again"
        ) from error


def look(kind: type[AnyState], root: Path) -> AnyState | StateAbsentError | StateBrokenError:
    try:
        return state.read(kind, root)
    except (StateAbsentError, StateBrokenError) as error:
        if isinstance(error.__cause__, PermissionError):
            raise error.__cause__ from None
        return error
