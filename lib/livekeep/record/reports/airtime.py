"""Computes how a screen or a channel spent its time, from its events. Pure.

Events report changes only: the state at the beginning of a period comes from the last event before it. A box that is off sends no
events, nor does a channel that is stopped on purpose; `known` has the spans in which it ran.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from livekeep.core import events
from livekeep.record.reports.content import Air

Span = tuple[float, float]
SCREEN_EVENTS = (events.PICTURE_CHANGED.name, events.TV_SWITCHED.name, events.STREAM_STALLED.name)
CHANNEL_EVENTS = tuple(
    event.name
    for event in (
        events.CHANNEL_ON_AIR,
        events.PUBLISHING_FAILED,
        events.CHANNEL_GIVEN_UP,
        events.WORKER_ENDED,
        events.SLATE_SHOWN,
        events.SLATE_LEFT,
    )
)
STATE_EVENTS = (events.PICTURE_CHANGED.name, events.TV_SWITCHED.name, *CHANNEL_EVENTS)
"""Events that define the state from then on."""
GOOD = ("stream", "holding", "on air")
NO_PICTURE, OFF_ON_PURPOSE = "no picture", "off on purpose"
Subject = tuple[str, str]
""" "screen" or "channel NAME", and the machine."""


@dataclass(frozen=True)
class Change:
    at: float
    machine: str
    event: str
    fields: Mapping[str, str]

    @property
    def subject(self) -> str:
        return f"channel {self.fields.get('CHANNEL', '')}" if self.event in CHANNEL_EVENTS else "screen"


@dataclass
class Course:
    """One screen or channel, updated event by event."""

    is_on_air: bool = False
    has_slate: bool = False
    picture: str = ""
    off_by: str = ""
    """How the TV was switched off, "" if it is on."""

    def follow(self, change: Change) -> str:
        """Apply what is shown from `change` on."""
        if change.event == events.PICTURE_CHANGED.name:
            self.picture = change.fields.get("PICTURE", "none")
            return self.screen()
        if change.event == events.TV_SWITCHED.name:
            self.off_by = change.fields.get("METHOD", "") if change.fields.get("STATE") == "off" else ""
            return self.screen()
        if change.event in (events.SLATE_SHOWN.name, events.SLATE_LEFT.name):
            self.has_slate = change.event == events.SLATE_SHOWN.name
        else:
            self.is_on_air = change.event == events.CHANNEL_ON_AIR.name
            self.has_slate = self.has_slate and change.event != events.WORKER_ENDED.name
        if not self.is_on_air:
            return "off air"
        return "slate" if self.has_slate else "on air"

    def screen(self) -> str:
        # A TV that is off over HDMI-CEC has its picture all the time; with the other methods a picture means that it is on.
        if self.off_by == "cec" or (self.off_by and self.picture in ("", "none")):
            return OFF_ON_PURPOSE
        return NO_PICTURE if self.picture in ("", "none") else self.picture


def airtime(changes: Iterable[Change], begin: float, end: float, known: Mapping[Subject, Sequence[Span]]) -> tuple[Air, ...]:
    """The airtime of every screen and channel in `changes` (in chronological order, including the last ones before `begin`).

    `known` has the spans in which each ran; one that is missing counts as running all the time.
    """
    by_subject: dict[Subject, list[Change]] = {}
    for change in changes:
        by_subject.setdefault((change.subject, change.machine), []).append(change)
    return tuple(
        spent(subject, machine, own, begin, end, known.get((subject, machine), ((begin, end),)))
        for (subject, machine), own in sorted(by_subject.items(), key=lambda entry: (entry[0][0] != "screen", entry[0]))
    )


def spent(subject: str, machine: str, changes: Sequence[Change], begin: float, end: float, known: Sequence[Span]) -> Air:
    course, spans = Course(), []
    states = [change for change in changes if change.event in STATE_EVENTS]
    for place, change in enumerate(states):
        until = states[place + 1].at if place + 1 < len(states) else end
        spans.append((course.follow(change), max(change.at, begin), min(until, end)))
    # The picture goes some seconds before the TV has been switched off.
    for place, ((name, first, last), (following, _, _)) in enumerate(pairwise(spans)):
        if (name, following) == (NO_PICTURE, OFF_ON_PURPOSE):
            spans[place] = OFF_ON_PURPOSE, first, last
    shown: dict[str, float] = {}
    interruptions: list[float] = []
    previous_is_bad = False
    for name, first, last in spans:
        seconds = sum(max(0.0, min(last, until) - max(first, since)) for since, until in known)
        if seconds <= 0:
            continue
        shown[name] = shown.get(name, 0.0) + seconds
        is_bad = name not in (*GOOD, OFF_ON_PURPOSE)
        if is_bad:
            # "off air" after the slate continues the same interruption.
            if previous_is_bad:
                interruptions[-1] += seconds
            else:
                interruptions.append(seconds)
        previous_is_bad = is_bad
    return Air(
        subject,
        machine,
        known_seconds=sum(seconds for name, seconds in shown.items() if name != OFF_ON_PURPOSE),
        good_seconds=sum(seconds for name, seconds in shown.items() if name in GOOD),
        shown=tuple(sorted(shown.items(), key=lambda entry: -entry[1])),
        interruptions=len(interruptions),
        longest_seconds=max(interruptions, default=0.0),
        stalls=sum(change.event == events.STREAM_STALLED.name and begin <= change.at < end for change in changes),
    )
