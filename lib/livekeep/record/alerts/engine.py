"""Runs the rules: evaluates each, decides (`rules`), and stores the result (`ledger`). Time is passed in.

Open alerts stay open over restarts and are not announced again.
"""

import logging
import math
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from livekeep.core import state
from livekeep.core.config import Config
from livekeep.core.config.record import RECORDER, Alert
from livekeep.core.errors import TemporaryError
from livekeep.core.record_states import OpenAlert, RecorderState
from livekeep.core.state import StateAbsentError, StateBrokenError
from livekeep.record.alerts import conditions
from livekeep.record.alerts.event_judge import EventJudge
from livekeep.record.alerts.ledger import AGAIN_SECONDS, Key, Ledger
from livekeep.record.alerts.record import Record, lines_of_units
from livekeep.record.alerts.rules import Clock, Finding, Standing, decide
from livekeep.record.alerts.verdict import RECORDER_STALE_SECONDS, findings

VERDICT_SECONDS = 5.0
QUIET_SECONDS = {"failures": 15.0, "slow": 15.0, "figure": 15.0, "regression": 3600.0}
"""Between two checks of a record without new rows: its windows move on."""
SHARE_OF_TIME = 0.02
"""The largest share of a processor for one rule: slow rules are evaluated less often."""
GRACE_SECONDS = 60.0
"""The recorder may need this long to catch up after a start; nothing counts as absent before."""
STEP_SECONDS = 5.0
"""A wall clock that differs by more than this has been set."""

logger = logging.getLogger("livekeep.alerter")


class Engine:
    """`standings` holds every condition that holds or held recently; open ones are in the database, too."""

    def __init__(self, database: sqlite3.Connection, record: Record, root: Path, kept: Path) -> None:
        self._database, self._record, self._root, self._kept = database, record, root, kept
        self._settings = Config()
        self.rules: dict[str, Alert] = {}
        self.standings: dict[Key, Standing] = {}
        self.problems: dict[str, str] = {}
        """Errors of rules that cannot be evaluated now, by name."""
        self._newest: dict[Key, Finding] = {}
        self._due: dict[str, float] = {}
        self._cost: dict[str, float] = {}
        self._ledger = Ledger(database)
        self.events = EventJudge(database, record, self._ledger)
        self._started = time.monotonic()
        self._offset: float | None = None
        for row in database.execute("SELECT * FROM alerts WHERE over_at IS NULL"):
            key = row["rule"], row["subject"]
            self.standings[key] = Standing(is_open=True, announced_at=row["announced_at"], times=row["times"])
            self._newest[key] = Finding(row["subject"], row["sentence"], row["since"], row["why"], row["log"])

    # Rules

    def adopt(self, settings: Config, clock: Clock) -> None:
        """Use these rules from now on. Open alerts of a removed rule end without a message."""
        before, self._settings = self.rules, settings
        self.rules = {name: rule for name, rule in settings.alerts.items() if rule.enabled}
        kinds = {name: rule.kind for name, rule in before.items()}
        self._database.execute("BEGIN IMMEDIATE")
        for name, rule in self.rules.items():
            self._ledger.note_rule(name, rule, clock.wall)
            # Whatever the clock did meanwhile.
            latest = clock.wall + rule.cooldown_seconds + AGAIN_SECONDS
            self._database.execute("UPDATE gathering SET due_at = min(due_at, ?) WHERE rule = ?", [latest, name])
        for key in list(self.standings):
            rule_now = self.rules.get(key[0])
            if rule_now is None or kinds.get(key[0], rule_now.kind) != rule_now.kind:
                self._ledger.remove(key, clock.wall)
                self.standings.pop(key)
                self._newest.pop(key, None)
        self._database.execute("COMMIT")
        self.problems = {name: problem for name, problem in self.problems.items() if name in self.rules}
        judged = {name: rule for name, rule in self.rules.items() if rule.kind != "event"}
        self._due = {name: self._due.get(name, 0.0) if rule == before.get(name) else 0.0 for name, rule in judged.items()}

    # A pass

    def one_pass(self, clock: Clock) -> float:
        """Evaluate what is new and due; return the latest time for the next call, in steady seconds."""
        before, self._offset = self._offset, clock.wall - clock.steady
        if before is not None and abs(self._offset - before) > STEP_SECONDS:
            # Messages must not wait for as long as the clock was wrong.
            logger.warning("The clock was set by %.0f s", self._offset - before)
            step = [self._offset - before]
            self._database.execute("UPDATE gathering SET due_at = due_at + ?", step)
            self._database.execute("UPDATE deliveries SET due_at = due_at + ? WHERE state = 'waiting'", step)
        has_changed = False
        with self._record.guarded():
            has_changed = self._record.has_changed()
        has_more = self.events.judge(self.rules, clock) if has_changed or self.events.position is None else False
        for name in list(self._due):
            rule = self.rules[name]
            if has_changed and rule.kind not in ("verdict", "regression"):
                self._due[name] = min(self._due.get(name, 0.0), clock.steady + self._pause(name))
            if clock.steady >= self._due.get(name, 0.0):
                self._judge(name, rule, clock)
        # Open alerts that were in no message yet, unless silenced; so they are sent when a silence ends, too.
        for key, standing in self.standings.items():
            if standing.is_open and standing.announced_at is None:
                self._ledger.gather(key, "begin", clock.wall)
        self._ledger.publish()
        return clock.steady if has_more else min(self._due.values(), default=math.inf)

    def _pause(self, name: str) -> float:
        return max(self._cost.get(name, 0.0) / SHARE_OF_TIME, 0.5 if self._cost else 0.0)

    # Conditions

    def _judge(self, name: str, rule: Alert, clock: Clock) -> None:
        """Evaluate one rule for all its subjects. If the condition is unknown, nothing changes."""
        quiet = VERDICT_SECONDS if rule.kind == "verdict" else QUIET_SECONDS.get(rule.kind, GRACE_SECONDS)
        self._due[name] = clock.steady + quiet
        began = time.monotonic()
        findings = self._findings(name, rule, clock)
        self._cost[name] = time.monotonic() - began
        self._due[name] = max(self._due[name], clock.steady + self._pause(name))
        if findings is None:
            return
        by_subject = {finding.subject: finding for finding in findings}
        subjects = {subject for rule_name, subject in self.standings if rule_name == name} | set(by_subject)
        for subject in sorted(subjects):
            self._follow(name, rule, subject, by_subject.get(subject), clock)

    def _findings(self, name: str, rule: Alert, clock: Clock) -> list[Finding] | None:
        """None when the condition is unknown."""
        if rule.kind == "verdict":
            try:
                judged = findings(rule, self._root, self._kept, self._settings.probes, clock.wall)
            except TemporaryError as error:
                problem = f"alerts.{name}: cannot be judged: {error}"
                if self.problems.get(name) != problem:
                    logger.warning("%s", problem)
                self.problems[name] = problem
                return None
            self.problems.pop(name, None)
            return judged
        with self._record.guarded():
            return self._in_record(self._record.connection(), name, rule, clock)
        return None

    def _in_record(self, record: sqlite3.Connection, name: str, rule: Alert, clock: Clock) -> list[Finding] | None:
        if rule.kind == "figure":
            return conditions.figure(record, rule, clock.wall, self._settings.record.sample_seconds)
        if rule.kind != "absent":
            return conditions.OF_CALLS[rule.kind](record, rule, clock.wall)
        if not self._has_caught_up(clock):
            self._due[name] = clock.steady + 1.0
            return None
        late, due = conditions.absent(record, rule, clock.wall, self._ledger.first_at(name))
        if due > 0:
            self._due[name] = min(self._due[name], clock.steady + due)
        return late

    def _has_caught_up(self, clock: Clock) -> bool:
        """Whether the recorder has written since it started. After a grace period the record is used as it is."""
        if clock.steady - self._started >= GRACE_SECONDS:
            return True
        recorder = state.read_or_error(RecorderState, self._root)
        if isinstance(recorder, StateAbsentError | StateBrokenError):
            return False
        return clock.steady - recorder.written_monotonic < RECORDER_STALE_SECONDS and recorder.last_commit_at is not None

    def _follow(self, name: str, rule: Alert, subject: str, finding: Finding | None, clock: Clock) -> None:
        key = (name, subject)
        standing = self.standings.get(key, Standing())
        ended = None if standing.is_open or finding is None else self._ledger.ended(key)
        decision = decide(rule, standing, finding is not None, ended, clock)
        if decision.wait is not None:
            self._due[name] = min(self._due[name], clock.steady + decision.wait)
        if finding:
            self._newest[key] = finding
        match decision.action:
            case "begin" if finding:
                complete = finding
                if rule.kind == "verdict" and decision.standing.bad_since is not None:
                    complete = self._completed(finding, clock.wall - (clock.steady - decision.standing.bad_since))
                self._newest[key] = complete
                self._ledger.begin(key, rule, complete, decision.standing.times, clock.wall)
            case "over":
                self._ledger.over(key, rule, clock.wall)
            case "remind":
                self._ledger.gather(key, "reminder", clock.wall)
        if decision.standing == Standing():
            self.standings.pop(key, None)
            self._newest.pop(key, None)
        else:
            self.standings[key] = decision.standing

    def _completed(self, finding: Finding, since: float) -> Finding:
        """Add a verdict's start and the last log lines."""
        log = ""
        with self._record.guarded():
            # A pattern for the units whose log lines say most about the subject.
            kind, _, channel = finding.subject.partition(" ")
            units = f"livekeep-worker@{channel}.service" if kind == "channel" else "livekeep-[pde]*"
            if finding.subject == RECORDER:
                units = f"{RECORDER}*"
            log = lines_of_units(self._record.connection(), units, since - 600)
        return replace(finding, since=since, log=log)

    # Messages to come

    def announced(self, alerts: Sequence[int], wall: float) -> None:
        """Record that a message with these alerts has been made."""
        for row in self._database.execute(
            f"SELECT rule, subject FROM alerts WHERE over_at IS NULL AND id IN ({','.join(map(str, alerts))})"  # noqa: S608
        ):
            key = row["rule"], row["subject"]
            if key in self.standings:
                self.standings[key] = replace(self.standings[key], announced_at=wall)

    def finding(self, key: Key) -> Finding | None:
        """The newest finding of an open alert."""
        return self._newest.get(key)

    def open_alerts(self, wall: float) -> tuple[OpenAlert, ...]:
        """For the state, the most severe first."""
        alerts = []
        for key, standing in self.standings.items():
            rule, finding = self.rules.get(key[0]), self._newest.get(key)
            if standing.is_open and rule and finding:
                row = self._database.execute(
                    "SELECT since FROM alerts WHERE rule = ? AND subject = ? AND over_at IS NULL", key
                ).fetchone()
                since = row["since"] if row else finding.since
                silenced = self._ledger.is_silenced(*key, wall)
                alerts.append(OpenAlert(*key, rule.severity, since, finding.sentence, rule.advice, silenced))  # type: ignore[arg-type]
        ranks = {"critical": 0, "warning": 1, "info": 2}
        return tuple(sorted(alerts, key=lambda alert: (ranks[alert.severity], -alert.since)))
