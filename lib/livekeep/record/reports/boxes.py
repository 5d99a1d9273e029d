"""Reads a report's data on machines, screens, channels, alerts, clips and losses from the record."""

import json
from collections.abc import Iterable
from dataclasses import replace

from livekeep.core import events
from livekeep.core.text import shown
from livekeep.record.reports import airtime
from livekeep.record.reports.airtime import Change, Span, Subject
from livekeep.record.reports.content import Air, AlertCount, Box, Gauge, HotClip, Loss, UnitMemory
from livekeep.record.reports.source import Source, microseconds, seconds
from livekeep.record.store import queries
from livekeep.record.store.queries import Machine
from livekeep.record.store.queries.filter import id_range, moment

LEAST_GAP_SECONDS = 300.0
"""A machine was off after this long without a sample, or three times its usual interval."""
MOST_UNITS = 12
MOST_POINTS = 250
MOST_EVENTS = 50_000

BOX = """
SELECT count(*) AS samples, avg(cpu_percent) AS cpu_mean_percent, max(cpu_percent) AS cpu_peak_percent,
    max(1.0 * memory_bytes / memory_total_bytes) AS memory_peak_share,
    avg(temperature_celsius) AS temperature_mean, max(temperature_celsius) AS temperature_peak
FROM samples WHERE machine = ? AND at >= ? AND at < ?
"""
DISK = """
SELECT disk_bytes, disk_total_bytes FROM samples
WHERE machine = ? AND at >= ? AND at < ? AND disk_bytes IS NOT NULL ORDER BY at {} LIMIT 1
"""
UNITS = """
SELECT m.hostname, u.unit, avg(u.memory_bytes) AS mean, max(u.memory_bytes) AS peak, avg(u.cpu_percent) AS cpu
FROM unit_samples u JOIN machines m ON m.id = u.machine
WHERE u.machine = ? AND u.at >= ? AND u.at < ? GROUP BY u.unit HAVING peak IS NOT NULL ORDER BY mean DESC LIMIT ?
"""
GAPS = """
WITH steps AS (SELECT at, at - lag(at) OVER (ORDER BY at) AS step FROM {} WHERE machine = ? AND at >= ? AND at < ?),
    usual AS (SELECT avg(step) AS step FROM (SELECT step FROM steps WHERE step > 0 ORDER BY step LIMIT
        (SELECT max(1, count(*) / 2) FROM steps)))
SELECT at - steps.step, at FROM steps, usual WHERE steps.step > max(?, 3 * usual.step) ORDER BY at
"""
CHANGES = """
SELECT id, name, fields FROM events WHERE name IN (SELECT value FROM json_each(?)) AND machine = ? AND id >= ? AND id < ?
ORDER BY id LIMIT ?
"""
EARLIER = """
SELECT max(v.id) FROM events v WHERE v.name IN (SELECT value FROM json_each(?)) AND v.machine = ? AND v.id < ?
GROUP BY json_extract(v.fields, '$.CHANNEL'), CASE WHEN v.name IN ('slate-shown', 'slate-left') THEN 1
    WHEN v.name = 'worker-ended' THEN 2 WHEN v.name = 'picture-changed' THEN 3 WHEN v.name = 'tv-switched' THEN 4 ELSE 0 END
"""


def boxes(source: Source) -> tuple[Box, ...]:
    """The machines with a sample in the period."""
    rows = []
    for machine in source.machines():
        within = (machine.id, source.within.begin, source.within.end)
        row = source.connection.execute(BOX, within).fetchone()
        if not row["samples"]:
            continue
        first, last = (source.connection.execute(DISK.format(order), within).fetchone() for order in ("ASC", "DESC"))
        rows.append(
            Box(
                machine=machine.hostname,
                **dict(row),
                on_seconds=sum(until - since for since, until in spans(source, "samples", machine)),
                disk_share=last["disk_bytes"] / last["disk_total_bytes"] if last and last["disk_total_bytes"] else None,
                disk_growth_bytes=last["disk_bytes"] - first["disk_bytes"] if last else None,
            )
        )
    return tuple(rows)


def gauges(source: Source) -> tuple[Gauge, ...]:
    """Temperature and processor, for a single machine only; many would fill pages."""
    rows = queries.samples(source.connection, source.within, MOST_POINTS)
    if len({row.hostname for row in rows}) != 1:
        return ()
    figures_of = (
        ("Temperature", "°C", [(row.at, row.temperature_celsius) for row in rows]),
        ("Processor", "%", [(row.at, row.cpu_percent) for row in rows]),
    )
    every = (
        Gauge(title, unit, tuple((seconds(at), value) for at, value in points if value is not None))
        for title, unit, points in figures_of
    )
    return tuple(gauge for gauge in every if len(gauge.points) > 1)


def spans(source: Source, table: str, machine: Machine, unit: str = "") -> tuple[Span, ...]:
    """When the machine was on, or a unit ran, according to its samples; () without samples."""
    rows = f"(SELECT at, machine FROM {table} WHERE unit = ?)" if unit else table  # noqa: S608
    values = [*([unit] if unit else []), machine.id, source.within.begin, source.within.end]
    ends = source.connection.execute(
        f"SELECT min(at), max(at) FROM {rows} WHERE machine = ? AND at >= ? AND at < ?",  # noqa: S608
        values,
    ).fetchone()
    if ends[0] is None:
        return ()
    breaks = source.connection.execute(GAPS.format(rows), [*values, microseconds(LEAST_GAP_SECONDS)])
    gaps = [(seconds(since), seconds(until)) for since, until in breaks]
    # Time that is not sampled yet does not count as off.
    first, last = seconds(ends[0]), seconds(ends[1])
    first = source.period.begin if first - source.period.begin <= LEAST_GAP_SECONDS else first
    last = source.period.end if source.period.end - last <= LEAST_GAP_SECONDS else last
    begins = [first, *(until for _since, until in gaps)]
    ends = [*(since for since, _until in gaps), last]
    return tuple(zip(begins, ends, strict=True))


def units(source: Source) -> tuple[UnitMemory, ...]:
    """Those with the most memory."""
    rows = [
        UnitMemory(row["hostname"], row["unit"], row["mean"], row["peak"], row["cpu"])
        for machine in source.machines()
        for row in source.connection.execute(UNITS, (machine.id, source.within.begin, source.within.end, MOST_UNITS))
    ]
    return tuple(sorted(rows, key=lambda row: -row.mean_bytes)[:MOST_UNITS])


def air(source: Source) -> tuple[Air, ...]:
    """Every screen and channel."""
    begin, end = id_range(source.within)
    states, names = json.dumps(airtime.STATE_EVENTS), json.dumps([*airtime.SCREEN_EVENTS, *airtime.CHANNEL_EVENTS])
    channels: list[Air] = []
    for machine in source.machines():
        # The period's events, preceded by the last ones that define the state at its beginning.
        earlier = [row[0] for row in source.connection.execute(EARLIER, (states, machine.id, begin))]
        rows = [
            *source.connection.execute(
                "SELECT id, name, fields FROM events WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
                [json.dumps(earlier)],
            ),
            *source.connection.execute(CHANGES, (names, machine.id, begin, end, MOST_EVENTS)),
        ]
        changes = [Change(seconds(moment(row["id"])), machine.hostname, row["name"], json.loads(row["fields"])) for row in rows]
        known = {
            key: own for key in {(it.subject, it.machine) for it in changes} if (own := ran(source, machine, key)) is not None
        }
        channels += airtime.airtime(changes, source.period.begin, source.period.end, known)
    return tuple(entry for entry in channels if entry.known_seconds > 0)


def ran(source: Source, machine: Machine, subject: Subject) -> tuple[Span, ...] | None:
    """When the screen's machine was on, or the channel's worker ran; None for a machine without samples."""
    on = spans(source, "samples", machine)
    if not on:
        is_sampled = source.connection.execute("SELECT EXISTS (SELECT 1 FROM samples WHERE machine = ?)", (machine.id,))
        return () if is_sampled.fetchone()[0] else None
    name = subject[0].removeprefix("channel ")
    own = spans(source, "unit_samples", machine, f"livekeep-worker@{name}.service") if subject[0] != "screen" else ()
    return own or on


def alerts(source: Source) -> tuple[AlertCount, ...]:
    """Alerts that began in the period or were still open at its end; the open ones first."""
    began: dict[tuple[str, str], queries.Event] = {}
    count: dict[tuple[str, str], int] = {}
    still_open = set()
    for event in events_of(source, (events.ALERT_BEGAN.name, events.ALERT_OVER.name), source.spanning(0, source.period.end)):
        key = (event.fields.get("RULE", ""), event.fields.get("SUBJECT", ""))
        if event.name == events.ALERT_OVER.name:
            still_open.discard(key)
            continue
        still_open.add(key)
        began[key] = event
        count[key] = count.get(key, 0) + (seconds(event.at) >= source.period.begin)
    rows = [
        AlertCount(*key, count[key], seconds(event.at), event.message, key in still_open)
        for key, event in began.items()
        if count[key] or key in still_open
    ]
    return tuple(sorted(rows, key=lambda row: (not row.is_open, -row.count, row.rule, row.subject)))


def events_of(source: Source, names: Iterable[str], wanted: queries.Filter) -> list[queries.Event]:
    """Events with these names, the oldest first; the newest MOST_EVENTS of each."""
    rows: list[queries.Event] = []
    for name in names:
        rows += queries.events(source.connection, replace(wanted, event=name), limit=MOST_EVENTS).rows
    return sorted(rows, key=lambda event: event.id)


def clips(source: Source) -> tuple[HotClip, ...]:
    """The newest first."""
    takeoffs = events_of(source, (events.CLIP_TAKES_OFF.name,), source.within)
    return tuple(
        HotClip(
            at=seconds(event.at),
            source=event.fields.get("SOURCE", ""),
            name=event.fields.get("NAME") or event.fields.get("CLIP", ""),
            reason=event.fields.get("REASON") or event.message,
        )
        for event in reversed(takeoffs)
    )


def losses(source: Source) -> tuple[Loss, ...]:
    """By reason."""
    by_reason: dict[str, list[queries.Loss]] = {}
    for row in queries.losses(source.connection, source.within, limit=MOST_EVENTS).rows:
        by_reason.setdefault(row.reason, []).append(row)
    return tuple(
        Loss(
            reason, len(rows), sum(row.entries or 0 for row in rows), sum(row.calls or 0 for row in rows), shown(rows[0].sentence)
        )
        for reason, rows in sorted(by_reason.items())
    )
