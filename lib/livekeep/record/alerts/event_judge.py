"""Runs rules of kind "event": reads new events from its last position in the record, and stores those that match.

A stored event and the position after it are one transaction, so a kill neither loses an event nor evaluates it twice.
"""

import math
import sqlite3
from collections.abc import Mapping

from livekeep.core.config.record import Alert
from livekeep.record.alerts import event_rules
from livekeep.record.alerts.event_rules import Event, Position
from livekeep.record.alerts.ledger import Ledger
from livekeep.record.alerts.record import Record, lines_of_session, lines_of_unit
from livekeep.record.alerts.rules import Clock

SAVE_SECONDS = 60.0
"""Between two writes of a position without a match, to spare the SD card."""
MOST_BATCHES = 4


class EventJudge:
    """Its position in the record's events; None before the first check."""

    def __init__(self, database: sqlite3.Connection, record: Record, ledger: Ledger) -> None:
        self._database, self._record, self._ledger = database, record, ledger
        row = database.execute("SELECT record, arrival, newest FROM positions WHERE name = 'events'").fetchone()
        self.position = Position(*row) if row else None
        self._noted = self.position
        self._saved = -math.inf

    def judge(self, rules: Mapping[str, Alert], clock: Clock) -> bool:
        """Evaluate each event that has arrived; return whether there are more."""
        for _batch in range(MOST_BATCHES):
            read = self._read_events(rules, clock.wall)
            if read is None:
                return False
            hits, self.position, has_more = read
            if hits:
                self._database.execute("BEGIN IMMEDIATE")
                for name, event, log in hits:
                    self._ledger.add_event(name, rules[name], event, log, clock.wall)
                self.save(clock)
                self._database.execute("COMMIT")
            elif clock.steady - self._saved >= SAVE_SECONDS:
                self.save(clock)
            if not has_more:
                return False
        return True

    def _read_events(self, rules: Mapping[str, Alert], wall: float) -> tuple[list[tuple[str, Event, str]], Position, bool] | None:
        """The next matching events with their last log lines; the position after them; whether there are more."""
        watching = [(name, rule, self._ledger.first_at(name)) for name, rule in rules.items() if rule.kind == "event"]
        with self._record.guarded():
            record = self._record.connection()
            if self.position is None:
                # Events from before the alerter's first start are not reported.
                return [], event_rules.end(record, self._record.identity), False
            unjudged, position = event_rules.unjudged(record, self._record.identity, self.position)
            # A recorder's first start reads all that the journal has. A rule whose start is in the future was first seen before
            # the clock was set.
            hits = []
            for event in unjudged:
                for name, rule, first_at in watching:
                    if event_rules.matches(rule, event) and (event.at >= first_at or first_at > wall):
                        of_unit = "" if event.session else lines_of_unit(record, event.unit, event.id)
                        hits.append((name, event, lines_of_session(record, event.session) if event.session else of_unit))
            return hits, position, len(unjudged) >= event_rules.MOST_AT_ONCE
        return None

    def save(self, clock: Clock) -> None:
        """Store the position, so that the next start skips these events."""
        position = self.position
        if position and position != self._noted:
            self._noted = position
            self._database.execute(
                "INSERT OR REPLACE INTO positions VALUES ('events', ?, ?, ?)",
                [position.record, position.arrival, position.newest],
            )
            self._saved = clock.steady
