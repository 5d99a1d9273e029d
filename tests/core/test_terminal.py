"""What the commands print and ask on a terminal."""

import os
import pty
import subprocess
import sys
import time

import pytest

from livekeep.system.terminal import duration, local_time, table
from tests.outside import LIBRARY, PATIENCE_SECONDS, run_python

QUESTION = "from livekeep.system.terminal import confirm; print(confirm('Really?'))"


def moment(day: int, hour: int, minute: int, second: int = 0) -> float:
    """In November 2026 by the local clock."""
    return time.mktime((2026, 11, day, hour, minute, second, 0, 0, -1))


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (moment(21, 10, 2, 11), "10:02:11"),
        (moment(21, 23, 59, 59), "23:59:59"),
        (moment(20, 23, 59), "Friday 23:59"),
        (moment(22, 9, 0), "Sunday 09:00"),
        (moment(27, 11, 0), "Friday 11:00"),
        (moment(27, 13, 0), "2026-11-27 13:00"),
        (moment(1, 10, 2), "2026-11-01 10:02"),
    ],
)
def test_a_moment_is_told_as_short_as_it_stays_clear(then: float, said: str) -> None:
    assert local_time(then, moment(21, 12, 0)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86400, "1 day"),
        (90000, "1 day 1 h"),
        (4 * 86400 + 7200, "4 days 2 h"),
    ],
)
def test_a_span_of_time_has_two_units_at_most(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([("a", "bcd", "e"), ("fgh", "i", "j k")], indent=1) == " a    bcd  e\n fgh  i    j k"
    assert table([]) == ""


@pytest.mark.parametrize(
    ("typed", "answer"), [(b"y\n", "True"), (b" YES \n", "True"), (b"\n", "False"), (b"yep\n", "False"), (b"\x04", "False")]
)
def test_only_yes_is_yes(typed: bytes, answer: str) -> None:
    """\\x04 is Ctrl-D, the end of all typing."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", QUESTION]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(LIBRARY)}) as asking:
        os.close(theirs)
        os.write(ours, typed)
        said = asking.communicate(timeout=PATIENCE_SECONDS)[0].decode()
    os.close(ours)
    assert said.split("[y/N] ")[-1].strip() == answer


def test_without_a_terminal_the_answer_is_no() -> None:
    assert run_python(QUESTION, input="yes\n").stdout == "False\n"


def test_a_table_fits_where_it_is_shown_and_its_numbers_stand_on_the_right() -> None:
    rows = [("NAME", "N"), ("a name that is much longer than the others are", "5"), ("b", "1234")]
    lines = table(rows, numbers=(1,), widest=30).split("\n")
    assert lines == [
        "NAME                         N",
        "a name that is m…ers are     5",
        "b                         1234",
    ]
    assert table([("字字字字字字", "é", "x")], widest=12) == "字…字   é  x"
    assert table([("abcdefgh", "abcdefgh")], widest=5) == "abcd…h  abcd…h"
