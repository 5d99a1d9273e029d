"""Opens the record for a command: an error is one line that says what to do."""

import sqlite3
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
