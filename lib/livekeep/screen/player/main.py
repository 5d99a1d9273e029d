"""livekeep-player.service: decides which picture belongs on the screen, and makes the display show it.

Reads: livekeep.toml ([screen]), the poller's state and its secret stream.json, the states of livekeep-tv and livekeep-firstboot,
the display's socket, /sys/class/drm.
Writes: /run/livekeep/player/state.json, and open.json beside it, which tells its next run which stream is open.
Has permission to request a restart of livekeep-display.service, and nothing else.

It wakes by inotify, by the display's events, and while a stream plays once a second, to check that its position changes.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from livekeep.core import config as configuration
from livekeep.core import events, log, paths, state
from livekeep.core.errors import TemporaryError
from livekeep.core.inotify import FolderWatch
from livekeep.core.service import Service
from livekeep.core.state import OpenStream, Picture, PlayerState, PollerState, StreamPicture, StreamUrl, TvState
from livekeep.screen.display.pictures import BLACK, Slides
from livekeep.screen.player.card_notice import CardNotice
from livekeep.screen.player.decision import CAMERA, NO_MOVING_PICTURE, Choice, choose
from livekeep.screen.player.display_connection import DisplayConnection
from livekeep.screen.player.display_socket import DisplayGoneError
from livekeep.screen.player.driver import Driver
from livekeep.screen.player.next_start_text import next_change, next_start_text
from livekeep.screen.player.playback_session import PlaybackSession
from livekeep.screen.player.state_publisher import StatePublisher

logger = logging.getLogger("livekeep.player")

POLLER_STALE_SECONDS = 30.0
"""The poller writes its state every ten seconds, even if it polls less often."""
NOTHING_CHOSEN = Choice("none", "Waiting for the display")


class Player:
    """The player's state between passes."""

    def __init__(self, service: Service, root: Path = paths.STATE_DIRECTORY) -> None:
        self.root = root
        self.watch = FolderWatch(root, ("poller", "firstboot", "tv"), ("display",))
        service.watch(self.watch, self.watch.drain)
        self.config, problems = configuration.load_leniently()
        self.config_problem = problems[0] if problems else ""
        self.use_settings()
        for problem in problems:
            logger.error("%s", problem)
        self.connection = DisplayConnection(service, root, self.config.screen)
        self.publisher = StatePublisher(service, root)
        self.session = PlaybackSession()
        self.card = CardNotice(root)
        self.poller: PollerState | None = None
        self.tv: TvState | None = None
        self.poller_gone_monotonic: float | None = time.monotonic()
        self.choice = NOTHING_CHOSEN
        self.chosen_for = ""
        """The source of the stream that `choice` applies to."""
        self.stream_picture: StreamPicture = ""
        self.lines: tuple[str, ...] = ()

    def reload(self) -> None:
        """Apply a changed configuration; one with an error is ignored."""
        fresh, problems = configuration.load_leniently()
        if problems:
            listed = "; ".join(problems)
            sentence = f"The new configuration is refused, the old one stays: {listed}"
            events.emit(events.CONFIG_REJECTED, sentence, PROBLEMS=listed)
            return
        self.config, self.config_problem = fresh, ""
        self.use_settings()
        self.connection.watch_connector(fresh.screen)

    def use_settings(self) -> None:
        log.set_up(self.config.log.level)
        self.slides = Slides(self.config.screen.holding, self.config.screen.slideshow_seconds)
        # A folder that can't be watched, such as on a network share, is checked in each pass.
        for folder in {Path(path).parent for path in self.pictures()}:
            self.watch.watch_contents(folder)

    def pictures(self) -> tuple[str, ...]:
        """The owner's pictures by path: the holding pictures, then the error picture."""
        return (*self.config.screen.holding, self.config.screen.error)

    def one_pass(self, now: float) -> float:
        """One pass of work; returns when the next is due at the latest."""
        self.read_poller(now)
        self.tv = None
        # Without a readable state, the TV has its picture.
        with contextlib.suppress(TemporaryError):
            self.tv = state.read(TvState, self.root)
        if self.connection.reach(self.config.screen, now):
            # The stream that the previous run opened on this run of the display; "" if unknown.
            display, source = self.connection.display, ""
            with contextlib.suppress(TemporaryError):
                opened = state.read(OpenStream, self.root)
                source = opened.source if display and opened.display == display.run else ""
            self.session = PlaybackSession(self.session.counts, source)
        try:
            self.serve(now)
        except DisplayGoneError as error:
            self.connection.drop(error)
        if self.connection.display is None:
            self.lines = ()
            if self.tv and self.tv.is_dark:
                self.choice = self.choose(now)
            self.publisher.note_shown("none", "The display is not running")
        fresh = PlayerState(
            reason=self.choice.reason,
            advice=self.choice.advice,
            line=" · ".join(self.lines),
            picture_problems=tuple(filter(None, map(self.slides.problem, self.pictures()))),
            stream_picture=self.stream_picture if self.connection.display else "",
            url_request=self.session.url_request,
            display_released=self.has_released(),
        )
        self.publisher.write(fresh, self.connection, self.session.counts, now)
        return self.next_pass(now)

    def serve(self, now: float) -> None:
        """Make the display show the right picture. Raises `DisplayGoneError` if it ends meanwhile."""
        display = self.connection.display
        if display is None or not display.is_known:
            return
        self.follow_stream(display, now)
        self.check_picture(display, now)
        self.choice = self.choose(now)
        self.show(display, now)
        self.write_lines(display, now)

    def choose(self, now: float) -> Choice:
        """The choice for the selected stream; ignores state, picture and choice of any other stream."""
        gone = 0.0 if self.poller_gone_monotonic is None else now - self.poller_gone_monotonic
        phase, previous = self.session.phase, self.choice
        if self.poller is not None:
            phase = phase if self.session.is_of(self.poller.source) else "none"
            previous = previous if self.chosen_for == self.poller.source else NOTHING_CHOSEN
            self.chosen_for = self.poller.source
        return choose(self.poller, gone, phase, previous, self.config_problem, self.stream_picture, self.tv)

    def has_released(self) -> bool:
        """Whether the output can be switched off: the picture is black, and on the bare console nothing holds the screen."""
        display = self.connection.display
        if display is None or not self.tv or not self.tv.is_dark or self.picture_on(display) != "none":
            return False
        return display.is_released or self.config.screen.resolved_output() != "drm"

    def next_pass(self, now: float) -> float:
        due = [self.connection.next_due(now)]
        if self.session.not_before > now:
            due.append(self.session.not_before)
        due += [self.slides.next_change(), self.card.next_change(now)]
        shows_start = self.config.screen.show_next_start and self.publisher.shown == "holding" and not self.choice.says_reason
        if shows_start and self.poller:
            wall = time.time()
            due.append(now + next_change(self.poller.next_start, wall) - wall)
        return max(min(due), now + 0.02)

    def read_poller(self, now: float) -> None:
        """Read the poller's state; if it is absent, broken or stuck, None, and note since when."""
        poller = None
        try:
            poller = state.read(PollerState, self.root)
        except state.StateAbsentError:
            pass
        except TemporaryError as error:
            if self.poller is not None:
                logger.warning("%s", error)
        if poller and now - poller.written_monotonic > POLLER_STALE_SECONDS:
            poller = None
        if poller is not None:
            self.poller_gone_monotonic = None
        elif self.poller_gone_monotonic is None:
            self.poller_gone_monotonic = now
        self.poller = poller

    def follow_stream(self, display: Driver, now: float) -> None:
        """Detect that the stream plays, stalled or ended, and request a fresh URL where that helps."""
        self.session.follow(display.stream, now, self.config.screen.stall_seconds)
        if self.session.phase == "stalled":
            seconds = now - display.stream.changed_monotonic
            sentence = (
                f"The stream has stood still for {seconds:.0f} s: the holding picture is shown, and a fresh URL is requested"
            )
            position = display.stream.position_seconds
            events.emit(events.STREAM_STALLED, sentence, POSITION=position, SECONDS=f"{seconds:.1f}")
        elif self.session.phase == "failed":
            sentence = f"The stream could not be started (attempt {self.session.failures}): trying again"
            events.emit(events.STREAM_START_FAILED, sentence, ATTEMPT=self.session.failures)

    def check_picture(self, display: Driver, now: float) -> None:
        """Check the stream's picture; reopen a stream that has gained video, to show it."""
        if self.session.phase != "playing":
            self.stream_picture = ""
            return
        previous, screen = self.stream_picture, self.config.screen
        judged = display.motion.judge(now, screen.blank_seconds, screen.frozen_seconds)
        self.stream_picture = "none" if display.has_picture is False else judged
        if self.stream_picture != previous and self.stream_picture in NO_MOVING_PICTURE:
            logger.warning("The stream plays, but %s; %s", NO_MOVING_PICTURE[self.stream_picture], CAMERA)
        has_new = display.new_picture_at is not None and now >= display.new_picture_at
        if has_new and self.session.is_open and self.poller and self.poller.state == "live":
            logger.info("The stream has a picture now: it is opened again")
            self.session.reopen(now)

    def show(self, display: Driver, now: float) -> None:
        """Make the display show the choice; start the stream when its URL is available."""
        self.slides.advance(now, self.publisher.shown == "holding")
        if display.failed_picture:
            self.slides.reject(display.failed_picture)
            logger.error("%s: cannot be shown; is it a picture, and whole? The next best is shown", display.failed_picture)
            display.failed_picture = ""
        if self.choice.picture == "stream":
            self.show_stream(display, now)
        elif self.session.is_open:
            self.session.close()
        if not self.session.is_open:
            self.show_still(display, now)
        is_blank = self.choice.picture == "none" and self.tv is not None and self.tv.method == "blank"
        display.release(is_blank and self.config.screen.resolved_output() == "drm")
        shown = self.picture_on(display)
        is_awaited = self.choice.picture == "stream" and shown != "stream" and self.stream_picture != "none"
        self.publisher.note_shown(shown, "The stream is live, but gives no picture now" if is_awaited else self.choice.reason)

    def show_stream(self, display: Driver, now: float) -> None:
        """Open the stream unless it is open; replaces a stream of another source as soon as the new URL is available."""
        if self.poller is None or self.poller.state != "live":
            return
        self.session.turn_to(self.poller.source)
        if self.session.is_open or not self.session.may_start(self.poller.url_obtained_monotonic, now):
            return
        try:
            secret = state.read(StreamUrl, self.root)
        except TemporaryError as error:
            logger.warning("%s", error)
            self.session.request_url("start", now)
            return
        if secret.source != self.poller.source:
            # The poller already has another stream's URL: its state follows.
            return
        self.session.open()
        # Without the file the next run reopens the stream; with a wrong one it would keep the wrong stream.
        state.remove(OpenStream, self.root)
        display.show_stream(secret.url, self.slides.present())
        try:
            state.write(state.stamped(OpenStream(self.session.source, display.run)), self.root)
        except TemporaryError as error:
            logger.warning("%s", error)

    def show_still(self, display: Driver, now: float) -> None:
        is_error, is_off = self.choice.picture == "error", self.choice.picture == "none"
        wanted = self.slides.error_picture(self.config.screen.error) if is_error else self.slides.present()
        wanted = self.slides.black() if is_off else wanted
        is_lost = display.is_empty(now)
        if display.wanted != self.slides.given:
            self.slides.give(display.wanted, display.started)
        is_outdated = self.slides.is_outdated(wanted)
        if display.wanted == wanted and display.stream.phase in ("none", "ended") and not is_lost and not is_outdated:
            return
        if is_lost:
            logger.warning("%s shows nothing instead of its picture, which is loaded again", display.name)
        if wanted:
            display.show_picture(wanted, "" if is_off else self.slides.shipped(is_error))
            self.slides.give(wanted)
        else:
            display.show_nothing()

    def picture_on(self, display: Driver) -> Picture:
        if display.current == "stream":
            return "stream"
        if display.current in ("", BLACK):
            return "none"
        error = self.slides.error_picture(self.config.screen.error)
        # If one file serves for both, it is the chosen picture.
        if display.current == error and (self.choice.picture == "error" or display.current != self.slides.present()):
            return "error"
        return "holding"

    def write_lines(self, display: Driver, now: float) -> None:
        """Write the text for the picture; not while another picture is still on the screen."""
        choice, shown = self.choice, self.publisher.shown
        if shown == "stream" or choice.picture == "none":
            self.lines = ()
        elif shown in (choice.picture, "none") or choice.picture == "stream":
            self.lines = self.card.lines(now, shown != "none")
            if choice.says_reason:
                # The advice is a command to run, or a sentence.
                is_command = choice.advice.startswith("sudo ")
                advice = f"Run: {choice.advice}" if is_command else choice.advice[:1].upper() + choice.advice[1:]
                self.lines += (choice.reason, advice) if advice else (choice.reason,)
            elif self.config.screen.show_next_start and self.poller and choice.picture == "holding":
                line = next_start_text(self.poller.next_start, time.time())
                self.lines += (line,) if line else ()
        display.write(self.lines)


def main(argv: Sequence[str] | None = None) -> int:
    if "--check-config" in (sys.argv[1:] if argv is None else argv):
        configuration.load()
        return 0
    service = Service()
    player = Player(service)
    service.run(player.one_pass, player.reload)
    state.remove(PlayerState)
    return 0
