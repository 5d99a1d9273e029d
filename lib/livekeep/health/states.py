"""The state files as the exporter reads them: again only when they were replaced, and the screen's health made of them all."""

import os
from pathlib import Path
from typing import Generic

from livekeep.core import health, state
from livekeep.core.errors import TemporaryError
from livekeep.core.findings import PROBES
from livekeep.core.health import Clock, Findings, Health
from livekeep.core.state import AnyState, PlayerState, PollerState, StateAbsentError, StateBrokenError


class StateFile(Generic[AnyState]):
    """One state. While its file is the same, `read` gives the same object."""

    def __init__(self, kind: type[AnyState], root: Path) -> None:
        self._kind, self._root = kind, root
        self._path = str(state.path_of(kind, root))
        self._signature: tuple[int, int, int] | None = None
        self._kept: AnyState | None = None
        self._is_read_ahead = False

    def read(self) -> AnyState:
        """Raises `StateAbsentError` or `StateBrokenError`."""
        is_read_ahead, self._is_read_ahead = self._is_read_ahead, False
        if is_read_ahead and self._kept is not None:
            return self._kept
        try:
            found = os.stat(self._path)  # noqa: PTH116 – at each scrape, of six files: a Path takes twice as long
        except FileNotFoundError as error:
            self._kept = None
            raise StateAbsentError(f"{self._path}: absent; its unit is not running") from error
        except OSError:
            # It says best itself what is wrong.
            return state.read(self._kind, self._root)
        signature = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._kept is None or signature != self._signature:
            self._kept = None
            self._kept = state.read(self._kind, self._root)
            self._signature = signature
        return self._kept

    def look(self) -> AnyState | StateAbsentError | StateBrokenError:
        """The state, or the error that says why there is none."""
        try:
            return self.read()
        except (StateAbsentError, StateBrokenError) as error:
            return error


    def read_ahead(self) -> AnyState | StateAbsentError | StateBrokenError:
        """What `look` gives; the next `read`, of the same scrape, does not look at the file once more."""
        self._is_read_ahead = False
        found = self.look()
        self._is_read_ahead = True
        return found


class States:
    """All state files below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.poller = StateFile(PollerState, root)
        self.player = StateFile(PlayerState, root)
        self.findings: dict[str, StateFile[Findings]] = {name: StateFile(kind, root) for name, kind in PROBES.items()}

    def error_screen_is_active(self) -> bool:
        """Raises `TemporaryError` when that cannot be told."""
        try:
            return health.error_screen_is_active(self.root)
        except OSError as error:
            raise TemporaryError(f"{error.filename}: cannot be read ({error.strerror})") from error

    def health(self, clock: Clock) -> Health:
        """The same verdict as `livekeep health` gives. Raises `TemporaryError`."""
        findings = {name: file.read_ahead() for name, file in self.findings.items()}
        there = {name: it for name, it in findings.items() if not isinstance(it, StateAbsentError)}
        active = self.error_screen_is_active()
        return health.verdict(self.poller.read_ahead(), self.player.read_ahead(), active, clock, health.readable(there))
