"""Lines for the journal."""

import os

import pytest

from tests.outside import run_python

SCRIPT = """
import logging, sys
from livekeep.core import log
log.set_up("debug")
log.set_up(sys.argv[1])
logger = logging.getLogger("livekeep.test")
for level in ("debug", "info", "warning", "error", "critical"):
    getattr(logger, level)("%s line", level)
logger.error("not %s", "two\\nlines\\x1b[2J")
try:
    raise ValueError("of two\\nlines\\x1b[2J")
except ValueError:
    logger.exception("a bug")
"""


ALL = ["<7>debug line", "<6>info line", "<4>warning line", "<3>error line", "<2>critical line", r"<3>not two\nlines\x1b[2J"]
BUG = ["<3>a bug", "<3>Traceback (most recent call last):"]


@pytest.mark.parametrize(("level", "first"), [("debug", 0), ("warning", 2)])
def test_each_line_goes_out_once_with_its_priority(level: str, first: int) -> None:
    ran = run_python(SCRIPT, level)
    lines = ran.stderr.splitlines()
    assert lines[: len(ALL) - first] == ALL[first:]
    bug = lines[len(ALL) - first :]
    assert bug[:2] == BUG
    assert bug[-2:] == ["<3>ValueError: of two", r"<3>lines\x1b[2J"]
    assert all(line.startswith("<3>") for line in bug)
    assert ran.stdout == ""


def test_a_terminal_gets_plain_lines() -> None:
    ours, theirs = os.openpty()
    run_python(SCRIPT, "error", stderr=theirs)
    os.close(theirs)
    lines = os.read(ours, 4096).decode().splitlines()
    assert lines[:4] == ["error line", "critical line", r"not two\nlines\x1b[2J", "a bug"]
    assert lines[-1] == r"lines\x1b[2J"
    os.close(ours)
