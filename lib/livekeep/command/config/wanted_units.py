"""The units of health, record and TV according to the configuration: which run, how often, where they listen. Pure."""

import dataclasses
from dataclasses import dataclass
from datetime import timedelta

from livekeep.core.config import Config, Schedule
from livekeep.core.config.record import Analyzer, Web
from livekeep.core.config.schedule import DAY_MINUTES, DAYS, dates_of, kind_of, spans_of, weekdays_of
from livekeep.system.loopback import is_loopback_address

HEADING = "# Written by `livekeep apply` from livekeep.toml; changes made here are lost.\n"
FIRST_RUN_SECONDS = 60.0
"""The first run after boot if an interval is set; with a shorter interval, after that interval."""
SPEEDTEST_TICK_SECONDS = 3600.0
"""How often the timer checks whether a speed test is due; the probe itself handles a longer interval."""
ALWAYS = ("livekeep-recorder.service", "livekeep-alerter.service", "livekeep-tidy.timer")
"""Units that no key switches off."""


@dataclass(frozen=True)
class Wanted:
    """A unit's wanted state: whether it runs, and its drop-in's text, "" for none."""

    unit: str
    is_enabled: bool
    drop_in_name: str
    drop_in: str


def wanted_of_health(settings: Config) -> tuple[Wanted, ...]:
    """The exporter and each probe's timer."""
    wanted = [Wanted("livekeep-exporter.service", settings.exporter.enabled, "60-exporter.conf", exporter_drop_in(settings))]
    for entry in dataclasses.fields(settings.probes):
        probe = getattr(settings.probes, entry.name)
        seconds, delay = probe.interval_seconds, 0.0
        is_shipped = seconds == type(probe).interval_seconds
        if entry.name == "speedtest":
            # Speed tests of several machines on one connection must not coincide.
            is_shipped, delay = seconds >= SPEEDTEST_TICK_SECONDS, seconds / 4
        text = "" if is_shipped else timer_drop_in(seconds, delay)
        wanted.append(Wanted(f"livekeep-probe-{entry.name}.timer", probe.enabled, "60-interval.conf", text))
    return tuple(wanted)


def wanted_of_tv(settings: Config) -> tuple[Wanted, ...]:
    """What starts livekeep-tv: nothing without a plan, because then there is nothing to do."""
    is_wanted = settings.schedule.has_plan() or settings.tv.active_source
    text = plan_drop_in(settings.schedule)
    return (
        Wanted("livekeep-tv.timer", is_wanted, "60-plan.conf", text),
        Wanted("livekeep-tv.path", is_wanted, "60-plan.conf", ""),
    )


def plan_drop_in(schedule: Schedule) -> str:
    """The timer's drop-in: each time at which a span of the plan begins or ends."""
    by_time: dict[int, set[int]] = {}
    dates: set[str] = set()
    for name, value in schedule.days.items():
        first, last = dates_of(name) if kind_of(name) in ("date", "dates") else (None, None)
        for moment in {moment for span in spans_of(value) for moment in span}:
            days, minute = divmod(moment, DAY_MINUTES)
            if first is None:
                by_time.setdefault(minute, set()).update((day + days) % 7 for day in weekdays_of(name))
            elif first == last:
                dates.add(f"{first + timedelta(days=days)} {clock_text(minute)}")
            else:
                # On each day: a start too many does nothing.
                by_time.setdefault(minute, set()).update(range(7))
    lines = [f"{days_text(days)} {clock_text(minute)}" for minute, days in sorted(by_time.items())]
    zone = f" {schedule.time_zone}" if schedule.time_zone else ""
    lines = [f"OnCalendar={line}{zone}" for line in [*lines, *sorted(dates)]]
    return HEADING + "\n".join(["[Timer]", *lines]) + "\n" if lines else ""


def days_text(days: set[int]) -> str:
    return "*-*-*" if len(days) == 7 else ",".join(DAYS[day].capitalize() for day in sorted(days))


def clock_text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}:00"


def timer_drop_in(seconds: float, delay_seconds: float = 0.0) -> str:
    """For an interval other than the shipped one."""
    lines = ["[Timer]", "# An empty value removes all shipped times.", "OnCalendar="]
    lines += [f"OnBootSec={min(seconds, FIRST_RUN_SECONDS):g}s", f"OnUnitActiveSec={seconds:g}s"]
    lines += [f"RandomizedDelaySec={delay_seconds:g}s"] if delay_seconds else []
    return HEADING + "\n".join(lines) + "\n"


def exporter_drop_in(settings: Config) -> str:
    """The exporter's values as comments, so that a changed value changes the text and the exporter is restarted."""
    exporter = settings.exporter
    changed = {
        entry.name: getattr(exporter, entry.name)
        for entry in dataclasses.fields(exporter)
        if entry.name != "enabled" and getattr(exporter, entry.name) != entry.default
    }
    speedtest = settings.probes.speedtest
    # The other probes run as soon as their timer is restarted, and report it themselves.
    if speedtest.interval_seconds != type(speedtest).interval_seconds:
        changed["probes.speedtest.interval_seconds"] = speedtest.interval_seconds
    return HEADING + "".join(f"# {key} = {value!a}\n" for key, value in changed.items()) if changed else ""


def wanted_of_record(settings: Config) -> tuple[Wanted, ...]:
    """All units of the part that are or can be enabled."""
    reports = {"daily": settings.reports.daily, "weekly": settings.reports.weekly}
    seconds = settings.analyzer.interval_seconds
    clips_timer = "" if seconds == Analyzer.interval_seconds else timer_drop_in(seconds)
    return (
        *(Wanted(name, True, "60-record.conf", "") for name in ALWAYS),
        Wanted("livekeep-web.socket", True, "60-web.conf", socket_drop_in(settings.web)),
        *(Wanted(f"livekeep-report@{name}.timer", is_wanted, "60-record.conf", "") for name, is_wanted in reports.items()),
        Wanted("livekeep-clips.timer", bool(settings.clips), "60-interval.conf", clips_timer),
    )


def socket_drop_in(web: Web) -> str:
    """The drop-in for an address or port other than the shipped one."""
    if (web.address, web.port) == (Web.address, Web.port):
        return ""
    address = f"[{web.address}]" if ":" in web.address else web.address
    lines = ["[Socket]", "# An empty value removes the shipped address.", "ListenStream="]
    # The address may not exist before the network is up.
    lines += [f"ListenStream={address}:{web.port}", "FreeBind=yes"]
    if not is_loopback_address(web.address):
        # It overrides the shipped IPAddressDeny=.
        lines += ["IPAddressAllow=any"]
    return HEADING + "\n".join(lines) + "\n"
