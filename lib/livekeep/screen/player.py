"""livekeep-player.service: decides which picture belongs on the screen, and tells the display.

Reads: livekeep.toml ([screen]), the poller's state and its secret stream.json, the display's socket, /sys/class/drm.
Writes: /run/livekeep/player/state.json. May ask systemd to restart livekeep-display.service, and nothing else.

It wakes by inotify, by the display's events, and once a second while a stream plays, to see that its position moves.
"""

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from livekeep.core import config as configuration
from livekeep.core import events, log, paths, state
from livekeep.core.errors import TemporaryError
from livekeep.core.inotify import FolderWatch
from livekeep.core.notify import Service
from livekeep.core.state import PlayerState, PollerState, StreamUrl
from livekeep.screen import connectors, pictures
from livekeep.screen.decision import Choice, View, choose, phase_of
from livekeep.screen.line import next_change, next_start_line
from livekeep.screen.mpv import Mpv
from livekeep.screen.session import Session
from livekeep.screen.vlc import Vlc
from livekeep.screen.wire import DisplayGoneError

logger = logging.getLogger("livekeep.player")

STATE_SECONDS = 10.0
ASK_PLAYING_SECONDS = 1.0
ASK_IDLE_SECONDS = 5.0
HUNG_SECONDS = 6.0
NO_OUTPUT_SECONDS = 6.0
POLLER_STALE_SECONDS = 30.0
BETWEEN_RESTARTS_SECONDS = 60.0
DISPLAY_UNIT = "livekeep-display.service"
"""The one unit that polkit lets this program restart."""
MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
RESTART = ("/usr/bin/busctl", "--quiet", "call", *MANAGER, "RestartUnit", "ss", DISPLAY_UNIT, "replace")


class Player:
    """The player's memory between two passes, and its hands: the display, the state file, systemd."""

    def __init__(self, service: Service, root: Path = paths.STATE_DIRECTORY) -> None:
        self.service, self.root = service, root
        self.watch = FolderWatch(root, ("poller",), ("display",))
        service.watch(self.watch, self.watch.drain)
        self.config_problem = ""
        self.config = configuration.Config()
        self.read_config()
        self.display: Mpv | Vlc | None = None
        self.session = Session()
        self.poller: PollerState | None = None
        self.poller_gone_monotonic: float | None = time.monotonic()
        self.choice = Choice("none", "Waiting for the display")
        self.shown: state.Picture = "none"
        self.shown_since = time.time()
        self.slides = pictures.Slides(self.config.screen.holding, self.config.screen.slideshow_seconds)
        self.asked_monotonic = 0.0
        self.figures_monotonic = 0.0
        self.connected_monotonic = 0.0
        self.restarted_monotonic = float("-inf")
        self.restarts = 0
        self.restart_call = 0
        self.connectors = connectors.Watch(self.config.screen.connector)
        self.written: PlayerState | None = None
        self.write_failed = False

    def read_config(self) -> None:
        """Take the configuration; with an error in it, the good part of it, and the error goes on the screen."""
        self.config, problems = configuration.load_leniently()
        self.config_problem = problems[0] if problems else ""
        log.set_up(self.config.log.level)
        for problem in problems:
            logger.error("%s", problem)

    def reload(self) -> None:
        self.read_config()
        self.slides = pictures.Slides(self.config.screen.holding, self.config.screen.slideshow_seconds)

    def one_pass(self, now: float) -> float:
        """One pass of work; gives when the next is due at the latest."""
        self.read_poller(now)
        self.take_restart_answer()
        self.reach_display(now)
        if self.display is not None and self.display.is_known:
            self.follow_stream(self.display, now)
            self.choose(now)
            self.show(self.display, now)
            self.write_line(self.display)
        self.write_state(now)
        return self.next_pass(now)

    def next_pass(self, now: float) -> float:
        if self.display is None:
            return now + ASK_IDLE_SECONDS
        ask = ASK_IDLE_SECONDS if is_idle(self.display) else ASK_PLAYING_SECONDS
        due = [self.asked_monotonic + ask, self.session.not_before if self.session.not_before > now else now + ask]
        if self.display.waiting_since is not None:
            due = [self.display.waiting_since + HUNG_SECONDS]
        if self.shown == "holding":
            due.append(self.slides.next_change())
            if self.config.screen.show_next_start and self.poller and not self.choice.says_reason:
                wall = time.time()
                due.append(now + next_change(self.poller.next_start, wall) - wall)
        return max(min(due), now + 0.02)

    # What is known

    def read_poller(self, now: float) -> None:
        """Take the poller's state; None when it is absent, broken or stuck, and then since when."""
        try:
            found = state.read(PollerState, self.root)
        except TemporaryError as error:
            found = None
            if not isinstance(error, state.StateAbsentError) and self.poller is not None:
                logger.warning("%s", error)
        if found and now - found.written_monotonic > max(POLLER_STALE_SECONDS, 3 * self.config.poller.interval_seconds):
            found = None
        if found is not None:
            self.poller_gone_monotonic = None
        elif self.poller_gone_monotonic is None:
            self.poller_gone_monotonic = now
        self.poller = found

    def reach_display(self, now: float) -> None:
        """Connect to the display, take in what it says, ask it when due, and have it restarted when it hangs."""
        if self.display is None:
            self.connect(now)
        if self.display is None:
            return
        try:
            self.display.receive()
            self.ask_display(self.display, now)
        except DisplayGoneError as error:
            logger.info("display: %s", error)
            self.drop_display()

    def connect(self, now: float) -> None:
        kind: type[Mpv | Vlc] = Vlc if self.config.screen.player == "vlc" else Mpv
        try:
            self.display = kind(self.root / f"display/{kind.name}.sock")
        except DisplayGoneError:
            return
        self.connected_monotonic = self.asked_monotonic = now
        self.service.watch(self.display, lambda: None)
        self.session = Session(counts=self.session.counts)

    def drop_display(self) -> None:
        if self.display is None:
            return
        self.service.forget(self.display)
        self.display.close()
        self.display = None
        self.note_shown("none", Choice("none", "The display is not running"))

    def ask_display(self, display: Mpv | Vlc, now: float) -> None:
        if self.drives_the_tv() and self.connectors.came_back(now) and now - self.restarted_monotonic > BETWEEN_RESTARTS_SECONDS:
            events.emit(
                events.DISPLAY_RECONNECTED,
                f"The TV on {self.connectors.name} is back: the display starts anew",
                CONNECTOR=self.connectors.name,
            )
            self.restart_display(now)
            return
        if display.waiting_since is not None and now - display.waiting_since > HUNG_SECONDS:
            seconds = now - display.waiting_since
            sentence = f"{display.name} has not answered for {seconds:.0f} s: it is started anew"
            events.emit(events.DISPLAY_HUNG, sentence, SECONDS=f"{seconds:.1f}")
            self.restart_display(now)
            return
        if display.has_output is False and now - self.connected_monotonic > NO_OUTPUT_SECONDS:
            logger.error("%s has no output on the screen: it is ended, so that it starts anew", display.name)
            display.quit()
            return
        due = ASK_IDLE_SECONDS if is_idle(display) else ASK_PLAYING_SECONDS
        if display.waiting_since is None and now - self.asked_monotonic >= due - 0.01:
            with_figures = not is_idle(display) and now - self.figures_monotonic >= STATE_SECONDS
            display.ask(with_figures)
            self.asked_monotonic = now
            self.figures_monotonic = now if with_figures else self.figures_monotonic

    def drives_the_tv(self) -> bool:
        """Whether the display owns the output itself; on a desktop the desktop sees to a TV that comes back."""
        return self.config.screen.resolved_output() == "drm"

    def restart_display(self, now: float) -> None:
        """Ask systemd to restart the display; the answer is not waited for."""
        self.restarted_monotonic = now
        self.restarts += 1
        self.restart_call = os.posix_spawn(RESTART[0], RESTART, os.environ)
        self.drop_display()

    def take_restart_answer(self) -> None:
        """Take in how the call for a restart ended."""
        if not self.restart_call:
            return
        pid, status = os.waitpid(self.restart_call, os.WNOHANG)
        if pid and status:
            logger.error("%s: cannot be restarted; is polkit running? See /etc/polkit-1/rules.d/livekeep.rules", DISPLAY_UNIT)
        if pid:
            self.restart_call = 0

    # What to do

    def follow_stream(self, display: Mpv | Vlc, now: float) -> None:
        """Notice that the stream plays, stalled or ended, and wish for a fresh URL where that helps."""
        phase = phase_of(display.stream, now, self.config.screen.stall_seconds)
        seconds = now - display.stream.changed_monotonic
        outcome = self.session.follow(phase, display.stream, now)
        if outcome == "stalled":
            position = display.stream.position_seconds
            sentence = f"The stream has stood still for {seconds:.0f} s: the holding picture is shown and a fresh URL asked for"
            events.emit(events.STREAM_STALLED, sentence, POSITION=position, SECONDS=f"{seconds:.1f}")
        elif outcome == "failed":
            sentence = f"The stream could not be started (attempt {self.session.failures}): trying again"
            events.emit(events.STREAM_START_FAILED, sentence, ATTEMPT=self.session.failures)

    def choose(self, now: float) -> None:
        gone = 0.0 if self.poller_gone_monotonic is None else now - self.poller_gone_monotonic
        self.choice = choose(View(self.poller, gone, self.session.phase, self.choice, self.config_problem))

    def show(self, display: Mpv | Vlc, now: float) -> None:
        """Bring the display to show the choice; start the stream when its URL is at hand."""
        self.slides.advance(now, self.shown == "holding")
        if display.failed_picture:
            self.slides.reject(display.failed_picture)
            logger.error("%s: cannot be shown; is it a picture? The next best is shown", display.failed_picture)
            display.failed_picture = ""
        if self.choice.picture == "stream":
            if self.session.phase in ("none", "ended", "stalled"):
                self.start_stream(display, now)
        elif display.stream.stage in ("loading", "running"):
            self.session.close()
        if not self.session.is_open:
            self.show_still(display)
        shown = self.picture_on(display)
        waiting = self.choice.picture == "stream" and shown != "stream"
        self.note_shown(shown, Choice(shown, "The stream is live, but gives no picture now") if waiting else self.choice)

    def start_stream(self, display: Mpv | Vlc, now: float) -> None:
        obtained = self.poller.url_obtained_monotonic if self.poller and self.poller.state == "live" else None
        if not self.session.may_start(obtained, now):
            return
        try:
            secret = state.read(StreamUrl, self.root)
        except TemporaryError as error:
            logger.warning("%s", error)
            self.session.wish_for("start", now)
            return
        self.session.open()
        display.show_stream(secret.url, self.slides.present())

    def show_still(self, display: Mpv | Vlc) -> None:
        wanted = self.slides.error_picture(self.config.screen.error) if self.choice.picture == "error" else self.slides.present()
        if display.wanted == wanted and display.stream.stage in ("none", "ended"):
            return
        if wanted:
            display.show_picture(wanted)
        else:
            display.show_nothing()

    def picture_on(self, display: Mpv | Vlc) -> state.Picture:
        if display.current == "stream":
            return "stream"
        if display.current == "":
            return "none"
        return "error" if display.current == self.slides.error_picture(self.config.screen.error) else "holding"

    def write_line(self, display: Mpv | Vlc) -> None:
        if self.shown == "stream":
            display.write(())
        elif self.shown in (self.choice.picture, "none") or self.choice.picture == "stream":
            display.write(self.lines())

    def lines(self) -> tuple[str, ...]:
        """The text that belongs on the picture."""
        if self.choice.says_reason:
            return (self.choice.reason, *([f"Run: {self.choice.advice}"] if self.choice.advice else []))
        if self.config.screen.show_next_start and self.poller and self.choice.picture == "holding":
            line = next_start_line(self.poller.next_start, time.time())
            return (line,) if line else ()
        return ()

    # What others see

    def note_shown(self, picture: state.Picture, choice: Choice) -> None:
        if picture == self.shown:
            return
        sentence = f"On the screen: {picture}. {choice.reason}"
        events.emit(events.PICTURE_CHANGED, sentence, PICTURE=picture, PREVIOUS=self.shown, REASON=choice.reason)
        self.shown, self.shown_since = picture, time.time()

    def write_state(self, now: float) -> None:
        """Write the state when it changed in more than its figures, and every ten seconds."""
        display = self.display
        lines = self.lines() if display and self.shown != "stream" else ()
        fresh = PlayerState(
            picture=self.shown,
            since=self.shown_since,
            reason=self.choice.reason,
            advice=self.choice.advice,
            line=" · ".join(lines),
            picture_file=display.current if display and self.shown in ("holding", "error") else "",
            display_up=display is not None and display.has_output is not False,
            display_restarts=self.restarts,
            wish=self.session.wish,
        )
        if self.written and now - self.written.written_monotonic < STATE_SECONDS and fresh == without_figures(self.written):
            return
        playback = display.figures() if display else state.Playback()
        changed = display.stream.changed_monotonic if display and display.stream.stage == "running" else None
        counted = dataclasses.replace(
            playback,
            position_changed_at=None if changed is None else time.time() - (now - changed),
            **dataclasses.asdict(self.session.counts),
        )
        self.written = state.stamped(dataclasses.replace(fresh, playback=counted))
        try:
            state.write(self.written, self.root)
            self.write_failed = False
        except TemporaryError as error:
            if not self.write_failed:
                logger.error("%s", error)  # noqa: TRY400 – the sentence says it all
            self.write_failed = True
        self.service.status(f"{self.shown}: {self.choice.reason}")


def is_idle(display: Mpv | Vlc) -> bool:
    return display.stream.stage in ("none", "ended")


def without_figures(written: PlayerState) -> PlayerState:
    return dataclasses.replace(written, playback=state.Playback(), written_at=0.0, written_monotonic=0.0)


def main(argv: Sequence[str] | None = None) -> int:
    if "--check-config" in (sys.argv[1:] if argv is None else argv):
        configuration.load()
        return 0
    service = Service()
    player = Player(service)
    service.run(player.one_pass, player.reload)
    state.remove(PlayerState)
    return 0
