"""The exporter's view of the state files, which it reads again only after they are replaced, and the machine's health."""

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Generic

from livekeep.core import channels, paths, state
from livekeep.core.config import Probes
from livekeep.core.errors import TemporaryError
from livekeep.core.probe_results import PROBES, ProbeResult
from livekeep.core.record_states import AlerterState, ClipsState, RecorderState
from livekeep.core.state import AnyState, PlayerState, PollerState, State, StateAbsentError, StateBrokenError
from livekeep.status import channel_status, probe_status, snapshot
from livekeep.status.channel_status import ChannelStatus
from livekeep.status.health import Clock, Verdict


class StateFile(Generic[AnyState]):
    """One state, completed by `complete` when it is read. While its file is unchanged, `read` returns the same object."""

    def __init__(self, kind: type[AnyState], root: Path, complete: Callable[[AnyState], AnyState] | None = None) -> None:
        self.kind, self._root, self._complete = kind, root, complete
        self._path = str(state.path_of(kind, root))
        self._signature: tuple[int, int, int] | None = None
        self._kept: AnyState | None = None

    def read(self) -> AnyState:
        """Raises `StateAbsentError` or `StateBrokenError`."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 – at each scrape, of six files: a Path takes twice as long
        except FileNotFoundError as error:
            self._kept = None
            raise StateAbsentError(f"{self._path}: absent; its unit is not running") from error
        except OSError:
            # Reading it gives the precise error.
            return state.read(self.kind, self._root)
        signature = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._kept is None or signature != self._signature:
            self._kept = None
            found_state = state.read(self.kind, self._root)
            self._kept = self._complete(found_state) if self._complete else found_state
            self._signature = signature
        return self._kept

    def look(self) -> AnyState | StateAbsentError | StateBrokenError:
        """The state, or the error that says why there is none."""
        try:
            return self.read()
        except (StateAbsentError, StateBrokenError) as error:
            return error


class States:
    """All state files below `root`, and the channels' intentions."""

    def __init__(self, root: Path, kept: Path = paths.KEPT_DIRECTORY, probes: Probes | None = None) -> None:
        """`probes`: the probes' configuration."""
        self.root, self._kept, self._probes = root, kept, probes
        self.poller = StateFile(PollerState, root)
        self.player = StateFile(PlayerState, root)
        complete = partial(with_interval, probes)
        self.probe_results = {name: StateFile(kind, root, complete) for name, kind in PROBES.items()}
        self.recorder = StateFile(RecorderState, root)
        self.alerter = StateFile(AlerterState, root)
        self.clips = StateFile(ClipsState, root)
        units: list[StateFile[Any]] = [self.poller, self.player, self.recorder, self.alerter, self.clips]
        units += self.probe_results.values()
        self._of_units: dict[type[State], StateFile[Any]] = {file.kind: file for file in units}
        self._of_channels: dict[tuple[type[State], Path], StateFile[Any]] = {}

    def error_screen_is_active(self) -> bool:
        """Raises `TemporaryError` if that is unknown."""
        with readable():
            return snapshot.error_screen_is_active(self.root)

    def channels(self) -> dict[str, ChannelStatus]:
        """By name. Raises `TemporaryError` if they cannot be listed."""
        with readable():
            found = channel_status.read(self.root, self._kept / channels.DIRECTORY.name, self._read_state)
        folders = {channels.folder_of(name, self.root) for name in found}
        self._of_channels = {key: file for key, file in self._of_channels.items() if key[1] in folders}
        return found

    def verdict(self, clock: Clock) -> Verdict:
        """The same verdict as in `livekeep health`. Raises `TemporaryError`."""
        with readable():
            return snapshot.read(clock, self.root, self._kept, self._probes, self._read_state).verdict()

    def _read_state(self, kind: type[AnyState], root: Path, /) -> AnyState | StateAbsentError | StateBrokenError:
        file: StateFile[AnyState] | None = self._of_units.get(kind) or self._of_channels.get((kind, root))
        if file is None:
            file = self._of_channels[kind, root] = StateFile(kind, root)
        return file.look()


def with_interval(probes: Probes | None, result: ProbeResult) -> ProbeResult:
    return probe_status.with_interval(result, probes)


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Raises `TemporaryError` if access is denied."""
    try:
        yield
    except OSError as error:
        raise TemporaryError(f"{error.filename}: cannot be read ({error.strerror})") from error
