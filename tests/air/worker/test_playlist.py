"""What comes next in a channel, while files join, leave and fail."""

from itertools import pairwise
from random import Random

import pytest

from livekeep.air.storage.media import MediaFile
from livekeep.air.worker.playlist import Playlist


def listed(*names: str) -> list[MediaFile]:
    return [MediaFile(name, 1, 0.0) for name in names]


def playlist(*names: str, order: str = "name", loop: bool = True, seed: int = 1) -> Playlist:
    made = Playlist(order, loop, Random(seed))
    made.update(listed(*names))
    return made


def take(made: Playlist, count: int) -> str:
    """The names of the next ones, "-" for none; each was announced by `peek`."""
    found = []
    for _ in range(count):
        announced = made.peek()
        file = made.next()
        assert file is announced
        found.append(file.name if file else "-")
    return "".join(found)


@pytest.mark.parametrize(
    ("loop", "steps"),
    [
        # What is listed, and what comes next.
        (True, [("bac", "abcabca")]),
        (True, [("a", "aaa")]),
        (True, [("", "--")]),
        (False, [("bc", "bc--"), ("abcd", "ad--")]),
        # A file joins the round at its place, or at its end.
        (True, [("ace", "ac"), ("abcde", "deabcde")]),
        (True, [("ab", "ab"), ("abc", "cabc")]),
        # Files leave, also the last one taken.
        (True, [("abcd", "a"), ("ad", "dada"), ("", "-"), ("x", "xx")]),
        (True, [("ace", "ac"), ("abde", "deab")]),
    ],
)
def test_rounds_while_files_join_and_leave(loop: bool, steps: list[tuple[str, str]]) -> None:
    made = Playlist("name", loop, Random(1))
    for names, following in steps:
        made.update(listed(*names))
        assert take(made, len(following)) == following


def test_newest_first() -> None:
    made = Playlist("newest", True, Random(1))
    made.update([MediaFile("old", 1, 1.0), MediaFile("new", 1, 2.0)])
    first = made.next()
    made.update([MediaFile("old", 1, 1.0), MediaFile("new", 1, 2.0), MediaFile("newer", 1, 3.0)])
    rest = [file.name for _ in range(4) if (file := made.next())]
    assert first == MediaFile("new", 1, 2.0)
    assert rest == ["old", "newer", "new", "old"]


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_each_once_a_round_and_never_one_twice_running(seed: int) -> None:
    played = take(playlist(*"abcd", order="shuffle", seed=seed), 40)
    assert all(sorted(played[start : start + 4]) == list("abcd") for start in range(0, 40, 4))
    assert all(one != other for one, other in pairwise(played))


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_a_round_keeps_its_order_and_what_joins_comes_last(seed: int) -> None:
    made = playlist(*"abcdef", order="shuffle", seed=seed)
    alone = take(playlist(*"abcdef", order="shuffle", seed=seed), 6)
    assert take(made, 2) == alone[:2]
    made.update(listed(*"fedcbax"))
    assert take(made, 5) == alone[2:] + "x"


def test_one_that_fails_is_passed_over_until_something_was_played() -> None:
    made = playlist("a", "b", "c")
    assert take(made, 1) == "a"
    made.failed("a")
    assert take(made, 3) == "bcb"
    made.played()
    assert take(made, 3) == "cab"


def test_when_all_fail_it_does_not_spin() -> None:
    made = playlist("a", "b")
    for _ in range(2):
        for name in "ab":
            assert take(made, 1) == name
            made.failed(name)
        assert take(made, 3) == "---"
        made.retry()


def test_all_failed_and_another_joins() -> None:
    made = playlist("a", "b")
    assert take(made, 2) == "ab"
    made.failed("a")
    made.failed("b")
    made.update(listed("a", "b", "c"))
    assert take(made, 3) == "ccc"
    made.played()
    assert take(made, 3) == "abc"


def test_one_that_was_written_again_is_tried_again() -> None:
    made = playlist("a")
    made.failed("a")
    assert take(made, 1) == "-"
    made.update([MediaFile("a", 2, 9.0)])
    assert take(made, 1) == "a"


@pytest.mark.parametrize("order", ["name", "shuffle"])
def test_without_loop_what_failed_is_tried_again_on_retry(order: str) -> None:
    made = playlist("a", "b", order=order, loop=False)
    for name in take(made, 2):
        made.failed(name)
    assert take(made, 1) == "-"
    made.retry()
    assert sorted(take(made, 2)) == ["a", "b"]
    assert take(made, 1) == "-"


def test_many_random_changes_lose_nothing_and_repeat_nothing_within_a_round() -> None:
    for seed in range(60):
        random = Random(seed)
        order = random.choice(["name", "oldest", "newest", "shuffle"])
        made = Playlist(order, True, Random(seed))
        known: dict[str, MediaFile] = {}
        since: dict[str, int] = {}
        for step in range(200):
            if random.random() < 0.2:
                known = {name: MediaFile(name, 1, random.random()) for name in random.sample("abcdefgh", random.randrange(9))}
                since = {name: since.get(name, step) for name in known}
                made.update(known.values())
            file = made.next()
            assert (file is None) == (not known)
            if file:
                assert known[file.name] == file
                since[file.name] = step
        # Left alone, two rounds play all of them twice.
        rest = [file.name for _ in range(3 * len(known)) if (file := made.next())]
        assert all(rest.count(name) >= 2 for name in known)


def favouring(names: str, *hot: str) -> Playlist:
    made = playlist(*names, order="hot")
    made.favour(hot)
    return made


@pytest.mark.parametrize(
    ("names", "hot", "following"),
    [
        ("bcad", "", "abcdabcd"),
        # After every four others.
        ("abcdefghijkl", "k", "abcdkefghkijklab"),
        # By rank.
        ("abcdefghijklmnopqrstuvwxyz", "yz", "abcdyefgzyhijkylmzny"),
    ],
)
def test_hot_ones_come_again_between_the_others(names: str, hot: str, following: str) -> None:
    assert take(favouring(names, *hot), len(following)) == following


def test_hot_changes_at_a_listing() -> None:
    made = favouring("abcdefgh", "h")
    assert take(made, 5) == "abcdh"
    made.favour(["g"])
    assert take(made, 4) == "efgh"
    made.favour([])
    assert take(made, 8) == "abcdefgh"


def test_hot_one_that_is_gone_or_fails_is_passed_over() -> None:
    made = favouring("abcdef", "f", "nowhere")
    made.failed("f")
    assert take(made, 5) == "abcde"
    made.played()
    assert take(made, 2) == "fa"


@pytest.mark.parametrize("seed", range(10))
def test_hot_never_twice_running_and_each_file_once_a_round_all_the_same(seed: int) -> None:
    random = Random(seed)
    names = "abcdefghijklmnopqrst"[: random.randrange(2, 20)]
    hot = random.sample(names, random.randrange(min(5, len(names)) + 1))
    played = take(favouring(names, *hot), 200)
    assert all(one != other for one, other in pairwise(played))
    # In between come hot ones alone: without them it is by name.
    rest = [name for name in played if name not in hot]
    expected = [name for name in names if name not in hot]
    assert all(name == expected[index % len(expected)] for index, name in enumerate(rest))
    share = sum(name in hot for name in played) / len(played)
    assert share >= len(hot) / len(names) - 0.05
    assert share <= 0.5 + len(hot) / len(names)


def test_hot_without_loop_ends_with_the_round() -> None:
    made = Playlist("hot", False, Random(1))
    made.update(listed(*"abcdef"))
    made.favour(["a"])
    assert take(made, 9) == "abcdeaf--"
