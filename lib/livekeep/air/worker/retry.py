"""When to publish again after a failure, and when to give up. Pure: time comes in as seconds that passed.

| why it ended                 | what follows                                                                               |
|------------------------------|--------------------------------------------------------------------------------------------|
| dropped, crashed, stalled    | again at once; the second time in a row without 30 s on air after 1 s, then 2, 5, 5, … s   |
| unreachable                  | again after 1 s, then every 2 s, from the twelfth time on every 5 s, for ever              |
| refused                      | after 30 s, then 60 s; the third refusal ends the run with exit 69                         |

No two attempts begin within a second. With a backup ingest: unreachable and stalled go to the other one, and so does a connection
dropped again within 30 s; a refusal counts when the other one did not take the stream either, and it is asked at once. What
takes the stream is kept until it fails, or until a planned reconnect, which begins with the primary.

Coming on air (`ON_AIR_SECONDS` of acknowledged bytes) clears the counts. After exit 69 systemd waits 120 s: the third delay.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from livekeep.core.channels import ON_AIR_SECONDS

Failure = Literal["dropped", "refused", "unreachable", "stalled", "crashed"]
FAILURES: tuple[Failure, ...] = get_args(Failure)

STEADY_SECONDS = 30.0
"""Once on air for so long, a connection that ends was a good one."""
BACK_OFF_SECONDS = (1.0, 2.0, 5.0)
UNREACHABLE_SECONDS = (1.0, *(2.0,) * 10, 5.0)
"""An ingest that restarts is reached within two seconds; one that stays away is not tried too often."""
REFUSED_SECONDS = (30.0, 60.0)
"""One refusal more ends the run."""
LEAST_SECONDS = 1.0
"""Between the beginnings of two attempts."""
STALL_SECONDS = 3.0
"""Nothing acknowledged for so long, although there was something to acknowledge."""
UNREAD_SECONDS = 3.5
"""The receiver's kernel has acknowledged for so long what its program does not read: it may hold many seconds' worth."""
LEAST_UNREAD_BYTES = 128 * 1024
READING_SHARE = 0.25
"""A program that reads lets its kernel offer as much again as it acknowledges. Without it the offer creeps a few percent."""
LEAST_MESSAGE_BYTES = 80
"""What an ingest sends in the middle of a stream are receipts and pings, of 16 to 45 bytes; the least status has about 100."""
OPENING_SECONDS = 3.0
"""What it sends sooner after it took the stream belongs to the beginning."""
MESSAGE_PAUSE_SECONDS = 3600.0
"""So seldom a message alone is the reason for a new connection."""
SHUT_SECONDS = 1.0
"""As `STALL_SECONDS`, with the receiver's window shut: its buffers are full then, which took seconds, and no packet was lost."""


@dataclass(frozen=True)
class RetryState:
    """What is remembered from one attempt to the next. A new run begins with `RetryState()`."""

    ingest: int = 0
    """Where to publish: an index of the channel's ingest_urls."""
    failures: int = 0
    """In a row, since it was last on air."""
    refusals: int = 0
    """By all ingests there are."""
    is_refused: bool = False
    """The other ingest refused, and this one is asked before that counts."""
    unreachable: int = 0
    short_lived: int = 0
    """Connections in a row that were not on air for `STEADY_SECONDS`."""


@dataclass(frozen=True)
class Decision:
    """What follows a failure; the fields of the events publishing-failed and channel-given-up."""

    error_type: Failure
    retry_count: int
    will_retry: bool
    delay_seconds: float
    """None passes when 0. Without a retry, 0."""


def after_failure(
    state: RetryState, why: Failure, ingests: int, ran_seconds: float, on_air_seconds: float
) -> tuple[RetryState, Decision]:
    """The state to go on with, and what to do.

    `ran_seconds`: since the attempt began. `on_air_seconds`: for how long bytes were acknowledged in it. `ingests`: 1 or 2.
    """
    state = replace(state, failures=state.failures + 1)
    other = (state.ingest + 1) % ingests
    if why in ("dropped", "stalled", "crashed"):
        count = 0 if on_air_seconds >= STEADY_SECONDS else state.short_lived + 1
        moves = why == "stalled" or count > 1
        state = replace(state, short_lived=count, is_refused=False, ingest=other if moves else state.ingest)
        return again(state, why, back_off(count - 1), ran_seconds)
    if why == "unreachable" and not state.is_refused:
        state = replace(state, unreachable=state.unreachable + 1, ingest=other)
        return again(state, why, back_off(state.unreachable, UNREACHABLE_SECONDS), ran_seconds)
    if not state.is_refused and ingests > 1:
        return again(replace(state, is_refused=True, ingest=other), why, 0.0, ran_seconds)
    state = replace(state, is_refused=False, refusals=state.refusals + 1, ingest=other)
    if state.refusals > len(REFUSED_SECONDS):
        return state, Decision("refused", state.failures, will_retry=False, delay_seconds=0.0)
    return again(state, "refused", REFUSED_SECONDS[state.refusals - 1], ran_seconds)


def again(state: RetryState, why: Failure, delay_seconds: float, ran_seconds: float) -> tuple[RetryState, Decision]:
    delay_seconds = max(delay_seconds, LEAST_SECONDS - ran_seconds)
    return state, Decision(why, state.failures, will_retry=True, delay_seconds=delay_seconds)


def back_off(count: int, delays: Sequence[float] = BACK_OFF_SECONDS) -> float:
    """The delay before attempt number `count`; none before those that are numbered 0 and less."""
    return delays[min(count, len(delays)) - 1] if count > 0 else 0.0


def on_air(state: RetryState) -> RetryState:
    """Bytes were acknowledged for `ON_AIR_SECONDS`: what failed before no longer counts, but for how long this one lasts."""
    return RetryState(ingest=state.ingest, short_lived=state.short_lived)


def planned(state: RetryState) -> RetryState:
    """A reconnect that is meant: it begins with the primary ingest."""
    return replace(state, ingest=0, is_refused=False)


@dataclass(frozen=True)
class Arrival:
    """Whether what a connection is given arrives; moments are monotonic seconds.

    A new connection begins with `Arrival()`, and is observed from when the server takes the stream: a handshake, too, is
    acknowledged.
    """

    given_bytes: int = 0
    acknowledged_bytes: int = 0
    acknowledged_since: float | None = None
    """When the first bytes were acknowledged."""
    last_acknowledged: float | None = None
    waiting_since: float | None = None
    """Since when something was given and nothing acknowledged; None while nothing waits."""
    is_window_shut: bool = False
    read: tuple[float, int, int] | None = None
    """When the receiver's program was last seen to read, and the bytes acknowledged and offered then."""

    def seen(
        self,
        now: float,
        given_bytes: int,
        acknowledged_bytes: int | None,
        is_window_shut: bool = False,
        offered_bytes: int | None = None,
    ) -> "Arrival":
        """With the totals at `now`: bytes that the publisher took, bytes acknowledged, and offered to be (None: not known)."""
        if acknowledged_bytes is not None and acknowledged_bytes > self.acknowledged_bytes:
            since = now if self.acknowledged_since is None else self.acknowledged_since
            read = self._read(now, acknowledged_bytes, offered_bytes)
            return Arrival(given_bytes, acknowledged_bytes, since, now, read=read)
        waiting = now if self.waiting_since is None and given_bytes > self.given_bytes else self.waiting_since
        return replace(self, given_bytes=given_bytes, waiting_since=waiting, is_window_shut=is_window_shut)

    def _read(self, now: float, acknowledged_bytes: int, offered_bytes: int | None) -> tuple[float, int, int] | None:
        if offered_bytes is None:
            return None
        if self.read and offered_bytes - self.read[2] < READING_SHARE * (acknowledged_bytes - self.read[1]):
            return self.read
        return now, acknowledged_bytes, offered_bytes

    def is_unread(self, now: float) -> bool:
        """Whether the receiver's program has long read nothing of what its kernel acknowledges."""
        if self.read is None:
            return False
        at, acknowledged_bytes, _offered = self.read
        return now - at >= UNREAD_SECONDS and self.acknowledged_bytes - acknowledged_bytes >= LEAST_UNREAD_BYTES

    def is_stalled(self, now: float) -> bool:
        """Whether it once arrived and no longer does. A connection that is only being made is never stalled."""
        if self.last_acknowledged is None or self.waiting_since is None:
            return self.is_unread(now)
        return self.is_unread(now) or now - self.waiting_since >= (SHUT_SECONDS if self.is_window_shut else STALL_SECONDS)

    def on_air_seconds(self) -> float:
        """For how long bytes were acknowledged."""
        since, last = self.acknowledged_since, self.last_acknowledged
        return 0.0 if since is None or last is None else last - since

    def is_on_air(self, now: float) -> bool:
        """Bytes were acknowledged for `ON_AIR_SECONDS`, and are."""
        return self.on_air_seconds() >= ON_AIR_SECONDS and not self.is_stalled(now)


class Listener:
    """Whether an ingest says something in the middle of a stream, by the number of the bytes that it sends.

    RTMP says so when it has ended the stream (onStatus, NetStream.Unpublish.Success), and an ingest may go on reading then.
    ffmpeg reads such a message and says nothing of it. An ingest that sends as much again and again is a talkative one.
    """

    def __init__(self) -> None:
        self.is_usual = False
        """Whether the last message was no longer than others before, on this connection or another one."""
        self._longest_bytes = 0
        self._since: float | None = None
        self._received_bytes = 0

    def connect(self) -> None:
        """A new connection. What the ingest usually sends is remembered."""
        self._since = None

    def hears(self, now: float, received_bytes: int) -> int:
        """The bytes of a message, 0 for none; `received_bytes`: the total at `now`, asked from when the stream was taken."""
        size, self._received_bytes = received_bytes - self._received_bytes, received_bytes
        if self._since is None:
            self._since = now
        if now - self._since < OPENING_SECONDS:
            return 0
        if size < LEAST_MESSAGE_BYTES:
            return 0
        self.is_usual = size < 2 * self._longest_bytes
        self._longest_bytes = max(self._longest_bytes, size)
        return size
