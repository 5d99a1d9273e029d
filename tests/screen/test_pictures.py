"""The holding pictures in turn, and what stands in for one that cannot be shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from livekeep.screen.pictures import Slides
from tests.outside import LIBRARY, UNPRIVILEGED


@pytest.fixture
def three(tmp_path: Path) -> tuple[str, ...]:
    found = tuple(str(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    for path in found:
        Path(path).touch()
    return found


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
    Path(three[0]).touch()
    assert slides.present() == three[0], "it is back"


def test_the_error_picture_is_the_wanted_one_while_it_can_be_shown(three: tuple[str, ...]) -> None:
    slides = Slides(three, 10.0)
    assert slides.error_picture(three[0]) == three[0]
    slides.reject(three[0])
    assert slides.error_picture(three[0]) != three[0]


SCRIPT = """
import json, sys
from livekeep.screen.pictures import Slides
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
    shipped = "usr/local/share/livekeep/pictures"
    assert names_seen(tmp_path) == [""] * 4
    (tmp_path / shipped).mkdir(parents=True)
    (tmp_path / shipped / "holding.png").touch()
    (tmp_path / shipped / "error.png").touch()
    assert names_seen(tmp_path)[:2] == [f"{shipped}/holding.png", f"{shipped}/error.png"]
    assert names_seen(tmp_path, f"{shipped}/holding.png")[2:] == ["", f"{shipped}/error.png"]


def test_what_may_not_be_read_is_passed_over(tmp_path: Path) -> None:
    for name in ("h.png", "e.png"):
        (tmp_path / name).touch()
    tmp_path.chmod(0o755)
    who = str(UNPRIVILEGED)
    drop = ("setpriv", f"--reuid={who}", f"--regid={who}", "--clear-groups", "--") if os.geteuid() == 0 else ()
    assert names_seen(tmp_path, drop=drop)[:2] == ["h.png", "e.png"]
    (tmp_path / "h.png").chmod(0)
    assert names_seen(tmp_path, drop=drop)[:2] == ["", "e.png"]
