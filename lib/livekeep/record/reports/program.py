"""livekeep-report: makes reports from the record.

Units: livekeep-report@daily and livekeep-report@weekly, each started by its timer, report on every ended day and week without a
report: files in /var/lib/livekeep/reports, and a message that livekeep-alerter delivers. `livekeep report` makes a report on
request. Reads: the record, [reports] of the configuration.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from livekeep.core import config, log
from livekeep.core import files as plain_files
from livekeep.core.errors import LivekeepError, exit_with_sentence
from livekeep.record import moments, reading, reports
from livekeep.record.alerts import notify
from livekeep.record.alerts.notify import Attachment, Message
from livekeep.record.reports import files, headlines, making
from livekeep.record.reports.content import METRICS, Report
from livekeep.record.reports.making import FORMATS, SUFFIXES, TYPES, Format
from livekeep.record.reports.period import KINDS, Kind, date_of, due, newest
from livekeep.record.reports.source import began, microseconds
from livekeep.record.store.queries import Filter
from livekeep.system import terminal

logger = logging.getLogger("livekeep.report")

LONGEST_SUBJECT = 150
DAY_SECONDS = 86400


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="livekeep report",
        description="A report on a period: what ran, how well, and what needs attention.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--from",
        dest="begin",
        metavar="TIME",
        default="7d",
        help="the first day or moment, such as yesterday, 7d or 2026-11-28 (default: 7d)",
    )
    parser.add_argument("--to", dest="end", metavar="TIME", default="", help="the last one; a day is part of it (default: now)")
    parser.add_argument(
        "--function", metavar="PATTERN", default="*", help="these functions only; * and ? stand for other letters"
    )
    parser.add_argument("--kind", metavar="KIND", default="*", help="function, api, database, step, or a kind of your jobs")
    parser.add_argument("--machine", metavar="NAME", default="*", help="this machine only")
    parser.add_argument("--metric", metavar="METRIC", choices=METRICS, default="", help=f"one figure: {', '.join(METRICS)}")
    parser.add_argument("--format", metavar="FORMAT", choices=FORMATS, help=f"{', '.join(FORMATS)} (default: by FILE, else text)")
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="print it for programs")
    parser.add_argument("--output", metavar="FILE", help="the file to write (default: standard output)")
    parser.add_argument("--scheduled", choices=KINDS, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    if arguments.scheduled:
        return exit_with_sentence(lambda: run_scheduled(arguments.scheduled, time.time()))
    return terminal.exit_code(lambda: run_once(arguments, time.time()))


# On request


def run_once(arguments: argparse.Namespace, now: float) -> int:
    by_suffix: list[Format] = [name for name in FORMATS if arguments.output and arguments.output.endswith(SUFFIXES[name])]
    format_: Format = arguments.format or (by_suffix[0] if by_suffix else "text")
    if format_ == "pdf" and not arguments.output and sys.stdout.isatty():
        raise LivekeepError("a PDF is not for a terminal: add --output FILE.pdf")
    try:
        begin, end = moments.time_range(arguments.begin, arguments.end, now)
        names = {name: getattr(arguments, name) for name in ("function", "kind", "machine")}
        with reading.opened() as connection:
            made = reports.make(Filter(microseconds(begin), microseconds(end), **names), format_, arguments.metric, connection)
    except ValueError as error:
        raise LivekeepError(str(error)) from error
    if arguments.output:
        try:
            plain_files.replace(Path(arguments.output), made, mode=None)
        except OSError as error:
            raise LivekeepError(f"{arguments.output}: cannot be written ({error.strerror})") from error
    else:
        sys.stdout.buffer.write(made)
    return 0


# For the timers


def run_scheduled(kind: Kind, now: float) -> int:
    settings = config.load()
    log.set_up(settings.log.level)
    if not (settings.reports.daily if kind == "daily" else settings.reports.weekly):
        # After reports are enabled, they start with the current time.
        files.remember(kind, newest(kind, now))
        logger.info("The %s report is switched off: [reports] %s = false", kind, kind)
        return 0
    with reading.opened() as connection:
        periods = due(kind, now, files.remembered(kind), began(connection))
        if not periods:
            logger.info("No %s report is due", kind)
        for period in periods:
            report = making.compose(connection, period)
            # Nothing happened while the box was off; even so, the newest period gets a message.
            if not report.is_empty() or period is periods[-1]:
                publish(report, kind, settings.reports.notify)
            files.remember(kind, date_of(period.begin))
    files.remove_old(now - settings.record.summary_days * DAY_SECONDS)
    return 0


def publish(report: Report, kind: Kind, channels: tuple[str, ...]) -> None:
    """Write a report's files, and pass its message to the alerter."""
    text, html = making.rendered(report, "text"), making.rendered(report, "html")
    made: dict[Format, bytes] = {"text": text, "html": html} if kind == "daily" else {"pdf": making.rendered(report, "pdf")}
    for format_, content in made.items():
        files.write(f"{report.period.stem}{SUFFIXES[format_]}", content)
    attachments = tuple(
        Attachment(f"{report.period.stem}.pdf", TYPES[format_], content) for format_, content in made.items() if format_ == "pdf"
    )
    notify.submit(Message(subject(report), text.decode(), html.decode(), "info", channels, attachments))
    logger.info("Reported on %s: %s", report.period.label, headlines.headlines(report)[0])


def subject(report: Report) -> str:
    text = f"{report.box_name}: {headlines.headlines(report)[0]} ({report.period.label})"
    return terminal.shortened("".join(letter if letter.isprintable() else " " for letter in text), LONGEST_SUBJECT)
