"""The service loop of every long-running program: sd_notify(3), the watchdog, signals, waiting.

One pass of work, then one wait for the first of: a file descriptor, a signal, the time that the pass requested. The loop pings
the watchdog after each completed pass, never from a separate timer, so that systemd notices a stuck program. SIGTERM ends the
loop at once; SIGHUP reloads. Programs do slow work in threads or without blocking: a pass takes milliseconds.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import sdnotify

from livekeep.core.text import shown

LONGEST_WAIT_SECONDS = 60.0
LEAST_PING_SECONDS = 1.0
"""Each ping wakes systemd."""
SHARE_OF_WATCHDOG = 0.45
"""The longest wait between two pings, as a share of the watchdog's time: two fit, so that one late pass causes no timeout."""


class Service:
    """Notifies systemd, and waits for the program's event sources."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        # Child processes must not send notifications for this unit.
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)
        self._longest = min(LONGEST_WAIT_SECONDS, int(microseconds or 0) / 1e6 * SHARE_OF_WATCHDOG or LONGEST_WAIT_SECONDS)
        self._pinged = -LONGEST_WAIT_SECONDS
        self._selector = selectors.DefaultSelector()
        self._status = ""
        self._pending: set[int] = set()
        self._wakeup, self._waker = socket.socketpair()
        self._wakeup.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._drain_wakeup)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: self._pending.add(number))

    def watch(self, source: Any, ready: Callable[[], None]) -> None:
        """Call `ready` between two passes whenever `source` (an object with a fileno) is readable."""
        self._selector.register(source, selectors.EVENT_READ, ready)

    def forget(self, source: Any) -> None:
        self._selector.unregister(source)

    def wake(self) -> None:
        """End the current wait; may be called from any thread."""
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows; sent only if it changes."""
        if text != self._status:
            self._status = text
            # A line break would start another message, such as READY=1.
            # The library encodes as Latin-1; systemd requires UTF-8.
            self._notifier.notify(f"STATUS={shown(text)}".encode().decode("latin-1"))

    def run(self, one_pass: Callable[[float], float], reload: Callable[[], None]) -> None:
        """Run until SIGTERM or SIGINT. `one_pass(now_monotonic)` returns the latest time of its next call."""
        is_ready = False
        while not self._pending & {signal.SIGTERM, signal.SIGINT}:
            if signal.SIGHUP in self._pending:
                self._pending.discard(signal.SIGHUP)
                self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
                reload()
                self._notifier.notify("READY=1")
            wanted_monotonic = one_pass(time.monotonic())
            if not is_ready:
                self._notifier.notify("READY=1")
                is_ready = True
            now = time.monotonic()
            # At most once a second if the next pass follows soon.
            is_long = wanted_monotonic - now >= LEAST_PING_SECONDS
            if is_long or now - self._pinged >= min(LEAST_PING_SECONDS, self._longest / 4):
                self._notifier.notify("WATCHDOG=1")
                self._pinged = now
            if not self._pending:
                seconds = min(max(wanted_monotonic - time.monotonic(), 0.0), self._longest)
                for selected, _events in self._selector.select(seconds):
                    selected.data()
        self._notifier.notify("STOPPING=1")

    def _drain_wakeup(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wakeup.recv(512):
                pass
