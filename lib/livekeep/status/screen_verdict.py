"""The verdict on the screen, from the states of poller, player and livekeep-tv and from the probes' results. Pure.

While the TV is off on purpose, only what would keep it dark at the next start counts, and at worst degrades the verdict: poller
or player does not run, the API refuses, the display could not be started, the TV was not switched. What is on the screen, an
outage of the network and what the probes find is judged again when the TV is on.
"""

from livekeep.core.state import Cause, PlayerState, PollerState, StateAbsentError, StateBrokenError, StreamPicture, TvState
from livekeep.status import probe_status, tv_status
from livekeep.status.health import Clock, Health, age, sentence
from livekeep.status.probe_status import ProbeResults
from livekeep.status.tv_status import ReadTv

STUCK_SECONDS = 30.0
"""The writer of an older state is stuck: both write at least twice as often."""
WRONG_PICTURE_SECONDS = 60.0
"""A picture that contradicts the stream's state for longer than this is down."""
STILL_SECONDS = 5.0
"""A position that is unchanged for longer is not just the pause between two reports."""
RECENT_STALL_SECONDS = 300.0
LASTING: tuple[Cause, ...] = ("refused", "bad-config")
"""Errors that do not end by themselves."""
FAILURES_OF_AN_OUTAGE = 2
"""A single failed request is not an outage."""


def verdict(
    poller: PollerState | StateAbsentError | StateBrokenError,
    player: PlayerState | StateAbsentError | StateBrokenError,
    error_screen_active: bool,
    clock: Clock,
    results: ProbeResults,
    tv: ReadTv,
) -> Health:
    """An unreadable state is passed as its error. Results of probes at worst degrade the verdict."""
    tv_trouble = tv_status.trouble(tv, clock)
    if isinstance(tv, TvState) and tv_status.is_off(tv, clock):
        concern = tv_trouble or trouble_while_off(poller, player, error_screen_active, clock)
        off = tv_status.off_text(tv, clock)
        return Health("degraded", f"{off}, but {concern}") if concern else Health("ok", off)
    if isinstance(tv, TvState) and not tv.is_wanted:
        return Health("down", tv_trouble)
    judged = while_wanted(poller, player, error_screen_active, clock, results)
    if not tv_trouble:
        return judged
    if judged.level == "ok":
        return Health("degraded", f"{judged.sentence}, but {tv_trouble}")
    return Health(judged.level, f"{judged.sentence}; {tv_trouble}")


def trouble_while_off(
    poller: PollerState | StateAbsentError | StateBrokenError,
    player: PlayerState | StateAbsentError | StateBrokenError,
    error_screen_active: bool,
    clock: Clock,
) -> str:
    """What would keep the TV dark when it is wanted again, or ""."""
    if error_screen_active:
        return "the display could not be started"
    for name, state in (("player", player), ("poller", poller)):
        if not isinstance(state, PlayerState | PollerState):
            return f"livekeep-{name}: {state}"
        if is_stuck(state, clock):
            return f"livekeep-{name} is stuck: its state is {age(state, clock)} old"
    if isinstance(poller, PollerState) and poller.state == "error" and poller.cause in LASTING:
        return sentence("no event would be noticed", poller.reason)
    return ""


def while_wanted(
    poller: PollerState | StateAbsentError | StateBrokenError,
    player: PlayerState | StateAbsentError | StateBrokenError,
    error_screen_active: bool,
    clock: Clock,
    results: ProbeResults,
) -> Health:
    """The verdict while a picture is wanted on the TV."""
    if error_screen_active:
        return Health("down", "the error screen is on: the display could not be started")
    if not isinstance(player, PlayerState):
        return Health("down", f"livekeep-player: {player}")
    trouble = player_trouble(player, clock)
    if trouble:
        return Health("down", trouble)
    if not isinstance(poller, PollerState):
        return Health("degraded", f"{shown(player)}, but livekeep-poller: {poller}")
    if is_stuck(poller, clock):
        return Health("degraded", f"{shown(player)}, but livekeep-poller is stuck: its state is {age(poller, clock)} old")
    return compare(poller, player, clock, results)


def is_stuck(written: PlayerState | PollerState, clock: Clock) -> bool:
    return clock.now_monotonic - written.written_monotonic > STUCK_SECONDS


def player_trouble(player: PlayerState, clock: Clock) -> str:
    """Why there is no good picture, independently of the poller's state, or ""."""
    if is_stuck(player, clock):
        return f"livekeep-player is stuck: its state is {age(player, clock)} old"
    if not player.display_up:
        return "no display: livekeep-display does not answer, or no TV is connected"
    if player.picture == "none":
        return "nothing is on the screen"
    if player.picture == "error":
        return sentence("the error picture is on the screen", player.reason)
    still = still_seconds(player)
    if player.picture == "stream" and still > WRONG_PICTURE_SECONDS:
        return f"the stream on the screen has stood still for {still:.0f} s"
    return ""


def compare(poller: PollerState, player: PlayerState, clock: Clock, results: ProbeResults) -> Health:
    """The verdict if both units run and a picture other than the error picture is shown."""
    wrong = wrong_picture(poller, player)
    if wrong:
        seconds = clock.now - max(poller.since, player.since)
        return Health("down" if seconds > WRONG_PICTURE_SECONDS else "degraded", f"{wrong}, for {max(seconds, 0):.0f} s")
    concerns = [trouble_of_poller(poller), trouble_of_stream(player, clock)]
    concerns += probe_status.troubles(results, poller.state in ("live", "starting"), clock)
    concern = next(filter(None, concerns), "")
    if concern:
        return Health("degraded", f"{shown(player)}, but {concern}")
    return Health("ok", sentence(shown(player), player.reason))


def wrong_picture(poller: PollerState, player: PlayerState) -> str:
    """How picture and stream contradict each other, or "". A stream that plays in an outage or before its start is fine."""
    # The holding picture accompanies a stream that has only sound.
    is_held = player.picture == "holding" and player.stream_picture != "none"
    if poller.state == "live" and is_held:
        return "the stream is live but the holding picture is shown"
    if poller.state == "offline" and (player.picture == "stream" or player.stream_picture == "none"):
        return "the stream is off air but still shown"
    if poller.state == "error" and (is_held or poller.cause in LASTING):
        return sentence(f"{shown(player)} instead of the error picture", poller.reason)
    return ""


def trouble_of_poller(poller: PollerState) -> str:
    """Why the stream's state is not known, or ""."""
    if poller.cause == "rate-limited":
        return sentence("the API's rate limit is reached", poller.reason)
    if poller.cause == "outage" or poller.state == "error":
        return sentence("the stream's state cannot be requested", poller.reason)
    if poller.consecutive_failures >= FAILURES_OF_AN_OUTAGE:
        return sentence(f"the last {poller.consecutive_failures} requests failed", poller.reason)
    return sentence("it is not known whether the stream is live", poller.reason) if poller.state == "unknown" else ""


def trouble_of_stream(player: PlayerState, clock: Clock) -> str:
    """The problem of a stream that is shown or was shown recently, or ""."""
    still = still_seconds(player)
    if player.picture == "stream" and still > STILL_SECONDS:
        return f"it has stood still for {still:.0f} s"
    if player.picture == "stream" and player.playback.buffering:
        return "it is waiting for data"
    stalled = player.playback.last_stall_at
    if stalled is not None and clock.now - stalled < RECENT_STALL_SECONDS:
        return "the stream stalled within the last five minutes"
    changed = player.playback.picture_changed_at
    minutes = f" for {(player.written_at - changed) / 60:.0f} min" if changed is not None else ""
    faults: dict[StreamPicture, str] = {
        "none": "the stream has no picture, only sound",
        "blank": "the stream's picture is of one colour, such as black",
        "frozen": f"the stream's picture has not changed{minutes}",
    }
    return faults.get(player.stream_picture, "")


def still_seconds(player: PlayerState) -> float:
    """How long the position had been unchanged when the player wrote its state; 0 if the display doesn't report it."""
    changed = player.playback.position_changed_at
    return max(player.written_at - changed, 0.0) if changed is not None else 0.0


def shown(player: PlayerState) -> str:
    others = {"stream": "the stream is shown", "none": "nothing is shown"}
    return others.get(player.picture, f"the {player.picture} picture is shown")
