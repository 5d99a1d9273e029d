"""Which picture belongs on the screen: pure functions of the known state, with the time passed in.

| the poller's state                    | stream playing well | else                                  |
|---------------------------------------|---------------------|---------------------------------------|
| live                                  | stream              | stream (holding until its first frame)|
| offline                               | holding             | holding                               |
| starting                              | stream              | holding                               |
| error: refused, bad-config            | error               | error                                 |
| error: outage and similar             | stream              | error                                 |
| unknown: no token, no stream set up   | holding, with the reason as text            |
| unknown: no response yet              | the current picture                         |
| none (absent, stuck)                  | stream              | the current picture; error after a minute |

While the TV is off on purpose, and livekeep itself darkens it, there is no picture, whatever the poller's state.
"""

from dataclasses import dataclass, replace
from typing import Literal

from livekeep.core.state import Picture, PollerState, StreamPicture, TvState

POLLER_MISSING_SECONDS = 60.0
"""How long the poller can be missing (restart, upgrade) before the screen reports it."""
LOADING_SECONDS = 20.0
"""The longest time from opening a stream to its first moving picture; a slow network needs 5 to 10 s."""

CAMERA = "check the camera, and the encoder that sends the stream"
NO_MOVING_PICTURE: dict[StreamPicture, str] = {
    "none": "it has no picture, only sound: the holding picture is shown",
    "blank": "its picture is of one colour, such as black",
    "frozen": "its picture does not change any more",
}
"""Faults of a playing stream."""

Phase = Literal["none", "loading", "playing", "stalled", "ended", "failed"]
"""What the stream does: one word from the display to the choice. "failed" is a start that led to no steady playing."""


@dataclass(frozen=True)
class StreamReport:
    """The display's report on the stream, and when its position last changed (monotonic seconds).

    `phase` is "none", "loading", "playing" or "ended": `phase_of` detects a stall from the times, `PlaybackSession` a failure.
    """

    phase: Phase = "none"
    loaded_monotonic: float = 0.0
    position_seconds: float | None = None
    changed_monotonic: float = 0.0


@dataclass(frozen=True)
class Choice:
    """The picture for the screen, the reason in plain words, and the advice ("" for none)."""

    picture: Picture
    reason: str
    advice: str = ""
    says_reason: bool = False
    """Whether the reason is also shown on the picture."""


def phase_of(report: StreamReport, now_monotonic: float, stall_seconds: float) -> Phase:
    """Playing means that the position changes; a running process or an open connection proves nothing."""
    is_late = report.phase == "loading" and now_monotonic - report.loaded_monotonic > LOADING_SECONDS
    stands_still = report.phase == "playing" and now_monotonic - report.changed_monotonic > stall_seconds
    return "stalled" if is_late or stands_still else report.phase


def choose(
    poller: PollerState | None,
    missing_seconds: float,
    phase: Phase,
    previous: Choice,
    config_problem: str = "",
    stream_picture: StreamPicture = "",
    tv: TvState | None = None,
) -> Choice:
    """The picture that belongs on the screen.

    `poller` is None when its state is absent, unreadable or too old, for `missing_seconds` so far. `config_problem` is that of
    the player's own configuration. `tv` is None while nothing has switched the TV.
    """
    if tv and tv.is_dark:
        return Choice("none", f"The TV is off: {tv.reason}")
    playing = phase == "playing"
    if config_problem:
        return Choice("error", config_problem, "sudo livekeep check-config", True)
    if poller is not None:
        choice = choose_by_state(poller, playing, previous)
    elif playing:
        choice = Choice("stream", "The stream plays on, but livekeep-poller is not running")
    elif missing_seconds < POLLER_MISSING_SECONDS:
        choice = keep(previous, playing, "Waiting for livekeep-poller")
    else:
        choice = Choice("error", "livekeep-poller is not running", "sudo systemctl status livekeep-poller", True)
    fault = NO_MOVING_PICTURE.get(stream_picture) if playing and choice.picture == "stream" else None
    return replace(choice, reason=f"{choice.reason}, but {fault}", advice=choice.advice or CAMERA) if fault else choice


def choose_by_state(poller: PollerState, playing: bool, previous: Choice) -> Choice:
    if poller.state == "live":
        return Choice("stream", "The stream is live")
    if poller.state == "offline":
        return Choice("holding", poller.reason or "The stream is off air")
    if poller.state == "starting":
        return Choice("stream", "The stream plays") if playing else Choice("holding", poller.reason or "The stream is starting")
    if poller.state == "error":
        plays_on = playing and poller.cause not in ("refused", "bad-config")
        reason = f"The stream plays on although: {poller.reason}" if plays_on else poller.reason
        picture: Picture = "stream" if plays_on else "error"
        return Choice(picture, reason or "The state of the stream is unknown", poller.advice, not plays_on)
    if poller.cause in ("no-token", "no-stream"):
        return Choice("holding", poller.reason or "No stream is set up yet", poller.advice, True)
    return keep(previous, playing, poller.reason or "The state of the stream is not known yet")


def keep(previous: Choice, playing: bool, reason: str) -> Choice:
    """Keep the current picture; the holding picture replaces a stream that does not play."""
    if previous.picture == "error":
        return previous
    return Choice("stream" if playing else "holding", reason)
