"""What media are called, and the orders of a round."""

import logging
import unicodedata
from random import Random

import pytest

from livekeep.air.storage.media import MediaFile, StorageError, is_playable, natural, ordered, split_bucket, usable, warn_once
from tests.air.object_stores import TEMPORARY_NAME

EXTENSIONS = (".mp4", ".mkv")


def files(*names: str) -> list[MediaFile]:
    """Each a second younger than the one before."""
    return [MediaFile(name, 1, float(number)) for number, name in enumerate(names)]


def names(found: tuple[MediaFile, ...]) -> list[str]:
    return [file.name for file in found]


def test_names_are_ordered_as_people_count() -> None:
    mixed = files("clip10.mp4", "Clip2.mp4", "b/1.mp4", "clip1.mp4", "a/20.mp4", "a/3.mp4", "10.mp4", "9.mp4", "a b/1.mp4")
    wanted = ["9.mp4", "10.mp4", "a/3.mp4", "a/20.mp4", "a b/1.mp4", "b/1.mp4", "clip1.mp4", "Clip2.mp4", "clip10.mp4"]
    assert names(ordered(mixed, "name", (), Random(1))) == wanted


@pytest.mark.parametrize("name", ["", "1", "a1", "1a", "²", "٣", "01", "1/a", "a/1", "9" * 50, "é1", "A", "a//1"])
def test_any_two_names_can_be_compared(name: str) -> None:
    for other in ("", "1", "a", "²", "1a/2", "٣", "9" * 50):
        assert (natural(name) < natural(other)) + (natural(name) > natural(other)) == (name != other)


def test_the_oldest_and_the_newest_come_first() -> None:
    three = files("c", "a", "b")
    assert names(ordered(three, "oldest", (), Random(1))) == ["c", "a", "b"]
    assert names(ordered(three, "newest", (), Random(1))) == ["b", "a", "c"]
    same = [MediaFile(name, 1, 5.0) for name in ("b10", "b9", "a")]
    for order in ("oldest", "newest"):
        assert names(ordered(same, order, (), Random(1))) == ["a", "b9", "b10"]


def test_a_shuffled_round_has_each_file_once_and_does_not_begin_with_the_last_one() -> None:
    ten = files(*"abcdefghij")
    rounds = {tuple(names(ordered(ten, "shuffle", (), Random(seed)))) for seed in range(20)}
    assert len(rounds) > 15
    assert all(sorted(found) == list("abcdefghij") for found in rounds)
    three = files("a", "b", "c")
    firsts = [names(ordered(three, "shuffle", ("a", "b"), Random(seed)))[0] for seed in range(200)]
    assert set(firsts) == {"a", "c"}
    assert names(ordered(three[:1], "shuffle", ("a",), Random(1))) == ["a"]


@pytest.mark.parametrize(
    ("name", "belongs"),
    [
        ("a.mp4", True),
        ("A.MP4", True),
        ("x/y.mkv", True),
        ("a.txt", False),
        ("mp4", False),
        (".a.mp4", False),
        (".x/a.mp4", False),
        ("x/.y/a.mp4", False),
    ],
)
def test_what_belongs_to_a_channel(name: str, belongs: bool) -> None:
    assert is_playable(name, EXTENSIONS) is belongs


def test_only_names_that_are_no_text_or_no_line_are_refused() -> None:
    every = files(*(f"a{chr(number)}.mp4" for number in range(0x10000)), TEMPORARY_NAME, "family \N{MAN}\u200d\N{WOMAN}.mp4")
    accepted = set(usable(every, "/srv"))
    for file in every:
        assert (file in accepted) != (unicodedata.category(file.name[1]) in ("Cs", "Cc", "Zl", "Zp")), ascii(file.name)


def test_refused_names_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    for _ in range(2):
        assert names(usable(files("a", "b\n", "c\udcff"), "/srv")) == ["a"]
    assert caplog.record_tuples == [
        ("livekeep.media", logging.WARNING, f"/srv: {name}: is left out, for its name {fault}; rename it")
        for name, fault in (
            (r"'b\n'", "holds a line break or another control character"),
            (r"'c\udcff'", "is not UTF-8 text"),
        )
    ]
    with pytest.raises(StorageError, match="no file has a name that can be used"):
        usable(files("b\n"), "/srv")


@pytest.mark.parametrize(
    ("media", "split"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket/p", ("bucket", "p/")),
        ("s3://bucket/p/", ("bucket", "p/")),
        ("s3://bucket//p q/r/", ("bucket", "p q/r/")),
    ],
)
def test_a_bucket_s_prefix_is_a_folder(media: str, split: tuple[str, str]) -> None:
    assert split_bucket(media) == split
