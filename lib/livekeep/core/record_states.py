"""States of the record part (core/state.py): whether it works. The record itself is a database.

| file                | written by        |
|---------------------|-------------------|
| recorder/state.json | livekeep-recorder |
| alerter/state.json  | livekeep-alerter  |
| clips/state.json    | livekeep-clips    |
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from livekeep.core.state import State


@dataclass(frozen=True)
class RecorderState(State):
    """The state of livekeep-recorder. Counters since it started; times in Unix seconds."""

    FILE: ClassVar[str] = "recorder/state.json"

    started_at: float = 0.0
    problem: str = ""
    """The problem in one sentence, or ""."""
    advice: str = ""
    entries: int = 0
    calls: int = 0
    events: int = 0
    sessions_running: int = 0
    duplicates: int = 0
    lost_entries: int = 0
    lost_calls: int = 0
    commits: int = 0
    lag_seconds: float = 0.0
    """The time from writing the newest entry to committing it."""
    last_commit_at: float | None = None
    database_bytes: int = 0
    oldest_call_at: float | None = None
    checked_at: float | None = None
    """When the database was last checked and copied, and whether it was intact."""
    is_sound: bool = True


@dataclass(frozen=True)
class OpenAlert:
    """An open alert: begun and not over."""

    rule: str = ""
    subject: str = ""
    """Its subject within the rule: a function, a session, a unit, a machine; "" if the rule has only one."""
    severity: Literal["info", "warning", "critical"] = "warning"
    since: float = 0.0
    sentence: str = ""
    advice: str = ""
    is_silenced: bool = False


@dataclass(frozen=True)
class AlerterState(State):
    """The state of livekeep-alerter. Counters since it started; times in Unix seconds."""

    FILE: ClassVar[str] = "alerter/state.json"

    started_at: float = 0.0
    problems: tuple[str, ...] = ()
    """Problems with rules and channels, one sentence each."""
    rules: int = 0
    channels: int = 0
    open: tuple[OpenAlert, ...] = ()
    waiting: int = 0
    """Messages not delivered yet."""
    delivered: int = 0
    failed: int = 0
    """Attempts that failed."""
    last_delivered_at: float | None = None


@dataclass(frozen=True)
class HotClip:
    """A clip that is played unusually often."""

    source: str = ""
    clip: str = ""
    """Its id at its source."""
    name: str = ""
    link: str = ""
    score: float = 0.0
    reason: str = ""
    """In words, such as "9 × its usual rate for 3 h"."""


@dataclass(frozen=True)
class ClipsState(State):
    """The result of the last run of livekeep-clips. Times in Unix seconds."""

    FILE: ClassVar[str] = "clips/state.json"

    ran_at: float = 0.0
    interval_seconds: float = 0.0
    outcome: Literal["succeeded", "partly", "failed", "skipped"] = "skipped"
    reason: str = ""
    advice: str = ""
    sources: int = 0
    clips: int = 0
    hot: tuple[HotClip, ...] = ()
    """Hottest first."""
