"""The alerter's engine over a box's record, with the test's clock."""

import dataclasses

from livekeep.core.config import Config
from livekeep.core.config.record import Alert
from livekeep.record.alerts import gathering, store
from livekeep.record.alerts.channels import Channel
from livekeep.record.alerts.engine import Engine
from livekeep.record.alerts.record import Record
from livekeep.record.alerts.rules import Clock
from tests.record.alert_box import Box

NOW = 1_800_000_000.0
EVERYBODY = {"me": Channel("me", file="/nowhere", limit_per_hour=10_000)}


class Watched:
    """An engine over a box's record, with the test's clock."""

    def __init__(self, box: Box, rules: dict[str, Alert], now: float = NOW) -> None:
        self.box, self.clock = box, Clock(now, 1000.0)
        self.database = store.open_for_writing(box.root / "var/lib/livekeep/alerter/alerts.db")
        self.settings = dataclasses.replace(Config(), alerts=rules)
        self.begin()

    def begin(self) -> None:
        """Like a start of the alerter."""
        self.record = Record(self.box.root / "var/lib/livekeep/record/record.db")
        self.engine = Engine(self.database, self.record, self.box.root / "run/livekeep", self.box.root / "var/lib/livekeep")
        self.engine.adopt(self.settings, self.clock)
        self.engine.one_pass(self.clock)

    def pass_time(self, seconds: float, step: float = 5.0) -> None:
        """Evaluate repeatedly, and make the due messages."""
        end = self.clock.steady + seconds
        while self.clock.steady < end:
            self.one_pass(Clock(self.clock.wall + step, self.clock.steady + step))

    def one_pass(self, clock: Clock) -> None:
        self.clock = clock
        self.engine.one_pass(clock)
        gathering.flush(self.database, self.engine.rules, EVERYBODY, self.engine.finding, self.engine.announced, clock.wall)

    def messages(self) -> list[tuple[str, str]]:
        return [(row["kind"], row["title"]) for row in self.database.execute("SELECT kind, title FROM messages ORDER BY id")]

    def kinds(self) -> list[str]:
        return [kind for kind, _title in self.messages()]

    def texts(self) -> list[str]:
        return [row["text"] for row in self.database.execute("SELECT text FROM messages ORDER BY id")]
