"""The tables of a report about machines, screens, channels, alerts, clips and losses. Pure."""

from livekeep.record import figures
from livekeep.record.reports.content import Report
from livekeep.record.reports.table import (
    MACHINE,
    Cell,
    Column,
    Section,
    length,
    moment,
    number,
    section,
    share,
    size,
    text_column,
    words,
)


def air(report: Report) -> Section:
    return section(
        "air",
        "Screen and channels",
        report.air,
        (
            (text_column("what", "subject", 1.8), lambda it: words(it.subject)),
            (MACHINE, lambda it: words(it.machine)),
            (
                Column("good", "good_share"),
                lambda it: Cell(figures.percent(it.share), it.share, it.share is not None and it.share < 0.99),
            ),
            (Column("known for", "known_seconds", 1.3), lambda it: length(it.known_seconds)),
            (Column("interruptions", "interruptions", 1.4), lambda it: number(it.interruptions)),
            (
                Column("longest", "longest_seconds", 1.3),
                lambda it: length(it.longest_seconds) if it.interruptions else Cell(figures.UNKNOWN, 0.0),
            ),
            (Column("stalls", "stalls", is_optional=True), lambda it: number(it.stalls)),
            (
                text_column("how it spent the time", "shown", 4.0),
                lambda it: words(", ".join(f"{name} {figures.duration(seconds)}" for name, seconds in it.shown)),
            ),
        ),
        "Good: the screen shows the stream or the holding picture; the channel is on air with its media. "
        "Times in which the box was off are not known, and those in which the TV was off on purpose don't count.",
    )


def boxes(report: Report) -> Section:
    def celsius(value: float | None) -> Cell:
        return Cell(figures.UNKNOWN if value is None else f"{figures.digits(value)} °C", value, value is not None and value >= 80)

    return section(
        "box",
        "The box" if len(report.boxes) < 2 else "The boxes",
        report.boxes,
        (
            (MACHINE, lambda it: words(it.machine)),
            (Column("on", "on_seconds", 1.2), lambda it: length(it.on_seconds)),
            (Column("CPU mean", "cpu_mean_share", 1.2), lambda it: of_hundred(it.cpu_mean_percent)),
            (Column("CPU peak", "cpu_peak_share", 1.2), lambda it: of_hundred(it.cpu_peak_percent)),
            (Column("memory peak", "memory_peak_share", 1.3), lambda it: share(it.memory_peak_share)),
            (Column("temp. mean", "temperature_mean_celsius", 1.3), lambda it: celsius(it.temperature_mean)),
            (Column("temp. peak", "temperature_peak_celsius", 1.3), lambda it: celsius(it.temperature_peak)),
            (
                Column("disk used", "disk_share", 1.2),
                lambda it: Cell(figures.percent(it.disk_share), it.disk_share, (it.disk_share or 0) > 0.9),
            ),
            (Column("disk grew by", "disk_growth_bytes", 1.3), lambda it: size(it.disk_growth_bytes)),
        ),
    )


def of_hundred(value: float | None) -> Cell:
    return share(None if value is None else value / 100)


def units(report: Report) -> Section:
    return section(
        "units",
        "Units by memory",
        report.units,
        (
            (text_column("unit", "unit", 3.0), lambda it: words(it.unit)),
            (MACHINE, lambda it: words(it.machine)),
            (Column("mean", "mean_bytes"), lambda it: size(it.mean_bytes)),
            (Column("peak", "peak_bytes"), lambda it: size(it.peak_bytes)),
            (Column("CPU mean", "cpu_mean_share"), lambda it: of_hundred(it.cpu_mean_percent)),
        ),
    )


def alerts(report: Report) -> Section:
    return section(
        "alerts",
        "Alerts",
        report.alerts,
        (
            (text_column("rule", "rule", 1.6), lambda it: words(it.rule)),
            (text_column("about", "subject", 1.8), lambda it: words(it.subject)),
            (Column("count", "count", 0.7), lambda it: number(it.count)),
            (text_column("newest", "newest", 2.1), lambda it: moment(it.newest_at)),
            (text_column("state", "state", 0.9), lambda it: words("open" if it.is_open else "over", it.is_open)),
            (text_column("what it said", "sentence", 5.0), lambda it: words(it.sentence)),
        ),
    )


def clips(report: Report) -> Section:
    return section(
        "clips",
        "Clips that took off",
        report.clips,
        (
            (text_column("when", "at", 1.5), lambda it: moment(it.at)),
            (text_column("source", "source", 1.4, is_shared=True), lambda it: words(it.source)),
            (text_column("clip", "clip", 3.0), lambda it: words(it.name)),
            (text_column("why", "reason", 4.0), lambda it: words(it.reason)),
        ),
    )


def losses(report: Report) -> Section:
    return section(
        "losses",
        "Missing from the record",
        report.losses,
        (
            (text_column("reason", "reason", 1.3), lambda it: words(it.reason)),
            (Column("times", "count", 0.8), lambda it: number(it.count)),
            (Column("entries", "entries"), lambda it: number(it.entries)),
            (Column("calls", "calls"), lambda it: number(it.calls)),
            (text_column("newest", "sentence", 5.0), lambda it: words(it.sentence)),
        ),
        "What is missing here is missing in all other figures of this report, too.",
    )
