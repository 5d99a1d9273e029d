"""Measure how well the score finds clips that take off, compared with other formulas: python3 -m tests.record.benchmark_clips

`precision` is the share of take-offs among the first 8 of a ranking, with 8 take-offs in total. `alarms` follows a source over
days, run by run, through the real database, and counts the events.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))

from livekeep.record.clips import score, snapshots, takeoff
from livekeep.record.clips.ranking import Ranking
from livekeep.record.clips.snapshots import Snapshots
from tests.record.made_clips import DAY, STEP_SECONDS, MadeClips

NOW = 1_800_000_000.0
HOT = 8
LEAST_AN_HOUR = 1.5


@dataclass
class Trial:
    precision: dict[str, float] = field(default_factory=dict)
    result: int = 0
    """The number of take-offs with an event."""
    false_alarms: int = 0
    seconds: float = 0.0
    """The time to score all clips."""


@contextmanager
def followed(made: MadeClips) -> Iterator[Callable[[], None]]:
    """A database in memory, and a function that stores the clips as they are now."""
    connection = snapshots.open_for_writing(Path(":memory:"))
    store = Snapshots(connection)
    source = store.source("made")

    def take() -> None:
        store.take(source, made.figures(), made.now)

    take.ranking = Ranking(connection, store)  # type: ignore[attr-defined]
    take.store, take.source = store, source  # type: ignore[attr-defined]
    yield take
    connection.close()


def trial(seed: int, count: int = 400, factors: tuple[float, float] = (4, 12), days: float = 4) -> Trial:
    """8 clips with at least LEAST_AN_HOUR plays an hour take off about 3 hours before the end."""
    made, random = MadeClips(seed, count, NOW), Random(seed * 7 + 1)
    end = NOW + days * DAY - random.randrange(96) * STEP_SECONDS
    busy = [
        number
        for number, it in enumerate(made.clips)
        if it.created < end - DAY and it.level * ((end - it.created) / 3600 + 2) ** -0.8 >= LEAST_AN_HOUR
    ]
    chosen = random.sample(busy, HOT)
    for number in chosen:
        made.take_off(number, end - 3600 * random.uniform(2, 4.5), random.uniform(*factors))
    with followed(made) as take:
        while made.now < end:
            made.advance(made.now + STEP_SECONDS)
            take()
        began = time.perf_counter()
        return measured(take, made, {str(made.clips[number].number) for number in chosen}, began)


def measured(take: Any, made: MadeClips, hot: set[str], began: float) -> Trial:
    ranked = {clip.clip: it for clip, it in take.ranking.rank(take.source).ranked}
    result = Trial(seconds=time.perf_counter() - began)
    spans = score.windows(take.store.moments(take.source, 0))
    known = take.store.clips(take.source)
    span = min(spans, key=lambda it: abs(it.hours - 3))
    gains = take.store.gains(take.source, [span.before, span.begin, span.end])
    plays = {str(it.number): it.plays for it in made.clips}

    def ratio(clip: Any) -> float:
        earlier, recent = gains.get(clip.id, (0, 0))
        return float((recent / 3 + 0.5) / (earlier / 24 + 0.5))

    formulas: dict[str, Callable[[Any], float]] = {
        "score": lambda clip: ranked[clip.clip].score if clip.clip in ranked else 0.0,
        "ratio to its own 24 h": ratio,
        "Hacker News": lambda clip: (plays[clip.clip] - 1) / ((made.now - clip.created) / 3600 + 2) ** 1.8,
        "all plays": lambda clip: plays[clip.clip],
    }
    for name, formula in formulas.items():
        first = sorted(known, key=formula, reverse=True)[:HOT]
        result.precision[name] = sum(clip.clip in hot for clip in first) / HOT
    alarms = {clip for clip, it in ranked.items() if it.is_hot}
    result.result, result.false_alarms = len(alarms & hot), len(alarms - hot)
    return result


def alarms(seed: int, count: int, days: int, take_offs: int) -> tuple[int, int, int]:
    """Of a source over days: detected take-offs, events for them, and events for others."""
    made, random = MadeClips(seed, count, NOW), Random(seed)
    busy = sorted(made.clips, key=lambda it: -it.rate(NOW + 2 * DAY))[: count // 4]
    for clip in random.sample(busy, take_offs):
        clip.takes_off_at, clip.factor = NOW + random.uniform(1.5, days - 0.5) * DAY, random.uniform(6, 15)
        clip.lasts_seconds = random.uniform(3, 10) * 3600
    hot = {str(clip.number) for clip in made.clips if clip.factor > 1}
    events: list[str] = []
    with followed(made) as take:
        while made.now < NOW + days * DAY:
            made.advance(made.now + STEP_SECONDS)
            take()
            events += [clip.clip for clip, _begun in take.ranking.rank(take.source).began]  # type: ignore[attr-defined]
    return len(hot & set(events)), sum(it in hot for it in events), sum(it not in hot for it in events)


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"precision at {HOT}, {trials} trials of 400 clips, 4 days, 8 take off some 3 h before the end")
    for name, factors in (("4 to 12 times as often", (4.0, 12.0)), ("8 to 20 times as often", (8.0, 20.0))):
        results = [trial(seed, factors=factors) for seed in range(trials)]
        print(f"  {name}")
        for formula in results[0].precision:
            print(f"    {formula:24} {sum(it.precision[formula] for it in results) / trials:.2f}")
        share, false = sum(it.result for it in results) / HOT / trials, sum(it.false_alarms for it in results)
        print(f"    have begun by then       {share:.0%}, false ones {false}")
        print(f"    scores of 400 clips      {1000 * sum(it.seconds for it in results) / trials:.0f} ms")
    days, sources = 6, 4
    totals = [alarms(seed, 200, days, 6) for seed in range(sources)]
    result, right, wrong = (sum(column) for column in zip(*totals, strict=True))
    print(f"{sources} sources of 200 clips, {days} days, every quarter of an hour: {result} of {6 * sources} take-offs result,")
    rate = wrong / days / sources
    print(f"  {right} events for them, {wrong} for others: {rate:.2f} a source and day (score {takeoff.BEGIN_SCORE})")


if __name__ == "__main__":
    main()
