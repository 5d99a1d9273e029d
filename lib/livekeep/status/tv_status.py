"""Whether the TV is off on purpose, from livekeep-tv's state. Pure.

Without a plan there is no state, and a picture is wanted; also while the state is unreadable, as after an upgrade. livekeep-tv
runs at each change and ends, so its state is never stale; but once the next change is overdue, it no longer says what is wanted.
"""

from livekeep.core.state import StateAbsentError, StateBrokenError, TvMethod, TvState
from livekeep.status.health import Clock, sentence
from livekeep.system import terminal

OVERDUE_SECONDS = 120.0
"""A change that is due is done within this time, with all repetitions."""
HOW: dict[TvMethod, str] = {"cec": " (switched off over HDMI-CEC)", "blank": " (output blanked)", "black": " (black picture)"}

ReadTv = TvState | StateAbsentError | StateBrokenError


def is_off(tv: ReadTv, clock: Clock) -> bool:
    """Whether no picture is wanted now."""
    return isinstance(tv, TvState) and not tv.is_wanted and not is_overdue(tv, clock)


def is_overdue(tv: TvState, clock: Clock) -> bool:
    return tv.until is not None and clock.now > tv.until + OVERDUE_SECONDS


def off_text(tv: TvState, clock: Clock) -> str:
    """That the TV is off on purpose, how, until when and why."""
    return f"the TV is {wanted_text(tv, clock)}"


def wanted_text(tv: TvState, clock: Clock) -> str:
    """What is wanted, until when and why, such as "on until 22:00:00: the plan (daily 08:00-22:00)"."""
    what, how = ("on", "") if tv.is_wanted else ("off on purpose", HOW.get(tv.method, ""))
    until = f" until {terminal.local_time(tv.until, clock.now)}" if tv.until is not None else ""
    return sentence(f"{what}{until}{how}", tv.reason)


def trouble(tv: ReadTv, clock: Clock) -> str:
    """Why the TV may not be as it should be, or ""."""
    if not isinstance(tv, TvState):
        return ""
    if tv.until is not None and is_overdue(tv, clock):
        due = "off" if tv.is_wanted else "on"
        return f"the TV should be {due} since {terminal.local_time(tv.until, clock.now)}, but livekeep-tv has not run"
    return tv.problem
