"""Stores alerts that begin and end, the messages to come, and silences.

The caller holds the transaction where several of these belong together. Moments are Unix seconds.
"""

import hashlib
import socket
import sqlite3
import time

from livekeep.core import events
from livekeep.core.config.record import Alert
from livekeep.record.alerts import conditions
from livekeep.record.alerts.event_rules import Event
from livekeep.record.alerts.record import fit
from livekeep.record.alerts.rules import Ended, Finding, fits

GATHER_SECONDS = 2.0
"""How long a message waits for other alerts of the same rule."""
AGAIN_SECONDS = 60.0
"""The same when the rule has just sent one."""
MOST_LINES = 20

Key = tuple[str, str]
"""A rule's name and a subject."""


class Ledger:
    """Writes to the alerter's database, then reports to the journal."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._changes: list[tuple[events.Event, str, dict[str, str]]] = []
        self._hostname = socket.gethostname()

    # Rules

    def note_rule(self, name: str, rule: Alert, wall: float) -> None:
        """Record when the rule first existed. If it now watches something else, it counts as new."""
        watched = (rule.kind, rule.machine, rule.function, rule.call_kind, rule.session, rule.unit)
        digest = hashlib.sha256(repr(watched).encode()).hexdigest()[:16]
        self._database.execute(
            "INSERT INTO rules (rule, digest, first_at) VALUES (?, ?, ?) ON CONFLICT (rule) DO UPDATE SET "
            "digest = excluded.digest, first_at = excluded.first_at WHERE digest <> excluded.digest OR first_at < ?",
            [name, digest, wall, conditions.PLAUSIBLE if wall >= conditions.PLAUSIBLE else 0.0],
        )

    def first_at(self, name: str) -> float:
        """When the rule first existed."""
        return float(self._database.execute("SELECT first_at FROM rules WHERE rule = ?", [name]).fetchone()["first_at"])

    def remove(self, key: Key, wall: float) -> None:
        """End an open alert of a removed rule without a message."""
        self._database.execute(
            "DELETE FROM gathering WHERE alert IN (SELECT id FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NULL)", key
        )
        self._database.execute(
            "UPDATE alerts SET over_at = ?, outcome = 'removed' WHERE rule = ? AND subject = ? AND over_at IS NULL", [wall, *key]
        )

    # Alerts

    def ended(self, key: Key) -> Ended | None:
        """The newest ended alert of this rule and subject."""
        row = self._database.execute(
            "SELECT over_at, times FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NOT NULL AND outcome = 'over' "
            "ORDER BY over_at DESC LIMIT 1",
            key,
        ).fetchone()
        return Ended(row["over_at"], row["times"]) if row else None

    def begin(self, key: Key, rule: Alert, finding: Finding, times: int, wall: float) -> None:
        """Store an alert that begins."""
        self._database.execute(
            "INSERT INTO alerts (rule, subject, kind, severity, since, began_at, times, sentence, why, log, advice) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *key,
                rule.kind,
                rule.severity,
                finding.since,
                wall,
                times,
                fit([finding.sentence]),
                fit(finding.why.splitlines()),
                finding.log,
                rule.advice,
            ],
        )
        self._note(events.ALERT_BEGAN, key, rule, f"Alert {key[0]}: {finding.sentence}")

    def over(self, key: Key, rule: Alert, wall: float) -> None:
        """Store an alert's end, and announce it if its beginning was announced."""
        row = self._database.execute(
            "SELECT * FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NULL ORDER BY id DESC", key
        ).fetchone()
        if row is None:
            return
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("UPDATE alerts SET over_at = ?, outcome = 'over' WHERE id = ?", [wall, row["id"]])
        self._database.execute("DELETE FROM gathering WHERE alert = ? AND kind = 'reminder'", [row["id"]])
        was_announced = row["announced_at"] is not None or self.is_gathered(row["id"], "begin")
        if was_announced and not self.is_silenced(*key, wall):
            self.gather_alert(row["id"], key[0], "over", wall)
        self._database.execute("COMMIT")
        seconds = f"{max(wall - row['since'], 0.0):.0f}"
        self._note(events.ALERT_OVER, key, rule, f"Alert {key[0]} is over: {row['sentence']}", SECONDS=seconds)

    def add_event(self, name: str, rule: Alert, event: Event, log: str, wall: float) -> None:
        """An event's alert ends as it begins; those that arrive before the next message are merged."""
        gathered = self._database.execute(
            "SELECT a.* FROM gathering g JOIN alerts a ON a.id = g.alert WHERE g.rule = ? AND g.kind = 'event'", [name]
        ).fetchone()
        if gathered:
            why = gathered["why"].splitlines()
            if len(why) < MOST_LINES:
                why.append(fit([f"{time.strftime('%H:%M:%S', time.localtime(event.at))} {event.message}"]))
            self._database.execute(
                "UPDATE alerts SET count = count + 1, why = ?, over_at = ? WHERE id = ?", ["\n".join(why), wall, gathered["id"]]
            )
            return
        # A hub has the events of many boxes.
        whose = "" if event.hostname == self._hostname else f"{event.hostname}: "
        sentence = fit([f"{whose}{event.message}"])
        cursor = self._database.execute(
            "INSERT INTO alerts (rule, subject, kind, severity, since, began_at, over_at, sentence, log, advice, outcome) "
            "VALUES (?, ?, 'event', ?, ?, ?, ?, ?, ?, ?, 'event')",
            [name, event.subject(), rule.severity, event.at, wall, wall, sentence, log, rule.advice],
        )
        self._note(events.ALERT_BEGAN, (name, event.subject()), rule, f"Alert {name}: {sentence}")
        if self.is_silenced(name, event.subject(), wall):
            return
        # Never in a future that a clock step created.
        sql = "SELECT messaged_at FROM rules WHERE rule = ? AND messaged_at <= ?"
        row = self._database.execute(sql, [name, wall]).fetchone()
        due = max(wall + GATHER_SECONDS, (row["messaged_at"] if row else 0.0) + rule.cooldown_seconds)
        self._database.execute("INSERT INTO gathering VALUES (?, 'event', ?, ?)", [name, due, cursor.lastrowid])

    # Messages to come

    def gather(self, key: Key, kind: str, wall: float) -> None:
        """Put an open alert into the next message, unless it is already there or silenced."""
        row = self._database.execute("SELECT id FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NULL", key).fetchone()
        if row and not self.is_gathered(row["id"], kind) and not self.is_silenced(*key, wall):
            self.gather_alert(row["id"], key[0], kind, wall)

    def is_gathered(self, alert: int, kind: str) -> bool:
        """Whether the next message of that kind includes this alert."""
        sql = "SELECT 1 FROM gathering WHERE alert = ? AND kind = ?"
        return self._database.execute(sql, [alert, kind]).fetchone() is not None

    def gather_alert(self, alert: int, rule: str, kind: str, wall: float) -> None:
        """Together with the others of this rule and kind, when the first of them is due."""
        row = self._database.execute(
            "SELECT min(due_at) AS due FROM gathering WHERE rule = ? AND kind = ?", [rule, kind]
        ).fetchone()
        last = self._database.execute(
            "SELECT max(created_at) AS at FROM messages WHERE rule = ? AND kind = ? AND created_at <= ?", [rule, kind, wall]
        ).fetchone()["at"]
        own = max(wall + GATHER_SECONDS, (last or 0.0) + AGAIN_SECONDS)
        due = own if row["due"] is None else min(row["due"], own)
        self._database.execute("INSERT OR IGNORE INTO gathering VALUES (?, ?, ?, ?)", [rule, kind, due, alert])

    def is_silenced(self, rule: str, subject: str, wall: float) -> bool:
        """Whether a silence suppresses its messages now."""
        rows = self._database.execute("SELECT rule, subject FROM silences WHERE until > ?", [wall])
        return any(fits(row["rule"], rule) and fits(row["subject"], subject) for row in rows)

    def _note(self, event: events.Event, key: Key, rule: Alert, sentence: str, **more: str) -> None:
        fields = {"RULE": key[0], "SUBJECT": key[1], "SEVERITY": rule.severity, **more}
        self._changes.append((event, sentence, fields))

    def publish(self) -> None:
        """Report the database's changes to the journal."""
        for event, sentence, fields in self._changes:
            events.emit(event, sentence, **fields)
        self._changes.clear()
