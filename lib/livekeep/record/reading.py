"""Opens the record for reading: for one command, or for as long as a program runs. An error says what to do."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from livekeep.core.errors import LivekeepError, TemporaryError, not_permitted
from livekeep.record.store import schema


@contextmanager
def opened(file: Path = schema.FILE) -> Iterator[sqlite3.Connection]:
    """Raises `LivekeepError` when the record is absent, unreadable or damaged; also for errors within the block."""
    try:
        file.stat()
        with file.open("rb"):
            pass
        connection = schema.open_read_only(file)
    except PermissionError as error:
        raise not_permitted(error) from error
    except FileNotFoundError as error:
        raise LivekeepError(
            f"{file}: there is no record; the recorder makes it: sudo systemctl start livekeep-recorder"
        ) from error
    except (OSError, sqlite3.Error) as error:
        raise unreadable(file, error) from error
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != schema.VERSION:
            raise LivekeepError(
                f"{file}: is of version {version}, this command knows {schema.VERSION}: sudo systemctl restart livekeep-recorder"
            )
        yield connection
    except sqlite3.Error as error:
        raise unreadable(file, error) from error
    finally:
        connection.close()


def unreadable(file: Path, error: Exception) -> LivekeepError:
    return TemporaryError(f"{file}: cannot be read ({error}); see: systemctl status livekeep-recorder")


class NoRecordError(Exception):
    """The record cannot be read now. `sentence` says why, and `advice` what to do."""

    def __init__(self, sentence: str, advice: str) -> None:
        super().__init__(f"{sentence}; {advice}")
        self.sentence, self.advice = sentence, advice


class CurrentRecord(threading.local):
    """The record for a program that runs on: opened at the first need, and again when another file replaces it.

    Each thread has its own connection.
    """

    def __init__(self, file: Path = schema.FILE) -> None:
        self.file = file
        self.identity = ""
        self._connection: schema.Connection | None = None

    def connection(self) -> schema.Connection:
        """Raises `NoRecordError`."""
        try:
            status = self.file.stat()
            identity = f"{status.st_dev}:{status.st_ino}"
            if self._connection is None or identity != self.identity or self._connection.is_outdated:
                self.close()
                self._connection, self.identity = of_this_version(self.file), identity
        except FileNotFoundError as error:
            self.close()
            advice = "systemctl status livekeep-recorder; it makes the record when it first runs"
            raise NoRecordError("there is no record yet", advice) from error
        except OSError as error:
            self.close()
            raise NoRecordError(f"the record cannot be read ({error.strerror})", "run install.sh again") from error
        except sqlite3.Error as error:
            raise NoRecordError(f"the record cannot be read ({error})", "sudo livekeep record check") from error
        else:
            return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self.identity = None, ""


def of_this_version(file: Path) -> schema.Connection:
    connection = schema.open_read_only(file)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != schema.VERSION:
        connection.close()
        sentence = f"the record is of version {version}, and this program is made for {schema.VERSION}"
        raise NoRecordError(sentence, "sudo systemctl restart livekeep-recorder livekeep-alerter livekeep-web")
    return connection
