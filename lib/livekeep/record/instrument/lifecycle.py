"""The start and end of a process: exit, SIGTERM, fork, children of multiprocessing.

An uncaught exception ends in an ordinary exit. After SIGKILL, `os._exit` and `os.execv` the last batch is missing.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from livekeep.record.instrument.delivery import EXIT_SECONDS, sender
from livekeep.record.instrument.recording import gate, place
from livekeep.record.instrument.subscribers import subscribers


class TerminatedError(BaseException):
    """The error of sessions in a process that receives SIGTERM; never raised."""


after_fork: list[Callable[[], None]] = []
"""What else is reset in the child of a fork."""
at_terminate: list[Callable[[BaseException], None]] = []
"""Called when SIGTERM ends the process, to mark its sessions as cancelled."""
installed: list[bool] = []


def install() -> None:
    """Once per process. The job's signal handlers, including later ones, stay in place."""
    if installed:
        return
    installed.append(True)
    atexit.register(finish, is_last=True)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=sender.halt, after_in_parent=sender.go_on, after_in_child=renew)
    if threading.current_thread() is threading.main_thread():
        # Embedded interpreters have no signals.
        with contextlib.suppress(ValueError):
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, terminate)
    sender.at_start = (watch_multiprocessing,)


def finish(is_last: bool = False) -> None:
    sender.flush(EXIT_SECONDS)
    subscribers.end_process()
    if is_last:
        gate.is_closed = True
        sender.ring()


def terminate(number: int, _frame: Any) -> None:
    """Send everything, then end as if there had been no handler."""
    for cancel in at_terminate:
        with contextlib.suppress(Exception):
            cancel(TerminatedError("SIGTERM"))
    finish()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def renew() -> None:
    sender.begin_process()
    # The call and the session around the fork are the parent's; a process reports only its own.
    place.set((0, None))
    for renewal in after_fork:
        with contextlib.suppress(Exception):
            renewal()
    with contextlib.suppress(Exception):
        if "multiprocessing.util" in sys.modules:
            sys.modules["multiprocessing.util"].register_after_fork(sender, lambda _sender: watch_multiprocessing())


def watch_multiprocessing() -> None:
    """A child of multiprocessing ends by `os._exit`, after running its finalizers only."""
    util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, finish, exitpriority=-100)
