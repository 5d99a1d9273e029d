"""Rules of kind "event" at work: reads on in the record from where it was, and writes down what rules are about.

What is written of an event and the position behind it are one transaction: no kill loses one, or judges one twice.
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
"""Between two notes of a position at which nothing happened: the card wears."""
MOST_BATCHES = 4


class EventJudge:
    """Where it is in the record's events; None before the first check."""

    def __init__(self, database: sqlite3.Connection, record: Record, ledger: Ledger) -> None:
        self._database, self._record, self._ledger = database, record, ledger
        self.position = self._read_position()
        self._noted = self.position
        self._saved = -math.inf

    def _read_position(self) -> Position | None:
        row = self._database.execute("SELECT record, arrival, newest FROM positions WHERE name = 'events'").fetchone()
        return Position(*row) if row else None

    def judge(self, rules: Mapping[str, Alert], clock: Clock) -> bool:
        """Judge each event that has arrived; whether there are more."""
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

    def _read_events(
        self, rules: Mapping[str, Alert], wall: float
    ) -> tuple[list[tuple[str, Event, str]], Position, bool] | None:
        """The next events that rules are about, with their last lines; the position behind them; whether there are more."""
        watching = [(name, rule, self._ledger.first_at(name)) for name, rule in rules.items() if rule.kind == "event"]
        with self._record.guarded():
            record = self._record.connection()
            if record is None:
                return None
            if self.position is None:
                # What happened before there was an alerter is no news.
                return [], event_rules.end(record, self._record.identity), False
            unjudged, position = event_rules.unjudged(record, self._record.identity, self.position)
            # A recorder that starts for the first time reads all that the journal has. A rule whose beginning lies in the future
            # was first seen before the clock was set.
            pairs = [
                (name, event)
                for event in unjudged
                for name, rule, first_at in watching
                if event_rules.matches(rule, event) and (event.at >= first_at or first_at > wall)
            ]
            return (
                [(name, event, log_of(record, event)) for name, event in pairs],
                position,
                len(unjudged) >= event_rules.MOST_AT_ONCE,
            )
        return None

    def save(self, clock: Clock) -> None:
        """Note what need not be judged again after the next start."""
        position = self.position
        if position and position != self._noted:
            self._noted = position
            self._database.execute(
                "INSERT OR REPLACE INTO positions VALUES ('events', ?, ?, ?)",
                [position.record, position.arrival, position.newest],
            )
            self._saved = clock.steady


def log_of(record: sqlite3.Connection, event: Event) -> str:
    """The last lines before an event: of its session, or of its unit."""
    return lines_of_session(record, event.session) if event.session else lines_of_unit(record, event.unit, event.id)
