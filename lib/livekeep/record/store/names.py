"""Texts that many rows share, each stored once in a separate table: machines, functions, threads, errors.

A job that generates names (such as one per item) is limited: further names share one row.
"""

import sqlite3
from hashlib import blake2b

MOST_FUNCTIONS, MOST_THREADS, MOST_ERRORS = 20_000, 10_000, 50_000
MOST_CACHED = 5000
DAY = 86_400_000_000
OTHERS = "(others)"


class Names:
    """Ids of texts, for the only writer."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._machines: dict[str, tuple[int, str, str]] = {}
        self._functions: dict[tuple[str, str], int] = {}
        self._threads: dict[str, int] = {}
        self._errors: dict[tuple[bytes, int], int] = {}
        self._counts: dict[str, int] = {}

    def clear(self) -> None:
        """Forget what was not committed."""
        for cache in (self._machines, self._functions, self._threads, self._errors, self._counts):
            cache.clear()

    def bound(self) -> None:
        if len(self._functions) + len(self._threads) + len(self._errors) + len(self._machines) > MOST_CACHED:
            self.clear()

    def machine(self, machine_id: str, hostname: str, boot_id: str, moment: int) -> int:
        """The machine of an entry written at that time, in us; without a boot if that is unknown."""
        cached = self._machines.get(machine_id)
        if cached is None or cached[1:] != (hostname, boot_id):
            # A repeated upload may contain an earlier boot.
            number = self._connection.execute(
                "INSERT INTO machines (machine_id, hostname, boot_id, boot_at) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "hostname = excluded.hostname, "
                "boot_at = CASE WHEN excluded.boot_id NOT IN ('', boot_id) THEN max(boot_at, excluded.boot_at) ELSE boot_at END, "
                "boot_id = CASE WHEN excluded.boot_id <> '' AND excluded.boot_at > boot_at THEN excluded.boot_id "
                "ELSE boot_id END RETURNING id",
                (machine_id, hostname, boot_id, moment),
            ).fetchone()[0]
            cached = self._machines[machine_id] = (number, hostname, boot_id)
        return cached[0]

    def function(self, name: tuple[str, str]) -> int:
        """The id of a function's name and kind."""
        number = self._functions.get(name)
        if number is None:
            number = self._find("functions", ("name", "kind"), name)
            if number is None:
                number = self._make("functions", ("name", "kind"), name, MOST_FUNCTIONS)
            if number is None:
                number = self.function((OTHERS, "function"))
            self._functions[name] = number
        return number

    def thread(self, name: str) -> int | None:
        number = self._threads.get(name)
        if number is None:
            number = self._find("threads", ("name",), (name,)) or self._make("threads", ("name",), (name,), MOST_THREADS)
            if number is not None:
                self._threads[name] = number
        return number

    def error(self, error: tuple[str, str, str], moment: int) -> int:
        """Its id; 0, which no row has, if there are too many."""
        digest, day = blake2b("\0".join(error).encode(), digest_size=16).digest(), moment // DAY
        number = self._errors.get((digest, day))
        if number is None:
            number = self._find("errors", ("digest",), (digest,))
            if number is None:
                columns = ("digest", "type", "message", "traceback", "last_day")
                number = self._make("errors", columns, (digest, *error, day), MOST_ERRORS) or 0
            else:
                self._connection.execute("UPDATE errors SET last_day = max(last_day, ?) WHERE id = ?", (day, number))
            self._errors[digest, day] = number
        return number

    def _find(self, table: str, columns: tuple[str, ...], values: tuple[object, ...]) -> int | None:
        where = " AND ".join(f"{column} = ?" for column in columns)
        row = self._connection.execute(f"SELECT id FROM {table} WHERE {where}", values).fetchone()  # noqa: S608
        return int(row[0]) if row else None

    def _make(self, table: str, columns: tuple[str, ...], values: tuple[object, ...], most: int) -> int | None:
        """The id of a new row; None if there are too many, unless it is the one that represents all others."""
        if table not in self._counts:
            self._counts[table] = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
        if self._counts[table] >= most and OTHERS not in values:
            return None
        marks = ", ".join("?" for _ in columns)
        cursor = self._connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)  # noqa: S608
        self._counts[table] += 1
        return cursor.lastrowid
