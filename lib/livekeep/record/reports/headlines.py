"""The sentences at the top of a report: a summary, and what needs attention first. Pure."""

from dataclasses import dataclass

from livekeep.core.text import shown
from livekeep.record import figures
from livekeep.record.reports.content import Air, Report
from livekeep.record.store.queries import ErrorGroup, Session
from livekeep.system import terminal

WORTH_TELLING = 0.15
"""A smaller relative change of a duration is not reported."""
FEWEST_CALLS = 10
FAILED_SHARE = 0.05
LARGE_SHARE = 0.05
"""The share of the time of all calls."""
HOT_CELSIUS, FULL_SHARE, GOOD_SHARE = 80.0, 0.9, 0.99
MOST_CHANGES = 2
MOST_ADVICE = 8
MOST_AIR = 4
LONGEST_NAME = 60
NOTHING = "Nothing happened: no job ran, and nothing else is recorded"


@dataclass(frozen=True)
class Advice:
    """A problem, and the command that shows it."""

    text: str
    command: str = ""


def short(name: str) -> str:
    return terminal.shortened(name, LONGEST_NAME)


def headlines(report: Report) -> list[str]:
    """A summary in a few sentences; the first is the subject of the mail."""
    if report.is_empty():
        return ["Nothing matches the filter" if report.restriction else NOTHING]
    worst = sorted((entry for entry in report.air if entry.share is not None), key=lambda entry: entry.share or 0)[:MOST_AIR]
    shown_first = [entry for entry in report.air if entry in worst]
    said = [runs(report), *changes(report), items(report), calls(report), *map(air, shown_first)]
    return [sentence for sentence in said if sentence]


def runs(report: Report) -> str:
    totals = report.totals
    if report.is_of_functions:
        return ""
    if not totals.runs:
        return "No job ran"
    said = figures.plural(totals.runs, "job")
    if totals.bad_runs:
        return f"{figures.count(totals.bad_runs)} of {said} failed"
    if totals.runs > sum(job.succeeded for job in report.jobs):
        return f"None of {said} failed"
    return f"All {said} succeeded" if totals.runs > 1 else "1 job ran and succeeded"


def changes(report: Report) -> list[str]:
    """What became much slower or faster: jobs, else functions with a large share of the time."""
    compared = [(job.change, short(job.name)) for job in report.jobs if job.change is not None]
    if not any(abs(change) > WORTH_TELLING for change, _name in compared):
        calls = [entry for entry in report.performance if entry.kind != "step"]
        whole = sum(entry.figures.sum for entry in calls)
        large = [entry for entry in calls if entry.figures.count >= FEWEST_CALLS and entry.figures.sum > LARGE_SHARE * whole]
        compared = [(entry.change, short(entry.name)) for entry in large if entry.change is not None]
    worth = sorted((entry for entry in compared if abs(entry[0]) > WORTH_TELLING), key=lambda entry: -entry[0])
    said = []
    for change, name in worth[:MOST_CHANGES]:
        amount = f"{figures.digits(change + 1)} times" if change >= 2 else f"{abs(change) * 100:.0f} %"
        said.append(f"{name} took {amount} {'longer' if change > 0 else 'shorter'} than in {report.period.compared}")
    return said


def items(report: Report) -> str:
    return f"{figures.plural(report.totals.items, 'item')} processed" if report.totals.items else ""


def calls(report: Report) -> str:
    totals = report.totals
    if not totals.calls:
        return ""
    said = f"{figures.plural(totals.calls, 'call')} recorded"
    if not totals.failed_calls:
        return f"{said}, none failed"
    return f"{said}, {figures.count(totals.failed_calls)} failed ({figures.percent(totals.failed_calls / totals.calls)})"


def air(entry: Air) -> str:
    if entry.share is None:
        return ""
    verb = "was on air" if entry.subject.startswith("channel") else "was good"
    said = f"The {short(entry.subject)} {verb} for {figures.percent(entry.share)} of the time"
    if not entry.interruptions:
        return said
    longest = figures.duration(entry.longest_seconds)
    if entry.interruptions == 1:
        return f"{said}, with one interruption of {longest}"
    return f"{said}, with {figures.count(entry.interruptions)} interruptions, the longest {longest}"


def advice_of(report: Report) -> list[Advice]:
    """The problems that need a person, the worst first; empty if there are none."""
    bad = sorted((entry for entry in report.air if (entry.share or 0) < GOOD_SHARE), key=lambda entry: entry.share or 0)
    of_air = [Advice(air(entry), "livekeep record events --from 7d") for entry in bad[:3] if entry.share is not None]
    of_losses = []
    if report.losses:
        entries = figures.plural(sum(loss.entries for loss in report.losses), "entry", "entries")
        missing = figures.plural(sum(loss.calls for loss in report.losses), "call")
        sentence = f"The record misses {entries} and {missing}: the figures are too low"
        of_losses.append(Advice(sentence, "livekeep record check"))
    every = [
        *of_alerts(report),
        *of_air,
        *of_jobs(report),
        *of_slowdowns(report),
        *of_boxes(report),
        *of_losses,
        *of_calls(report),
    ]
    return every[:MOST_ADVICE]


def of_alerts(report: Report) -> list[Advice]:
    still = [entry for entry in report.alerts if entry.is_open]
    return [
        Advice(f"Alert {entry.rule} is still open: {terminal.shortened(entry.sentence, 160)}", "livekeep alert list")
        for entry in still[:3]
    ]


def of_jobs(report: Report) -> list[Advice]:
    """The newest failure of each job."""
    by_job: dict[str, Advice] = {}
    for failure in report.failures:
        why = f": {terminal.shortened(reason_of(failure), 160)}" if reason_of(failure) else ""
        job = next((job for job in report.jobs if job.name == failure.name), None)
        times = f" {figures.plural(job.failed + job.lost, 'time')}" if job else ""
        said = f"{short(failure.name)} {'was lost' if failure.outcome == 'lost' else 'failed'}{times}{why}"
        by_job.setdefault(failure.name, Advice(said, f"livekeep record show {failure.id}"))
    return list(by_job.values())[:5]


def reason_of(row: Session | ErrorGroup) -> str:
    """The error in one line, the first that is not blank; "" when unknown."""
    if row.error:
        text = f"{row.error.type}: {row.error.message}"
        return shown(next((line.strip() for line in text.splitlines() if line.strip()), ""))
    return "its process ended unexpectedly" if isinstance(row, Session) and row.outcome == "lost" else ""


def of_slowdowns(report: Report) -> list[Advice]:
    return [
        Advice(
            f"{short(entry.function)} takes {figures.duration(entry.to_seconds)} instead of "
            f"{figures.duration(entry.from_seconds)} since {figures.moment(entry.since)[:10]}",
            "livekeep record compare",
        )
        for entry in sorted(report.slowdowns, key=lambda entry: entry.kind != "session")[:3]
    ]


def of_calls(report: Report) -> list[Advice]:
    often = [entry for entry in report.performance if entry.kind != "step" and entry.figures.count >= FEWEST_CALLS]
    bad = [entry for entry in often if entry.figures.failed_share >= FAILED_SHARE]
    advice = []
    for entry in sorted(bad, key=lambda entry: -entry.figures.failed_share)[:3]:
        failed, calls = figures.count(entry.figures.failures), figures.plural(entry.figures.count, "call")
        advice.append(Advice(f"{short(entry.name)}: {failed} of {calls} failed", "livekeep record functions --failed"))
    return advice


def of_boxes(report: Report) -> list[Advice]:
    said = []
    for box in report.boxes:
        if box.temperature_peak is not None and box.temperature_peak >= HOT_CELSIUS:
            said.append(
                Advice(
                    f"{box.machine} was {figures.digits(box.temperature_peak)} °C hot: give it more air", "livekeep probe host"
                )
            )
        if box.disk_share is not None and box.disk_share > FULL_SHARE:
            said.append(Advice(f"The disk of {box.machine} is {figures.percent(box.disk_share)} full", "df -h"))
    return said
