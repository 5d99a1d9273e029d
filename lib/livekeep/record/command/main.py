"""livekeep record: what jobs did, their durations and progress. Reads the record's database; the recorder makes the changes.

The modules of the actions are imported on use.
"""

import argparse
import importlib
import time
from collections.abc import Sequence
from pathlib import Path

from livekeep.core.errors import LivekeepError
from livekeep.record import moments, reading
from livekeep.record.store import schema
from livekeep.record.store.queries import EVER, Filter
from livekeep.system import terminal

TABLES = ("calls", "sessions", "steps", "events", "errors", "samples", "unit-samples", "summaries", "losses")
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
ACTIONS = {
    "sessions": "lists",
    "functions": "lists",
    "events": "lists",
    "show": "show",
    "compare": "compare",
    "export": "transfer",
    "import": "transfer",
    "check": "transfer",
}
"""Name: module."""
FILTERS = {
    "function": "functions of this name only",
    "kind": "function, api, database, session, step, or a kind of your jobs",
    "machine": "this machine only, by its host name or machine id",
    "session": "sessions of this name only",
    "unit": "what this unit did",
    "outcome": "succeeded, failed, cancelled, running or lost",
    "event": "events of this name only",
}
"""Each is a name, or a pattern with * and ?."""

Parser = argparse.ArgumentParser


def build_parser() -> Parser:
    parser = argparse.ArgumentParser(
        prog="livekeep record", description="What jobs did, how long it took, how far they are.", allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str) -> Parser:
        return actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)

    sessions = add("sessions", "the sessions of jobs: failed ones first, then what runs")
    filter_arguments(sessions, "7d", "machine", "session", "unit", "outcome")
    list_arguments(sessions)
    show = add("show", "a session with its steps, errors and earlier durations, or a call")
    show.add_argument("name", metavar="SESSION", help="its number or its name (the newest of that name); or the id of a call")
    json_argument(show)
    functions = add("functions", "how often functions were called, how often they failed, how long they took")
    filter_arguments(functions, "7d", "function", "kind", "machine")
    functions.add_argument("--failed", action="store_true", help="only those that failed, with their errors")
    list_arguments(functions)
    events = add("events", "what happened, the newest first")
    filter_arguments(events, "1d", "event", "machine", "session", "unit")
    events.add_argument("--priority", choices=PRIORITIES, default="debug", help="this severe or more")
    events.add_argument("--text", metavar="TEXT", default="", help="with this in its message")
    list_arguments(events)
    export = add("export", "write a table as CSV or JSON lines")
    export.add_argument("table", metavar="TABLE", choices=TABLES, help=f"one of {', '.join(TABLES)}")
    filter_arguments(export, "", *FILTERS)
    export.add_argument("--format", choices=("csv", "json"), default="csv", help="csv (default), or json: an object per line")
    export.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    export.add_argument("--output", metavar="FILE", help="the file to write (default: standard output)")
    compare = add("compare", "compare functions in a period with the equally long one before it")
    filter_arguments(compare, "7d", "function", "kind", "machine")
    compare.add_argument("--before-from", metavar="TIME", default="", help="where the period before begins")
    compare.add_argument("--before-to", metavar="TIME", default="", help="where it ends")
    list_arguments(compare)
    take = add("import", "take a file that a job wrote by LIVEKEEP_EVENTS=FILE")
    take.add_argument("file", metavar="FILE", type=Path, help="JSON lines; what the record has already is left out")
    json_argument(take)
    json_argument(add("check", "check the record's database; exit code 1 when it is damaged"))
    return parser


def filter_arguments(parser: Parser, since: str, *names: str) -> None:
    begin = f"the first moment, such as yesterday, 7d or 2026-11-28 (default: {since or 'the beginning'})"
    parser.add_argument("--from", dest="begin", metavar="TIME", default=since, help=begin)
    parser.add_argument("--to", dest="end", metavar="TIME", default="", help="the last one; a day is part of it (default: now)")
    for name in names:
        parser.add_argument(f"--{name}", metavar="NAME", default="*", help=FILTERS[name])


def list_arguments(parser: Parser) -> None:
    parser.add_argument("--limit", metavar="N", type=positive, default=30, help="rows at most (default: 30)")
    json_argument(parser)


def json_argument(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print it for programs")


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, is {text}")
    return number


def wanted_of(arguments: argparse.Namespace, now: float) -> Filter:
    """The filter that the options give. Raises `LivekeepError`."""
    return Filter(
        *range_of(arguments.begin, arguments.end, now),
        **{name: getattr(arguments, name) for name in FILTERS if hasattr(arguments, name)},
    )


def range_of(begin: str, end: str, now: float) -> tuple[int, int]:
    """In microseconds; open at an end that is not given. Raises `LivekeepError`."""
    try:
        first, last = moments.time_range(begin or "1970-01-02", end, now)
    except ValueError as error:
        raise LivekeepError(str(error)) from error
    return round(first * 1_000_000) if begin else 0, round(last * 1_000_000) if end else EVER


def main(argv: Sequence[str] | None = None) -> int:
    """Run an action; return its exit code: 0 ok, 1 failure, 2 usage."""
    arguments = build_parser().parse_args(argv)
    return terminal.exit_code(lambda: run(arguments, time.time()))


def run(arguments: argparse.Namespace, now: float, file: Path = schema.FILE) -> int:
    module = importlib.import_module(f"livekeep.record.command.{ACTIONS[arguments.action]}")
    action = getattr(module, f"run_{arguments.action}")
    if arguments.action in ("import", "check"):
        return int(action(arguments, file))
    with reading.opened(file) as connection:
        return int(action(connection, arguments, now))
