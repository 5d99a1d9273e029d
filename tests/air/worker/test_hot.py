"""Which files of a channel belong to clips that take off, and what the analyzer's state must be for that."""

import time
from pathlib import Path

import pytest

from livekeep.air.worker import hot
from livekeep.core import state
from livekeep.core.record_states import ClipsState, HotClip


def clip(identity: str = "0", name: str = "") -> HotClip:
    return HotClip(source="hall", clip=identity, name=name)


@pytest.mark.parametrize(
    ("identity", "name", "file", "belongs"),
    [
        ("900000034", "", "900000034.mp4", True),
        ("900000034", "", "2026/choir-900000034_hd.mp4", True),
        ("900000034", "", "choir 9000000341.mp4", False),
        ("900000034", "", "1900000034.mp4", False),
        ("900000034", "", "900000034/other.mp4", False),
        ("34", "", "part 34.mp4", False),
        ("dQw4w9WgXcQ", "", "A song [dQw4w9WgXcQ].webm", True),
        ("dQw4w9WgXcQ", "", "A song-dQw4w9WgXcQ.webm", False),
        ("dQw4w9WgXcQ", "", "A song [dqw4w9wgxcq].webm", False),
        ("dQw4w9WgXcQ", "", "xdQw4w9WgXcQ.webm", False),
        ("a.b*c+d", "", "a.b*c+d.mp4", True),
        ("1", "Winter choir", "winter_CHOIR.mp4", True),
        ("1", "Winter choir", "2026-11-29 Winter Choir (HD).mp4", True),
        ("1", "Winter choir", "Winter choirs.mp4", False),
        ("1", "Fête d’été", "fete d ete.mkv", True),
        ("1", "Choir", "choir.mp4", True),
        ("1", "Choir", "The choir of the town.mp4", False),
        ("1", "Remembering", "Remembering the town.mp4", False),
        ("1", "", ".mp4", False),
        ("1", "!!!", "???.mp4", False),
        ("1", "日本の歌", "日本の歌.mp4", True),
    ],
)
def test_a_file_belongs_to_a_clip_by_number_or_name(identity: str, name: str, file: str, belongs: bool) -> None:
    assert hot.hot_files([file, "something else.mp4"], [clip(identity, name)]) == ((file,) if belongs else ())


def test_the_number_counts_more_than_the_name_and_all_of_it_more_than_a_part() -> None:
    files = ["Winter choir.mp4", "900000034.mp4", "old/900000034 Winter choir 1.mp4", "Winter choir again.mp4"]
    assert hot.hot_files(files, [clip("900000034", "Winter choir")]) == ("900000034.mp4", "old/900000034 Winter choir 1.mp4")
    assert hot.hot_files(files, [clip("7", "Winter choir")]) == ("Winter choir.mp4",)
    assert hot.hot_files(files[3:], [clip("7", "Winter choir")]) == ("Winter choir again.mp4",)


def test_the_hottest_first_each_once_and_only_a_few() -> None:
    files = [f"{number}.mp4" for number in range(1000, 1020)]
    clips = [clip(str(number)) for number in (1007, 1003, 1007, 1001, 1002, 1005)]
    assert hot.hot_files(files, clips) == ("1007.mp4", "1003.mp4", "1001.mp4", "1002.mp4")
    assert hot.hot_files([], clips) == hot.hot_files(files, []) == ()


def publish(root: Path, age_seconds: float, interval_seconds: float) -> None:
    state.path_of(ClipsState, root).parent.mkdir(exist_ok=True)
    moment = time.monotonic() - age_seconds
    state.write(ClipsState(written_monotonic=moment, interval_seconds=interval_seconds, hot=(clip("900000034"),)), root)


@pytest.mark.parametrize(
    ("age_seconds", "interval_seconds", "counts"),
    [(0, 900, True), (3500, 900, True), (3700, 900, False), (3700, 3600, True), (14500, 3600, False)],
)
def test_an_old_state_does_not_count(tmp_path: Path, age_seconds: float, interval_seconds: float, counts: bool) -> None:
    publish(tmp_path, age_seconds, interval_seconds)
    assert bool(hot.hot_clips(tmp_path)) == counts


def test_without_a_state_or_with_one_of_another_version_nothing_takes_off(tmp_path: Path) -> None:
    publish(tmp_path, 0, 900)
    file = state.path_of(ClipsState, tmp_path)
    file.write_text(file.read_text().replace('"version": 1', '"version": 2'))
    assert hot.hot_clips(tmp_path) == ()
    file.unlink()
    assert hot.hot_clips(tmp_path) == ()
