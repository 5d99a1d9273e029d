"""The state files as the exporter reads them: again only when they were replaced, and the machine's health made of them all."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Generic

from livekeep.core import channels, state
from livekeep.core.config import Probes
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import PROBES, ProbeResult
from livekeep.core.record_states import AlerterState, ClipsState, RecorderState
from livekeep.core.state import AnyState, PlayerState, PollerState, StateAbsentError, StateBrokenError
from livekeep.status import channel_status, health
from livekeep.status.channel_status import Broadcast
from livekeep.status.health import Clock, Judgement


class StateFile(Generic[AnyState]):
    """One state, completed by `complete` when it is read. While its file is the same, `read` gives the same object."""

    def __init__(self, kind: type[AnyState], root: Path, complete: Callable[[AnyState], AnyState] | None = None) -> None:
        self._kind, self._root, self._complete = kind, root, complete
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
            found_state = state.read(self._kind, self._root)
            self._kept = self._complete(found_state) if self._complete else found_state
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


class ChannelFiles:
    """What is known of the channels, with the same objects in it while their files are the same."""

    def __init__(self, root: Path, directory: Path) -> None:
        self._root, self._directory = root, directory
        self._files: dict[tuple[type[Any], Path], StateFile[Any]] = {}
        self._read_ahead: dict[str, Broadcast] | None = None

    def read(self) -> dict[str, Broadcast]:
        """By name. Raises `TemporaryError` when it cannot be told which there are."""
        if self._read_ahead is not None:
            found, self._read_ahead = self._read_ahead, None
            return found
        try:
            found = channel_status.read(self._look, self._root, self._directory)
        except OSError as error:
            raise TemporaryError(f"{error.filename}: cannot be read ({error.strerror})") from error
        folders = {channels.folder_of(name, self._root) for name in found} | ({self._root} if found else set())
        self._files = {key: file for key, file in self._files.items() if key[1] in folders}
        return found

    def read_ahead(self) -> dict[str, Broadcast]:
        """What `read` gives; the next `read`, of the same scrape, gives the same."""
        self._read_ahead = None
        self._read_ahead = self.read()
        return self._read_ahead

    def _look(self, kind: type[AnyState], root: Path, /) -> AnyState | StateAbsentError | StateBrokenError:
        file: StateFile[AnyState] | None = self._files.get((kind, root))
        if file is None:
            file = self._files[kind, root] = StateFile(kind, root)
        return file.look()


class States:
    """All state files below `root`, and what is kept beside them of the channels."""

    def __init__(self, root: Path, kept: Path = health.KEPT_DIRECTORY, probes: Probes | None = None) -> None:
        """`probes`: their configuration."""
        intervals = health.configured_intervals(probes)
        self.root, self._kept = root, kept
        self.poller = StateFile(PollerState, root)
        self.player = StateFile(PlayerState, root)
        self.findings: dict[str, StateFile[ProbeResult]] = {
            name: StateFile(kind, root, partial(health.with_interval, seconds=intervals.get(name, 0.0)))
            for name, kind in PROBES.items()
        }
        self.recorder = StateFile(RecorderState, root)
        self.alerter = StateFile(AlerterState, root)
        self.clips = StateFile(ClipsState, root)
        self.channels = ChannelFiles(root, kept / channels.DIRECTORY.name)

    def error_screen_is_active(self) -> bool:
        """Raises `TemporaryError` when that cannot be told."""
        try:
            return health.error_screen_is_active(self.root)
        except OSError as error:
            raise TemporaryError(f"{error.filename}: cannot be read ({error.strerror})") from error

    def judgement(self, clock: Clock) -> Judgement:
        """The same verdict as `livekeep health` gives. Raises `TemporaryError`."""
        on_air = health.channel_verdicts(self.channels.read_ahead(), clock)
        if not health.has_screen(self._kept):
            return Judgement(None, on_air)
        findings = {name: file.read_ahead() for name, file in self.findings.items()}
        there = {name: it for name, it in findings.items() if not isinstance(it, StateAbsentError)}
        active = self.error_screen_is_active()
        poller, player = self.poller.read_ahead(), self.player.read_ahead()
        return Judgement(health.verdict(poller, player, active, clock, health.readable(there)), on_air)
