"""The earlier runs of this user's sessions, in a small JSON file: the basis of the time left (forecast.py).

In $STATE_DIRECTORY of a unit that has one, else in $XDG_STATE_HOME/livekeep or ~/.local/state/livekeep. A damaged file counts as
absent. If the file cannot be written, the time left comes from this run alone.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from livekeep.core import files
from livekeep.record.instrument.forecast import Run, StepRun

FILE_NAME = "livekeep-sessions.json"
MOST_RUNS = 20
MOST_SESSIONS = 200
MOST_STEPS = 100
LARGEST_BYTES = 8 * 1024 * 1024
LOCK_SECONDS = 0.5


def file(environment: Mapping[str, str] = os.environ) -> Path:
    if folders := environment.get("STATE_DIRECTORY"):
        return Path(folders.split(":")[0]) / FILE_NAME
    state = environment.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state) / "livekeep" / FILE_NAME


def runs(name: str) -> list[Run]:
    """The newest last."""
    past = []
    with contextlib.suppress(OSError, RuntimeError, TypeError):
        for entry in load(file()).get(name, []):
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                steps = {str(step): StepRun(int(count), float(seconds)) for step, (count, seconds) in entry["steps"].items()}
                total = None if entry["total"] is None else float(entry["total"])
                past.append(Run(float(entry["seconds"]), total, steps))
    return past


def add(name: str, run: Run) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        path = file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            sessions = load(path)
            earlier = sessions.pop(name, [])
            steps = {step: [run.steps[step].calls, round(run.steps[step].seconds, 6)] for step in list(run.steps)[:MOST_STEPS]}
            entry = {"seconds": round(run.seconds, 6), "total": run.total, "steps": steps}
            sessions[name] = [*(earlier if isinstance(earlier, list) else []), entry][-MOST_RUNS:]
            kept = dict(list(sessions.items())[-MOST_SESSIONS:])
            content = json.dumps({"version": 1, "sessions": kept}, ensure_ascii=False)
            files.replace(path, content.encode("utf-8", "backslashreplace"), mode=0o600, is_durable=False)


def load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(files.read(path, LARGEST_BYTES))
        sessions = content["sessions"] if content["version"] == 1 else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return sessions if isinstance(sessions, dict) else {}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Two runs that end at once are both kept. A lock that stays held is ignored."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
