"""When to publish again after a failure, and when to give up. Pure: time comes in as elapsed seconds.

| why it ended                 | what follows                                                                               |
|------------------------------|--------------------------------------------------------------------------------------------|
| dropped, crashed, stalled    | retry immediately; after repeated runs of less than 30 s on air, in 1, 2, 5, 5, … s        |
| unreachable                  | retry after 1 s, then every 2 s, from the twelfth time on every 5 s, forever               |
| refused                      | retry after 30 s, then 60 s; the third refusal ends the run with exit 69                   |

Attempts begin at least a second apart. With a backup ingest, unreachable and stalled switch to the other one, and so does a
connection dropped again within 30 s. A refusal counts only if the other one doesn't take the stream either; it is tried
immediately. The ingest that takes the stream is kept until it fails, or until a planned reconnect, which begins with the primary.

Being on air (`ON_AIR_SECONDS` of acknowledged bytes) clears the counts. After exit 69 systemd waits 120 s: the third delay.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from livekeep.core.channels import ON_AIR_SECONDS

Failure = Literal["dropped", "refused", "unreachable", "stalled", "crashed"]
FAILURES: tuple[Failure, ...] = get_args(Failure)

STEADY_SECONDS = 30.0
"""A connection that ends after this time on air was a good one."""
BACK_OFF_SECONDS = (1.0, 2.0, 5.0)
UNREACHABLE_SECONDS = (1.0, *(2.0,) * 10, 5.0)
"""Reaches a restarted ingest within two seconds, without trying one that stays down too often."""
REFUSED_SECONDS = (30.0, 60.0)
"""One more refusal ends the run."""
LEAST_SECONDS = 1.0
"""Between the starts of two attempts."""
STALL_SECONDS = 3.0
"""No byte acknowledged for this time, although bytes were outstanding."""
UNREAD_SECONDS = 3.5
"""The receiver's kernel has acknowledged for this time bytes that its program does not read; it can hold many seconds' worth."""
LEAST_UNREAD_BYTES = 128 * 1024
READING_SHARE = 0.25
"""A program that reads lets its kernel offer as much again as it acknowledges. Otherwise the offer grows by a few percent."""
LEAST_MESSAGE_BYTES = 80
"""In mid-stream an ingest sends acknowledgements and pings, of 16 to 45 bytes; the shortest status message has about 100."""
OPENING_SECONDS = 3.0
"""Messages sent sooner after it took the stream belong to the start."""
MESSAGE_PAUSE_SECONDS = 3600.0
"""Least time between two reconnects caused by a message alone."""
SHUT_SECONDS = 1.0
"""As `STALL_SECONDS`, with the receiver's window shut: its buffers took seconds to fill, and no packet was lost."""


@dataclass(frozen=True)
class RetryState:
    """The state kept from one attempt to the next. A new run begins with `RetryState()`."""

    ingest: int = 0
    """The ingest to use: an index of the channel's ingest_urls."""
    failures: int = 0
    """In a row, since the channel was last on air."""
    refusals: int = 0
    """By all ingests."""
    is_refused: bool = False
    """The other ingest refused; that counts only if this one refuses too."""
    unreachable: int = 0
    short_lived: int = 0
    """Connections in a row that were on air for less than `STEADY_SECONDS`."""


@dataclass(frozen=True)
class Decision:
    """What follows a failure; the fields of the events publishing-failed and channel-given-up."""

    error_type: Failure
    retry_count: int
    will_retry: bool
    delay_seconds: float
    """Can be 0. Without a retry, 0."""


def after_failure(
    state: RetryState, why: Failure, ingests: int, ran_seconds: float, on_air_seconds: float
) -> tuple[RetryState, Decision]:
    """The next state, and the decision.

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
    """The delay before attempt number `count`; 0 for numbers up to 0."""
    return delays[min(count, len(delays)) - 1] if count > 0 else 0.0


def on_air(state: RetryState) -> RetryState:
    """Bytes were acknowledged for `ON_AIR_SECONDS`: earlier failures no longer count, but its duration still does."""
    return RetryState(ingest=state.ingest, short_lived=state.short_lived)


def planned(state: RetryState) -> RetryState:
    """A planned reconnect: it begins with the primary ingest."""
    return replace(state, ingest=0, is_refused=False)


@dataclass(frozen=True)
class Arrival:
    """Whether a connection's data arrives at the ingest; times are monotonic seconds.

    A new connection begins with `Arrival()`, observed from when the server takes the stream, because the bytes of a handshake are
    acknowledged too.
    """

    given_bytes: int = 0
    acknowledged_bytes: int = 0
    acknowledged_since: float | None = None
    """When the first bytes were acknowledged."""
    last_acknowledged: float | None = None
    waiting_since: float | None = None
    """Since when bytes are outstanding and none is acknowledged; None while none is outstanding."""
    is_window_shut: bool = False
    read: tuple[float, int, int] | None = None
    """When the receiver's program was last seen to read, and the acknowledged and offered bytes then."""

    def seen(
        self,
        now: float,
        given_bytes: int,
        acknowledged_bytes: int | None,
        is_window_shut: bool = False,
        offered_bytes: int | None = None,
    ) -> "Arrival":
        """Update with the totals at `now`: bytes taken by ffmpeg, acknowledged, and offered by the receiver (None: unknown)."""
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
        """Whether the receiver's program has long stopped reading what its kernel acknowledges."""
        if self.read is None:
            return False
        at, acknowledged_bytes, _offered = self.read
        return now - at >= UNREAD_SECONDS and self.acknowledged_bytes - acknowledged_bytes >= LEAST_UNREAD_BYTES

    def is_stalled(self, now: float) -> bool:
        """Whether data arrived once and no longer does. A connection that is still being set up is never stalled."""
        if self.last_acknowledged is None or self.waiting_since is None:
            return self.is_unread(now)
        return self.is_unread(now) or now - self.waiting_since >= (SHUT_SECONDS if self.is_window_shut else STALL_SECONDS)

    def on_air_seconds(self) -> float:
        """For how long bytes were acknowledged."""
        since, last = self.acknowledged_since, self.last_acknowledged
        return 0.0 if since is None or last is None else last - since

    def is_on_air(self, now: float) -> bool:
        """Bytes were acknowledged for `ON_AIR_SECONDS`, and still are."""
        return self.on_air_seconds() >= ON_AIR_SECONDS and not self.is_stalled(now)


class Listener:
    """Detects a message from an ingest in mid-stream by the number of bytes that it sends.

    RTMP announces the end of a stream (onStatus, NetStream.Unpublish.Success), but an ingest can go on reading after that.
    ffmpeg reads such a message silently. If an ingest sends messages of that size repeatedly, they are usual for it.
    """

    def __init__(self) -> None:
        self.is_usual = False
        """Whether the last message was no longer than earlier ones, on this connection or another."""
        self._longest_bytes = 0
        self._since: float | None = None
        self._received_bytes = 0

    def connect(self) -> None:
        """Begin a new connection. The ingest's usual message size is kept."""
        self._since = None

    def hears(self, now: float, received_bytes: int) -> int:
        """The bytes of a message, 0 for none; `received_bytes`: the total at `now`, polled from when the stream was taken."""
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
