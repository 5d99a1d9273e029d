"""Serves the outbox: one short-lived child per channel with due messages, so that no server blocks the rules.

A child (`delivery`) writes its receipts to RECEIPTS/CHANNEL, which it keeps locked. If the alerter is killed, the next one waits
for a child that still runs, and reads its receipts. A message is delivered twice only if a server accepted it and the connection
broke, or everything was killed, before the reply was written. A mail then has the same Message-ID.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from livekeep.core import events, paths
from livekeep.core.text import shown
from livekeep.record.alerts import outbox
from livekeep.record.alerts.channels import Channel

LAUNCHER = paths.PROGRAM_DIRECTORY / "livekeep-alerter"
MOST_CHILDREN = 2
"""At a time: each takes about 35 MB."""
BASE_SECONDS = 60.0
MESSAGE_SECONDS = 30.0
STOP_SECONDS = 6.0
"""Less than the unit's TimeoutStopSec=."""
ORPHAN_SECONDS = 1.0
"""Between two checks whether a child of a killed alerter has ended."""


@dataclass
class Child:
    """A batch in flight."""

    channel: str
    process: subprocess.Popen[bytes]
    pid_descriptor: int
    messages: tuple[int, ...]
    deadline: float
    """Steady seconds."""
    is_overdue: bool = False


class Deliverer:
    """Its counters start at zero when it is created."""

    def __init__(
        self,
        database: Connection,
        receipts: Path,
        watch: Callable[[int, Callable[[], None]], None],
        forget: Callable[[int], None],
    ) -> None:
        """`watch` and `forget` are those of `core.notify.Service`, for the end of a child."""
        self._database, self._receipts = database, receipts
        self._watch, self._forget = watch, forget
        self._children: dict[str, Child] = {}
        self._known: Mapping[str, Channel] = {}
        self.delivered = 0
        self.failed = 0
        self.last_delivered_at: float | None = None
        receipts.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._orphans = {file.name for file in receipts.iterdir()}
        """Channels whose receipts may hold results that an earlier alerter did not read."""

    def adopt(self, known: Mapping[str, Channel]) -> None:
        self._known = known

    def one_pass(self, wall: float, steady: float) -> float:
        """Reap and start children; return the latest time for the next call, in steady seconds."""
        for child in list(self._children.values()):
            if child.process.poll() is not None:
                self._reap(child, wall)
            elif steady >= child.deadline and not child.is_overdue:
                child.is_overdue = True
                child.process.kill()
        for name in sorted(self._orphans):
            self._take_over(name, wall)
        for name in outbox.due_channels(self._database, self._known, wall):
            if len(self._children) < MOST_CHILDREN and name not in self._children and name not in self._orphans:
                self._start(self._known[name], wall, steady)
        return self._next(wall, steady)

    def close(self) -> None:
        """End each child after its current message; the rest is delivered after the next start."""
        for child in self._children.values():
            child.process.terminate()
        end = time.monotonic() + STOP_SECONDS
        for child in self._children.values():
            try:
                child.process.wait(max(end - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    def _next(self, wall: float, steady: float) -> float:
        moments = [child.deadline for child in self._children.values() if not child.is_overdue]
        if self._orphans:
            moments.append(steady + ORPHAN_SECONDS)
        if len(self._children) < MOST_CHILDREN:
            due = outbox.next_due(self._database, self._known, [*self._children, *self._orphans])
            if due is not None:
                moments.append(steady + max(due - wall, 0.0))
        return min(moments, default=float("inf"))

    def _start(self, channel: Channel, wall: float, steady: float) -> None:
        receipts = self._locked(channel.name)
        if receipts is None:
            self._orphans.add(channel.name)
            return
        try:
            os.ftruncate(receipts, 0)
            self._database.execute("BEGIN IMMEDIATE")
            messages = outbox.batch(self._database, channel, wall)
            self._database.execute("COMMIT")
            if not messages:
                return
            seconds = BASE_SECONDS + MESSAGE_SECONDS * len(messages)
            content = {"address": channel.address, "file": channel.file, "messages": messages, "seconds": seconds}
            # Only the child can read an unnamed file in memory.
            with os.fdopen(os.memfd_create("batch"), "w+b") as batch:
                batch.write(json.dumps(content).encode())
                batch.seek(0)
                process = subprocess.Popen(
                    [sys.executable, "-I", LAUNCHER, "--deliver"],
                    stdin=batch,
                    stdout=receipts,
                    # A traceback could hold the address.
                    stderr=subprocess.DEVNULL,
                )
        finally:
            os.close(receipts)
        descriptor = os.pidfd_open(process.pid)
        self._watch(descriptor, lambda: None)
        numbers = tuple(int(message["message"]) for message in messages)
        self._children[channel.name] = Child(channel.name, process, descriptor, numbers, steady + seconds)

    def _locked(self, channel: str) -> int | None:
        """A descriptor of the locked receipts; None while a child of an earlier alerter holds the lock."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._receipts / channel, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _take_over(self, channel: str, wall: float) -> None:
        descriptor = self._locked(channel)
        if descriptor is None:
            return
        os.close(descriptor)
        self._orphans.discard(channel)
        self._settle(channel, (), "", wall)

    def _reap(self, child: Child, wall: float) -> None:
        del self._children[child.channel]
        self._forget(child.pid_descriptor)
        os.close(child.pid_descriptor)
        code = child.process.returncode
        ending = "no answer in time" if child.is_overdue or code == -14 else f"the delivery ended with exit code {code}"
        self._settle(child.channel, child.messages, ending, wall)

    def _settle(self, channel: str, messages: tuple[int, ...], ending: str, wall: float) -> None:
        """Record the result of each message in one transaction; the receipts are no longer needed then."""
        receipts = read_receipts(self._receipts / channel)
        settled = {int(receipt["message"]) for receipt in receipts}
        is_channel = any(receipt["is_channel"] for receipt in receipts)
        if not is_channel:
            # These have no result: the child was ended, or died.
            unsettled = [message for message in messages if message not in settled]
            receipts += [{"message": it, "taken": [], "reason": ending, "is_channel": False} for it in unsettled]
        failures = []
        self._database.execute("BEGIN IMMEDIATE")
        for receipt in receipts:
            wait = outbox.settle(self._database, channel, receipt["message"], receipt["taken"], receipt["reason"], wall)
            if receipt["reason"]:
                failures.append((receipt["message"], receipt["reason"], wait or 0.0))
            else:
                self.delivered += 1
                self.last_delivered_at = wall
        if failures and (is_channel or ending == "no answer in time"):
            outbox.postpone(self._database, channel, failures[-1][2], wall)
        self._database.execute("COMMIT")
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self._receipts / channel, 0)
        self.failed += len(failures)
        for message, reason, wait in failures[:1]:
            sql = "SELECT attempts FROM deliveries WHERE message = ? AND channel = ?"
            row = self._database.execute(sql, [message, channel]).fetchone()
            sentence = f"A message to {channel} could not be delivered: {reason}; it is tried again in {wait:.0f} s"
            attempt, seconds = row["attempts"] if row else 0, f"{wait:.0f}"
            events.emit(events.DELIVERY_FAILED, sentence, CHANNEL=channel, ATTEMPT=attempt, REASON=reason, SECONDS=seconds)


def read_receipts(file: Path) -> list[dict[str, Any]]:
    """The receipts in the file; a truncated line counts as none."""
    receipts = []
    for line in file.read_bytes().splitlines() if file.exists() else []:
        try:
            receipt = json.loads(line)
            message, taken = int(receipt["message"]), [str(name) for name in receipt["taken"]]
            reason, is_channel = shown(str(receipt["reason"])), bool(receipt["is_channel"])
        except (ValueError, KeyError, TypeError):
            continue
        receipts.append({"message": message, "taken": taken, "reason": reason, "is_channel": is_channel})
    return receipts
