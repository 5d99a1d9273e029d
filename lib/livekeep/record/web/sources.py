"""What the pages are made from: the record, the states, the configuration. One object for the whole program.

Part of livekeep-web.
"""

import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from livekeep.core import paths
from livekeep.core.config import Config
from livekeep.core.health import KEPT_DIRECTORY, Clock
from livekeep.core.state import AnyState, StateAbsentError, StateBrokenError, read
from livekeep.record.web.database import Database


@dataclass
class Sources:
    settings: Config
    database: Database = field(default_factory=Database)
    states: Path = paths.STATE_DIRECTORY
    kept: Path = KEPT_DIRECTORY
    """What outlives a restart: the channels, the reports."""

    def connection(self) -> sqlite3.Connection:
        """Raises `NoRecordError`."""
        return self.database.connection()

    def state(self, kind: type[AnyState], root: Path | None = None) -> AnyState | None:
        """A state; None when it is not there or cannot be read."""
        try:
            return read(kind, root or self.states)
        except (StateAbsentError, StateBrokenError):
            return None

    def clock(self) -> Clock:
        return Clock(time.time(), time.monotonic())
