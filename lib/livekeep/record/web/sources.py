"""The data sources of the pages: the record, the states, the configuration. One object for the whole program.

Part of livekeep-web.
"""

import sqlite3
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from livekeep.core import paths
from livekeep.core.config import Config
from livekeep.core.state import AnyState, StateAbsentError, StateBrokenError, read
from livekeep.record.reading import CurrentRecord
from livekeep.status.health import Clock

MOST_KEPT = 16

T = TypeVar("T")


@dataclass
class Sources:
    settings: Config
    record: CurrentRecord = field(default_factory=CurrentRecord)
    states: Path = paths.STATE_DIRECTORY
    kept: Path = paths.KEPT_DIRECTORY
    """The folder of data that survives a restart: the channels, the reports."""
    _kept: dict[Hashable, tuple[float, Any]] = field(default_factory=dict)

    def connection(self) -> sqlite3.Connection:
        """Raises `NoRecordError`."""
        return self.record.connection()

    def state(self, kind: type[AnyState], root: Path | None = None) -> AnyState | None:
        """A state; None when it is absent or unreadable."""
        try:
            return read(kind, root or self.states)
        except (StateAbsentError, StateBrokenError):
            return None

    def kept_for(self, seconds: float, key: Hashable, read: Callable[[], T]) -> T:
        """The result of `read`, at most `seconds` old for the same key. Called by several threads."""
        now = time.monotonic()
        made_monotonic, value = self._kept.get(key, (0.0, None))
        if value is None or now - made_monotonic > seconds:
            value = read()
            for old in [name for name, (made, _) in list(self._kept.items()) if now - made > seconds]:
                self._kept.pop(old, None)
            if len(self._kept) < MOST_KEPT:
                self._kept[key] = now, value
        return cast(T, value)

    def clock(self) -> Clock:
        return Clock(time.time(), time.monotonic())
