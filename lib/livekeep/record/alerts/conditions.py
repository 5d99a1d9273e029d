"""Evaluates rules over the record: the subjects for which a rule's condition holds now.

One function per kind: (record, rule, now in Unix seconds) → findings. Rules of kind "event" are in `event_judge`, those of kind
"verdict" in `verdict`.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

from livekeep.core.config.record import Alert
from livekeep.record.alerts.record import SECOND, traceback_of
from livekeep.record.alerts.rules import Finding, fits
from livekeep.record.figures import duration, plural, size
from livekeep.record.store import analysis, queries
from livekeep.record.store.queries.figures import bucket_start
from livekeep.record.store.queries.filter import (
    IDS_PER_MICROSECOND,
    Conditions,
    Filter,
    function_ids,
    is_any,
    machine_ids,
    machines,
    matching,
    moment,
    session_names,
)

LEAST_CALLS = 10
"""The fewest calls in a window to compare it with a threshold from earlier days."""
EARLIER_DAYS = 28
PLAUSIBLE = 1_704_067_200.0
"""The beginning of 2024: a clock before that is not set yet."""
MOST_SUBJECTS = 200
NOT_CALLS = ("session", "step")
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
STALE_SAMPLES = 5
"""Samples more than this many intervals apart are a gap."""
PERCENT_FIGURES = {"memory_percent": ("memory_bytes", "memory_total_bytes"), "disk_percent": ("disk_bytes", "disk_total_bytes")}
UNIT_FIGURES = {"unit_memory_bytes": "memory_bytes", "unit_cpu_percent": "cpu_percent"}
WORDS = {
    "cpu_percent": ("CPU use", "%"),
    "memory_percent": ("memory in use", "%"),
    "temperature_celsius": ("temperature", "°C"),
    "disk_percent": ("disk in use", "%"),
    "disk_free_bytes": ("free on the disk", "bytes"),
    "unit_memory_bytes": ("memory", "bytes"),
    "unit_cpu_percent": ("CPU use", "%"),
}


def calls_in_window(record: sqlite3.Connection, rule: Alert, now: float) -> Conditions:
    """The calls that a rule of kind "failures" or "slow" covers."""
    conditions = Conditions()
    conditions.add("id >= ?", int((now - rule.window_seconds) * SECOND) * IDS_PER_MICROSECOND)
    conditions.add_one_of("function", function_ids(record, Filter(function=rule.function, kind=rule.call_kind)))
    conditions.add_one_of("machine", machine_ids(record, rule.machine))
    conditions.add_sessions("session", record, rule.session)
    return conditions


def failures(record: sqlite3.Connection, rule: Alert, now: float) -> list[Finding]:
    """Functions with at least the rule's number and share of failed calls within the window."""
    conditions = calls_in_window(record, rule, now)
    rows = record.execute(
        "SELECT function, (SELECT name FROM functions WHERE id = function) AS name, "  # noqa: S608
        "count(*) AS failed, min(id) AS first, max(id) AS last FROM calls "
        f"WHERE outcome = 1 AND {conditions.text()} GROUP BY function HAVING failed >= ? "
        f"ORDER BY failed DESC LIMIT {MOST_SUBJECTS}",
        [*conditions.parameters, max(rule.number, 1)],
    ).fetchall()
    findings = []
    for row in rows:
        sql = f"SELECT count(*) FROM calls WHERE function = ? AND {conditions.text()}"  # noqa: S608
        count = record.execute(sql, [row["function"], *conditions.parameters]).fetchone()[0]
        if row["failed"] / count < rule.share:
            continue
        name = row["name"]
        sentence = f"{row['failed']} of {count} calls of {name} failed within {duration(rule.window_seconds)}"
        error = record.execute("SELECT type, message FROM errors e JOIN calls c ON c.error = e.id WHERE c.id = ?", [row["last"]])
        newest = error.fetchone()
        why = f"The newest: {newest['type']}: {newest['message']}" if newest else ""
        findings.append(Finding(name, sentence, moment(row["first"]) / SECOND, why, traceback_of(record, row["last"])))
    return findings


def slow(record: sqlite3.Connection, rule: Alert, now: float) -> list[Finding]:
    """Functions whose mean or percentile within the window exceeds the threshold, which is given or derived from earlier days."""
    findings = []
    if rule.call_kind in NOT_CALLS:
        begin = int((now - rule.window_seconds) * SECOND)
        wanted = Filter(begin, function=rule.function, kind=rule.call_kind, machine=rule.machine)
        for it in queries.functions(record, wanted):
            value = float(getattr(it.figures, rule.statistic))
            findings += too_slow(record, rule, it.name, it.figures.count, value, begin, now)
        return findings
    conditions = calls_in_window(record, rule, now)
    rows = record.execute(
        "SELECT function, (SELECT name FROM functions WHERE id = function) AS name, "  # noqa: S608
        "count(*) AS count, avg(duration) AS value, min(id) AS first FROM calls "
        f"WHERE {conditions.text()} GROUP BY function LIMIT {MOST_SUBJECTS}",
        conditions.parameters,
    ).fetchall()
    # Sorted by SQLite, so that memory does not hold all durations.
    sql = f"SELECT duration FROM calls WHERE function = ? AND {conditions.text()} ORDER BY duration LIMIT 1 OFFSET ?"  # noqa: S608
    for row in rows:
        value = row["value"]
        if rule.statistic != "mean":
            offset = min(row["count"] - 1, int(row["count"] * SHARES[rule.statistic]))
            value = float(record.execute(sql, [row["function"], *conditions.parameters, offset]).fetchone()[0])
        findings += too_slow(record, rule, row["name"], row["count"], value, moment(row["first"]), now)
    return findings


def too_slow(
    record: sqlite3.Connection, rule: Alert, name: str, count: int, value: float, since: int, now: float
) -> list[Finding]:
    """The finding, if any, for a function's value (microseconds) in the window; `since` is in microseconds, too."""
    if isinstance(rule.threshold, str):
        if count < LEAST_CALLS:
            return []
        days = earlier_days(record, rule, name, now, EARLIER_DAYS)
        threshold = analysis.auto_threshold([float(getattr(day.figures, rule.statistic)) for day in days])
        origin = "its usual limit by the last four weeks"
    else:
        threshold, origin = rule.threshold * SECOND, "the rule's threshold"
    if threshold is None or value <= threshold:
        return []
    sentence = f"{name} is slow: {rule.statistic} {duration(value / SECOND)} within {duration(rule.window_seconds)}"
    return [Finding(name, sentence, since / SECOND, f"{plural(count, 'call')}; {origin} is {duration(threshold / SECOND)}")]


def earlier_days(record: sqlite3.Connection, rule: Alert, function: str, now: float, count: int) -> tuple[queries.Bucket, ...]:
    """Whole days only, which are summarised: today may have millions of single calls."""
    today = bucket_start(int(now * SECOND), "day")
    wanted = Filter(today - count * 86400 * SECOND, today, function, rule.call_kind, rule.machine)
    return queries.function_series(record, wanted, "day")


def regression(record: sqlite3.Connection, rule: Alert, now: float) -> list[Finding]:
    """Functions that became slower."""
    findings = []
    rows = record.execute("SELECT name, kind FROM functions ORDER BY name, kind")
    covered = [(name, kind) for name, kind in rows if fits(rule.function, name) and fits(rule.call_kind, kind)]
    for name, kind in covered[:MOST_SUBJECTS]:
        days = earlier_days(record, replace(rule, call_kind=kind), name, now, analysis.RECENT_DAYS + analysis.EARLIER_DAYS)
        slower = analysis.regression(days, days[-1].ends_at) if days else None
        if slower:
            sentence = f"{name} takes {(slower.ratio - 1) * 100:.0f} % longer than it did"
            recent = f"The median of the last {analysis.RECENT_DAYS} days is {duration(slower.now / SECOND)}"
            why = f"{recent}; of the {analysis.EARLIER_DAYS} before it was {duration(slower.before / SECOND)}"
            findings.append(Finding(name, sentence, slower.since / SECOND, why))
    return findings


def absent(record: sqlite3.Connection, rule: Alert, now: float, first_at: float) -> tuple[list[Finding], float]:
    """The job that did not succeed in time, since its last success or since the rule exists (`first_at`).

    Also the seconds until it is late, if nothing succeeds until then.
    """
    # A rule names a session, or a function and no session.
    is_of_calls = is_any(rule.session) and not is_any(rule.function)
    last = last_call(record, rule) if is_of_calls else last_session(record, rule)
    since = max(last or 0.0, first_at)
    due = max(since + rule.period_seconds - now, 0.0)
    if now < PLAUSIBLE or due > 0:
        return [], due
    subject = rule.function if is_of_calls else rule.session
    name = "no job" if is_any(subject) else f"{subject}: nothing"
    sentence = f"{name} has succeeded for {duration(now - since)}"
    last_text = "It has never succeeded since there is this rule" if last is None else "Its last success is that old"
    why = f"{last_text}; it should succeed every {duration(rule.period_seconds)}"
    return [Finding("" if is_any(subject) else subject, sentence, since, why)], 0.0


def last_session(record: sqlite3.Connection, rule: Alert) -> float | None:
    """When a matching session last succeeded."""
    conditions = Conditions()
    conditions.add("outcome = 'succeeded'")
    conditions.add_one_of("name", matching(rule.session, session_names(record)))
    conditions.add_one_of("machine", machine_ids(record, rule.machine))
    sql = f"SELECT max(ended_at) FROM sessions WHERE {conditions.text()}"  # noqa: S608
    newest = record.execute(sql, conditions.parameters).fetchone()[0]
    return newest / SECOND if newest else None


def last_call(record: sqlite3.Connection, rule: Alert) -> float | None:
    """When a matching call last succeeded."""
    ends = []
    for function in function_ids(record, Filter(function=rule.function, kind=rule.call_kind)) or []:
        conditions = Conditions()
        conditions.add("function = ? AND outcome = 0", function)
        conditions.add_one_of("machine", machine_ids(record, rule.machine))
        sql = f"SELECT id, duration FROM calls WHERE {conditions.text()} ORDER BY id DESC LIMIT 1"  # noqa: S608
        row = record.execute(sql, conditions.parameters).fetchone()
        if row:
            ends.append((moment(row["id"]) + row["duration"]) / SECOND)
    return max(ends, default=None)


# Values of machines and units


def figure(record: sqlite3.Connection, rule: Alert, now: float, sample_seconds: float) -> list[Finding]:
    """Machines or units whose value has been beyond the rule's limit for `for_seconds`, sample by sample."""
    begin = int((now - rule.for_seconds - 2 * STALE_SAMPLES * sample_seconds) * SECOND)
    meant = [it for it in machines(record) if fits(rule.machine, it.hostname) or fits(rule.machine, it.machine_id)]
    what, measure = WORDS[rule.figure]
    findings = []
    for machine in meant:
        for unit, values in series_of(record, rule, machine.id, begin).items():
            since = beyond_since(values, rule, now, sample_seconds)
            if since is None:
                continue
            subject = unit if len(meant) == 1 else f"{unit} on {machine.hostname}" if unit else machine.hostname
            value = values[-1][1]
            is_above = isinstance(rule.above, float) and value > rule.above
            limit = amount(float(rule.above if is_above else rule.below), measure)
            whose = f"{subject}: " if subject else ""
            sentence = f"{whose}{what} is {amount(value, measure)}, {'above' if is_above else 'below'} {limit}"
            findings.append(Finding(subject, sentence, since))
    return findings


def amount(value: float, unit: str) -> str:
    return size(value) if unit == "bytes" else f"{value:.1f} {unit}"


Values = Sequence[tuple[float, float]]
"""Unix seconds and the value, in chronological order."""


def value_of(row: sqlite3.Row, name: str) -> float | None:
    if name in PERCENT_FIGURES:
        part, whole = (row[column] for column in PERCENT_FIGURES[name])
        return 100.0 * part / whole if part is not None and whole else None
    if name == "disk_free_bytes":
        used, total = row["disk_bytes"], row["disk_total_bytes"]
        return float(total - used) if used is not None and total is not None else None
    return None if row[name] is None else float(row[name])


def series_of(record: sqlite3.Connection, rule: Alert, machine: int, begin: int) -> dict[str, Values]:
    """The values of each unit that a rule covers, or of the machine, under the name ""."""
    table = "unit_samples" if rule.figure in UNIT_FIGURES else "samples"
    rows = record.execute(f"SELECT * FROM {table} WHERE machine = ? AND at >= ? ORDER BY at", [machine, begin])  # noqa: S608
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        unit = row["unit"] if rule.figure in UNIT_FIGURES else ""
        value = value_of(row, UNIT_FIGURES.get(rule.figure, rule.figure))
        if value is not None and (not unit or fits(rule.unit, unit) or fits(rule.unit, unit.removesuffix(".service"))):
            series.setdefault(unit, []).append((row["at"] / SECOND, value))
    return dict(series)


def beyond_since(values: Values, rule: Alert, now: float, sample_seconds: float) -> float | None:
    """Since when all samples up to the newest are beyond the rule's limit; None when not long enough, or unknown."""
    longest_gap = STALE_SAMPLES * sample_seconds
    since, after = None, now
    for at, value in reversed(values):
        is_above = isinstance(rule.above, float) and value > rule.above
        is_below = isinstance(rule.below, float) and value < rule.below
        if after - at > longest_gap or not (is_above or is_below):
            break
        since = after = at
    return since if since is not None and now - since >= rule.for_seconds else None


Condition = Callable[[sqlite3.Connection, Alert, float], list[Finding]]
OF_CALLS: dict[str, Condition] = {"failures": failures, "slow": slow, "regression": regression}
