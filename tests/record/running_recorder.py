"""The real livekeep-recorder as a process, with a separate root, on real journal files."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.outside import PROJECT, NotifySocket, wait_until

MACHINE = "1" * 32


class RunningRecorder:
    def __init__(self, folder: Path, settings: str = "", wrapper: Sequence[str] = ()) -> None:
        """`settings` are a drop-in of livekeep.toml; `wrapper` is a command that runs the program."""
        self.root = folder
        self.folder = folder / "var/lib/livekeep/record"
        self.file = self.folder / "record.db"
        self.journal = folder / f"var/log/journal/{MACHINE}/system.journal"
        self.drop_in = folder / "etc/livekeep/livekeep.d/test.toml"
        self.wrapper = wrapper
        for path in (self.folder, folder / "run/livekeep/recorder", self.journal.parent, self.drop_in.parent):
            path.mkdir(parents=True, exist_ok=True)
        (folder / "etc/livekeep/livekeep.toml").write_bytes((PROJECT / "etc/livekeep.toml").read_bytes())
        self.configure(settings)
        self.errors = folder / "errors"
        self.systemd = NotifySocket(folder / "notify")
        self.process: subprocess.Popen[bytes] | None = None
        self.hidden: Path | None = None
        """The path of the record, if it is on a separate file system of the program; SQLite would follow the link."""

    def __enter__(self) -> Self:
        self.systemd.__enter__()
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        self.systemd.__exit__()

    def configure(self, settings: str) -> None:
        fresh = self.drop_in.with_suffix(".new")
        fresh.write_text(settings)
        fresh.replace(self.drop_in)

    def start(self, is_waited_for: bool = True) -> Self:
        environment = {**os.environ, "LIVEKEEP_ROOT": str(self.root), "NOTIFY_SOCKET": str(self.systemd.path)}
        command = [*self.wrapper, sys.executable, str(PROJECT / "bin/livekeep-recorder")]
        before = self.systemd.messages.count("READY=1")
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(command, env=environment, stderr=errors)
        if is_waited_for:
            wait_until("the recorder is ready", lambda: self._is_ready(before))
        return self

    def _is_ready(self, before: int) -> bool:
        self.systemd.receive(0.05)
        return self.systemd.messages.count("READY=1") > before

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        if self.hidden:
            for name in ("record.db", "record.db-wal"):
                shutil.copyfile(self.hidden / name, self.file.with_name(name))
        connection = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def value(self, query: str) -> Any:
        """The only value; None without a database."""
        try:
            return self.rows(query)[0][0]
        except (sqlite3.DatabaseError, FileNotFoundError, IndexError):
            return None

    def wait_for(self, query: str, expected: Any) -> None:
        try:
            wait_until(query, lambda: self.value(query) == expected)
        except AssertionError as error:
            raise AssertionError(f"{error}: is {self.value(query)}, not {expected}; {self.errors.read_text()}") from error

    def state(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.root / "run/livekeep/recorder/state.json").read_text())
        return document
