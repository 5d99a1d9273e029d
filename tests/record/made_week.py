"""A box with a screen, a channel and jobs over some weeks, as its journal would have reported it; deterministic."""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from entries import MACHINE, Job, event

from livekeep.record.moments import midnight
from livekeep.record.store.writer import Origin, Writer

SECOND, MINUTE, HOUR = 1_000_000, 60_000_000, 3_600_000_000
MONDAY = date(2026, 11, 23)
"""The first day of the week that the tests report on."""
HOSTILE = "<b>&amp;\"'</b> </para> é ß 日本語 \u202eevil שלום עולם مرحبا 🎬 e\u0301\n\x1b[31m" + "long" * 20
JOBS = (("clip analysis", 40, 9.0), ("fetch", 60, 0.8), ("nightly cut", 12, 30.0))
"""Name, items, seconds per item."""


def us(day: date, hours: float = 0) -> int:
    return round((midnight(day) + hours * 3600) * SECOND)


def fill(file: Path, weeks: int = 5, last: date = MONDAY, hostile: bool = True) -> None:
    """Fill the weeks up to the one that begins on `last`, in which clip analysis is 31 % slower and fails three times."""
    writer, chance = Writer(file), random.Random(9)
    first = last - timedelta(7 * (weeks - 1))
    for number in range(7 * weeks):
        day = first + timedelta(number)
        writer.ingest(of_jobs(day, day >= last, chance))
        add_samples(writer, day)
    writer.ingest(of_the_screen(first, last))
    writer.ingest(of_alerts(last))
    if hostile:
        writer.ingest(of_a_hostile_job(last))
    writer.add_loss(
        "gap",
        "livekeep-clips.service: 3 entries are missing",
        Origin(1, "b" * 32, "clip-analysis.service", us(last, 30)),
        None,
        3,
        210,
    )
    writer.commit()
    writer.close()


def of_jobs(day: date, is_late: bool, chance: random.Random) -> Iterator[dict[str, str]]:
    for place, (name, items, seconds) in enumerate(JOBS):
        for run in range(2):
            slow = 1.31 if is_late and name == "clip analysis" else 1.0
            fails = is_late and name == "clip analysis" and run == 1 and day.weekday() in (1, 3, 4)
            yield of_a_run(day, name, 3 + place + 12 * run, items, seconds * slow * chance.uniform(0.97, 1.03), fails)


def of_a_run(day: date, name: str, hour: float, items: int, seconds: float, fails: bool) -> dict[str, str]:
    job, token, began = Job(unit=f"{name.replace(' ', '-')}.service"), f"{name}-{day}-{hour}", us(day, hour)
    length, function = round(seconds * SECOND), f"jobs.{name.replace(' ', '_')}"
    done = items // 3 if fails else items
    ended = began + done * length + 2 * SECOND
    calls = [(f"{function}.one", began + number * length, length - 100, "succeeded") for number in range(done)]
    calls += [
        (f"{function}.fetch", began + number * length, length // 5, "failed" if number % 19 == 7 else "succeeded")
        for number in range(done)
    ]
    error = ["TimeoutError", "the server did not answer within 30 s\nsecond line", "Traceback …"] if fails else None
    session = {
        "name": name,
        "began": began,
        "ended": ended,
        "outcome": "failed" if fails else "succeeded",
        "total": items,
        "done": done,
        "error": error,
    }
    step = {"name": "analyse", "began": began, "ended": ended, "outcome": session["outcome"], "total": items, "done": done}
    return job.entry(calls, [["s", token, session], ["t", token, 1, step]], at=ended, session=token)


def of_a_hostile_job(day: date) -> Iterator[dict[str, str]]:
    job, began = Job(unit="odd.service"), us(day, 50)
    session = {
        "name": HOSTILE,
        "began": began,
        "ended": began + SECOND,
        "outcome": "failed",
        "done": 1,
        "error": [HOSTILE, HOSTILE, HOSTILE],
    }
    yield job.entry(
        [(HOSTILE, began, 1500, "failed"), ("=1+1", began, 1500, "succeeded")], [["s", "odd", session]], at=began, session="odd"
    )
    running = {"name": "backup", "began": began + HOUR, "outcome": "running", "done": 0}
    yield job.entry(lines=[["s", "backup", running]], at=began + HOUR)


def of_the_screen(first: date, last: date) -> list[dict[str, str]]:
    changes = [(first, 0.1, "holding"), (last, 9, "stream"), (last, 33, "error"), (last, 33.5, "stream"), (last, 59, "holding")]
    result = [
        event("picture-changed", f"The TV shows: {name}", at=us(day, hour), PICTURE=name, PREVIOUS="", REASON="")
        for day, hour, name in changes
    ]
    worker = "livekeep-worker@main.service"
    channel = [("channel-on-air", first, 1.0), ("publishing-failed", last, 70.0), ("channel-on-air", last, 70.25)]
    result += [event(name, name, worker, at=us(day, hour), CHANNEL="main") for name, day, hour in channel]
    result += [event("stream-stalled", "stalled", at=us(last, 40), POSITION="1", SECONDS="3")]
    return sorted(result, key=lambda entry: int(entry["__REALTIME_TIMESTAMP"]))


def of_alerts(last: date) -> list[dict[str, str]]:
    alerter = "livekeep-alerter.service"
    said = "box: clip analysis failed: TimeoutError: the server did not answer within 30 s"
    begun = [
        event("alert-began", said, alerter, us(last, 40), RULE="session-failed", SUBJECT="clip analysis", SEVERITY="warning")
    ]
    begun += [
        event(
            "alert-over",
            "over",
            alerter,
            us(last, 41),
            RULE="session-failed",
            SUBJECT="clip analysis",
            SEVERITY="warning",
            SECONDS="60",
        )
    ]
    begun += [
        event(
            "alert-began", "box: the disk is 96.2 % full", alerter, us(last, 90), RULE="disk", SUBJECT="box", SEVERITY="critical"
        )
    ]
    return [
        *begun,
        event(
            "clip-takes-off",
            "9 × its usual rate for 3 h",
            "livekeep-clips.service",
            us(last, 60),
            CLIP="1",
            NAME="Summer concert",
            SOURCE="mine",
            SCORE="9",
            REASON="9 × its usual rate for 3 h",
            LINK="",
        ),
    ]


def add_samples(writer: Writer, day: date) -> None:
    """Every five minutes; off from 2 to 3 o'clock on Wednesdays."""
    for number in range(288):
        at = us(day) + number * 5 * MINUTE
        if day.weekday() == 2 and 24 <= number < 36:
            continue
        warmth = 52 + 9 * abs((number - 144) / 144 - 0.1)
        disk = 9_000_000_000 + (at - us(MONDAY)) // SECOND * 900
        figures = {"cpu_percent": number % 40, "memory_bytes": 1_100_000_000, "memory_total_bytes": 4_000_000_000}
        writer.add_sample(
            MACHINE, "box", at, {**figures, "temperature_celsius": warmth, "disk_bytes": disk, "disk_total_bytes": 32_000_000_000}
        )
        for place, unit in enumerate(("livekeep-player", "livekeep-display", "livekeep-worker@main", "livekeep-recorder")):
            figures = {"memory_bytes": (place + 1) * 24_000_000 + number * 1000, "cpu_percent": 1.5 * place}
            writer.add_sample(MACHINE, "box", at, figures, f"{unit}.service")
    writer.commit()
