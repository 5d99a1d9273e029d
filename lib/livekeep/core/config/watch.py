"""Changes of the configuration: a program with a `ConfigWatch` applies each change at once, without a reload.

An invalid configuration changes nothing; the event config-rejected reports it, once for each state of the files.
"""

import contextlib
from pathlib import Path

from livekeep.core import config, events, paths
from livekeep.core.config import Config
from livekeep.core.errors import ConfigError, TemporaryError
from livekeep.core.inotify import FolderWatch

Signature = tuple[tuple[str, int, int, int], ...]


class ConfigWatch:
    """Watches livekeep.toml and its drop-ins: `service.watch(it, it.drain)`, then `it.changed()` in each pass."""

    def __init__(self, file: Path = paths.CONFIG_FILE, drop_ins: Path = paths.DROP_IN_DIRECTORY) -> None:
        """Raises `TemporaryError` when the kernel gives no inotify instance or the folder cannot be watched."""
        self._file, self._drop_ins = file, drop_ins
        self._watch = FolderWatch(file.parent, ())
        self._watch.watch_all(file.parent)
        self._watch.watch_all(drop_ins)
        self._signature = self._read_signature()
        self._has_event = False

    def fileno(self) -> int:
        return self._watch.fileno()

    def drain(self) -> None:
        self._watch.drain()
        # The folder may just have been created.
        self._watch.watch_all(self._drop_ins)
        self._has_event = True

    def changed(self, anyway: bool = False) -> Config | None:
        """The new configuration, once, if the files have changed (or `anyway`, for SIGHUP) and it is valid; else None."""
        if not (self._has_event or anyway):
            return None
        self._has_event = False
        signature = self._read_signature()
        if signature == self._signature and not anyway:
            return None
        self._signature = signature
        try:
            return config.load(self._file, self._drop_ins)
        except ConfigError as error:
            sentence = f"The new configuration is refused, the old one stays: {error.problems[0]}"
            events.emit(events.CONFIG_REJECTED, sentence, PROBLEMS="; ".join(error.problems))
            return None

    def close(self) -> None:
        self._watch.close()

    def _read_signature(self) -> Signature:
        try:
            sources = config.files(self._file, self._drop_ins)
        except OSError:
            sources = [self._file]
        signature = []
        for source in sources:
            with contextlib.suppress(OSError):
                status = source.stat()
                signature.append((source.name, status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(signature)


def follow(file: Path = paths.CONFIG_FILE, drop_ins: Path = paths.DROP_IN_DIRECTORY) -> ConfigWatch | None:
    """A watch, or None where watching is impossible: then only SIGHUP applies a change."""
    try:
        return ConfigWatch(file, drop_ins)
    except TemporaryError:
        return None
