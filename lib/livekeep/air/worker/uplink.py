"""The uplink of a channel: runs one publisher at a time, checks that its data arrives, and decides when to try again.

Part of livekeep-worker@CHANNEL. The relay's bytes go into the publisher; the kernel reports what the ingest has acknowledged. If
a stream no longer arrives, the uplink reconnects, and the relay continues where it was.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from livekeep.air.worker import retry
from livekeep.air.worker.ingest_address import Address
from livekeep.air.worker.publisher import Publisher
from livekeep.air.worker.publisher_end import Ended, Why
from livekeep.air.worker.relay import Relay
from livekeep.air.worker.retry import Arrival, Listener, RetryState
from livekeep.air.worker.tcp_info import TcpInfo
from livekeep.core import events
from livekeep.core.channels import EXIT_GIVEN_UP, ON_AIR_SECONDS, Publishing
from livekeep.core.config import Channel
from livekeep.core.errors import TemporaryError
from livekeep.core.service import Service

logger = logging.getLogger("livekeep.worker")

CHECK_SECONDS = 0.4
"""Between two checks of the acknowledged bytes."""
WRAP_MS = 2**31
"""FLV's timestamps, as ffmpeg keeps them, wrap here: 24 d 20 h."""
WRAP_MARGIN_MS = 600_000
MOST_BEHIND_BYTES = 8 * 1024 * 1024
"""The most that waits for a publisher that accepts nothing; a stall is detected long before."""
MESSAGE_SECONDS = 1.0
"""How long ffmpeg, which ends at an error, gets to read a message from the ingest."""
UNWANTED_CONNECTIONS = 3
"""After so many short connections in a row, check the key: some services take a wrong one, and end the stream a moment later."""


class GivenUpError(TemporaryError):
    """The ingest has refused the stream too often; systemd restarts the worker after a while."""

    exit_code = EXIT_GIVEN_UP


class Uplink:
    """One pass sends the bytes due and supervises the publisher; the fields go into the state."""

    def __init__(self, service: Service, relay: Relay[Any], name: str, channel: Channel, key: str, first_ms: int = 0) -> None:
        """`first_ms`: where the first connection's timeline begins, for tests of the wrap."""
        self.publishing: Publishing = "preparing"
        self.since = time.time()
        self.reason = self.advice = self.error_type = ""
        self.retry_count = 0
        self.next_retry: float | None = None
        self.last_check = 0.0
        self.connected_since: float | None = None
        self.connections = 0
        self.refusals = 0
        self.last_acknowledged_monotonic: float | None = None
        self._service, self._relay, self._name, self._channel, self._key = service, relay, name, channel, key
        self._first_ms = first_ms
        self._retry = RetryState()
        self._listener = Listener()
        self._message: tuple[float, str] | None = None
        self._left_for_message: float | None = None
        self._publisher: Publisher | None = None
        self._acknowledged: TcpInfo | None = None
        self._arrival = Arrival()
        self._acknowledged_before = 0
        self._waiting = b""
        self._began = 0.0
        self._next_try = 0.0
        self._next_check = 0.0
        self._is_planned_end = False
        self._was_on_air = False
        self._has_news = False

    @property
    def ingest(self) -> str:
        """Host and port of the server in use."""
        return Address.parse(self._channel.ingest_urls[self._retry.ingest]).shown

    @property
    def is_backup(self) -> bool:
        return self._retry.ingest > 0

    @property
    def acknowledged_bytes(self) -> int:
        """Since the worker started, over all connections."""
        return self._acknowledged_before + self._arrival.acknowledged_bytes

    def one_pass(self, now: float) -> float:
        """Send the bytes due; when to call again. Raises `GivenUpError` and `ConfigError`."""
        if self._publisher is None:
            if now < self._next_try:
                return self._next_try
            self._connect(now)
        if self._publisher and (now >= self._next_check or self._has_news):
            self._check(self._publisher, now)
        if self._publisher is None:
            return self._next_try
        if self._relay.is_connected and not self._is_planned_end:
            data = self._waiting + self._relay.take(now) if len(self._waiting) < MOST_BEHIND_BYTES else self._waiting
            taken = self._publisher.write(data, now) if data else 0
            self._waiting = data[taken:]
        return min(self._relay.due(now), self._next_check)

    def reconnect(self, now: float) -> None:
        """End the connection cleanly and begin another: before the timeline wraps, or when the operator requests it."""
        if self._publisher and not self._is_planned_end:
            logger.info("%s: a new connection is due", self._name)
            self._is_planned_end = True
            self._relay.disconnect(now)
            self._publisher.stop(now)

    def stop(self, wait: Callable[[float], None]) -> None:
        """Disconnect cleanly, within ten seconds; `wait` is called with the seconds between two checks."""
        publisher, self._publisher = self._publisher, None
        if publisher is None:
            return
        publisher.stop(time.monotonic())
        while publisher.poll(time.monotonic()) is None:
            wait(0.05)

    # Connection

    def _connect(self, now: float) -> None:
        url = self._channel.ingest_urls[self._retry.ingest]
        self._publisher = publisher = Publisher(url, self._key, self._name)
        self._acknowledged = TcpInfo(publisher.pid)
        self._arrival = Arrival()
        self._listener.connect()
        self._message = None
        self._began, self._next_check = now, now + CHECK_SECONDS
        self.next_retry = None
        self._waiting = b""
        self._is_planned_end = self._was_on_air = False
        self._relay.connect(now, self._first_ms)
        self._service.watch(publisher.errors_fileno(), self._note_news)
        if self.publishing == "preparing":
            self._become("connecting", "", "")

    def _note_news(self) -> None:
        self._has_news = True

    def _check(self, publisher: Publisher, now: float) -> None:
        """Check that the publisher still runs, and what has arrived."""
        self._has_news = False
        descriptor = publisher.errors_fileno()
        if ended := publisher.poll(now):
            with contextlib.suppress(KeyError, ValueError):
                self._service.forget(descriptor)
            self._end(ended, now)
            return
        if now < self._next_check:
            return
        self._next_check = now + CHECK_SECONDS
        self.last_check = time.time()
        if publisher.is_publishing:
            self._note_arrival(publisher, now)
        if self._arrival.is_stalled(now) and not self._is_planned_end:
            publisher.kill()
        # A new connection begins before the timeline wraps, and as often as the operator configures.
        hours = self._channel.rotate_hours
        is_wrapping = self._relay.timestamp_ms(now) >= WRAP_MS - WRAP_MARGIN_MS
        is_old = bool(hours) and now - self._began >= hours * 3600
        if self._relay.is_connected and (is_wrapping or is_old):
            self.reconnect(now)

    def _note_arrival(self, publisher: Publisher, now: float) -> None:
        """Note what the ingest has acknowledged, and what it sends itself."""
        sample = self._acknowledged.read() if self._acknowledged else None
        before = self._arrival
        self._arrival = before.seen(now, publisher.given_bytes, sample)
        if self._arrival.acknowledged_bytes > before.acknowledged_bytes:
            self.last_acknowledged_monotonic = now
            if not self._was_on_air:
                self._was_on_air = True
                self.connections += 1
                self.connected_since = time.time()
                self._become("on-air", "", "")
                self._service.wake()
                sentence = f"{self._name}: on air at {self.ingest}"
                events.emit(events.CHANNEL_ON_AIR, sentence, CHANNEL=self._name, INGEST=self.ingest)
            if self._arrival.on_air_seconds() >= retry.STEADY_SECONDS:
                self._relay.note_steady()
            if self._arrival.on_air_seconds() >= ON_AIR_SECONDS:
                self._retry = retry.on_air(self._retry)
                self.retry_count, self.error_type = 0, ""
        if sample and (size := self._listener.hears(now, sample.received_bytes)):
            said = f"{self.ingest} sent a message of {size} bytes in the middle of the stream, as when it ends it"
            self._message = now, said
        self._note_message(publisher, now)

    def _note_message(self, publisher: Publisher, now: float) -> None:
        """The ingest sent a message, possibly the end of the stream: reconnect because of it at most once an hour."""
        if self._message is None or now - self._message[0] < MESSAGE_SECONDS or self._is_planned_end:
            return
        (_heard_at, said), self._message = self._message, None
        is_rare = self._left_for_message is None or now - self._left_for_message >= retry.MESSAGE_PAUSE_SECONDS
        if is_rare and not self._listener.is_usual:
            self._left_for_message = now
            publisher.leave(said, now)
            return
        if said not in self.reason:
            logger.warning("%s: %s; the connection stays", self._name, said)
        self._become(self.publishing, f"{said}; a new connection did not help", "check whether the ingest shows the stream")

    def _end(self, ended: Ended, now: float) -> None:
        self._publisher = None
        if self._acknowledged:
            self._acknowledged.close()
        self._acknowledged_before += self._arrival.acknowledged_bytes
        on_air_seconds = self._arrival.on_air_seconds()
        self._arrival = Arrival()
        self._first_ms = 0
        self._relay.disconnect(now)
        self.connected_since = None
        if self._is_planned_end:
            self._retry, self._next_try = retry.planned(self._retry), now
            self._become("connecting", "a new connection was due", "")
            return
        if on_air_seconds and ended.why in ("dropped", "stalled", "crashed"):
            self._relay.note_break()
        ingests, ran_seconds = len(self._channel.ingest_urls), now - self._began
        self._retry, error_type, delay_seconds = retry.after_failure(self._retry, ended.why, ingests, ran_seconds, on_air_seconds)
        self._note_failure(ended.sentence, error_type, delay_seconds, now)

    def _note_failure(self, reason: str, error_type: Why, delay_seconds: float | None, now: float) -> None:
        """`delay_seconds`: until the next attempt; without, there is none. Raises `GivenUpError`."""
        self.error_type, self.retry_count = error_type, self._retry.failures
        self.refusals += error_type == "refused"
        states: dict[Why, Publishing] = {"refused": "refused", "unreachable": "unreachable", "stalled": "stalled"}
        is_unwanted = error_type == "refused" or self._retry.short_lived >= UNWANTED_CONNECTIONS
        advice = f"check the stream key and the ingest: livekeep air check {self._name}" if is_unwanted else ""
        self._become(states.get(error_type, "connecting"), reason, advice)
        fields = {"CHANNEL": self._name, "ERROR_TYPE": error_type, "RETRY_COUNT": self.retry_count}
        if delay_seconds is None:
            sentence = f"{self._name}: given up after {self._retry.refusals} refusals: {reason}"
            events.emit(events.CHANNEL_GIVEN_UP, sentence, **fields)
            raise GivenUpError(f"{sentence}; systemd tries again after two minutes")
        self._next_try = now + delay_seconds
        self.next_retry = time.time() + delay_seconds
        sentence = f"{self._name}: {reason}; again in {delay_seconds:.0f} s"
        events.emit(events.PUBLISHING_FAILED, sentence, **fields, WILL_RETRY="yes", SECONDS=f"{delay_seconds:.1f}")

    def _become(self, publishing: Publishing, reason: str, advice: str) -> None:
        if publishing != self.publishing:
            self.since = time.time()
        self.publishing, self.reason, self.advice = publishing, reason, advice
