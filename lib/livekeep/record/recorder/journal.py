"""Follows journals: this machine's, or those of many boxes in a folder. Sources: sd_journal_next(3), sd_journal_get_cursor(3).

One reader reads all files of a journal in order, and skips entries that appear with an earlier time than its position. So each
box's files in a folder (remote-BOX.journal and its rotated ones) have a separate reader and position: entries that a box sends
late are not skipped.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from systemd import id128, journal

from livekeep.core import paths
from livekeep.core.inotify import FolderWatch
from livekeep.core.service import Service
from livekeep.record import wire
from livekeep.record.store.entry import SUPPRESSED, UNIT_EVENTS, WORST_LOG_PRIORITY
from livekeep.record.store.records import LONGEST_RECORDS
from livekeep.record.store.writer import Position

THRESHOLD_BYTES = 4 * LONGEST_RECORDS + 1
"""Longer fields are truncated; a character has up to four bytes."""
MESSAGE_IDS = {identity.encode() for identity in (SUPPRESSED, *UNIT_EVENTS)}
LOG_PRIORITIES = {b"%d" % priority for priority in range(WORST_LOG_PRIORITY + 1)}
LONGEST_SKIP_SECONDS = 86400
LOCAL = ""
"""The key of this machine's journal."""
IN_TURN = 200
"""Entries of one journal before the next journal's turn."""
SMALLEST_FILE_BYTES = 4096
"""A shorter file has just been created."""

logger = logging.getLogger("livekeep.recorder")


@dataclass(frozen=True)
class Missing:
    """An unreadable part, for a row in losses."""

    reason: str
    sentence: str
    identity: str
    """The same value when it is noticed again."""


class Source:
    """One journal, read from a position on."""

    def __init__(self, key: str, files: tuple[Path, ...] = ()) -> None:
        """Of these files, else of this machine's journal. `key` identifies its position. Raises `OSError`."""
        self.key, self.files = key, files
        self.missing: list[Missing] = []
        self._is_local = not files
        self._boot = id128.get_boot().hex if self._is_local else ""
        self._reader = self._open()
        self._realtime = 0
        self._failures = self._failed_at = 0
        self._at_entry = False
        self.is_reopened = False
        """Whether its descriptor changed."""
        self._is_boot_due = self._is_in_boot = False

    def fileno(self) -> int:
        return int(self._reader.fileno())

    def close(self) -> None:
        self._reader.close()

    def drain(self) -> None:
        """Consume the notification of new entries; for this machine's journal only."""
        self._reader.process()

    def seek(self, position: Position | None) -> None:
        """Continue after `position`. If the journal no longer has it, read everything; known entries are dropped later.

        On a board without a clock, the first entries of a new boot may be older than the last of the previous one, and would be
        skipped. So they are read again, after the rest.
        """
        self._reader.flush_matches()
        self._at_entry = self._is_in_boot = False
        self._is_boot_due = self._is_local and position is not None and position.boot_id != self._boot
        self._previous_boot = position.boot_id if position else ""
        if position is None:
            self._reader.seek_head()
            return
        self._realtime = position.at
        try:
            self._reader.seek_cursor(position.cursor)
            if self._reader._next() and self._reader.test_cursor(position.cursor):
                self._at_entry = True
                return
        except (OSError, ValueError) as error:
            # An invalid cursor raises ValueError.
            logger.info("%s: the position is not there: %s", self.key or "journal", error)
        self.missing.append(
            Missing(
                "vacuumed",
                "The journal no longer has the entry that was recorded last: it was emptied, or kept in memory over a restart. "
                "Entries may be missing",
                position.cursor,
            )
        )
        self._is_boot_due = False
        self._reader.seek_head()

    def read(self) -> dict[str, str] | None:
        """The next entry that may be for the record; {} for another entry; None at the end."""
        try:
            if not self._reader._next():
                return self._after_end()
            self._at_entry = True
            if self._reader_time() > self._failed_at:
                self._failures = 0
        except (OSError, ValueError) as error:
            self._skip(error)
            return {}
        try:
            return self._entry()
        except (OSError, ValueError) as error:
            self._note_damage(error)
            return {}

    def position(self) -> Position | None:
        """The current position; None before the first entry."""
        if not self._at_entry:
            return None
        try:
            boot = self._previous_boot if self._is_boot_due else self._boot
            return Position(self._reader._get_cursor(), boot, self._reader_time())
        except (OSError, ValueError):
            return None

    def _open(self) -> journal.Reader:
        if self.files:
            reader = journal.Reader(files=[str(file) for file in self.files])
        else:
            # This machine's journal, including users' entries.
            here = {} if Path("/") == paths.ROOT else {"path": str(paths.ROOT / "var/log/journal")}
            reader = journal.Reader(**here)
        reader.data_threshold = THRESHOLD_BYTES
        return reader

    def _after_end(self) -> dict[str, str] | None:
        if self._is_boot_due:
            self._is_boot_due, self._is_in_boot = False, True
            self._reader.add_match(f"_BOOT_ID={self._boot}")
            self._reader.seek_head()
            return {}
        if self._is_in_boot:
            self._is_in_boot = False
            cursor = self._reader._get_cursor() if self._at_entry else ""
            self._reader.flush_matches()
            if cursor:
                self._reader.seek_cursor(cursor)
                self._reader._next()
            return {}
        return None

    def _entry(self) -> dict[str, str]:
        # A check of a few fields: most entries of a journal don't concern the record.
        if not (self._field(wire.PROCESS) or self._field(wire.EVENT) or self._field("MESSAGE_ID") in MESSAGE_IDS):
            is_ours = self._field("_SYSTEMD_UNIT").startswith(b"livekeep-")
            if not is_ours or self._field("PRIORITY") not in LOG_PRIORITIES:
                return {}
        fields = {
            name: (value[0] if isinstance(value, list) else value).decode(errors="replace")
            for name, value in self._reader._get_all().items()
        }
        fields["__REALTIME_TIMESTAMP"] = str(self._realtime)
        fields["__CURSOR"] = self._reader._get_cursor()
        return fields

    def _field(self, name: str) -> bytes:
        try:
            return bytes(self._reader._get(name))
        except KeyError:
            return b""

    def _reader_time(self) -> int:
        self._realtime = int(self._reader._get_realtime())
        return self._realtime

    def _note_damage(self, error: OSError | ValueError) -> None:
        sentence = f"A file of the journal is damaged ({getattr(error, 'strerror', '') or error}); entries may be missing"
        self.missing.append(Missing("corrupt", sentence, f"{self.key} {self._realtime}"))

    def _skip(self, error: OSError | ValueError) -> None:
        """The next entry cannot be read: skip increasingly far ahead."""
        if not self._failures:
            self._note_damage(error)
        self._failed_at = max(self._failed_at, self._realtime)
        # The first time, the cause may be a file that was just removed.
        skipped = min(2.0**self._failures, LONGEST_SKIP_SECONDS) if self._failures else 0.0
        self._failures += 1
        self._reader.close()
        self._reader = self._open()
        self.is_reopened = True
        self._at_entry = False
        self._reader.seek_realtime(self._failed_at / 1e6 + skipped)


def groups(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each journal in `folder` and its subfolders: the current one, and the rotated ones."""
    by_journal: dict[str, list[Path]] = {}
    patterns = ("*.journal", "*.journal~", "*/*.journal", "*/*.journal~")
    for file in sorted(file for pattern in patterns for file in folder.glob(pattern)):
        with contextlib.suppress(OSError):
            if file.stat().st_size >= SMALLEST_FILE_BYTES:
                name = file.name.partition("@")[0].removesuffix("~").removesuffix(".journal")
                by_journal.setdefault(str(file.parent / name), []).append(file)
    return {key: tuple(files) for key, files in by_journal.items()}


def readable(files: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[Missing, ...]]:
    """The files that can be opened, and an error for each other: one damaged file keeps the library from opening the rest."""
    good, missing = [], []
    for file in files:
        try:
            journal.Reader(files=[str(file)]).close()
            good.append(file)
        except OSError as error:
            sentence = f"{file} cannot be read ({error.strerror or error}); its entries are missing"
            missing.append(Missing("corrupt", sentence, str(file)))
    return tuple(good), tuple(missing)


class Journals:
    """This machine's journal, and those in a folder, if configured. `committed` returns the stored position in one."""

    def __init__(self, service: Service, folder: str, committed: Callable[[str], Position | None]) -> None:
        """Raises `OSError` and `TemporaryError` when they cannot be opened or watched."""
        self.missing: list[Missing] = []
        self.has_more = True
        """Whether there is more to read."""
        self._service, self._committed = service, committed
        self._folder = Path(folder) if folder else None
        self._watch: FolderWatch | None = None
        self._sources: dict[str, Source] = {}
        self._positions: dict[str, Position] = {}
        self._reported: set[Missing] = set()
        self._local = self._start(Source(LOCAL))
        self._descriptor = self._local.fileno()
        self._service.watch(self._descriptor, self._notice)
        if self._folder:
            self._watch = FolderWatch(self._folder, ())
            for place in (self._folder, *(path for path in self._folder.iterdir() if path.is_dir())):
                self._watch.watch_all(place)
            self._service.watch(self._watch, self._notice_folder)
            self._refresh()

    def close(self) -> None:
        self._service.forget(self._descriptor)
        if self._watch:
            self._service.forget(self._watch)
            self._watch.close()
        for source in self._sources.values():
            source.close()

    def entries(self, is_due: Callable[[], bool]) -> Iterator[dict[str, str]]:
        """New entries, until `is_due` returns true; a few of each journal in turn."""
        waiting = list(self._sources.values())
        while waiting and not is_due():
            for source in tuple(waiting):
                for _ in range(IN_TURN):
                    if is_due():
                        break
                    entry = source.read()
                    if entry is None:
                        waiting.remove(source)
                        break
                    if entry:
                        yield entry
                self.missing += source.missing
                source.missing.clear()
        self.has_more = bool(waiting)
        if self._local.is_reopened:
            self._service.forget(self._descriptor)
            self._descriptor, self._local.is_reopened = self._local.fileno(), False
            self._service.watch(self._descriptor, self._notice)

    def positions(self) -> dict[str, Position]:
        """The positions that changed since the last call."""
        present = {key: position for key, source in self._sources.items() if (position := source.position())}
        return {key: position for key, position in present.items() if self._positions.get(key) != position}

    def note_committed(self, positions: dict[str, Position]) -> None:
        self._positions |= positions

    def rewind(self) -> None:
        """Read again from the stored positions."""
        self.has_more = True
        for key, source in self._sources.items():
            source.seek(self._committed(key))
            self._positions.pop(key, None)

    def _start(self, source: Source, position: Position | None = None) -> Source:
        source.seek(position or self._committed(source.key))
        self._sources[source.key] = source
        return source

    def _notice(self) -> None:
        self._local.drain()
        self.has_more = True

    def _notice_folder(self) -> None:
        if self._watch:
            self._watch.drain()
        self._refresh()
        self.has_more = True

    def _refresh(self) -> None:
        """Open new journals in the folder, and reopen a rotated journal with its new file."""
        if not self._folder:
            return
        present = groups(self._folder)
        for key, files in present.items():
            source = self._sources.get(key)
            if source and source.files == files:
                continue
            good, missing = readable(files)
            self.missing += [word for word in missing if word not in self._reported]
            self._reported |= set(missing)
            if not good or (source and source.files == good):
                continue
            position = source.position() if source else None
            if source:
                source.close()
            self._start(Source(key, good), position)
        for key in [key for key in self._sources if key != LOCAL and key not in present]:
            self._sources.pop(key).close()
