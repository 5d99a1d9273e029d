"""The record: what ran, how well it ran, its progress, and alerts when something goes wrong.

The names below are the library for jobs. It is imported on first access, since the part's own programs don't need it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livekeep.record.instrument import (
        Notification,
        ProgressMonitor,
        Session,
        Tracked,
        flush,
        instrument_requests,
        instrument_sqlite,
        monitor_execution,
        progress_step,
        session,
        subscribe,
        track,
        track_performance,
    )

__all__ = [
    "Notification",
    "ProgressMonitor",
    "Session",
    "Tracked",
    "flush",
    "instrument_requests",
    "instrument_sqlite",
    "monitor_execution",
    "progress_step",
    "session",
    "subscribe",
    "track",
    "track_performance",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from livekeep.record import instrument  # noqa: PLC0415

    return getattr(instrument, name)
