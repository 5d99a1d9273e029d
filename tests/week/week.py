"""A simulated week of TVs with a plan, in steps of a minute: what the units' states are at each moment.

The last week of summer time in Berlin: the plan's 14 switches, an event within the plan and one at night, two power cuts (one
across a switch), faults by day, and one at night that nobody needs to know. One box for each way in which a TV is off.
livekeep's own plan decides; a box's clock is that of before the cut until it is set.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from livekeep.core.config import Schedule
from livekeep.core.probe_results import ClockResult, Connector, HostResult, Run
from livekeep.core.state import Playback, PlayerState, PollerState, State, TvMethod, TvState
from livekeep.screen.tv.plan import Events, decide

ZONE = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 10, 19, tzinfo=ZONE)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PLAN = Schedule(time_zone="Europe/Berlin", days={"mon-fri": "08:00-22:00", "sat-sun": "09:00-14:00"})
STEP_SECONDS = 60
HOUR_SECONDS = 3600
BOOT_SECONDS = 120
"""From power to a set clock."""
SETTLED_SECONDS = 600
"""No verdict and no rule of the box depends on a longer time."""


def at(text: str) -> float:
    """A moment of the week, such as "mon 10:30", in Unix seconds."""
    day, _, clock = text.partition(" ")
    hour, minute = map(int, clock.split(":"))
    return (MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)).timestamp()


BEGIN, END = at("mon 00:00"), (MONDAY + timedelta(days=7)).timestamp()


@dataclass(frozen=True)
class Stretch:
    """A part of the week, its end excluded."""

    begin: float
    end: float

    def __contains__(self, now: float) -> bool:
        return self.begin <= now < self.end


def stretch(begin: str, end: str) -> Stretch:
    return Stretch(at(begin), at(end))


EVENTS = (stretch("mon 10:00", "mon 11:00"), stretch("sat 20:00", "sat 21:30"))
POWER_CUTS = (stretch("wed 07:50", "wed 08:10"), stretch("fri 03:00", "fri 03:40"))
PLAYER_DEAD_AT_NIGHT = stretch("mon 22:30", "mon 23:10")
STREAM_NOT_SHOWN = stretch("mon 10:20", "mon 10:40")
REFUSED_AT_NOON = stretch("thu 12:00", "thu 12:20")
TV_IS_DEAF = stretch("fri 08:00", "fri 08:40")
"""It was told to come on, and did not."""
PLAN_NOT_FOLLOWED = stretch("sun 09:00", "sun 09:30")
"""livekeep-tv does not run."""


@dataclass
class Box:
    """One box. `live(now)` is called at the steps of the week, in turn; then `states` are its states, none without power."""

    name: str
    method: TvMethod
    drops_connection: bool = False
    """Whether the kernel sees no TV while this one is in standby."""
    tv: TvState | None = None
    switches: list[float] = field(default_factory=list)
    states: tuple[State, ...] = ()
    _since: float = BEGIN
    """Since when the states are the same."""
    _booted_at: float = BEGIN - 86400
    _stalls: int = 3
    _was_live: bool = False
    _changed: tuple[PollerState, float] = (PollerState(), 0.0)
    _shown: tuple[PlayerState, float] = (PlayerState(), 0.0)

    def clock(self, now: float) -> float:
        """What the box takes for the time: after a power cut it goes on where it was, until it is set."""
        cut = next((cut for cut in POWER_CUTS if cut.end <= now < cut.end + BOOT_SECONDS), None)
        return cut.begin + (now - cut.end) if cut else now

    def has_set_clock(self, now: float) -> bool:
        return not any(cut.end <= now < cut.end + BOOT_SECONDS for cut in POWER_CUTS)

    def uptime(self, now: float) -> float:
        return now - self._booted_at

    def is_settled(self, now: float) -> bool:
        """Whether the states have been the same for a while, and the TV's next change is not due."""
        is_due = self.tv is not None and self.tv.until is not None and self.clock(now) >= self.tv.until
        return now - self._since >= SETTLED_SECONDS and not is_due

    def live(self, now: float) -> None:
        states: tuple[State, ...] = ()
        if any(now in cut for cut in POWER_CUTS):
            self.tv, self._booted_at, self._stalls, self._was_live = None, now + STEP_SECONDS, 0, False
        else:
            poller = self._poller(now)
            self._run_tv(now)
            states = (poller, *self._player(poller, now), *self._probes(now), *([self.tv] if self.tv else []))
        if states != self.states:
            self.states, self._since = states, now

    def _poller(self, now: float) -> PollerState:
        event = next((event for event in EVENTS if now in event), None)
        next_start = next((event.begin for event in EVENTS if now < event.begin), None)
        found = PollerState("live" if event else "offline", next_start=next_start, live_since=event.begin if event else None)
        if now in REFUSED_AT_NOON:
            found = PollerState("error", "refused", "the token is not accepted")
        if found != self._changed[0]:
            self._changed = found, now
        return replace(found, since=self._changed[1])

    def _run_tv(self, now: float) -> None:
        """livekeep-tv, if something wakes it: the boot, the hour, the next change, an event that begins or ends, a set clock."""
        before, wall, is_set = self.tv, self.clock(now), self.has_set_clock(now)
        is_live = any(now in event for event in EVENTS)
        is_due = before is not None and before.until is not None and wall >= before.until
        has_changed = before is None or is_live != before.is_live or is_set != before.is_clock_set
        is_woken = has_changed or is_due or now % HOUR_SECONDS == 0
        if now in PLAN_NOT_FOLLOWED or not is_woken:
            if before and now == TV_IS_DEAF.end:
                self.tv = replace(before, problem="", power="on")
            return
        last_live = wall if is_live or (before and before.is_live) else before.last_live if before else None
        next_start = next((event.begin for event in EVENTS if now < event.end), None)
        decision = decide(PLAN, ZONE, Events(is_live, last_live, next_start), wall, is_set, None)
        if before and before.is_wanted != decision.is_wanted:
            self.switches.append(now)
        is_deaf = self.method == "cec" and now in TV_IS_DEAF
        self.tv = TvState(
            is_wanted=decision.is_wanted,
            since=before.since if before and before.is_wanted == decision.is_wanted else wall,
            reason=decision.reason,
            until=decision.until,
            method=self.method,
            power="unknown" if self.method != "cec" else "on" if decision.is_wanted and not is_deaf else "off",
            problem="the TV does not answer over HDMI-CEC" if is_deaf else "",
            is_live=is_live,
            last_live=last_live,
            is_clock_set=is_set,
        )

    def is_dark(self) -> bool:
        return self.tv is not None and not self.tv.is_wanted

    def is_gone(self, now: float) -> bool:
        """Whether the kernel sees no TV."""
        return self.drops_connection and (self.is_dark() or now in TV_IS_DEAF)

    def _player(self, poller: PollerState, now: float) -> Iterator[PlayerState]:
        if now in PLAYER_DEAD_AT_NIGHT:
            return
        picture = "stream" if poller.state == "live" else "error" if poller.state == "error" else "holding"
        if now in STREAM_NOT_SHOWN:
            picture = "holding"
        if self.is_dark() and self.method in ("blank", "black"):
            picture = "none"
        if picture == "holding" and self._was_live:
            self._stalls += 1
        self._was_live = picture == "stream"
        found = PlayerState(picture, display_up=not self.is_gone(now))  # type: ignore[arg-type]
        if found != self._shown[0]:
            self._shown = found, now
        playback = Playback(stalls=self._stalls)
        if picture == "stream":
            seconds = now - self._shown[1]
            playback = replace(playback, position_seconds=seconds, position_changed_at=now, picture_changed_at=now)
        stream_picture = "moving" if picture == "stream" else ""
        yield replace(found, since=self._shown[1], playback=playback, stream_picture=stream_picture)  # type: ignore[arg-type]

    def _probes(self, now: float) -> Iterator[HostResult | ClockResult]:
        run = Run("ok", interval_seconds=60.0)
        yield HostResult(run=run, connectors=(Connector("HDMI-A-1", not self.is_gone(now)),))
        is_set = self.has_set_clock(now)
        yield ClockResult(run=replace(run, verdict="ok" if is_set else "warn"), synchronized=is_set)


def boxes() -> list[Box]:
    """One for each way in which a TV is off."""
    return [Box("blank", "blank"), Box("black", "black"), Box("cec", "cec"), Box("cec-gone", "cec", drops_connection=True)]


def steps() -> Iterator[float]:
    now = BEGIN
    while now < END:
        yield now
        now += STEP_SECONDS
