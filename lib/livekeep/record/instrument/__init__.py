"""The library for jobs: `from livekeep.record import …`. Standard library only. Cost, what it sends: docs/reference/record.md."""

from livekeep.record.instrument import lifecycle, progress, sessions, terminal
from livekeep.record.instrument.delivery import flush, sender
from livekeep.record.instrument.libraries import instrument_requests, instrument_sqlite
from livekeep.record.instrument.performance import Tracked, track, track_performance
from livekeep.record.instrument.recording import monitor_execution
from livekeep.record.instrument.sessions import Session, session
from livekeep.record.instrument.steps import ProgressMonitor, progress_step
from livekeep.record.instrument.subscribers import Notification, subscribe

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

sender.progress, sender.has_progress = progress.lines, lambda: bool(progress.changed)
progress.watchers.append(terminal.show)
lifecycle.after_fork += [progress.renew, terminal.renew]
lifecycle.at_terminate.append(sessions.cancel_all)
lifecycle.install()
