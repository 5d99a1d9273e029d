"""Undoes what the harness did: at the end of a `with`, at exit, on SIGTERM, and after a run that was killed.

Everything that the harness creates on the host has a name from `unique()`, which contains the pid of its creator, so that a later
run can identify what a killed one left behind.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

RUN = Path(tempfile.gettempdir()) / "livekeep-tests"
CGROUPS = next(p for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if p.exists())

_PREFIX = "lkt"
_numbers = itertools.count(1)
_open: list[Disposable] = []
_prepared = False


class Disposable:
    """A resource with an undo list: created by `with` or `start()`, undone in reverse order by `close()`."""

    def __init__(self) -> None:
        """Create nothing yet."""
        self._stack = contextlib.ExitStack()

    def _make(self) -> None:
        raise NotImplementedError

    def start(self) -> Self:
        """Create it; on any error, undo everything and raise that error."""
        _prepare()
        _open.append(self)
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Undo everything; safe to repeat."""
        if self in _open:
            _open.remove(self)
        self._stack.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()


def unique() -> str:
    """A short name that no other run uses; valid for an interface after a letter is added."""
    return f"{_PREFIX}{os.getpid()}-{next(_numbers)}"


def directory(name: str) -> Path:
    """A new directory for this name's sockets, logs and mounts."""
    RUN.mkdir(mode=0o755, exist_ok=True)
    path = RUN / name
    path.mkdir(mode=0o755)
    return path


def end(process: subprocess.Popen[bytes], patience_seconds: float = 3.0) -> None:
    """Terminate a process, kill it if it does not end, and reap it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def end_cgroup(path: Path, patience_seconds: float = 5.0) -> None:
    """Kill everything in a cgroup of ours and remove it with its children."""
    if not path.exists():
        return
    deadline = time.monotonic() + patience_seconds
    with contextlib.suppress(OSError):
        (path / "cgroup.kill").write_text("1", encoding="ascii")
    while time.monotonic() < deadline:
        # Tolerates groups that vanish during the scan, removed by another run's sweep.
        for place, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                Path(place).rmdir()
        if not path.exists():
            return
        time.sleep(0.02)


def unmount_below(path: Path) -> None:
    """Unmount everything mounted at or below a directory, deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    for point in reversed([p for p in points if p == str(path) or p.startswith(f"{path}/")]):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def sweep() -> None:
    """Remove what a run whose process no longer exists left behind."""
    for group in CGROUPS.glob(f"{_PREFIX}*"):
        if _orphaned(group.name):
            end_cgroup(group)
    for path in RUN.glob(f"{_PREFIX}*"):
        if _orphaned(path.name):
            remove_directory(path)
    for path in Path("/run/netns").glob(f"{_PREFIX}*"):
        if _orphaned(path.name):
            subprocess.run(["ip", "netns", "delete", path.name], check=False, capture_output=True)


def remove_directory(path: Path) -> None:
    """Remove a directory of ours, never what is mounted in it."""
    unmount_below(path)
    shutil.rmtree(path, ignore_errors=True)


def _orphaned(name: str) -> bool:
    match = re.match(rf"{_PREFIX}(\d+)-\d+", name)
    return bool(match) and not Path(f"/proc/{match[1]}").exists() if match else False


def _prepare() -> None:
    global _prepared  # noqa: PLW0603 - once per process, like the handlers it installs
    if _prepared:
        return
    _prepared = True
    sweep()
    atexit.register(_close_all)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_terminate)


def _on_terminate(number: int, frame: FrameType | None) -> None:
    # pytest ends a run cleanly on KeyboardInterrupt; it would treat SystemExit as one failed test.
    raise KeyboardInterrupt(signal.Signals(number).name)


def _close_all() -> None:
    for thing in reversed(_open.copy()):
        thing.close()
