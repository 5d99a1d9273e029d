"""The tables of a report, with their texts and their values: what all of its forms are made from. Pure."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from livekeep.record import figures
from livekeep.record.reports.content import Air, Performance, Report
from livekeep.record.reports.content import change as more
from livekeep.record.reports.headlines import shortened
from livekeep.record.reports.period import date_of

Value = str | int | float | None
LONGEST_SENTENCE, LONGEST_NAME = 160, 60
WIDTH_OF_SENTENCES = 4.0
MOST_ROWS = 40
"""In a table for people; CSV has all."""


@dataclass(frozen=True)
class Cell:
    text: str
    value: Value = None
    """For CSV: seconds, bytes, shares."""
    is_bad: bool = False

    def shortened(self, longest: int) -> "Cell":
        return dataclasses.replace(self, text=shortened(self.text, longest))


@dataclass(frozen=True)
class Column:
    heading: str
    name: str
    """For CSV, with its unit."""
    width: float = 1.0
    """Relative to the others."""
    is_number: bool = True
    is_optional: bool = False
    """People don't get it when nothing stands in it, or zeros only."""
    is_shared: bool = False
    """People don't get it when all rows have the same."""

    @property
    def longest(self) -> int:
        """Letters that people get of a text."""
        return LONGEST_SENTENCE if self.width >= WIDTH_OF_SENTENCES else LONGEST_NAME


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def for_people(self) -> "Section":
        """Without the columns that say nothing here, and with as many rows as somebody reads."""
        kept = [place for place, column in enumerate(self.columns) if self.has_news(place, column)]
        more = len(self.rows) - MOST_ROWS
        notes = [f"… and {figures.count(more)} more."] if more > 0 else []
        return dataclasses.replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(
                tuple(row[place].shortened(self.columns[place].longest) for place in kept) for row in self.rows[:MOST_ROWS]
            ),
            note=" ".join([*notes, self.note]).strip(),
        )

    def has_news(self, place: int, column: Column) -> bool:
        values = {row[place].value for row in self.rows}
        return not (column.is_optional and values <= {0, None, ""}) and not (column.is_shared and len(values) < 2)


def words(text: str, is_bad: bool = False) -> Cell:
    return Cell(text, text, is_bad)


def number(value: float | None, is_bad: bool = False) -> Cell:
    return Cell(figures.count(value), value, is_bad)


def bad_count(value: int) -> Cell:
    """Of what is better none."""
    return Cell(figures.count(value), value, value > 0)


def length(value: float | None) -> Cell:
    return Cell(figures.duration(value), value)


def share(value: float | None) -> Cell:
    return Cell(figures.percent(value), value)


def size(value: float | None) -> Cell:
    return Cell(figures.size(value), value)


def change(value: float | None) -> Cell:
    """Of a length of time: longer by a seventh is worth a look."""
    return Cell(figures.change(value), value, value is not None and value > 0.15)


def moment(value: float) -> Cell:
    return Cell(figures.moment(value), figures.iso(value))


def text_column(heading: str, name: str, width: float = 2.0, is_shared: bool = False) -> Column:
    return Column(heading, name, width, is_number=False, is_shared=is_shared)


MACHINE = text_column("machine", "machine", 1.4, is_shared=True)
JOB = text_column("job", "job", 2.6)
FUNCTION = text_column("function", "function", 3.2)
KIND = text_column("kind", "kind", 1.1, is_shared=True)
CHANGE = Column("change", "change", is_optional=True)
FIGURES: dict[str, tuple[Column, Callable[[Performance], Cell]]] = {
    "count": (Column("calls", "count", 1.2), lambda entry: number(entry.count)),
    "failures": (Column("failed", "failures"), lambda entry: bad_count(entry.failures)),
    "mean": (Column("mean", "mean_seconds", 1.2), lambda entry: length(entry.mean_seconds)),
    "p50": (Column("p50", "p50_seconds", 1.2), lambda entry: length(entry.p50_seconds)),
    "p95": (Column("p95", "p95_seconds", 1.2), lambda entry: length(entry.p95_seconds)),
    "p99": (Column("p99", "p99_seconds", 1.2), lambda entry: length(entry.p99_seconds)),
    "max": (Column("longest", "longest_seconds", 1.2), lambda entry: length(entry.longest_seconds)),
}
"""Of functions, by the metric of a filter."""


def jobs(report: Report) -> Section:
    return Section(
        "jobs",
        "Jobs",
        (
            JOB,
            Column("runs", "runs"),
            Column("succeeded", "succeeded", 1.3),
            Column("failed", "failed"),
            Column("lost", "lost", 0.8, is_optional=True),
            Column("cancelled", "cancelled", 1.3, is_optional=True),
            Column("running", "running", 1.1, is_optional=True),
            Column("items", "items", is_optional=True),
            Column("mean", "mean_seconds", 1.5),
            Column("longest", "longest_seconds", 1.5),
            CHANGE,
        ),
        tuple(
            (
                words(job.name),
                number(job.runs),
                number(job.succeeded),
                bad_count(job.failed),
                bad_count(job.lost),
                number(job.cancelled),
                number(job.running),
                number(job.items),
                length(job.mean_seconds),
                length(job.longest_seconds),
                change(job.change),
            )
            for job in report.jobs
        ),
        f"Mean, longest and change are of runs that succeeded; the change is of the mean, against {report.period.compared}.",
    )


def comparison(report: Report) -> Section:
    now, before = report.totals, report.before
    figures_of = (
        ("runs of jobs", "runs"),
        ("runs that failed", "bad_runs"),
        ("items", "items"),
        ("calls", "calls"),
        ("calls that failed", "failed_calls"),
    )
    rows = [(title, getattr(now, name), getattr(before, name)) for title, name in figures_of] if before else []
    return Section(
        "comparison",
        "Compared with before",
        (
            text_column("figure", "figure", 3.0),
            Column("this time", "now"),
            Column("before", "before"),
            CHANGE,
        ),
        tuple(
            (words(title), number(value), number(round(old, 1)), Cell(figures.change(more(value, old)), more(value, old)))
            for title, value, old in rows
            if value or old
        ),
        f"Before: {'a day of ' if report.period.kind == 'daily' else ''}{report.period.compared}.",
    )


def failures(report: Report) -> Section:
    return Section(
        "failures",
        "Runs that failed",
        (
            text_column("began", "began", 2.1),
            JOB,
            MACHINE,
            text_column("outcome", "outcome", 1.0),
            Column("after", "after_seconds", 1.2),
            text_column("reason", "reason", 5.0),
            Column("run", "session", 0.7),
        ),
        tuple(
            (
                moment(failure.at),
                words(failure.job),
                words(failure.machine),
                words(failure.outcome, is_bad=True),
                length(failure.after_seconds),
                words(failure.reason or figures.UNKNOWN),
                Cell(str(failure.session), failure.session),
            )
            for failure in report.failures
        ),
        "All of one: livekeep record show RUN",
    )


def errors(report: Report) -> Section:
    return Section(
        "errors",
        "Errors of calls",
        (FUNCTION, KIND, text_column("error", "error", 5.0), Column("count", "count", 0.8), text_column("newest", "newest", 2.1)),
        tuple(
            (words(entry.function), words(entry.kind), words(entry.error), bad_count(entry.count), moment(entry.newest_at))
            for entry in report.errors
        ),
    )


def performance(report: Report) -> Section:
    rows = tuple(entry for entry in report.performance if entry.kind != "step")
    return of_functions("performance", "Performance", FUNCTION, rows, report)


def steps(report: Report) -> Section:
    rows = tuple(entry for entry in report.performance if entry.kind == "step")
    return of_functions("steps", "Steps of jobs", text_column("step", "function", 3.2), rows, report)


def of_functions(name: str, title: str, first: Column, rows: Sequence[Performance], report: Report) -> Section:
    shown = [place for place in FIGURES if report.metric in ("", place)]
    is_compared = report.metric in ("", "p50")
    return Section(
        name,
        title,
        (first, KIND, *(FIGURES[place][0] for place in shown), *([CHANGE] if is_compared else [])),
        tuple(
            (
                words(entry.function),
                words(entry.kind),
                *(FIGURES[place][1](entry) for place in shown),
                *([change(entry.change)] if is_compared else []),
            )
            for entry in rows
        ),
        f"The change is of p50, against {report.period.compared}." if is_compared else "",
    )


def slowdowns(report: Report) -> Section:
    return Section(
        "regressions",
        "Regressions",
        (
            FUNCTION,
            KIND,
            Column("from", "from_seconds"),
            Column("to", "to_seconds"),
            CHANGE,
            text_column("since", "since", 1.4),
        ),
        tuple(
            (
                words(entry.function),
                words(entry.kind),
                length(entry.from_seconds),
                length(entry.to_seconds),
                change(entry.ratio - 1),
                Cell(str(date_of(entry.since)), figures.iso(entry.since)),
            )
            for entry in report.slowdowns
        ),
        "The median of the newest 7 days is more than 15 % above that of the 28 days before.",
    )


def air(report: Report) -> Section:
    return Section(
        "air",
        "Screen and channels",
        (
            text_column("what", "subject", 1.8),
            MACHINE,
            Column("good", "good_share"),
            Column("known for", "known_seconds", 1.3),
            Column("interruptions", "interruptions", 1.4),
            Column("longest", "longest_seconds", 1.3),
            Column("stalls", "stalls", is_optional=True),
            text_column("how it spent the time", "shown", 4.0),
        ),
        tuple(
            (
                words(entry.subject),
                words(entry.machine),
                Cell(figures.percent(entry.share), entry.share, entry.share is not None and entry.share < 0.99),
                length(entry.known_seconds),
                number(entry.interruptions),
                length(entry.longest_seconds) if entry.interruptions else Cell(figures.UNKNOWN, 0.0),
                number(entry.stalls),
                words(spent(entry)),
            )
            for entry in report.air
        ),
        "Good: the screen shows the stream or the holding picture; the channel is on air with its media. "
        "Times in which the box was off are not known.",
    )


def spent(entry: Air) -> str:
    return ", ".join(f"{name} {figures.duration(seconds)}" for name, seconds in entry.shown)


def boxes(report: Report) -> Section:
    def celsius(value: float | None) -> Cell:
        return Cell(figures.UNKNOWN if value is None else f"{figures.digits(value)} °C", value, value is not None and value >= 80)

    return Section(
        "box",
        "The box" if len(report.boxes) < 2 else "The boxes",
        (
            MACHINE,
            Column("on", "on_seconds", 1.2),
            Column("CPU mean", "cpu_mean_share", 1.2),
            Column("CPU peak", "cpu_peak_share", 1.2),
            Column("memory peak", "memory_peak_share", 1.3),
            Column("temp. mean", "temperature_mean_celsius", 1.3),
            Column("temp. peak", "temperature_peak_celsius", 1.3),
            Column("disk used", "disk_share", 1.2),
            Column("disk grew by", "disk_growth_bytes", 1.3),
        ),
        tuple(
            (
                words(box.machine),
                length(box.on_seconds),
                share(hundredth(box.cpu_mean_percent)),
                share(hundredth(box.cpu_peak_percent)),
                share(box.memory_peak_share),
                celsius(box.temperature_mean),
                celsius(box.temperature_peak),
                Cell(figures.percent(box.disk_share), box.disk_share, (box.disk_share or 0) > 0.9),
                size(box.disk_growth_bytes),
            )
            for box in report.boxes
        ),
    )


def hundredth(value: float | None) -> float | None:
    return None if value is None else value / 100


def units(report: Report) -> Section:
    return Section(
        "units",
        "Units by memory",
        (
            text_column("unit", "unit", 3.0),
            MACHINE,
            Column("mean", "mean_bytes"),
            Column("peak", "peak_bytes"),
            Column("CPU mean", "cpu_mean_share"),
        ),
        tuple(
            (
                words(entry.unit),
                words(entry.machine),
                size(entry.mean_bytes),
                size(entry.peak_bytes),
                share(hundredth(entry.cpu_mean_percent)),
            )
            for entry in report.units
        ),
    )


def alerts(report: Report) -> Section:
    return Section(
        "alerts",
        "Alerts",
        (
            text_column("rule", "rule", 1.6),
            text_column("about", "subject", 1.8),
            Column("count", "count", 0.7),
            text_column("newest", "newest", 2.1),
            text_column("state", "state", 0.9),
            text_column("what it said", "sentence", 5.0),
        ),
        tuple(
            (
                words(entry.rule),
                words(entry.subject),
                number(entry.count),
                moment(entry.newest_at),
                words("open" if entry.is_open else "over", entry.is_open),
                words(entry.sentence),
            )
            for entry in report.alerts
        ),
    )


def clips(report: Report) -> Section:
    return Section(
        "clips",
        "Clips that took off",
        (
            text_column("when", "at", 1.5),
            text_column("source", "source", 1.4, is_shared=True),
            text_column("clip", "clip", 3.0),
            text_column("why", "reason", 4.0),
        ),
        tuple((moment(clip.at), words(clip.source), words(clip.name), words(clip.reason)) for clip in report.clips),
    )


def losses(report: Report) -> Section:
    return Section(
        "losses",
        "Missing from the record",
        (
            text_column("reason", "reason", 1.3),
            Column("times", "count", 0.8),
            Column("entries", "entries"),
            Column("calls", "calls"),
            text_column("newest", "sentence", 5.0),
        ),
        tuple(
            (words(entry.reason), number(entry.count), number(entry.entries), number(entry.calls), words(entry.sentence))
            for entry in report.losses
        ),
        "What is missing here is missing in all other figures of this report, too.",
    )


def days(report: Report) -> Section:
    return Section(
        "days",
        "Day by day",
        (
            text_column("day", "day", 2.0),
            Column("runs succeeded", "succeeded"),
            Column("runs failed", "failed"),
            Column("items", "items", is_optional=True),
        ),
        tuple(
            (
                Cell(f"{date_of(day.begin):%a} {date_of(day.begin)}", str(date_of(day.begin))),
                number(day.succeeded),
                bad_count(day.failed),
                number(day.items),
            )
            for day in report.days
        ),
    )


ALL: Sequence[Callable[[Report], Section]] = (
    jobs,
    failures,
    comparison,
    slowdowns,
    performance,
    steps,
    errors,
    air,
    alerts,
    clips,
    days,
    boxes,
    units,
    losses,
)


def sections(report: Report) -> list[Section]:
    """Those that have a row, in the order in which they are read."""
    return [section for section in (make(report) for make in ALL) if section.rows]
