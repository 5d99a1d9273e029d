"""livekeep record compare: functions in two periods."""

import argparse
import sqlite3
from dataclasses import replace

from livekeep.core.errors import LivekeepError
from livekeep.record import figures
from livekeep.record.command import output
from livekeep.record.command.lists import more
from livekeep.record.command.main import range_of, wanted_of
from livekeep.record.store import analysis, queries
from livekeep.record.store.analysis import Comparison
from livekeep.record.store.export import iso
from livekeep.system import terminal


def run_compare(connection: sqlite3.Connection, arguments: argparse.Namespace, now: float) -> int:
    wanted = wanted_of(arguments, now)
    end = min(wanted.end, round(now * 1_000_000))
    if arguments.before_from:
        begin_before, end_before = range_of(arguments.before_from, arguments.before_to, now)
        earlier = replace(wanted, begin=begin_before, end=min(end_before, round(now * 1_000_000)))
    elif arguments.before_to:
        raise LivekeepError("--before-to needs --before-from")
    else:
        earlier = replace(wanted, begin=max(2 * wanted.begin - end, 0), end=wanted.begin)
    rows = analysis.compare(queries.functions(connection, earlier), queries.functions(connection, wanted))
    some = rows[: arguments.limit]
    if arguments.json:
        document = {
            "before": {"from": iso(earlier.begin), "to": iso(earlier.end)},
            "after": {"from": iso(wanted.begin), "to": iso(end)},
            "functions": output.document(some),
        }
        terminal.say_block(terminal.json_text(document))
        return 0
    terminal.say(f"{span(wanted.begin, end)}, beside {span(earlier.begin, earlier.end)}")
    if not rows:
        terminal.say("No call in either")
        return 0
    terminal.say()
    heads = ("FUNCTION", "CALLS", "", "FAILED", "P50", "", "P95", "")
    terminal.say_block(output.table(heads, [cells(row) for row in some], range(1, 8)))
    more("more" if len(rows) > arguments.limit else "")
    return 0


def span(begin: int, end: int) -> str:
    return f"{figures.moment(begin / 1_000_000)} to {figures.moment(end / 1_000_000)}"


def cells(row: Comparison) -> tuple[str, ...]:
    """The later values, each with its change from the earlier one."""
    name = row.name if row.status == "both" else f"{row.name} ({row.status})"
    if row.status == "gone":
        return name, "0", figures.change(-1.0), "", "", "", "", ""
    changes = ["" if it.ratio is None else figures.change(it.ratio - 1) for it in (row.count, row.p50, row.p95)]
    failed = figures.percent(row.failed_share.after) if row.failed_share.after or row.failed_share.before else ""
    p50, p95 = output.duration(row.p50.after), output.duration(row.p95.after)
    return name, figures.count(row.count.after), changes[0], failed, p50, changes[1], p95, changes[2]
