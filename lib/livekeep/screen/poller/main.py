"""livekeep-poller: asks Vimeo, or checks a plain URL, whether the selected stream is live.

Unit: livekeep-poller.service. Reads: the configuration, the token (credential livekeep.vimeo-token), the player's URL
request in player/state.json. Writes: poller/state.json and the secret stream/stream.json (`state_publisher`).

The main loop only decides; requests run in threads with a deadline (`background_request`). `vimeo` and `stream_check` interpret
responses, `transitions` derives the next state, `backoff` schedules the next request, and `recovery` decides when a stream that
stalled or ended can be reopened.
"""

import contextlib
import logging
import os
import random
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from systemd import id128

from livekeep.core import config, events, log, paths, state
from livekeep.core.config import Config
from livekeep.core.errors import ConfigError, TemporaryError
from livekeep.core.inotify import FolderWatch
from livekeep.core.service import Service
from livekeep.core.state import OpenStream, PlayerState, PollerState
from livekeep.screen.poller import backoff, stream_check, transitions
from livekeep.screen.poller.background_request import BackgroundRequest
from livekeep.screen.poller.backoff import Intervals, RateShare
from livekeep.screen.poller.recovery import NEVER, StreamRecovery
from livekeep.screen.poller.state_publisher import WRITE_SECONDS, StatePublisher
from livekeep.screen.poller.token_and_schedule import TokenAndSchedule, read_token
from livekeep.screen.poller.vimeo import Answer, Api, Verdict, outage
from livekeep.system.http import Client

if TYPE_CHECKING:
    from livekeep.screen.poller.network_fault import NetworkFault

LEAST_PAUSE_SECONDS = 1.0
"""Between the starts of two polls, regardless of who requests the second."""
ANSWER_SECONDS = 1.5
SHOWN_SECONDS = 30.0
"""An older player state doesn't describe the screen: the player writes it every ten seconds."""
CHECK_SECONDS = 2.0
"""Time limit for the playlist of a stream that is about to start; a longer playlist belongs to a stream that continues."""
KEY_OF_SOURCES = uuid.UUID("34f597da-16a4-4541-ac26-7fd38ad9492e")
"""sd_id128_get_machine_app_specific(3): the published id of a stream's source must not reveal the machine's id."""

logger = logging.getLogger("livekeep.poller")


class Poller:
    """The program's state, and one pass of its work."""

    def __init__(self, service: Service, settings: Config, root: Path) -> None:
        self.root, self.settings = root, settings
        try:
            self.source_key = bytes(id128.get_machine_app_specific(KEY_OF_SOURCES).bytes)
        except OSError:
            # A machine without an id: the key is for this run.
            self.source_key = os.urandom(16)
        self.publisher = StatePublisher(root, service.status)
        self.polls: BackgroundRequest[Answer] = BackgroundRequest("poll", self.new_client, service.wake)
        self.checks: BackgroundRequest[Answer] = BackgroundRequest("check", self.new_client, service.wake)
        self.token_and_schedule = TokenAndSchedule(self.new_client, service.wake)
        self.verdict: Verdict | None = None
        self.failures = 0
        """How often in a row `verdict` was the same failure."""
        self.network_fault: NetworkFault | None = None
        """As found at the beginning of the poll in flight, after a poll that failed."""
        self.rate_share = RateShare()
        self.recovery = StreamRecovery()
        self.due = 0.0
        self.held_until = 0.0
        self.requested_monotonic = -NEVER
        self.has_new_url_request = True
        self.is_new_stream = True
        self.adopt(settings)

    # Configuration

    def adopt(self, settings: Config) -> None:
        """Begin to follow the selected stream; the previous stream's state stays until the first response."""
        log.set_up(settings.log.level)
        self.settings, self.stream = settings, settings.selected_stream()
        token, problem = read_token()
        self.source = (self.stream, settings.stream.selected, settings.vimeo, token)
        self.stream_source = transitions.source_of(self.stream, self.source_key)
        self.api = Api(settings.vimeo.api_url, token)
        self.obstacle = transitions.not_askable(self.stream, token, problem)
        if self.obstacle:
            cause, reason, advice = self.obstacle
            blank = transitions.changed(self.blank(), "unknown", cause, reason, advice, time.time())
            self.publisher.publish(blank)

    def reload(self) -> None:
        """Reload configuration and token, and poll now; a faulty configuration changes nothing."""
        try:
            settings = config.load()
        except ConfigError as error:
            sentence = f"The new configuration is refused, the old one stays: {error.problems[0]}"
            events.emit(events.CONFIG_REJECTED, sentence, PROBLEMS="; ".join(error.problems))
            return
        previous = self.source
        self.adopt(settings)
        self.verdict, self.failures = None, 0
        self.polls.drop()
        if self.source != previous:
            self.checks.drop()
            self.is_new_stream = True
            self.recovery.forget()
            self.held_until = 0.0
            self.rate_share = RateShare()
            self.token_and_schedule.forget()
        self.due = max(time.monotonic(), self.held_until)

    def new_client(self) -> Client:
        return Client(self.settings.vimeo.proxy)

    def blank(self) -> PollerState:
        """Nothing is known of the selected stream; the counters continue."""
        name, kind = self.settings.stream.selected, transitions.kind_of(self.stream)
        return PollerState(selected=name, source=self.stream_source, kind=kind, requests=self.publisher.now.requests)

    # A pass

    def one_pass(self, now: float) -> float:
        self.take_poll(now)
        self.take_check(now)
        self.read_url_request(now)
        self.start_poll(now)
        self.start_check(now)
        self.serve_token_and_schedule(now)
        if now >= self.write_due():
            self.publisher.write()
        return self.next_pass()

    def write_due(self) -> float:
        """When the state must be written even without a change; a request in flight will soon cause a write anyway."""
        return self.publisher.written_monotonic + WRITE_SECONDS + (ANSWER_SECONDS if self.polls.is_busy else 0.0)

    def next_pass(self) -> float:
        moments = [self.polls.deadline, self.checks.deadline, self.token_and_schedule.request.deadline, self.write_due()]
        if not self.obstacle and not self.polls.is_busy:
            moments.append(self.due)
        if not self.checks.is_busy:
            moments.append(self.recovery.check_due())
        if self.may_request_more():
            moments.append(self.token_and_schedule.due(self.publisher.now.state))
        return min(moments)

    # Poll

    def start_poll(self, now: float) -> None:
        if self.obstacle or now < self.due or self.polls.is_busy:
            return
        api, stream, seconds = self.api, self.stream, self.settings.poller.timeout_seconds
        is_shown, is_checked, may_lack_network = self.is_shown(now), self.recovery.attempt is not None, self.verdict == "outage"
        self.requested_monotonic, self.network_fault = now, None

        def poll(client: Client, deadline: float) -> Answer:
            if may_lack_network:
                self.network_fault = find_network_fault()
            began = time.monotonic()
            answer = stream_check.ask(client, stream.url, deadline, is_shown) if stream.url else api.ask(client, stream, deadline)
            answer = replace(answer, seconds=time.monotonic() - began)
            if answer.verdict != "live" or stream.url or is_shown or is_checked:
                return answer
            # Another client keeps this one's connection to the API.
            with contextlib.closing(self.new_client()) as other:
                check = stream_check.check(other, answer.url, min(deadline, time.monotonic() + CHECK_SECONDS))
            if check.cause != "ended":
                return answer
            # The player would replay the ended event from its beginning.
            return replace(
                answer, verdict="offline", cause="ended", reason="The stream has ended according to its playlist", url=""
            )

        server = stream_check.SERVER if stream.url else "Vimeo's API"
        late = outage("timeout", f"no answer within {seconds:g} s", server)
        self.polls.start(poll, replace(late, seconds=seconds), seconds)

    def is_shown(self, now: float) -> bool:
        """Whether the player has this stream's picture on the screen without a fault."""
        try:
            player = state.read(PlayerState, self.root)
            opened = state.read(OpenStream, self.root)
        except TemporaryError:
            return False
        is_fresh = now - player.written_monotonic < SHOWN_SECONDS
        return is_fresh and player.picture == "stream" and player.url_request is None and opened.source == self.stream_source

    def poll_now(self, now: float) -> None:
        """Poll as soon as permitted."""
        self.due = min(self.due, max(now, self.requested_monotonic + LEAST_PAUSE_SECONDS, self.held_until))

    def take_poll(self, now: float) -> None:
        taken = self.polls.take(now)
        if not taken:
            return
        (answer, began), wall = taken, time.time()
        if answer.verdict == "outage" and self.network_fault:
            answer = replace(answer, reason=self.network_fault.reason, advice=self.network_fault.advice)
        base = self.blank() if self.is_new_stream else self.publisher.now
        self.is_new_stream = False
        is_failure = answer.verdict in ("outage", "refused", "rate-limited")
        before = self.failures if answer.verdict == self.verdict else 0
        self.verdict, self.failures = answer.verdict, before + 1 if is_failure else 0
        base = replace(base, requests=transitions.counted(base.requests, answer.outcome, answer.seconds))
        self.rate_share.note(answer.limits, base.requests.duration_count)
        fresh = transitions.judged(base, answer, self.settings.poller.failures_before_error, wall)
        fresh, url = self.recovery.after_answer(base, fresh, answer, self.stream_source, now, wall)
        fresh = self.token_and_schedule.after_answer(fresh, wall)
        wait = backoff.delay(
            answer.verdict, self.failures, self.intervals(), fresh.next_start, answer.limits, wall, random.uniform
        )
        self.due = max((now if is_failure else began) + wait, began + LEAST_PAUSE_SECONDS)
        self.held_until = self.due if backoff.is_held(answer.verdict, answer.limits, wall) else 0.0
        outcome = (answer.verdict, answer.outcome, answer.seconds, self.due - now)
        logger.debug("polled: %s (%s) in %.3f s; again in %.1f s", *outcome)
        if (fresh.state, fresh.cause) != (base.state, base.cause):
            self.token_and_schedule.refresh_schedule(now)
        self.publisher.publish(replace(fresh, next_request_monotonic=self.due), url)

    def intervals(self) -> Intervals:
        wanted, near_start = self.settings.poller.interval_seconds, self.settings.poller.near_start_interval_seconds
        if isinstance(wanted, str):
            return Intervals(self.rate_share.interval_seconds(), near_start, self.rate_share.sharers)
        return Intervals(wanted, near_start)

    # Recovery

    def read_url_request(self, now: float) -> None:
        """Act once on each URL request of the player that is newer than its URL."""
        if not self.has_new_url_request or self.obstacle:
            return
        self.has_new_url_request = False
        try:
            request = state.read(PlayerState, self.root).url_request
        except TemporaryError:
            return
        if self.recovery.begin(request, self.publisher.now.url_obtained_monotonic, now, now < self.held_until):
            logger.debug("the player requests a URL (%s)", request.reason if request else "")
            self.poll_now(now)

    def start_check(self, now: float) -> None:
        url = "" if self.checks.is_busy else self.recovery.url_to_check(now)
        if url:
            seconds = self.settings.poller.timeout_seconds
            late = outage("timeout", f"no answer within {seconds:g} s", stream_check.SERVER)
            self.checks.start(lambda client, deadline: stream_check.check(client, url, deadline), late, seconds)

    def take_check(self, now: float) -> None:
        taken = self.checks.take(now)
        if not taken:
            return
        step = self.recovery.after_check(self.publisher.now, taken[0], now, time.time(), now < self.held_until)
        if step is None:
            self.poll_now(now)
        elif step != (self.publisher.now, None):
            self.publisher.publish(*step)

    # Token and schedule

    def may_request_more(self) -> bool:
        has_answer = not self.is_new_stream and self.verdict != "outage" and time.monotonic() >= self.held_until
        return has_answer and not self.obstacle and not self.stream.url

    def serve_token_and_schedule(self, now: float) -> None:
        known, poller = self.publisher.now, self.settings.poller
        fresh = self.token_and_schedule.take(known, now, time.time())
        if fresh is not None:
            if fresh.next_start != known.next_start and self.failures == 0:
                verdict: Verdict = "live" if fresh.state == "live" else "offline"
                wait = backoff.regular(verdict, self.intervals(), fresh.next_start, time.time())
                self.due = max(min(self.due, self.requested_monotonic + wait), self.held_until)
            self.publisher.publish(replace(fresh, next_request_monotonic=self.due))
        if self.may_request_more():
            self.token_and_schedule.start(self.api, self.stream, self.publisher.now.state, poller.timeout_seconds, now)


def find_network_fault() -> "NetworkFault | None":
    # Only now: its D-Bus library would cost memory in normal operation.
    from livekeep.screen.poller import network_fault  # noqa: PLC0415

    return network_fault.find()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM. `--check-config` only reads the configuration. Raises `ConfigError` if it is faulty."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments not in ([], ["--check-config"]):
        print("usage: livekeep-poller [--check-config]", file=sys.stderr)
        return 2
    settings = config.load()
    if arguments:
        return 0
    service = Service()
    poller = Poller(service, settings, paths.STATE_DIRECTORY)
    watch = FolderWatch(paths.STATE_DIRECTORY, ("player",))

    def note_player() -> None:
        watch.drain()
        poller.has_new_url_request = True

    service.watch(watch, note_player)
    service.run(poller.one_pass, poller.reload)
    poller.publisher.forget()
    return 0
