"""From snapshots to the ranking of one source: reads the plays, scores them, stores the take-offs (clips.db)."""

import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from livekeep.record import monitor_execution
from livekeep.record.clips import score, takeoff
from livekeep.record.clips.course import AGE_HOURS, HOUR, Course, day_of, rates_by_age
from livekeep.record.clips.score import Plays, Window
from livekeep.record.clips.snapshots import MICROSECONDS, KnownClip, Snapshots
from livekeep.record.clips.takeoff import Ranked, Recent, Takeoff

CURVE_SECONDS = 28 * 86400.0
"""How much of the past determines the age curve."""
MOMENTS_SECONDS = 7 * 86400.0
RECENT_HOURS = 3.5
"""Windows for comparing a take-off in progress with the usual plays."""
MOST_RANKED = 100
"""Per source."""


@dataclass(frozen=True)
class Result:
    """Of one source: clips that take off, then the others, in order; and the take-offs that have just begun."""

    ranked: tuple[tuple[KnownClip, Ranked], ...] = ()
    began: tuple[tuple[KnownClip, Takeoff], ...] = ()


class Ranking:
    def __init__(self, connection: sqlite3.Connection, snapshots: Snapshots) -> None:
        self._db, self._snapshots = connection, snapshots

    @monitor_execution
    def rank(self, source: int) -> Result:
        """Score the clips of a source as of its newest fetch, and store the result."""
        newest = self._db.execute("SELECT max(at) FROM fetches WHERE source = ?", (source,)).fetchone()[0]
        if newest is None:
            return Result()
        now = newest / MICROSECONDS
        clips = {clip.id: clip for clip in self._snapshots.clips(source)}
        spans = score.windows(self._snapshots.moments(source, now - MOMENTS_SECONDS))
        plays = self._plays(source, clips.values(), spans)
        course = self._course(source, clips.values(), now)
        scores, rises = score.scores(plays, spans, course)
        # The windows are in order; after missed runs the shortest one may be long.
        few = [span for span in spans if span.hours <= RECENT_HOURS] or spans[:1]
        weights = [course.hours(span.begin, span.end) * rise for span, rise in zip(few, rises, strict=False)]
        hours = [span.hours for span in few]
        recent = {it.clip: [*map(Recent, it.recent, hours, weights)] for it in plays}
        # Clips whose take-off is in progress, or ended recently.
        rest = round((now - takeoff.REST_SECONDS) * MICROSECONDS)
        sql = "SELECT DISTINCT clip FROM takeoffs WHERE ended_at IS NULL OR ended_at > ?"
        lately = {row["clip"] for row in self._db.execute(sql, (rest,))}
        begun = {it.clip for it in scores.values() if it.clip not in lately and takeoff.begins(it, recent[it.clip])}
        new = [takeoff.begin(scores[clip]) for clip in sorted(begun)]
        entries = {number: takeoff.ranked(it, number in begun) for number, it in scores.items()}
        after = []
        of_source = "clip IN (SELECT id FROM clips WHERE source = ?)"
        rows = self._db.execute(f"SELECT * FROM takeoffs WHERE ended_at IS NULL AND {of_source}", (source,))  # noqa: S608
        for row in rows.fetchall():
            began, more = row["began_at"] / MICROSECONDS, (row["usual"], row["size"], row["score"], row["reason"])
            it = Takeoff(row["id"], row["clip"], began, *more)
            if it.clip not in entries:
                after.append(replace(it, ended=now))
                continue
            changed, entries[it.clip] = takeoff.go_on(it, recent[it.clip], now)
            after.append(changed)
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
        plays = []
        for clip in clips:
            gained = gains.get(clip.id, nothing)
            recent = tuple(sum(gained[begin:end]) for _before, begin, end in places)
            earlier = tuple(sum(gained[before:begin]) for before, begin, _end in places)
            plays.append(Plays(clip.id, clip.created, clip.since, recent, earlier))
        return plays

    def _course(self, source: int, clips: Iterable[KnownClip], now: float) -> Course:
        """The source's own decline of plays with age, and its daily profile."""
        day = day_of(self._snapshots.gains_of_fetches(source, now - MOMENTS_SECONDS))
        # Weighted by the time of day: a new clip published in the busy evening would otherwise seem better than it is.
        hours_of = Course([1.0] * len(AGE_HOURS), day).hours
        since = max(now - CURVE_SECONDS, self._snapshots.moments(source, 0.0)[0])
        gained = self._snapshots.gains_by_age(source, since)
        seen = []
        for clip in clips:
            if clip.created is None:
                continue
            begin, bins = max(since, clip.since), {}
            for place, low in enumerate(AGE_HOURS):
                high = AGE_HOURS[place + 1] if place + 1 < len(AGE_HOURS) else math.inf
                hours = hours_of(max(begin, clip.created + low * HOUR), min(now, clip.created + high * HOUR))
                if hours > 0:
                    bins[place] = (hours, gained.get((clip.id, place), 0))
            seen.append(bins)
        return Course(rates_by_age(seen), day)

    def going_on(self, source: int) -> list[tuple[str, str, str, float, str]]:
        """The clips of a source that take off, from its newest ranking: id, name, link, score and reason."""
        rows = self._db.execute(
            "SELECT clips.clip AS clip, name, link, score, reason FROM takeoffs JOIN clips ON clips.id = takeoffs.clip"
            " WHERE ended_at IS NULL AND source = ?",
            (source,),
        )
        return [(row["clip"], row["name"], row["link"], round(row["score"], 2), row["reason"]) for row in rows]

    def _keep(self, source: int, ranked: Iterable[Ranked], takeoffs: Iterable[Takeoff]) -> None:
        """Store the ranking and the take-offs, new ones and those in progress."""
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
