"""clips.db: what a run stores, the gains of a time span, thinning and deletion."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekeep.record.clips import snapshots
from livekeep.record.clips.clip import Clip
from livekeep.record.clips.snapshots import MICROSECONDS, Snapshots
from livekeep.record.store.schema import open_read_only

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0


class Store:
    """A database in memory, or in a file, with one source."""

    def __init__(self, file: Path | str = ":memory:") -> None:
        self.db = snapshots.open_for_writing(Path(file) if file != ":memory:" else Path(":memory:"))
        self.snapshots = Snapshots(self.db)
        self.source = self.snapshots.source("hall")

    def take(self, at: float, *clips: Clip) -> int:
        return self.snapshots.take(self.source, clips, at)

    def count(self, table: str) -> int:
        return int(self.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    def gained(self, *edges: float) -> dict[str, list[int]]:
        names = {row["id"]: row["clip"] for row in self.db.execute("SELECT id, clip FROM clips")}
        return {names[number]: gains for number, gains in self.snapshots.gains(self.source, edges).items()}

    def total(self) -> int:
        return int(self.db.execute("SELECT ifnull(sum(gained), 0) FROM snapshots").fetchone()[0])


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.db.close()


def clip(plays: int | None, identity: str = "1", created: float | None = NOW - 30 * DAY, **more: object) -> Clip:
    return replace(Clip(identity, "A clip", "https://x/1", 60.0, created, plays), **more)


def test_only_what_changes_is_a_snapshot_and_gains_are_sums(store: Store) -> None:
    for number, plays in enumerate((100, 100, 107, 107, 120)):
        store.take(NOW + number * HOUR, clip(plays), clip(5, "2"))
    assert store.count("fetches") == 5
    assert store.count("snapshots") == 2 + 1 + 1
    assert store.gained(NOW, NOW + 2 * HOUR, NOW + 4 * HOUR) == {"1": [7, 13]}
    assert store.gained(NOW + 2 * HOUR, NOW + 3 * HOUR) == {}


def test_a_counter_that_goes_back_gains_nothing_and_goes_on_from_there(store: Store) -> None:
    for number, plays in enumerate((100, 40, 45)):
        store.take(NOW + number * HOUR, clip(plays))
    assert store.gained(NOW, NOW + HOUR, NOW + 2 * HOUR) == {"1": [0, 5]}


def test_hidden_plays_gain_nothing_and_are_known_from_when_they_are_shown_again(store: Store) -> None:
    for number, plays in enumerate((100, None, None, 180, 190)):
        store.take(NOW + number * HOUR, clip(plays))
    assert store.gained(NOW, NOW + 3 * HOUR, NOW + 4 * HOUR) == {"1": [0, 10]}
    assert [it.since for it in store.snapshots.clips(store.source)] == [NOW + 3 * HOUR]


def test_a_clip_that_is_published_between_two_fetches_is_known_from_its_beginning(store: Store) -> None:
    store.take(NOW, clip(1))
    new = clip(50, "2", created=NOW + 0.5 * HOUR)
    old = clip(70, "3", created=NOW - DAY)
    unknown = clip(90, "4", created=None)
    store.take(NOW + HOUR, clip(1), new, old, unknown)
    assert store.gained(NOW, NOW + HOUR) == {"2": [50], "3": [0], "4": [0]}
    since = {it.clip: it.since for it in store.snapshots.clips(store.source)}
    assert since == {"1": NOW, "2": NOW + 0.5 * HOUR, "3": NOW + HOUR, "4": NOW + HOUR}


def test_at_the_first_fetch_nothing_is_gained_whatever_its_age(store: Store) -> None:
    store.take(NOW, clip(50, created=NOW - 60))
    assert store.total() == 0


def test_a_clip_that_leaves_and_comes_back_gains_nothing_for_the_time_between(store: Store) -> None:
    store.take(NOW, clip(100), clip(7, "2"))
    store.take(NOW + HOUR, clip(7, "2"))
    assert [it.clip for it in store.snapshots.clips(store.source)] == ["2"]
    store.take(NOW + 2 * HOUR, clip(500), clip(7, "2"))
    store.take(NOW + 3 * HOUR, clip(503), clip(7, "2"))
    assert store.gained(NOW, NOW + 2 * HOUR, NOW + 3 * HOUR) == {"1": [0, 3]}
    assert [it.clip for it in store.snapshots.clips(store.source)] == ["1", "2"]


def test_a_new_name_is_no_snapshot(store: Store) -> None:
    store.take(NOW, clip(100))
    assert store.take(NOW + HOUR, clip(100, name="Another")) == 0
    assert [it.name for it in store.snapshots.clips(store.source)] == ["Another"]


def test_sources_do_not_mix(store: Store) -> None:
    other = store.snapshots.source("town")
    store.take(NOW, clip(100))
    store.snapshots.take(other, [clip(5)], NOW + 1)
    store.take(NOW + HOUR, clip(110))
    store.snapshots.take(other, [clip(6)], NOW + HOUR + 1)
    assert list(store.snapshots.gains(other, [NOW + 1, NOW + HOUR + 1]).values()) == [[1]]
    store.snapshots.forget_others(["hall"], NOW + 2 * HOUR)
    assert store.snapshots.clips(other) == []
    assert len(store.snapshots.clips(store.source)) == 1


def test_a_clock_that_was_wrong_is_survived(store: Store) -> None:
    store.take(NOW, clip(100))
    store.take(NOW + 400 * DAY, clip(110), clip(1, "2", created=NOW + 300 * DAY))
    store.take(NOW + HOUR, clip(112), clip(1, "2", created=NOW + 300 * DAY))
    assert store.snapshots.moments(store.source, 0) == [NOW, NOW + HOUR]
    assert store.gained(NOW, NOW + HOUR) == {"1": [2]}
    assert all(it.since <= NOW + HOUR + 60 for it in store.snapshots.clips(store.source))
    # A small step back does no harm either.
    store.take(NOW + HOUR - 5, clip(115))
    moments = store.snapshots.moments(store.source, 0)
    assert moments == sorted(set(moments))


def test_a_fetch_is_taken_over_whole_or_not_at_all(store: Store) -> None:
    store.take(NOW, clip(100))
    with pytest.raises(sqlite3.Error):
        store.take(NOW + HOUR, clip(110), replace(clip(1, "2"), duration_seconds="no number"))  # type: ignore[arg-type]
    assert store.count("fetches") == 1
    assert store.total() == 0
    store.take(NOW + HOUR, clip(110))
    assert store.total() == 10


def test_what_is_old_is_thinned_and_nothing_of_it_is_lost(store: Store) -> None:
    random, plays = Random(1), 1000
    store.take(NOW, clip(1000), clip(10, "2"))
    for number in range(1, 20 * 96):
        plays += random.randrange(3)
        store.take(NOW + number * 900, clip(plays), clip(plays // 100, "2"))
    now, before = NOW + 20 * DAY, (plays - 1000) + (plays // 100 - 10)
    day = [NOW + 19 * DAY + hour * HOUR - 900 for hour in (0, 6, 12, 18)]
    recent = store.gained(*day)
    store.snapshots.tidy(now, 90)
    assert store.total() == before
    assert store.gained(*day) == recent
    moments = store.snapshots.moments(store.source, 0)
    ages = [(now - at) / DAY for at in moments]
    assert len([age for age in ages if age > 15]) <= 6
    assert len([age for age in ages if 3 < age <= 14]) in range(11 * 24 - 2, 11 * 24 + 3)
    assert len([age for age in ages if age <= 2]) in range(190, 197)
    store.snapshots.tidy(now, 90)
    assert store.snapshots.moments(store.source, 0) == moments


def test_what_is_too_old_is_forgotten_with_its_clips(store: Store) -> None:
    store.take(NOW, clip(100), clip(1, "2"))
    store.take(NOW + HOUR, clip(110))
    store.snapshots.tidy(NOW + 10 * DAY, 5)
    assert store.count("snapshots") == store.count("fetches") == 0
    assert [row["clip"] for row in store.db.execute("SELECT clip FROM clips")] == ["1"]
    store.take(NOW + 10 * DAY, clip(130))
    assert store.total() == 20


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.tuples(st.integers(60, 40_000), *[st.none() | st.integers(0, 300)] * 3), max_size=40))
def test_the_gains_of_any_spans_add_up_to_what_the_counters_grew(runs: list[tuple[int | None, ...]]) -> None:
    store, at = Store(), NOW
    moments, grown = [], 0
    previous: list[int | None] = [None] * 3
    for seconds, *figures in runs:
        at += seconds
        moments.append(at)
        store.take(at, *(clip(plays, f"{number}") for number, plays in enumerate(figures)))
        grown += sum(max(new - old, 0) for old, new in zip(previous, figures, strict=True) if old is not None and new is not None)
        previous = figures
    assert store.total() == grown
    if len(moments) > 1:
        spans = store.snapshots.gains(store.source, sorted({*moments[::3], moments[-1]}))
        assert sum(map(sum, spans.values())) == grown
        store.snapshots.tidy(at + 30 * DAY, 3000)
        assert store.total() == grown
    store.db.close()


def test_others_read_it_while_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "clips.db"
    store = Store(file)
    store.take(NOW, clip(100))
    reader = open_read_only(file)
    assert reader.execute("SELECT plays FROM clips").fetchone()[0] == 100
    store.take(NOW + HOUR, clip(110))
    assert reader.execute("SELECT plays FROM clips").fetchone()[0] == 110
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("DELETE FROM clips")
    reader.close()
    store.db.close()


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "clips.db"
    store = Store(file)
    store.db.execute("PRAGMA user_version = 2")
    store.db.close()
    with pytest.raises(sqlite3.DatabaseError, match="it is of version 2, and this program knows 1"):
        snapshots.open_for_writing(file)


def test_ten_thousand_clips_make_a_small_database(tmp_path: Path) -> None:
    file, random = tmp_path / "clips.db", Random(1)
    store = Store(file)
    plays = [random.randrange(10_000) for _ in range(10_000)]
    for number in range(4):
        for one in random.sample(range(10_000), 300):
            plays[one] += 1
        store.take(NOW + number * 900, *(clip(count, f"{index}") for index, count in enumerate(plays)))
    assert store.count("snapshots") == 10_000 + 3 * 300
    assert file.stat().st_size < 3_000_000
    edges = [(NOW + number * 900) for number in range(4)]
    assert sum(map(sum, store.snapshots.gains(store.source, edges).values())) == 900
    assert store.snapshots.moments(store.source, 0) == edges
    assert all(at * MICROSECONDS == round(at * MICROSECONDS) for at in edges)
    store.db.close()
