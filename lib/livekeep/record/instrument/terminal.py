"""Shows a session's progress: a bar on a terminal (with rich, if installed), else plain lines on standard error.

Plain lines appear every ten seconds at most, so that a unit's journal holds few of them and no carriage returns.
"""

import contextlib
import sys
import time
from typing import Any, Protocol

from livekeep.core.text import shown
from livekeep.record.instrument.encoding import spoken
from livekeep.record.instrument.progress import ending
from livekeep.record.instrument.sessions import Session

LINE_SECONDS = 10.0
REDRAWS_PER_SECOND = 5.0


class Display(Protocol):
    def show(self, session: Session) -> None:
        """Called when the session begins, progresses or ends."""


class Lines:
    def __init__(self) -> None:
        self.next_at: dict[str, float] = {}
        self.mentioned: set[str] = set()

    def show(self, session: Session) -> None:
        now = time.monotonic()
        if session.ended_at is not None:
            self.next_at.pop(session.id, None)
            # A session that ended before its first line is not shown, unless it failed.
            if session.id in self.mentioned or session.outcome != "succeeded":
                say(ending(session, session.seconds()))
            self.mentioned.discard(session.id)
        elif now >= self.next_at.setdefault(session.id, now + LINE_SECONDS):
            self.next_at[session.id] = now + LINE_SECONDS
            self.mentioned.add(session.id)
            say(f"{session.name}: {position_text(session) or 'running'}")


class Bars:
    """One line with a bar per session, while any of them runs."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[position]}", markup=False),
            TimeElapsedColumn(),
        )
        self.progress = Progress(
            *columns,
            console=Console(stderr=True),
            refresh_per_second=REDRAWS_PER_SECOND,
            # The job's output goes above the bars.
            redirect_stdout=sys.stdout.isatty(),
        )
        self.tasks: dict[str, Any] = {}
        self.next_at: dict[str, float] = {}

    def show(self, session: Session) -> None:
        now = time.monotonic()
        task = self.tasks.get(session.id)
        if task is None:
            if session.ended_at is not None:
                return
            task = self.tasks[session.id] = self.progress.add_task(shown(session.name), total=None, position="")
            self.progress.start()
        if session.ended_at is None and now < self.next_at.get(session.id, 0.0):
            return
        self.next_at[session.id] = now + 1 / REDRAWS_PER_SECOND
        percent = session.percent()
        if percent is not None:
            self.progress.update(task, total=100.0, completed=percent, position=position_text(session))
        else:
            self.progress.update(task, position=position_text(session))
        if session.ended_at is not None:
            self.end(session, task)

    def end(self, session: Session, task: Any) -> None:
        position = session.outcome if session.outcome != "succeeded" else position_text(session)
        self.progress.update(task, position=position, total=100.0)
        self.progress.stop_task(task)
        self.tasks.pop(session.id, None)
        self.next_at.pop(session.id, None)
        if not self.tasks:
            self.progress.stop()
            # The next session starts with a clean display.
            displays.clear()


displays: list[Display] = []
"""The current one, or none yet."""


def show(session: Session) -> None:
    if session.is_shown and sys.stderr is not None:
        if not displays:
            displays.append(chosen())
        displays[0].show(session)


def chosen() -> Display:
    if sys.stderr.isatty():
        # The job may have no rich, or an incompatible one.
        with contextlib.suppress(Exception):
            return Bars()
    return Lines()


def renew() -> None:
    """In the child of a fork: the bars, and the streams that print above them, are the parent's."""
    displays.clear()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream).__module__ == "rich.file_proxy":
            setattr(sys, name, stream.rich_proxied_file)


def position_text(session: Session) -> str:
    """Such as "40 %, 12 of 30, 3 min 20 s left, clip 17"."""
    percent, left = session.percent(), session.left()
    count = f"{session.done:g} of {session.total:g}" if session.total is not None else f"{session.done:g}" if session.done else ""
    parts = (
        f"{percent:.0f} %" if percent is not None else "",
        count,
        f"{spoken(left)} left" if left is not None else "",
        session.message,
    )
    return shown(", ".join(part for part in parts if part))


def say(text: str) -> None:
    # Standard error may be closed.
    with contextlib.suppress(Exception):
        print(shown(text), file=sys.stderr, flush=True)
