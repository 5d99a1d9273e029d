"""livekeep record sessions, functions, events: lists, for people or programs."""

import argparse
import sqlite3
import textwrap
from collections.abc import Callable
from dataclasses import replace

from livekeep.core.text import shown
from livekeep.record import figures
from livekeep.record.command import output
from livekeep.record.command.main import PRIORITIES, wanted_of
from livekeep.record.store import analysis, queries
from livekeep.record.store.analysis import Regression
from livekeep.record.store.queries import Error, Event, Filter, FunctionFigures, Page, Session
from livekeep.system import terminal

MOST_JUDGED = 20
"""Functions checked for a regression: those with the largest total time."""
SECOND = 1_000_000
HISTORY_DAYS = 36


def run_sessions(connection: sqlite3.Connection, arguments: argparse.Namespace, now: float) -> int:
    page = queries.sessions(connection, wanted_of(arguments, now), arguments.limit)
    if arguments.json:
        terminal.say_block(terminal.json_text(output.document(page.rows)))
        return 0
    heads = ("NO.", "SESSION", "OUTCOME", "BEGAN", "TOOK", "DONE")
    rows = [
        (str(row.id), row.name, row.outcome, output.moment(row.began_at, now), took(row, now), done(row)) for row in page.rows
    ]
    if not rows:
        terminal.say("No session in this time")
        return 0
    head, *lines = output.table(heads, rows, (0, 4), [row.outcome for row in page.rows]).split("\n")
    terminal.say_block(head)
    for line, row in zip(lines, page.rows, strict=True):
        terminal.say_block(line)
        remark = ", ".join(part for part in (f"{left(row)} left" if left(row) else "", why(row)) if part)
        if remark:
            terminal.say(f"  {terminal.shortened(shown(remark), output.columns() - 2)}")
    more(page.after)
    return 0


def took(row: Session, now: float) -> str:
    """How long a session took, or has taken so far."""
    return output.duration(round(now * SECOND) - row.began_at if row.outcome == "running" else row.duration)


def done(row: Session) -> str:
    """ "30 of 100", "42 %", "12"."""
    if row.total:
        return f"{figures.count(row.done)} of {figures.count(row.total)}"
    if row.percent is not None and row.outcome == "running":
        return f"{row.percent:.0f} %"
    return figures.count(row.done) if row.done else ""


def left(row: Session) -> str:
    """The estimated time left."""
    return figures.duration(row.left_seconds) if row.outcome == "running" and row.left_seconds is not None else ""


def why(row: Session) -> str:
    if row.error:
        return f"{row.error.type}: {row.error.message}"
    return "its process ended unexpectedly" if row.outcome == "lost" else row.message


def run_functions(connection: sqlite3.Connection, arguments: argparse.Namespace, now: float) -> int:
    wanted = wanted_of(arguments, now)
    rows = queries.functions(connection, wanted)
    if arguments.failed:
        rows = tuple(sorted((row for row in rows if row.figures.failures), key=lambda row: -row.figures.failures))
    shown_rows = rows[: arguments.limit]
    slower = regressions(connection, shown_rows[:MOST_JUDGED], wanted, now)
    errors = queries.error_groups(connection, wanted, arguments.limit) if arguments.failed else ()
    if arguments.json:
        documents = [
            {**output.document(row), "regression": output.document(slower.get((row.name, row.kind)))} for row in shown_rows
        ]
        terminal.say_block(
            terminal.json_text({"functions": documents, "errors": output.document(errors)} if arguments.failed else documents)
        )
        return 0
    if not rows:
        terminal.say("No failure in this time" if arguments.failed else "No call in this time")
        return 0
    cells = []
    for row in shown_rows:
        it = row.figures
        failures = figures.count(it.failures) if it.failures else ""
        cells.append((row.name, row.kind, figures.count(it.count), failures, *map(output.duration, (it.p50, it.p95, it.max))))
    heads = ("FUNCTION", "KIND", "CALLS", "FAILED", "P50", "P95", "LONGEST")
    terminal.say_block(output.table(heads, cells, (2, 3, 4, 5, 6)))
    for (name, _kind), change in slower.items():
        terminal.say(f"slower: {name}: {described(change, now)}")
    if errors:
        terminal.say()
        of_errors = [(figures.count(it.count), output.moment(it.last_at, now), it.name, sentence(it.error)) for it in errors]
        terminal.say_block(output.table(("TIMES", "LAST", "FUNCTION", "ERROR"), of_errors, (0,)))
    more("more" if len(rows) > arguments.limit else "")
    return 0


def sentence(error: Error | None) -> str:
    return f"{error.type}: {error.message}" if error else "not known"


def regressions(
    connection: sqlite3.Connection, rows: tuple[FunctionFigures, ...], wanted: Filter, now: float
) -> dict[tuple[str, str], Regression]:
    """Functions that are slower at the end of the range than before, by name and kind."""
    end = min(wanted.end, round(now * SECOND))
    slower = {}
    for row in rows:
        history = replace(wanted, begin=end - HISTORY_DAYS * 86400 * SECOND, end=wanted.end, function=row.name, kind=row.kind)
        regression = analysis.regression(queries.function_series(connection, history), end)
        if regression:
            slower[row.name, row.kind] = regression
    return slower


def described(change: Regression, now: float) -> str:
    """ "12 ms → 17 ms (+41 %) since Friday 14:00"."""
    share = figures.change(change.ratio - 1)
    return f"{output.duration(change.before)} → {output.duration(change.now)} ({share}) since {output.moment(change.since, now)}"


def run_events(connection: sqlite3.Connection, arguments: argparse.Namespace, now: float) -> int:
    wanted = replace(wanted_of(arguments, now), priority=PRIORITIES.index(arguments.priority), text=arguments.text)
    rows = whole(lambda limit, after: queries.events(connection, wanted, limit, after), arguments.limit)
    if arguments.json:
        terminal.say_block(terminal.json_text([{**output.document(row), "fields": dict(row.fields)} for row in rows]))
        return 0
    if not rows:
        terminal.say("No event in this time")
        return 0
    hosts = {row.hostname for row in rows}
    for row in rows:
        where = row.unit if len(hosts) == 1 else f"{row.hostname} {row.unit}"
        head = f"{output.moment(row.at, now)}  {row.name}  {where.removesuffix('.service')}"
        colour: terminal.Colour = "red" if row.priority <= 3 else "yellow" if row.priority == 4 else "bold"
        terminal.say_block(terminal.paint(shown(head), colour))
        terminal.say_block(textwrap.fill(shown(row.message), output.columns(), initial_indent="  ", subsequent_indent="  "))
    more("more" if len(rows) == arguments.limit else "")
    return 0


def whole(ask: Callable[[int, str], Page[Event]], limit: int) -> list[Event]:
    """This many rows, however long the search takes."""
    rows: list[Event] = []
    after = ""
    while len(rows) < limit:
        page = ask(limit - len(rows), after)
        rows += page.rows
        after = page.after
        if not after:
            break
    return rows


def more(after: str) -> None:
    if after:
        terminal.say("There are more: see --limit, --from and the other filters")
