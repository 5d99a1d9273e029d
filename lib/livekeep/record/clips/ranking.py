"""From snapshots to the ranking of one source: reads what was played when, has it scored, keeps the take-offs (clips.db)."""

import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from livekeep.record import monitor_execution
from livekeep.record.clips import score, takeoff
from livekeep.record.clips.score import AGE_HOURS, HOUR, AgeCurve, Plays, Window
from livekeep.record.clips.snapshots import MICROSECONDS, KnownClip, Snapshots
from livekeep.record.clips.takeoff import Ranked, Recent, Takeoff

CURVE_SECONDS = 28 * 86400.0
"""So long a past tells of the age curve."""
MOMENTS_SECONDS = 7 * 86400.0
RECENT_HOURS = 3.5
"""By which a take-off that has begun is held against what was usual."""
MOST_RANKED = 100
"""Of each source."""


@dataclass(frozen=True)
class Result:
    """Of one source: what takes off and then other clips, in order; and the take-offs that have just begun."""

    ranked: tuple[tuple[KnownClip, Ranked], ...] = ()
    began: tuple[tuple[KnownClip, Takeoff], ...] = ()


class Ranking:
    def __init__(self, connection: sqlite3.Connection, snapshots: Snapshots) -> None:
        self._db, self._snapshots = connection, snapshots

    @monitor_execution
    def rank(self, source: int) -> Result:
        """Score the clips of a source as its newest fetch has them, and take that over."""
        newest = self._db.execute("SELECT max(at) FROM fetches WHERE source = ?", (source,)).fetchone()[0]
        if newest is None:
            return Result()
        now = newest / MICROSECONDS
        clips = {clip.id: clip for clip in self._snapshots.clips(source)}
        spans = score.windows(self._snapshots.moments(source, now - MOMENTS_SECONDS))
        plays = self._plays(source, clips.values(), spans)
        scores, rises = score.scores(plays, spans, self._curve(source, clips.values(), now))
        entries = {number: takeoff.ranked(it) for number, it in scores.items()}
        # The spans are in order; after missed runs the shortest one may be long.
        few = max(sum(span.hours <= RECENT_HOURS for span in spans), 1)
        hours = [span.hours for span in spans[:few]]
        recent = {it.clip: [*map(Recent, it.recent, hours, rises)] for it in plays}
        after = []
        for it in self._going_on(source):
            if it.clip not in entries:
                after.append(replace(it, ended=now))
                continue
            changed, entries[it.clip] = takeoff.go_on(it, recent[it.clip], now)
            after.append(changed)
        known = {it.clip for it in after}
        new = [takeoff.begin(it) for it in scores.values() if takeoff.begins(it) and it.clip not in known]
        in_order = takeoff.in_order(entries)[:MOST_RANKED]
        self._keep(source, in_order, [*after, *new])
        return Result(tuple((clips[it.clip], it) for it in in_order), tuple((clips[it.clip], it) for it in new))

    def _plays(self, source: int, clips: Iterable[KnownClip], spans: Sequence[Window]) -> list[Plays]:
        if not spans:
            return []
        edges = sorted({moment for span in spans for moment in (span.before, span.begin, span.end)})
        gains = self._snapshots.gains(source, edges)
        places = [(edges.index(span.before), edges.index(span.begin), edges.index(span.end)) for span in spans]
        nothing = [0] * (len(edges) - 1)
        found = []
        for clip in clips:
            gained = gains.get(clip.id, nothing)
            recent = tuple(sum(gained[begin:end]) for _before, begin, end in places)
            earlier = tuple(sum(gained[before:begin]) for before, begin, _end in places)
            found.append(Plays(clip.id, clip.created, clip.since, recent, earlier))
        return found

    def _curve(self, source: int, clips: Iterable[KnownClip], now: float) -> AgeCurve:
        oldest = self._db.execute("SELECT min(at) FROM fetches WHERE source = ?", (source,)).fetchone()[0] / MICROSECONDS
        since = max(now - CURVE_SECONDS, oldest)
        gained = self._snapshots.gains_by_age(source, since)
        seen = {}
        for clip in clips:
            if clip.created is None:
                continue
            begin = max(since, clip.since) - clip.created
            for place, low in enumerate(AGE_HOURS):
                high = AGE_HOURS[place + 1] if place + 1 < len(AGE_HOURS) else math.inf
                hours = min((now - clip.created) / HOUR, high) - max(begin / HOUR, low)
                if hours > 0:
                    seen[clip.id, place] = (hours, gained.get((clip.id, place), 0))
        return score.curve_of(seen)

    def _going_on(self, source: int) -> list[Takeoff]:
        of_source = "clip IN (SELECT id FROM clips WHERE source = ?)"
        rows = self._db.execute(f"SELECT * FROM takeoffs WHERE ended_at IS NULL AND {of_source}", (source,))  # noqa: S608
        return [
            Takeoff(it["id"], it["clip"], it["began_at"] / MICROSECONDS, it["usual"], it["size"], it["score"], it["reason"])
            for it in rows
        ]

    def _keep(self, source: int, ranked: Iterable[Ranked], takeoffs: Iterable[Takeoff]) -> None:
        """Write down the ranking and the take-offs, those that have begun and those that had."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("DELETE FROM ranking WHERE clip IN (SELECT id FROM clips WHERE source = ?)", (source,))
        self._db.executemany(
            "INSERT INTO ranking VALUES (?, ?, ?, ?, ?, ?)",
            [(it.clip, it.score, it.ratio, it.plays, it.hours, it.reason) for it in ranked],
        )
        for it in takeoffs:
            began = round(it.began * MICROSECONDS)
            ended = None if it.ended is None else round(it.ended * MICROSECONDS)
            if it.id:
                values = (ended, it.score, it.reason, it.id)
                self._db.execute("UPDATE takeoffs SET ended_at = ?, score = ?, reason = ? WHERE id = ?", values)
            else:
                self._db.execute(
                    "INSERT INTO takeoffs (clip, began_at, usual, size, score, reason) VALUES (?, ?, ?, ?, ?, ?)",
                    (it.clip, began, it.usual, it.size, it.score, it.reason),
                )
        self._db.execute("COMMIT")
