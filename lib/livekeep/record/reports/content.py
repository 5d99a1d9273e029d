"""A report's content, independent of its format: one model, so that all formats have the same numbers. Pure.

Durations are in seconds, times in Unix seconds, sizes in bytes, shares from 0 to 1. Rows of `store/queries` have microseconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from livekeep.record.reports.period import Period
from livekeep.record.store.queries import ErrorGroup, Figures, Filter, FunctionFigures, Session
from livekeep.record.store.queries.filter import is_any


@dataclass(frozen=True)
class Job:
    """All runs of sessions with one name that began in the period."""

    name: str
    runs: int
    succeeded: int
    failed: int
    lost: int
    cancelled: int
    running: int
    items: float
    """The number of items that its runs completed, such as clips."""
    mean_seconds: float | None
    """Of successful runs; None if there are none."""
    longest_seconds: float | None
    mean_before: float | None = None

    @property
    def change(self) -> float | None:
        return change(self.mean_seconds, self.mean_before)


@dataclass(frozen=True)
class Performance(FunctionFigures):
    """All calls of one function, or runs of a step, that began in the period."""

    before: Figures | None = None
    """In the period of comparison."""

    @property
    def change(self) -> float | None:
        """Of the median."""
        return change(self.figures.p50, self.before.p50 if self.before else None)


@dataclass(frozen=True)
class Slowdown:
    """A function, step or job that became slower, by the rule of store/analysis.py."""

    function: str
    kind: str
    from_seconds: float
    to_seconds: float
    since: float

    @property
    def ratio(self) -> float:
        return self.to_seconds / self.from_seconds


@dataclass(frozen=True)
class Box:
    """The recorder's samples of one machine."""

    machine: str
    samples: int
    on_seconds: float
    """How long it was on, according to its samples."""
    cpu_mean_percent: float | None
    cpu_peak_percent: float | None
    memory_peak_share: float | None
    temperature_mean: float | None
    temperature_peak: float | None
    disk_share: float | None
    """Used, at the end."""
    disk_growth_bytes: int | None


@dataclass(frozen=True)
class UnitMemory:
    machine: str
    unit: str
    mean_bytes: float
    peak_bytes: int
    cpu_mean_percent: float | None


@dataclass(frozen=True)
class Air:
    """A screen or a channel: how it spent its time, from its events."""

    subject: str
    """ "screen", or "channel NAME"."""
    machine: str
    known_seconds: float
    """Of the period; excludes the time before the first event, and while the box or, on purpose, the TV is off."""
    good_seconds: float
    shown: tuple[tuple[str, float], ...]
    """Duration per state: pictures of a screen; "on air", "slate" and "off air" of a channel."""
    interruptions: int
    longest_seconds: float
    """The longest interruption."""
    stalls: int = 0
    """The number of stalls of the stream."""

    @property
    def share(self) -> float | None:
        return self.good_seconds / self.known_seconds if self.known_seconds > 0 else None


@dataclass(frozen=True)
class AlertCount:
    rule: str
    subject: str
    count: int
    newest_at: float
    sentence: str
    is_open: bool


@dataclass(frozen=True)
class HotClip:
    at: float
    source: str
    name: str
    reason: str


@dataclass(frozen=True)
class Loss:
    reason: str
    count: int
    entries: int
    calls: int
    sentence: str
    """The newest."""


@dataclass(frozen=True)
class Day:
    """Metrics of one day of the period, for the charts."""

    begin: float
    succeeded: int
    failed: int
    """Failed and lost."""
    items: float


@dataclass(frozen=True)
class Curve:
    """A function's days: (beginning of the day, value in seconds)."""

    function: str
    kind: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Totals:
    """Of a period; the totals of the previous one are scaled to the same length."""

    runs: float
    bad_runs: float
    """Failed and lost."""
    items: float
    calls: float
    failed_calls: float


@dataclass(frozen=True)
class Gauge:
    """Measured values of a machine over the period, for the charts: (time, value)."""

    title: str
    unit: str
    """ "°C" or "%"."""
    points: tuple[tuple[float, float], ...]


ALL = Filter()
METRICS = ("count", "failures", "mean", "p50", "p95", "p99", "max")
"""The metrics of functions."""


@dataclass(frozen=True)
class Report:
    period: Period
    made_at: float
    machines: tuple[str, ...]
    filter: Filter = ALL
    """Its restrictions, besides the period."""
    metric: str = ""
    """One of METRICS, "" for all."""
    began: float | None = None
    """Where the record begins, if within the period; else None."""
    jobs: tuple[Job, ...] = ()
    failures: tuple[Session, ...] = ()
    """Failed or lost runs of jobs, the newest first."""
    before: Totals | None = None
    """None: the record does not reach back that far."""
    errors: tuple[ErrorGroup, ...] = ()
    """Failed calls by function and error, the most frequent first."""
    performance: tuple[Performance, ...] = ()
    slowdowns: tuple[Slowdown, ...] = ()
    boxes: tuple[Box, ...] = ()
    units: tuple[UnitMemory, ...] = ()
    air: tuple[Air, ...] = ()
    alerts: tuple[AlertCount, ...] = ()
    clips: tuple[HotClip, ...] = ()
    losses: tuple[Loss, ...] = ()
    days: tuple[Day, ...] = ()
    curves: tuple[Curve, ...] = ()
    gauges: tuple[Gauge, ...] = ()

    @property
    def totals(self) -> Totals:
        return totals_of(self.jobs, self.performance)

    @property
    def box_name(self) -> str:
        """For the heading: the machine's name, or the number of machines."""
        if len(self.machines) == 1:
            return self.machines[0]
        return f"{len(self.machines)} machines" if self.machines else "livekeep"

    @property
    def title(self) -> str:
        return {"daily": "Daily report", "weekly": "Weekly report", None: "Report"}[self.period.kind]

    @property
    def is_of_functions(self) -> bool:
        """Whether it is restricted to functions or one of their metrics: it then omits jobs, boxes and alerts."""
        return bool(self.metric) or not (is_any(self.filter.function) and is_any(self.filter.kind))

    @property
    def restriction(self) -> str:
        """Its restrictions, for the heading; "" when it has none."""
        names = (("function", self.filter.function), ("kind", self.filter.kind), ("machine", self.filter.machine))
        said = [f"{name} {value}" for name, value in names if value not in ("", "*")]
        return ", ".join(said + ([f"metric {self.metric}"] if self.metric else []))

    def is_empty(self) -> bool:
        """Whether nothing happened; an alert that is still open may be older."""
        if self.restriction:
            return not (self.jobs or self.performance)
        has_alerts = any(entry.count for entry in self.alerts)
        return not (self.jobs or self.performance or self.boxes or self.air or has_alerts or self.losses or self.clips)


def totals_of(jobs: Iterable[Job], performance: Iterable[Performance], scale: float = 1) -> Totals:
    """Their totals, times `scale`. Steps are not calls."""
    calls = [entry for entry in performance if entry.kind != "step"]
    own = list(jobs)
    return Totals(
        runs=scale * sum(job.runs for job in own),
        bad_runs=scale * sum(job.failed + job.lost for job in own),
        items=scale * sum(job.items for job in own),
        calls=scale * sum(entry.figures.count for entry in calls),
        failed_calls=scale * sum(entry.figures.failures for entry in calls),
    )


def change(now: float | None, before: float | None) -> float | None:
    """The relative change: 0.31 for "31 % longer". None when a value is unknown."""
    return now / before - 1 if now is not None and before else None
