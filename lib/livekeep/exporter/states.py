"""The exporter's view of the state files, which it reads again only after they are replaced, and the machine's health."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from livekeep.core import channels, paths, state
from livekeep.core.config import Probes
from livekeep.core.errors import TemporaryError
from livekeep.core.state import AnyState, State, StateAbsentError, StateBrokenError
from livekeep.status import channel_status, snapshot
from livekeep.status.channel_status import ChannelStatus
from livekeep.status.health import Clock, Verdict, age


class States:
    """All state files below `root`, and the channels' intentions. While a file is unchanged, its state is the same object."""

    def __init__(self, root: Path, kept: Path = paths.KEPT_DIRECTORY, probes: Probes | None = None) -> None:
        """`probes`: the probes' configuration."""
        self.root, self.probes, self._kept = root, probes, kept
        self._cache: dict[tuple[type[State], Path], tuple[tuple[int, int, int], State]] = {}
        """With inode, time and size of the file, by kind and folder."""

    def read(self, kind: type[AnyState], folder: Path | None = None, /) -> AnyState | StateAbsentError | StateBrokenError:
        """The state, or the error that says why there is none."""
        key = kind, folder or self.root
        signature = None
        # Reading it gives the precise error.
        with contextlib.suppress(OSError):
            found = os.stat(f"{key[1]}/{kind.FILE}")  # noqa: PTH116 – at each scrape, of a dozen files: a Path takes twice as long
            signature = found.st_ino, found.st_mtime_ns, found.st_size
        old_signature, cached = self._cache.pop(key, (None, None))
        try:
            result = cached if signature == old_signature and isinstance(cached, kind) else state.read(*key)
        except (StateAbsentError, StateBrokenError) as error:
            return error
        if signature:
            self._cache[key] = signature, result
        return result

    def current(self, kind: type[AnyState], clock: Clock, is_stuck: Callable[[AnyState, Clock], bool]) -> AnyState | None:
        """The state of a unit; None if it is absent. Raises `TemporaryError` if it is broken or stale."""
        found = self.read(kind)
        if isinstance(found, StateAbsentError):
            return None
        if isinstance(found, StateBrokenError):
            raise found
        if is_stuck(found, clock):
            raise TemporaryError(f"{kind.FILE}: is {age(found, clock)} old; its unit is stuck: see livekeep status")
        return found

    def error_screen_is_active(self) -> bool:
        """Raises `TemporaryError` if that is unknown."""
        with readable():
            return snapshot.error_screen_is_active(self.root)

    def has_screen(self) -> bool:
        return snapshot.has_screen(self._kept)

    def channels(self) -> dict[str, ChannelStatus]:
        """By name. Raises `TemporaryError` if they cannot be listed."""
        with readable():
            found = channel_status.read(self.root, self._kept / channels.DIRECTORY.name, self.read)
        folders = {self.root, *(channels.folder_of(name, self.root) for name in found)}
        self._cache = {key: cached for key, cached in self._cache.items() if key[1] in folders}
        return found

    def verdict(self, clock: Clock) -> Verdict:
        """The same verdict as in `livekeep health`. Raises `TemporaryError`."""
        with readable():
            return snapshot.read(clock, self.root, self._kept, self.probes, self.read).verdict()


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Raises `TemporaryError` if access is denied."""
    try:
        yield
    except OSError as error:
        raise TemporaryError(f"{error.filename}: cannot be read ({error.strerror})") from error
