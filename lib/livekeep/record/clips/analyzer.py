"""livekeep-clips.service: fetches the clips of the configured sources, keeps snapshots of their counters, detects take-offs.

Reads livekeep.toml ([clips.NAME], [analyzer], [vimeo]) and the credentials livekeep.vimeo-token and livekeep.youtube-api-key;
writes clips.db (snapshots.py), clips/state.json (core/record_states.py) and events. A run is a recorded session named "clip
analysis", with the steps fetch, snapshot, score and publish. A failing source does not stop the others; the error is in the
state, not among systemd's failed units.
"""

import argparse
import logging
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from livekeep.core import config, events, log, state
from livekeep.core.config import Config
from livekeep.core.config.record import Clips
from livekeep.core.errors import TemporaryError
from livekeep.core.record_states import ClipsState, HotClip
from livekeep.record import progress_step, session
from livekeep.record.clips import show, snapshots, sources
from livekeep.record.clips.clip import Clip, SourceError
from livekeep.record.clips.ranking import Ranking, Result
from livekeep.record.clips.snapshots import Snapshots
from livekeep.system import terminal

logger = logging.getLogger("livekeep.clips")

SESSION = "clip analysis"
MOST_HOT = 20
"""Clips in the state."""
NO_SOURCE = "no source of clips is configured"
ADD_SOURCE = "add a table [clips.NAME] to livekeep.toml; see docs/how-to/clips.md"


class NothingFetchedError(TemporaryError):
    """No source could be read: the session failed."""


@dataclass
class Run:
    """The results of one run so far."""

    clips: int = 0
    hot: list[HotClip] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    advice: str = ""
    failed: int = 0


class Analyzer:
    """One run over all sources, started at `now` (Unix seconds)."""

    def __init__(self, settings: Config, connection: sqlite3.Connection, now: float) -> None:
        self._settings, self._now = settings, now
        self._snapshots = Snapshots(connection)
        self._ranking = Ranking(connection, self._snapshots)
        self.run = Run()

    def run_all(self) -> ClipsState:
        """Read each source; return the results. Raises `OSError` and `sqlite3.Error`."""
        wanted = self._settings.clips
        try:
            with session(SESSION, total=len(wanted)) as run:
                for name in run.track(sorted(wanted)):
                    self._read_source(name, wanted[name])
                result = self._publish()
                self._judge_session(result)
        except NothingFetchedError as error:
            logger.warning("no source could be read: %s", error)
        return result

    def _judge_session(self, result: ClipsState) -> None:
        if result.outcome == "failed":
            raise NothingFetchedError(result.reason)

    def _read_source(self, name: str, source: Clips) -> None:
        number = self._snapshots.source(name)
        try:
            clips = fetch(source, self._settings)
        except SourceError as error:
            self._note_failure(number, name, error)
            return
        # Waiting for a low rate limit may have taken minutes.
        count = snapshot(self._snapshots, number, clips, time.time())
        result = score(self._ranking, number)
        self.run.clips += len(clips)
        hot = [(clip, it) for clip, it in result.ranked if it.is_hot]
        self.run.hot += [HotClip(name, clip.clip, clip.name, clip.link, round(it.score, 2), it.reason) for clip, it in hot]
        for clip, begun in result.began:
            sentence = f"{clip.name or clip.clip}: takes off: {begun.reason}"
            fields = {"CLIP": clip.clip, "NAME": clip.name, "SOURCE": name, "SCORE": f"{begun.score:.1f}"}
            events.emit(events.CLIP_TAKES_OFF, sentence, **fields, REASON=begun.reason, LINK=clip.link)
        self._snapshots.note_outcome(number, "succeeded", "", "", self._now)
        logger.info("%s: %d clips, %d of them changed, %d take off", name, len(clips), count, len(result.began))

    def _note_failure(self, number: int, name: str, error: SourceError) -> None:
        self.run.failed += 1
        self.run.problems.append(f"{name}: {error}")
        self.run.advice = self.run.advice or error.advice
        # Alternating network errors are reported once.
        if self._snapshots.outcome(number) != ("failed", error.advice):
            sentence = f"The clips of {name} cannot be fetched: {error}" + (f"; {error.advice}" if error.advice else "")
            events.emit(events.CLIPS_FAILED, sentence, SOURCE=name, REASON=str(error))
        self._snapshots.note_outcome(number, "failed", str(error), error.advice, self._now)
        # A take-off of an unread source continues until its next read.
        self.run.hot += [HotClip(name, *rest) for rest in self._ranking.going_on(number)]

    @progress_step(weight=1, name="publish")
    def _publish(self) -> ClipsState:
        """Write the state, and tidy the database."""
        wanted, run = self._settings.clips, self.run
        self._snapshots.forget_others(wanted, self._now)
        self._snapshots.tidy(self._now, self._settings.analyzer.snapshot_days)
        result = ClipsState(
            ran_at=self._now,
            interval_seconds=self._settings.analyzer.interval_seconds,
            outcome="succeeded" if not run.failed else "partly" if run.failed < len(wanted) else "failed",
            reason="; ".join(run.problems),
            advice=run.advice,
            sources=len(wanted),
            clips=run.clips,
            hot=tuple(sorted(run.hot, key=lambda it: -it.score)[:MOST_HOT]),
        )
        state.write(state.stamped(result))
        return result


@progress_step(weight=6)
def fetch(source: Clips, settings: Config) -> list[Clip]:
    """The clips of one source. Raises `SourceError`."""
    return sources.fetch(source, settings)


@progress_step(weight=1)
def snapshot(snapshots: Snapshots, source: int, clips: Sequence[Clip], now: float) -> int:
    return snapshots.take(source, clips, now)


@progress_step(weight=2)
def score(ranking: Ranking, source: int) -> Result:
    return ranking.rank(source)


def analyze() -> int:
    """One run. Raises `TemporaryError` when database or state cannot be written."""
    # Invalid keys have their defaults here; livekeep check-config reports them.
    settings, _problems = config.load_leniently()
    log.set_up(settings.log.level)
    # A unit has the folder already; a manual run, such as in a test, creates it.
    for folder in (state.path_of(ClipsState).parent, snapshots.FILE.parent):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    now = time.time()
    if not settings.clips:
        nothing = ClipsState(ran_at=now, interval_seconds=settings.analyzer.interval_seconds, reason=NO_SOURCE, advice=ADD_SOURCE)
        state.write(state.stamped(nothing))
        return 0
    try:
        connection = snapshots.open_for_writing()
        try:
            Analyzer(settings, connection, now).run_all()
        finally:
            connection.close()
    except sqlite3.Error as error:
        file = snapshots.FILE
        sentence = f"{file}: cannot be used ({error})"
        if (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            # Only the newest damaged one is kept.
            aside = file.replace(file.with_name(f"{file.name}.damaged"))
            file.with_name(f"{file.name}-journal").unlink(missing_ok=True)
            sentence = f"{file}: was damaged ({error}), and is set aside as {aside.name}; the next run begins a new one"
        failed = ClipsState(
            ran_at=now,
            interval_seconds=settings.analyzer.interval_seconds,
            outcome="failed",
            reason=sentence,
            advice="see: df -h /var",
            sources=len(settings.clips),
        )
        state.write(state.stamped(failed))
        raise TemporaryError(sentence) from error
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="livekeep clips", description="The clips that take off, and all others.")
    subcommands = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND")
    show.add_arguments(subcommands)
    subcommands.add_parser("analyze", help="read the clips now, in this process, as livekeep-clips.service does")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(all=False, source="")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    if arguments.subcommand == "analyze":
        return analyze()
    return terminal.exit_code(lambda: show.run(arguments))
