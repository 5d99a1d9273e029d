"""livekeep-alerter: evaluates rules over the record and the box, and sends a message when an alert begins, persists, and ends.

Unit: livekeep-alerter.service. Reads: the configuration, record.db (read-only), all states below /run/livekeep, the credential
livekeep.notify, the spool. Writes: alerter/alerts.db and alerter/receipts below /var/lib/livekeep, alerter/state.json.

It waits for the first of these: a write to the record (inotify on its folder), a file in the spool, a configuration change, the
end of a delivery, or the next due time. It also works without a recorder: verdicts need no record.
"""

import logging
import math
import os
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from livekeep.core import config, log, paths, state
from livekeep.core.config import Config
from livekeep.core.config import watch as config_watch
from livekeep.core.config.watch import ConfigWatch
from livekeep.core.errors import TemporaryError
from livekeep.core.inotify import FolderWatch
from livekeep.core.record_states import AlerterState
from livekeep.core.service import Service
from livekeep.record.alerts import channels, gathering, outbox, spool, store
from livekeep.record.alerts.channels import Channel
from livekeep.record.alerts.deliverer import Deliverer
from livekeep.record.alerts.engine import Engine
from livekeep.record.alerts.record import Record
from livekeep.record.alerts.rules import Clock
from livekeep.record.store import schema

FOLDER = store.FILE.parent
WRITE_SECONDS = 30.0
"""Between two state writes when nothing has changed."""
TIDY_SECONDS = 86400.0
RECORD_PAUSE_SECONDS = 0.2
"""Between two checks of a record that is written to continuously."""
WATCH_SECONDS = 30.0
"""Between two attempts to watch a folder that does not exist yet."""

logger = logging.getLogger("livekeep.alerter")


class Alerter:
    """The program's state, and one pass of its work."""

    def __init__(
        self, service: Service, settings: Config, follow: ConfigWatch | None, root: Path = paths.STATE_DIRECTORY
    ) -> None:
        self._service, self._root, self._follow = service, root, follow
        self._database, self._damage = store.open_sound(FOLDER / store.FILE.name, time.time())
        self._spool = FOLDER / "spool"
        self._record = Record(schema.FILE)
        self._engine = Engine(self._database, self._record, root, paths.KEPT_DIRECTORY)
        self._deliverer = Deliverer(self._database, FOLDER / "receipts", service.watch, service.forget)
        self._known: Mapping[str, Channel] = {}
        self._problems: list[str] = []
        self._state = AlerterState(started_at=time.time())
        self._written = -math.inf
        self._tidied = -math.inf
        self._watch: FolderWatch | None = None
        self._watch_due = 0.0
        self._resume_at = math.inf
        self.adopt(settings)

    def adopt(self, settings: Config) -> None:
        log.set_up(settings.log.level)
        self._settings = settings
        secret, problems = channels.read_addresses()
        self._known, more = channels.channels(settings.notify, secret)
        damage = [self._damage] if self._damage else []
        self._problems = [*damage, *problems, *more, *channels.unknown_names(settings.alerts, self._known)]
        for problem in self._problems:
            logger.warning("%s", problem)
        now = clock_now()
        self._engine.adopt(settings, now)
        self._deliverer.adopt(self._known)
        outbox.try_now(self._database, now.wall)

    def reload(self) -> None:
        """For SIGHUP; changes are also picked up automatically."""
        settings = self._follow.changed(anyway=True) if self._follow else config.load()
        if settings:
            self.adopt(settings)

    def one_pass(self, now: float) -> float:
        settings = self._follow.changed() if self._follow else None
        if settings:
            self.adopt(settings)
        clock = clock_now()
        self._watch_folders(now)
        has_more = False
        try:
            has_more = spool.take(self._database, self._spool, self._known, clock.wall) >= spool.MOST_AT_ONCE
        except OSError as error:
            problem = f"{self._spool}: cannot be read ({error.strerror}); run: systemd-tmpfiles --create"
            if problem not in self._problems:
                self._problems.append(problem)
                logger.warning("%s", problem)
        due = [self._engine.one_pass(clock)]
        gathering.flush(self._database, self._engine.rules, self._known, self._engine.finding, self._engine.announced, clock.wall)
        outbox.summarise(self._database, self._known, clock.wall)
        due.append(self._deliverer.one_pass(clock.wall, clock.steady))
        if clock.steady - self._tidied >= TIDY_SECONDS:
            self._tidied = clock.steady
            outbox.give_up_on_gone(self._database, self._known, clock.wall)
            store.tidy(self._database, clock.wall)
        self._write_state(clock)
        message_at = gathering.next_due(self._database)
        if message_at is not None:
            due.append(now + max(message_at - clock.wall, 0.0))
        summary_in = outbox.next_summary(self._database, self._known, clock.wall)
        if summary_in is not None:
            due.append(now + summary_in)
        due += [self._written + WRITE_SECONDS, self._resume_at if self._watch else self._watch_due]
        return now if has_more else max(min(due), now + RECORD_PAUSE_SECONDS / 4)

    def _watch_folders(self, now: float) -> None:
        """Watch the spool and the record's folder; the latter may be created later."""
        if self._watch is not None and now >= self._resume_at:
            self._resume_at = math.inf
            self._service.watch(self._watch, self._pause)
        if self._watch is not None or now < self._watch_due:
            return
        self._watch_due = now + WATCH_SECONDS
        try:
            watch = FolderWatch(FOLDER, ("spool",))
        except TemporaryError as error:
            logger.warning("%s", error)
            return
        if not watch.watch_all(schema.FILE.parent):
            watch.close()
            return
        self._watch = watch
        self._service.watch(watch, self._pause)

    def _pause(self) -> None:
        """Limit wake-ups by a record that is written to continuously to five a second.

        Check once more after the pause: the last write of a transaction comes before others can see the transaction.
        """
        if self._watch is not None:
            self._watch.drain()
            self._service.forget(self._watch)
            self._resume_at = time.monotonic() + RECORD_PAUSE_SECONDS

    def _write_state(self, clock: Clock) -> None:
        problems = [*self._problems, *self._engine.problems.values(), *filter(None, [self._record.problem])]
        fresh = replace(
            self._state,
            problems=tuple(problems),
            rules=len(self._engine.rules),
            channels=len(self._known),
            open=self._engine.open_alerts(clock.wall),
            waiting=outbox.waiting(self._database),
            delivered=self._deliverer.delivered,
            failed=self._deliverer.failed,
            last_delivered_at=self._deliverer.last_delivered_at,
        )
        if fresh != self._state or clock.steady - self._written >= WRITE_SECONDS:
            self._state, self._written = fresh, clock.steady
            state.write(state.stamped(fresh), self._root)
            self._service.status(f"{len(fresh.open)} alerts open, {fresh.waiting} messages waiting")

    def close(self) -> None:
        self._deliverer.close()
        self._engine.events.save(clock_now())


def clock_now() -> Clock:
    return Clock(time.time(), time.monotonic())


def serve() -> int:
    """Run until SIGTERM. Raises `ConfigError` for a faulty configuration."""
    follow = config_watch.follow()
    settings = config.load()
    service = Service()
    try:
        alerter = Alerter(service, settings, follow)
    except (OSError, sqlite3.Error) as error:
        raise TemporaryError(f"{FOLDER}: cannot be used ({error}); see systemctl status livekeep-alerter") from error
    if follow:
        service.watch(follow, follow.drain)
    service.run(alerter.one_pass, alerter.reload)
    alerter.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    match list(sys.argv[1:] if argv is None else argv):
        case []:
            os.umask(0o027)
            return serve()
        case ["--deliver"]:
            # Imported here: it needs much that the service does not.
            from livekeep.record.alerts import delivery  # noqa: PLC0415

            return delivery.main()
        case ["--check-config"]:
            config.load()
            return 0
        case _:
            print("usage: livekeep-alerter [--check-config]", file=sys.stderr)
            return 2
