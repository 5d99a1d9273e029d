"""The library for jobs: `from livekeep.record import …`. Standard library only; its cost and what it sends: docs/record.md."""

from livekeep.record.instrument import lifecycle, progress
from livekeep.record.instrument.delivery import flush, sender
from livekeep.record.instrument.progress import ProgressMonitor, Session, progress_step, session
from livekeep.record.instrument.recording import monitor_execution
from livekeep.record.instrument.subscribers import Notification, subscribe

__all__ = [
    "Notification",
    "ProgressMonitor",
    "Session",
    "flush",
    "monitor_execution",
    "progress_step",
    "session",
    "subscribe",
]

sender.progress, sender.has_progress = progress.lines, lambda: bool(progress.changed)
lifecycle.after_fork.append(progress.renew)
lifecycle.install()
