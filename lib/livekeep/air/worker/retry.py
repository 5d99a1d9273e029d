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

from livekeep.air.worker.publisher_end import Why
from livekeep.air.worker.tcp_info import Sample

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


def after_failure(
    state: RetryState, why: Why, ingests: int, ran_seconds: float, on_air_seconds: float
) -> tuple[RetryState, Why, float | None]:
    """The next state, the failure to report, and the seconds until the next attempt; None: give up.

    `ran_seconds`: since the attempt began. `on_air_seconds`: for how long bytes were acknowledged in it. `ingests`: 1 or 2.
    """
    state = replace(state, failures=state.failures + 1)
    other, least_seconds = (state.ingest + 1) % ingests, max(LEAST_SECONDS - ran_seconds, 0.0)
    if why not in ("refused", "unreachable"):
        count = 0 if on_air_seconds >= STEADY_SECONDS else state.short_lived + 1
        moves = why == "stalled" or count > 1
        state = replace(state, short_lived=count, is_refused=False, ingest=other if moves else state.ingest)
        return state, why, max(back_off(count - 1), least_seconds)
    if why == "unreachable" and not state.is_refused:
        state = replace(state, unreachable=state.unreachable + 1, ingest=other)
        return state, why, max(back_off(state.unreachable, UNREACHABLE_SECONDS), least_seconds)
    if not state.is_refused and ingests > 1:
        return replace(state, is_refused=True, ingest=other), why, least_seconds
    state = replace(state, is_refused=False, refusals=state.refusals + 1, ingest=other)
    return state, "refused", REFUSED_SECONDS[state.refusals - 1] if state.refusals <= len(REFUSED_SECONDS) else None


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
    read: Sample | None = None
    """The connection when the receiver's program was last seen to read."""
    read_at: float = 0.0

    def seen(self, now: float, given_bytes: int, sample: Sample | None) -> "Arrival":
        """Update with the bytes that ffmpeg has taken until `now`, and with its connection in the kernel; None: unknown."""
        if sample and sample.acknowledged_bytes > self.acknowledged_bytes:
            since = now if self.acknowledged_since is None else self.acknowledged_since
            read, read_at = self.read, self.read_at
            least = READING_SHARE * (sample.acknowledged_bytes - (read.acknowledged_bytes if read else 0))
            if read is None or sample.offered_bytes - read.offered_bytes >= least:
                read, read_at = sample, now
            return Arrival(given_bytes, sample.acknowledged_bytes, since, now, read=read, read_at=read_at)
        waiting = now if self.waiting_since is None and given_bytes > self.given_bytes else self.waiting_since
        is_window_shut = sample is not None and sample.is_window_shut
        return replace(self, given_bytes=given_bytes, waiting_since=waiting, is_window_shut=is_window_shut)

    def is_stalled(self, now: float) -> bool:
        """Whether data arrived once and no longer does. A connection that is still being set up is never stalled."""
        unread_bytes = self.acknowledged_bytes - self.read.acknowledged_bytes if self.read else 0
        if now - self.read_at >= UNREAD_SECONDS and unread_bytes >= LEAST_UNREAD_BYTES:
            # The receiver's program has long stopped reading what its kernel acknowledges.
            return True
        if self.last_acknowledged is None or self.waiting_since is None:
            return False
        return now - self.waiting_since >= (SHUT_SECONDS if self.is_window_shut else STALL_SECONDS)

    def on_air_seconds(self) -> float:
        """For how long bytes were acknowledged."""
        since, last = self.acknowledged_since, self.last_acknowledged
        return 0.0 if since is None or last is None else last - since


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
