"""Journal entries as jobs and livekeep's units write them, for tests that fill a record."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

from livekeep.record import wire

BOOT, MACHINE = "b" * 32, "1" * 32
NOW = 1_700_000_000_000_000
"""us."""
numbers = itertools.count(1)


def trusted(at: int, pid: int, uid: int, unit: str, boot: str, machine: str, hostname: str) -> dict[str, str]:
    return {
        "__REALTIME_TIMESTAMP": str(at),
        "__CURSOR": f"s=5;i={next(numbers):x};b={boot};m={next(numbers):x};t={at:x};x={next(numbers):x}",
        "_BOOT_ID": boot,
        "_MACHINE_ID": machine,
        "_HOSTNAME": hostname,
        "_PID": str(pid),
        "_UID": str(uid),
        "_SYSTEMD_UNIT": unit,
    }


class Job:
    """A process of a job: each entry gets the next sequence number."""

    def __init__(
        self,
        token: str = "",
        pid: int = 1000,
        uid: int = 1000,
        unit: str = "job.service",
        boot: str = BOOT,
        machine: str = MACHINE,
        hostname: str = "box",
    ) -> None:
        self.token = token or f"token{next(numbers)}"
        self.pid, self.uid, self.unit, self.boot, self.machine, self.hostname = pid, uid, unit, boot, machine, hostname
        self.sequence = self.sent = self.calls = 0

    def entry(
        self,
        calls: Sequence[tuple[str, int, int, str]] = (),
        lines: Sequence[list[Any]] = (),
        at: int = NOW,
        session: str | None = None,
        kind: str = "function",
        **fields: str,
    ) -> dict[str, str]:
        """The next entry: calls as (function, start, duration, outcome), and other lines of LIVEKEEP_RECORDS."""
        names = sorted({call[0] for call in calls})
        records: list[list[Any]] = [["f", index, name, kind] for index, name in enumerate(names)]
        for name, start, duration, outcome in calls:
            self.calls += 1
            records.append(["c", self.calls, names.index(name), start, duration, outcome, 0, session])
        return self.raw(wire.encode([*lines, *records]), len(calls), at, **fields)

    def raw(self, records: str, count: int, at: int = NOW, **fields: str) -> dict[str, str]:
        """The next entry, with LIVEKEEP_RECORDS as given."""
        self.sequence += 1
        entry = {
            **trusted(at, self.pid, self.uid, self.unit, self.boot, self.machine, self.hostname),
            "SYSLOG_IDENTIFIER": "job",
            "PRIORITY": "6",
            "MESSAGE": fields.pop("MESSAGE", f"{count} calls"),
            wire.PROCESS: self.token,
            wire.SEQUENCE: str(self.sequence),
            wire.SENT: str(self.sent),
            wire.COUNT: str(count),
            **fields,
        }
        if records:
            entry[wire.RECORDS] = records
        self.sent += count
        return entry


def event(name: str, message: str = "", unit: str = "livekeep-player.service", at: int = NOW, **fields: str) -> dict[str, str]:
    """An event of one of livekeep's units; `fields` without LIVEKEEP_."""
    return {
        **trusted(at, 77, 990, unit, BOOT, MACHINE, "box"),
        "SYSLOG_IDENTIFIER": unit.removesuffix(".service"),
        "PRIORITY": "5",
        "MESSAGE": message or name,
        wire.EVENT: name,
        **{f"LIVEKEEP_{field}": value for field, value in fields.items()},
    }


def nested(depth: int) -> str:
    """A line of JSON with more nesting than a parser accepts."""
    return json.dumps("x") if depth == 0 else "[" * depth + "]" * depth
