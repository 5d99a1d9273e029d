"""The rules at work: what each finds, what follows from it (`rules`), and what is written of it. Time is passed in.

An alert and what will be told of it are written in one transaction, with the position in the record's events; so a kill at any
moment neither loses a word nor says it twice. Open alerts stay open over restarts and are not announced again.
"""

import hashlib
import logging
import math
import socket
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from livekeep.core import events, health
from livekeep.core.config import Config
from livekeep.core.errors import TemporaryError
from livekeep.core.record_config import RECORDER, Alert
from livekeep.core.record_states import OpenAlert, RecorderState
from livekeep.core.state import StateAbsentError, StateBrokenError
from livekeep.record.alerts import conditions, event_rules, gathering, outbox
from livekeep.record.alerts.event_rules import Event, Position
from livekeep.record.alerts.record import Record, fit, lines_of_session, lines_of_unit, lines_of_units
from livekeep.record.alerts.rules import Clock, Ended, Finding, Standing, decide, fits
from livekeep.record.alerts.verdict import RECORDER_STALE_SECONDS, verdict

GATHER_SECONDS = 2.0
"""So long does a message wait for others of the same rule."""
AGAIN_SECONDS = 60.0
"""And so long when the rule has just sent one."""
MOST_LINES = 20
SAVE_SECONDS = 60.0
"""Between two notes of a position at which nothing happened: the card wears."""
VERDICT_SECONDS = 5.0
QUIET_SECONDS = {"failures": 15.0, "slow": 15.0, "figure": 15.0, "regression": 3600.0}
"""Between two looks at a record in which nothing is new: its windows move on."""
SHARE_OF_TIME = 0.02
"""Of a processor, at most, for one rule: what takes long is asked less often."""
GRACE_SECONDS = 60.0
"""After a start the recorder may need so long to catch up; nothing is called absent before."""
MOST_BATCHES = 4
STEP_SECONDS = 5.0
"""A wall clock that is so far from where it should be has been set."""

Key = tuple[str, str]
"""A rule's name and a subject."""

logger = logging.getLogger("livekeep.alerter")


@dataclass(frozen=True)
class Change:
    """An alert that began or is over, for the events."""

    is_begin: bool
    rule: str
    subject: str
    severity: str
    sentence: str
    seconds: float = 0.0


class Engine:
    """`standings` has every condition that holds or held just now; those that are open are in the database, too."""

    def __init__(self, database: sqlite3.Connection, record: Record, root: Path, kept: Path) -> None:
        self._database, self._record, self._root, self._kept = database, record, root, kept
        self._settings = Config()
        self.rules: dict[str, Alert] = {}
        self.standings: dict[Key, Standing] = {}
        self._found: dict[Key, Finding] = {}
        self._due: dict[str, float] = {}
        self._cost: dict[str, float] = {}
        self._position = self._read_position()
        self._saved = -math.inf
        self._noted = self._position
        self._changes: list[Change] = []
        self._started = time.monotonic()
        self._offset: float | None = None
        self._hostname = socket.gethostname()
        for row in database.execute("SELECT * FROM alerts WHERE over_at IS NULL"):
            key = row["rule"], row["subject"]
            self.standings[key] = Standing(is_open=True, announced_at=row["announced_at"], times=row["times"])
            self._found[key] = Finding(row["subject"], row["sentence"], row["since"], row["why"], row["log"])

    # Rules

    def adopt(self, settings: Config, clock: Clock) -> None:
        """Follow these rules from now on. What is open of a rule that is no longer there ends without a word."""
        before, self._settings = self.rules, settings
        self.rules = {name: rule for name, rule in settings.alerts.items() if rule.enabled}
        kinds = {name: rule.kind for name, rule in before.items()}
        self._database.execute("BEGIN IMMEDIATE")
        for name, rule in self.rules.items():
            self._note_rule(name, rule, clock.wall)
            gathering.bound(self._database, name, rule.cooldown_seconds + AGAIN_SECONDS, clock.wall)
        for key in list(self.standings):
            rule_now = self.rules.get(key[0])
            if rule_now is None or kinds.get(key[0], rule_now.kind) != rule_now.kind:
                self._remove(key, clock.wall)
        self._database.execute("COMMIT")
        judged = {name: rule for name, rule in self.rules.items() if rule.kind != "event"}
        self._due = {name: self._due.get(name, 0.0) if rule == before.get(name) else 0.0 for name, rule in judged.items()}

    def _note_rule(self, name: str, rule: Alert, wall: float) -> None:
        watched = (rule.kind, rule.machine, rule.function, rule.call_kind, rule.session, rule.unit)
        digest = hashlib.sha256(repr(watched).encode()).hexdigest()[:16]
        self._database.execute(
            "INSERT INTO rules (rule, digest, first_at) VALUES (?, ?, ?) ON CONFLICT (rule) DO UPDATE SET "
            "digest = excluded.digest, first_at = excluded.first_at WHERE digest <> excluded.digest OR first_at < ?",
            [name, digest, wall, conditions.PLAUSIBLE if wall >= conditions.PLAUSIBLE else 0.0],
        )

    def _remove(self, key: Key, wall: float) -> None:
        self.standings.pop(key)
        self._found.pop(key, None)
        self._database.execute(
            "DELETE FROM gathering WHERE alert IN (SELECT id FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NULL)", key
        )
        self._database.execute(
            "UPDATE alerts SET over_at = ?, outcome = 'removed' WHERE rule = ? AND subject = ? AND over_at IS NULL", [wall, *key]
        )

    # A pass

    def one_pass(self, clock: Clock) -> float:
        """Judge what is new and what is due; when to be called again at the latest, steady seconds."""
        self._notice_step(clock)
        has_changed = False
        with self._record.guarded():
            has_changed = self._record.has_changed()
        has_more = self._judge_events(clock) if has_changed or self._position is None else False
        for name in list(self._due):
            rule = self.rules[name]
            if has_changed and rule.kind not in ("verdict", "regression"):
                self._due[name] = min(self._due.get(name, 0.0), clock.steady + self._pause(name))
            if clock.steady >= self._due.get(name, 0.0):
                self._judge(name, rule, clock)
        self._announce(clock)
        self._tell()
        return clock.steady if has_more else min(self._due.values(), default=math.inf)

    def _notice_step(self, clock: Clock) -> None:
        """A clock that was set must not let messages wait for as long as it was wrong."""
        before, self._offset = self._offset, clock.wall - clock.steady
        if before is not None and abs(self._offset - before) > STEP_SECONDS:
            logger.warning("The clock was set by %.0f s", self._offset - before)
            gathering.shift(self._database, self._offset - before)
            outbox.shift(self._database, self._offset - before)

    def _pause(self, name: str) -> float:
        return max(self._cost.get(name, 0.0) / SHARE_OF_TIME, 0.5 if self._cost else 0.0)

    def _tell(self) -> None:
        """Write to the journal what is in the database."""
        for change in self._changes:
            fields = {"RULE": change.rule, "SUBJECT": change.subject, "SEVERITY": change.severity}
            if change.is_begin:
                events.emit(events.ALERT_BEGAN, f"Alert {change.rule}: {change.sentence}", **fields)
            else:
                sentence = f"Alert {change.rule} is over: {change.sentence}"
                events.emit(events.ALERT_OVER, sentence, **fields, SECONDS=f"{change.seconds:.0f}")
        self._changes.clear()

    # Events

    def _read_position(self) -> Position | None:
        row = self._database.execute("SELECT record, arrival, newest FROM positions WHERE name = 'events'").fetchone()
        return Position(*row) if row else None

    def _judge_events(self, clock: Clock) -> bool:
        """Judge each event that has arrived; whether there are more."""
        for _batch in range(MOST_BATCHES):
            read = self._read_events()
            if read is None:
                return False
            hits, self._position, has_more = read
            if hits:
                self._database.execute("BEGIN IMMEDIATE")
                for name, event, log in hits:
                    self._add_event(name, self.rules[name], event, log, clock.wall)
                self._save_position(clock)
                self._database.execute("COMMIT")
            elif clock.steady - self._saved >= SAVE_SECONDS:
                self._save_position(clock)
            if not has_more:
                return False
        return True

    def _read_events(self) -> tuple[list[tuple[str, Event, str]], Position, bool] | None:
        """The next events that rules are about, with their last lines; the position behind them; whether there are more."""
        rules = [(name, rule) for name, rule in self.rules.items() if rule.kind == "event"]
        with self._record.guarded():
            record = self._record.connection()
            if record is None:
                return None
            if self._position is None:
                # What happened before there was an alerter is no news.
                return [], event_rules.end(record, self._record.identity), False
            found, position = event_rules.unjudged(record, self._record.identity, self._position)
            pairs = [(name, event) for event in found for name, rule in rules if event_rules.matches(rule, event)]
            return (
                [(name, event, log_of(record, event)) for name, event in pairs],
                position,
                len(found) >= event_rules.MOST_AT_ONCE,
            )
        return None

    def save(self, clock: Clock) -> None:
        """Note what need not be judged again after the next start."""
        self._save_position(clock)

    def _save_position(self, clock: Clock) -> None:
        position = self._position
        if position and position != self._noted:
            self._noted = position
            self._database.execute(
                "INSERT OR REPLACE INTO positions VALUES ('events', ?, ?, ?)",
                [position.record, position.arrival, position.newest],
            )
            self._saved = clock.steady

    def _add_event(self, name: str, rule: Alert, event: Event, log: str, wall: float) -> None:
        """An event's alert is over as it begins; those that come until the next message are one."""
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
        self._changes.append(Change(True, name, event.subject(), rule.severity, sentence))
        if self.is_silenced(name, event.subject(), wall):
            return
        messaged = self._messaged_at(name, wall)
        due = max(wall + GATHER_SECONDS, messaged + rule.cooldown_seconds)
        self._database.execute("INSERT INTO gathering VALUES (?, 'event', ?, ?)", [name, due, cursor.lastrowid])

    def _messaged_at(self, name: str, wall: float) -> float:
        """When the rule last sent a message; not in a future that a clock's step has made."""
        row = self._database.execute("SELECT messaged_at FROM rules WHERE rule = ?", [name]).fetchone()
        return row["messaged_at"] if row and row["messaged_at"] <= wall else 0.0

    # Conditions

    def _judge(self, name: str, rule: Alert, clock: Clock) -> None:
        """One rule, all its subjects. What cannot be told leaves all as it is."""
        began = time.monotonic()
        found = self._findings(name, rule, clock)
        self._cost[name] = time.monotonic() - began
        quiet = VERDICT_SECONDS if rule.kind == "verdict" else QUIET_SECONDS.get(rule.kind, GRACE_SECONDS)
        self._due[name] = clock.steady + max(quiet, self._pause(name))
        if found is None:
            return
        by_subject = {finding.subject: finding for finding in found}
        subjects = {subject for rule_name, subject in self.standings if rule_name == name} | set(by_subject)
        for subject in sorted(subjects):
            self._follow(name, rule, subject, by_subject.get(subject), clock)

    def _findings(self, name: str, rule: Alert, clock: Clock) -> list[Finding] | None:
        """None when it cannot be told."""
        if rule.kind == "verdict":
            try:
                return verdict(rule, self._root, self._kept, self._settings.probes, clock.wall)
            except TemporaryError as error:
                logger.warning("alerts.%s: cannot be judged: %s", name, error)
                return None
        found: list[Finding] | None = None
        with self._record.guarded():
            record = self._record.connection()
            if record is not None:
                found = self._in_record(record, name, rule, clock)
        return found

    def _in_record(self, record: sqlite3.Connection, name: str, rule: Alert, clock: Clock) -> list[Finding] | None:
        if rule.kind == "figure":
            return conditions.figure(record, rule, clock.wall, self._settings.record.sample_seconds)
        if rule.kind != "absent":
            return conditions.OF_CALLS[rule.kind](record, rule, clock.wall)
        if not self._has_caught_up(clock):
            self._due[name] = clock.steady + 1.0
            return None
        first = self._database.execute("SELECT first_at FROM rules WHERE rule = ?", [name]).fetchone()["first_at"]
        due = conditions.due_of_absent(record, rule, clock.wall, first)
        self._due[name] = min(self._due[name], clock.steady + due) if due > 0 else self._due[name]
        return conditions.absent(record, rule, clock.wall, first)

    def _has_caught_up(self, clock: Clock) -> bool:
        """Whether the recorder has written since it started; after a while without that, the record is taken as it is."""
        if clock.steady - self._started >= GRACE_SECONDS:
            return True
        found = health.look(RecorderState, self._root)
        if isinstance(found, StateAbsentError | StateBrokenError):
            return False
        return clock.steady - found.written_monotonic < RECORDER_STALE_SECONDS and found.last_commit_at is not None

    def _follow(self, name: str, rule: Alert, subject: str, finding: Finding | None, clock: Clock) -> None:
        key = (name, subject)
        standing = self.standings.get(key, Standing())
        ended = None if standing.is_open or finding is None else self._ended(key)
        decision = decide(rule, standing, finding is not None, ended, clock)
        if decision.wait is not None:
            self._due[name] = min(self._due[name], clock.steady + decision.wait)
        if finding:
            self._found[key] = finding
        match decision.action:
            case "begin" if finding:
                self._begin(
                    key, rule, self._completed(finding, rule, decision.standing, clock), decision.standing.times, clock.wall
                )
            case "over":
                self._over(key, rule, clock.wall)
            case "remind":
                self._gather(key, "reminder", clock.wall)
        if decision.standing == Standing():
            self.standings.pop(key, None)
            self._found.pop(key, None)
        else:
            self.standings[key] = decision.standing

    def _completed(self, finding: Finding, rule: Alert, standing: Standing, clock: Clock) -> Finding:
        """With since when it has been so, and the last lines, for a verdict."""
        if rule.kind != "verdict" or standing.bad_since is None:
            return finding
        since = clock.wall - (clock.steady - standing.bad_since)
        log = ""
        with self._record.guarded():
            record = self._record.connection()
            if record is not None:
                log = lines_of_units(record, units_of(finding.subject), since - 600)
        return replace(finding, since=since, log=log)

    def _ended(self, key: Key) -> Ended | None:
        row = self._database.execute(
            "SELECT over_at, times FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NOT NULL AND outcome = 'over' "
            "ORDER BY over_at DESC LIMIT 1",
            key,
        ).fetchone()
        return Ended(row["over_at"], row["times"]) if row else None

    def _begin(self, key: Key, rule: Alert, finding: Finding, times: int, wall: float) -> None:
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
        self._found[key] = finding
        self._changes.append(Change(True, *key, rule.severity, finding.sentence))

    def _over(self, key: Key, rule: Alert, wall: float) -> None:
        row = self._database.execute(
            "SELECT * FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NULL ORDER BY id DESC", key
        ).fetchone()
        if row is None:
            return
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("UPDATE alerts SET over_at = ?, outcome = 'over' WHERE id = ?", [wall, row["id"]])
        self._database.execute("DELETE FROM gathering WHERE alert = ? AND kind = 'reminder'", [row["id"]])
        was_told = row["announced_at"] is not None or self._is_gathered(row["id"], "begin")
        if was_told and not self.is_silenced(*key, wall):
            self._gather_alert(row["id"], key[0], "over", wall)
        self._database.execute("COMMIT")
        self._changes.append(Change(False, *key, rule.severity, row["sentence"], max(wall - row["since"], 0.0)))

    # What will be told

    def _announce(self, clock: Clock) -> None:
        """Gather what is open and was never told of, unless it is silenced: at the end of a silence, too."""
        for key, standing in self.standings.items():
            if standing.is_open and standing.announced_at is None and not self.is_silenced(*key, clock.wall):
                self._gather(key, "begin", clock.wall)

    def _gather(self, key: Key, kind: str, wall: float) -> None:
        row = self._database.execute("SELECT id FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NULL", key).fetchone()
        if row and not self._is_gathered(row["id"], kind) and not self.is_silenced(*key, wall):
            self._gather_alert(row["id"], key[0], kind, wall)

    def _is_gathered(self, alert: int, kind: str) -> bool:
        sql = "SELECT 1 FROM gathering WHERE alert = ? AND kind = ?"
        return self._database.execute(sql, [alert, kind]).fetchone() is not None

    def _gather_alert(self, alert: int, rule: str, kind: str, wall: float) -> None:
        """With the others of this rule and kind, at the time that was set for the first of them."""
        row = self._database.execute(
            "SELECT min(due_at) AS due FROM gathering WHERE rule = ? AND kind = ?", [rule, kind]
        ).fetchone()
        last = self._database.execute(
            "SELECT max(created_at) AS at FROM messages WHERE rule = ? AND kind = ? AND created_at <= ?", [rule, kind, wall]
        ).fetchone()["at"]
        own = max(wall + GATHER_SECONDS, (last or 0.0) + AGAIN_SECONDS)
        due = own if row["due"] is None else min(row["due"], own)
        self._database.execute("INSERT OR IGNORE INTO gathering VALUES (?, ?, ?, ?)", [rule, kind, due, alert])

    def announced(self, alerts: Sequence[int], wall: float) -> None:
        """A message of these has been made."""
        for row in self._database.execute(
            f"SELECT rule, subject FROM alerts WHERE over_at IS NULL AND id IN ({','.join(map(str, alerts))})"  # noqa: S608
        ):
            key = row["rule"], row["subject"]
            if key in self.standings:
                self.standings[key] = replace(self.standings[key], announced_at=wall)

    def is_silenced(self, rule: str, subject: str, wall: float) -> bool:
        rows = self._database.execute("SELECT rule, subject FROM silences WHERE until > ?", [wall])
        return any(fits(row["rule"], rule) and fits(row["subject"], subject) for row in rows)

    def finding(self, key: Key) -> Finding | None:
        """What an open alert's rule found last."""
        return self._found.get(key)

    def open_alerts(self, wall: float) -> tuple[OpenAlert, ...]:
        """For the state, the gravest first."""
        found = []
        for key, standing in self.standings.items():
            rule, finding = self.rules.get(key[0]), self._found.get(key)
            if standing.is_open and rule and finding:
                row = self._database.execute(
                    "SELECT since FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NULL", key
                ).fetchone()
                since = row["since"] if row else finding.since
                silenced = self.is_silenced(*key, wall)
                found.append(OpenAlert(*key, rule.severity, since, finding.sentence, rule.advice, silenced))  # type: ignore[arg-type]
        ranks = {"critical": 0, "warning": 1, "info": 2}
        return tuple(sorted(found, key=lambda alert: (ranks[alert.severity], -alert.since)))


def units_of(subject: str) -> str:
    """The units whose last lines say most about a subject of a verdict, as a pattern."""
    if subject == RECORDER:
        return f"{RECORDER}*"
    kind, _, channel = subject.partition(" ")
    return f"livekeep-worker@{channel}.service" if kind == "channel" else "livekeep-[pde]*"


def log_of(record: sqlite3.Connection, event: Event) -> str:
    """The last lines before an event: of its session, or of its unit."""
    return lines_of_session(record, event.session) if event.session else lines_of_unit(record, event.unit, event.id)
