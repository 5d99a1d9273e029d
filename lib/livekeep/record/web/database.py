"""Opens the record for reading, once per thread, and again when another file replaces it.

Part of livekeep-web.
"""

import sqlite3
import threading
from pathlib import Path

from livekeep.record.store import schema


class NoRecordError(Exception):
    """The record cannot be read. The text says why, and what to do."""

    def __init__(self, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.sentence, self.advice = sentence, advice


class Database:
    def __init__(self, file: Path = schema.FILE) -> None:
        self.file = file
        self._own = threading.local()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection. Raises `NoRecordError`."""
        try:
            status = self.file.stat()
        except FileNotFoundError as error:
            advice = "systemctl status livekeep-recorder; it makes the record when it first runs"
            raise NoRecordError("there is no record yet", advice) from error
        except OSError as error:
            raise NoRecordError(f"the record cannot be read ({error.strerror})", "run install.sh again") from error
        identity = status.st_dev, status.st_ino
        if getattr(self._own, "identity", None) != identity or self._own.connection.is_outdated:
            self.close()
            self._own.connection, self._own.identity = self._open(), identity
        connection: schema.Connection = self._own.connection
        return connection

    def _open(self) -> sqlite3.Connection:
        try:
            connection = schema.open_read_only(self.file)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise NoRecordError(f"the record cannot be read ({error})", "sudo livekeep record check") from error
        if version != schema.VERSION:
            connection.close()
            text = f"the record is of version {version}, and these pages are made for {schema.VERSION}"
            raise NoRecordError(text, "sudo systemctl restart livekeep-recorder livekeep-web")
        return connection

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._own, "connection", None)
        if connection:
            connection.close()
        self._own.connection = self._own.identity = None
