"""Handles requests to the record's only writer, files in a folder: see store/requests.py."""

import logging
import time
from pathlib import Path

from livekeep.core.errors import TemporaryError
from livekeep.core.inotify import FolderWatch
from livekeep.core.service import Service
from livekeep.record.recorder.imports import Import
from livekeep.record.recorder.keeping import Keeping
from livekeep.record.store.entry import digest
from livekeep.record.store.requests import IMPORT_SUFFIX, TIDY_NAME, folder_of
from livekeep.record.store.writer import Position, Writer

logger = logging.getLogger("livekeep.recorder")


class Requests:
    def __init__(self, service: Service, file: Path) -> None:
        self._folder = folder_of(file)
        self._watch: FolderWatch | None = None
        self._files: list[Path] = []
        self._import: Import | None = None
        self._is_requested = False
        self._is_tidying = False
        try:
            self._folder.mkdir(mode=0o750, exist_ok=True)
            self._watch = FolderWatch(self._folder, ())
            self._watch.watch_contents(self._folder)
        except (OSError, TemporaryError) as error:
            logger.warning("%s: requests are not seen: %s", self._folder, error)
            return
        service.watch(self._watch, self._notice)
        self._list()

    @property
    def is_busy(self) -> bool:
        """Whether there is immediate work."""
        has_entries = bool(self._files or self._import) and not (self._import and self._import.is_at_end)
        return has_entries or self._is_requested or self._is_tidying

    def take_entries(self, writer: Writer, until_monotonic: float) -> None:
        """Entries of the file being imported, until enough wait for a commit."""
        if self._import is None and self._files:
            file = self._files.pop(0)
            position = writer.read_position(f"import {file.name}")
            try:
                self._import = Import(file, int(position.cursor) if position else 0)
            except OSError as error:
                logger.warning("%s cannot be imported: %s", file, error)
        if self._import is None or self._import.is_at_end:
            return
        current, before = self._import, self._import.unreadable
        for entry in self._import.entries():
            writer.add(entry)
            if time.monotonic() >= until_monotonic:
                break
        lines = current.unreadable - before
        if lines:
            origin = writer.origin_here("unknown", "unknown", "", current.position().at)
            sentence = f"{current.file.name}: {lines} lines of an imported file cannot be read"
            identity = digest(f"{current.key} {current.position().cursor}")
            writer.add_loss("unreadable", sentence, origin, entries=lines, identity=identity)
        if self._import.is_at_end and not writer.has_rows:
            self.note_committed()

    def positions(self) -> dict[str, Position]:
        return {self._import.key: self._import.position()} if self._import else {}

    def note_committed(self) -> None:
        """The entries read so far are committed; a fully imported file is removed."""
        if self._import and self._import.is_at_end:
            logger.info("%s is imported", self._import.file)
            self._import.close()
            self._import.file.unlink(missing_ok=True)
            self._import = None

    def rewind(self) -> None:
        """Read again from the last committed position."""
        if self._import:
            self._files.insert(0, self._import.file)
            self._import.close()
            self._import = None

    def finish(self, keeping: Keeping) -> None:
        """Start a requested deletion of old rows, and report when it is done."""
        if self._is_tidying and not keeping.is_busy:
            (self._folder / TIDY_NAME).unlink(missing_ok=True)
            self._is_tidying = False
        elif not self._is_tidying and self._is_requested:
            self._is_requested = False
            keeping.request()
            self._is_tidying = True

    def _notice(self) -> None:
        if self._watch:
            self._watch.drain()
        self._list()

    def _list(self) -> None:
        known = {*self._files, self._import.file if self._import else None}
        self._files += sorted(path for path in self._folder.glob(f"*{IMPORT_SUFFIX}") if path not in known)
        self._is_requested = (self._folder / TIDY_NAME).exists()
