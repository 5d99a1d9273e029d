"""The tables of a report about machines, screens, channels, alerts, clips and losses. Pure."""

from livekeep.record import figures
from livekeep.record.reports.content import Air, Report
from livekeep.record.reports.table import MACHINE, Cell, Column, Section, length, moment, number, share, size, text_column, words


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
