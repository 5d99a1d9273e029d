"""Records of the queue as journal entries: events for people have their own, calls travel together (record/wire.py)."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from json.encoder import encode_basestring as quoted  # Not ASCII only: names keep their letters
from typing import Any

from livekeep.core import events
from livekeep.core.events import Event
from livekeep.core.text import shown
from livekeep.record import wire
from livekeep.record.instrument.arguments import Captured, shortened
from livekeep.record.instrument.failure import clean
from livekeep.record.instrument.recording import CallRecord, EntryRecord, Site

MOST_CALLS = 1000
MOST_TEXT = 96 * 1024
"""Characters of an entry's calls, so that it fits into one datagram."""
ENTRIES_PER_SECOND = 10
ENTRIES_AT_ONCE = 50
"""Failed and slow calls and steps that have a separate entry; the others are only in the calls' entries."""


@dataclass
class Entry:
    event: Event
    message: str
    fields: dict[str, str]
    lines: list[str] = field(default_factory=list)
    calls: int = 0


class Limit:
    """A rate limit with a small burst."""

    def __init__(self, per_second: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.at_once, self.clock = per_second, at_once, clock
        self.left, self.at = at_once, clock()

    def allows(self) -> bool:
        now = self.clock()
        self.left = min(self.at_once, self.left + (now - self.at) * self.per_second)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Batch:
    """The calls of one entry."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.indices: dict[Site, int] = {}
        self.counts: list[int] = []
        self.calls = 0
        self.size = 0
        self.progress = "Progress"

    def add(self, record: tuple[Any, ...], offset: int) -> None:
        site = record[0]
        index = self.indices.get(site)
        if index is None:
            index = self.indices[site] = len(self.counts)
            self.counts.append(0)
            self.lines.append(f'["f",{index},{quoted(site.name)},{quoted(site.kind)}]')
        try:
            line = call_line(record, index, offset)
        except Exception:  # one call that cannot be described does not affect others
            plain = record._replace(arguments=None, failure=None) if isinstance(record, CallRecord) else (*record[:6], None)
            line = call_line(plain, index, offset)
        self.lines.append(line)
        self.counts[index] += 1
        self.calls += 1
        self.size += len(line)

    def report(self, progress: Iterable[list[Any]]) -> None:
        progress = list(progress)
        self.lines += encoded(progress)
        sessions = [line[2] for line in progress if line[0] == "s"]
        shares = [(state["name"], state["percent"]) for state in sessions if state["percent"] is not None]
        self.progress = ", ".join(f"{name}: {percent:.0f} %" for name, percent in shares) or self.progress

    def is_full(self) -> bool:
        return self.calls >= MOST_CALLS or self.size >= MOST_TEXT

    def entry(self) -> Entry:
        most = sorted(self.indices.items(), key=lambda item: -self.counts[item[1]])[:3]
        names = ", ".join(f"{self.counts[index]} × {site.name}" for site, index in most)
        others = f" and {len(self.indices) - 3} more" if len(self.indices) > 3 else ""
        message = f"{self.calls} call{'s' if self.calls > 1 else ''}: {names}{others}" if self.calls else self.progress
        return Entry(events.CALLS_RECORDED, message, {}, self.lines, self.calls)


def call_line(record: tuple[Any, ...], index: int, offset: int) -> str:
    """`offset` is the nanoseconds from the monotonic clock to Unix time."""
    site, number, start, duration, place, thread, arguments = record[:7]
    parent, session = place
    text = site.text(arguments)
    head = f'["c",{number},{index},{(start + offset) // 1000},{duration // 1000},'
    middle = f",{parent},{quoted(session) if session else 'null'},{quoted(clean(thread or ''))}"
    if len(record) == 7:
        return f'{head}"succeeded"{middle},{quoted(clean(text))}]' if text else f'{head}"succeeded"{middle}]'
    _, _, _, _, _, _, _, outcome, noted, usage, _ = record
    error = list(noted.texts()) if noted is not None else None
    rest = [clean(text) if text else None, error, *(usage or ())]
    while rest and rest[-1] is None:
        rest.pop()
    tail = f",{wire.encode([rest])[1:-1]}" if rest else ""
    return f'{head}"{outcome}"{middle}{tail}]'


class Encoder:
    """Encodes queued records as entries."""

    def __init__(self) -> None:
        self.limits: dict[Event, Limit] = {}

    def entries(self, records: Iterable[Any], progress: Iterable[list[Any]] = ()) -> Iterator[Entry]:
        """`progress` are lines newer than `records`."""
        offset = time.time_ns() - time.perf_counter_ns()
        batch, after = Batch(), list[Entry]()
        for record in records:
            if isinstance(record, EntryRecord):
                if record.comes_in_order and (batch.lines or after):
                    yield from self.closed(batch, after)
                    batch, after = Batch(), []
                if record.comes_in_order or self.allows(record.event):
                    own = own_entry(record)
                    if record.comes_in_order:
                        yield own
                    else:
                        after.append(own)
                else:
                    batch.lines += encoded(record.lines)
                continue
            batch.add(record, offset)
            after += self.own_entries(record)
            if batch.is_full():
                yield from self.closed(batch, after)
                batch, after = Batch(), []
        batch.report(progress)
        yield from self.closed(batch, after)

    def allows(self, event: Event) -> bool:
        return self.limits.setdefault(event, Limit(ENTRIES_PER_SECOND, ENTRIES_AT_ONCE)).allows()

    def closed(self, batch: Batch, after: list[Entry]) -> Iterator[Entry]:
        if batch.lines:
            yield batch.entry()
        yield from after

    def own_entries(self, record: tuple[Any, ...]) -> Iterator[Entry]:
        """Entries of a failed or slow call."""
        site, duration = record[0], record[3]
        is_failure = isinstance(record, CallRecord) and record.has_entry
        is_slow = site.slow_ns is not None and duration >= site.slow_ns
        if is_failure and self.allows(events.CALL_FAILED):
            yield failed_entry(record)
        if is_slow and self.allows(events.CALL_SLOW):
            yield slow_entry(record)


def encoded(lines: Iterable[list[Any]]) -> list[str]:
    return [wire.encode([line]) for line in lines]


def own_entry(record: EntryRecord) -> Entry:
    fields = {name: one_line(value) for name, value in record.fields.items()}
    return Entry(record.event, record.message, fields, encoded(record.lines))


def one_line(value: object) -> str:
    return shown(clean("" if value is None else str(value)))


def failed_entry(record: Any) -> Entry:
    site, seconds, noted = record.site, record.duration / 1e9, record.failure
    call = call_text(site, record.arguments)
    fields = {
        "FUNCTION": site.name,
        "KIND": site.kind,
        "ERROR_TYPE": noted.kind,
        "ERROR": one_line(noted.message),
        "SECONDS": f"{seconds:.6f}",
        "SESSION": record.place[1] or "",
    }
    because = f"{noted.kind}: {noted.message}" if noted.message else noted.kind
    return Entry(events.CALL_FAILED, f"{call} failed after {spoken(seconds)}: {because}", fields)


def slow_entry(record: tuple[Any, ...]) -> Entry:
    site, seconds = record[0], record[3] / 1e9
    threshold = site.slow_ns / 1e9
    fields = {
        "FUNCTION": site.name,
        "KIND": site.kind,
        "SECONDS": f"{seconds:.6f}",
        "THRESHOLD": f"{threshold:g}",
        "SESSION": record[4][1] or "",
    }
    call = call_text(site, record[6])
    return Entry(events.CALL_SLOW, f"{call} took {spoken(seconds)}, more than {spoken(threshold)}", fields)


def call_text(site: Site, arguments: Captured) -> str:
    """For people."""
    text = site.text(arguments)
    return f"{site.name}({shortened(text or '', 80)})" if text or site.parameters is not None else site.name


def spoken(seconds: float) -> str:
    """A duration for people: "3 ms", "2.5 s", "4 min 10 s", "2 h 5 min"."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
