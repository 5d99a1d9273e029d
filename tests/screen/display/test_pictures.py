"""The holding pictures in turn, and what stands in for one that cannot be shown."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from livekeep.screen.display.pictures import Slides
from tests.outside import LIBRARY, UNPRIVILEGED, wait_until


@pytest.fixture
def three(tmp_path: Path) -> tuple[str, ...]:
    return tuple(old(tmp_path / name) for name in ("a.png", "b.png", "c.png"))


def old(path: Path, content: str = "picture") -> str:
    """A file that was written long ago."""
    path.write_text(content)
    os.utime(path, (1e9, 1e9))
    return str(path)


def test_pictures_stand_in_turn_each_for_its_time(three: tuple[str, ...]) -> None:
    slides, shown = Slides(three, 10.0), []
    for now in range(0, 70, 5):
        slides.advance(float(now), True)
        shown.append(slides.present()[-5])
    assert "".join(shown) == "aabbccaabbccaa"


def test_time_that_a_picture_is_hidden_does_not_count(three: tuple[str, ...]) -> None:
    slides = Slides(three, 10.0)
    slides.advance(0.0, True)
    slides.advance(9.0, False)
    assert slides.next_change() == float("inf")
    slides.advance(100.0, True)
    assert slides.next_change() == 110.0
    slides.advance(109.0, True)
    assert slides.present() == three[0]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_next_change_is_never_past(three: tuple[str, ...], count: int) -> None:
    """A time in the past would have the player work without a pause."""
    slides = Slides(three, 10.0)
    for path in three[count:]:
        Path(path).unlink()
    for now in range(100):
        slides.advance(float(now), True)
        assert slides.next_change() > now


def test_what_is_missing_no_file_or_rejected_is_passed_over(three: tuple[str, ...]) -> None:
    slides = Slides(three, 10.0)
    Path(three[0]).unlink()
    assert slides.present() == three[1]
    slides.reject(three[1])
    assert slides.present() == three[2]
    Path(three[2]).unlink()
    Path(three[2]).mkdir()
    assert slides.present() not in three
    old(Path(three[0]))
    assert slides.present() == three[0], "it is back"


def test_the_error_picture_is_the_wanted_one_while_it_can_be_shown(three: tuple[str, ...]) -> None:
    slides = Slides(three, 10.0)
    assert slides.error_picture(three[0]) == three[0]
    slides.reject(three[0])
    assert slides.error_picture(three[0]) != three[0]


def rest(slides: Slides) -> None:
    """Look once, then wait until every file that changed is at rest."""
    slides.present()
    wait_until("files at rest", lambda: slides.next_change() == float("inf"))


def test_a_file_that_is_being_written_is_left_alone_unless_it_is_on_the_screen(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("half")
    slides = Slides((str(path),), 10.0)
    assert slides.present() != str(path), "it may be half copied"
    assert slides.problem(str(path)) == "", "and nobody is to be troubled by that"
    rest(slides)
    assert slides.present() == str(path)
    slides.give(str(path))
    path.write_text("")
    assert slides.present() == str(path), "the screen shows the old one still"
    assert not slides.is_outdated(str(path))
    rest(slides)
    assert slides.present() != str(path)
    assert slides.problem(str(path)) == f"{path}: is empty; copy it again"
    path.write_text("whole")
    rest(slides)
    assert slides.present() == str(path)
    assert slides.is_outdated(str(path)), "the display has the one before"
    slides.give(str(path))
    assert not slides.is_outdated(str(path))


def test_a_file_that_takes_another_s_place_whole_is_taken_at_once(three: tuple[str, ...], tmp_path: Path) -> None:
    slides = Slides(three[:1], 10.0)
    slides.give(slides.present())
    Path(old(tmp_path / "new", "a better picture")).rename(three[0])
    assert slides.present() == three[0]
    rest(slides)
    assert slides.is_outdated(three[0])


def test_a_rejected_picture_is_tried_again_when_its_file_changes(three: tuple[str, ...]) -> None:
    slides = Slides(three[:1], 10.0)
    slides.reject(three[0])
    assert slides.present() != three[0]
    assert slides.problem(three[0]) == f"{three[0]}: cannot be shown; is it a picture, and whole? Copy it again"
    old(Path(three[0]), "a better one")
    rest(slides)
    assert slides.present() == three[0]
    assert slides.problem(three[0]) == ""


def test_what_a_display_loaded_before_the_file_changed_is_outdated(three: tuple[str, ...]) -> None:
    slides = Slides(three, 10.0)
    slides.give(three[0], older_than=time.time() + 10)
    assert not slides.is_outdated(three[0])
    slides.give(three[0], older_than=time.time() - 3600)
    assert slides.is_outdated(three[0]), "put there after the display had started: its inode says when"


SCRIPT = """
import json, sys
from livekeep.screen.display.pictures import Slides
slides = Slides(("h.png",), 10.0)
found = [slides.present(), slides.error_picture("e.png")]
for path in sys.argv[1:]:
    slides.reject(path)
print(json.dumps(found + [slides.present(), slides.error_picture("e.png")]))
"""


def names_seen(root: Path, *rejected: str, drop: tuple[str, ...] = ()) -> list[str]:
    """Holding and error picture of a program below `root`, before and after it rejects some."""
    ran = subprocess.run(
        [*drop, sys.executable, "-c", SCRIPT, *rejected],
        cwd=root,
        env={"PYTHONPATH": str(LIBRARY), "LIVEKEEP_ROOT": "."},
        capture_output=True,
        check=True,
    )
    found: list[str] = json.loads(ran.stdout)
    return found


def test_the_shipped_pictures_stand_in_and_at_last_nothing(tmp_path: Path) -> None:
    shipped = "usr/share/livekeep/pictures"
    assert names_seen(tmp_path) == [""] * 4
    (tmp_path / shipped).mkdir(parents=True)
    for name in ("holding.png", "error.png"):
        (tmp_path / shipped / name).write_text("just installed")
    assert names_seen(tmp_path)[:2] == [f"{shipped}/holding.png", f"{shipped}/error.png"]
    assert names_seen(tmp_path, f"{shipped}/holding.png")[2:] == ["", f"{shipped}/error.png"]


def test_what_may_not_be_read_is_passed_over(tmp_path: Path) -> None:
    for name in ("h.png", "e.png"):
        old(tmp_path / name)
    tmp_path.chmod(0o755)
    who = str(UNPRIVILEGED)
    drop = ("setpriv", f"--reuid={who}", f"--regid={who}", "--clear-groups", "--") if os.geteuid() == 0 else ()
    assert names_seen(tmp_path, drop=drop)[:2] == ["h.png", "e.png"]
    (tmp_path / "h.png").chmod(0)
    assert names_seen(tmp_path, drop=drop)[:2] == ["", "e.png"]
