"""Lines for the journal."""

import os
import subprocess
import sys

import pytest

from tests.outside import LIBRARY

SCRIPT = """
import logging, sys
from livekeep.core import log
log.set_up("debug")
log.set_up(sys.argv[1])
logger = logging.getLogger("livekeep.test")
for level in ("debug", "info", "warning", "error", "critical"):
    getattr(logger, level)("%s line", level)
logger.error("two\\nlines")
"""


def run(level: str, stderr: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, level]
    return subprocess.run(command, env={"PYTHONPATH": str(LIBRARY)}, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True)


ALL = ["<7>debug line", "<6>info line", "<4>warning line", "<3>error line", "<2>critical line", "<3>two", "<3>lines"]


@pytest.mark.parametrize(("level", "first"), [("debug", 0), ("info", 1), ("warning", 2), ("error", 3)])
def test_each_line_goes_out_once_with_its_priority(level: str, first: int) -> None:
    ran = run(level, subprocess.PIPE)
    assert ran.stderr.splitlines() == ALL[first:]
    assert ran.stdout == ""


def test_a_terminal_gets_plain_lines() -> None:
    ours, theirs = os.openpty()
    run("error", theirs)
    os.close(theirs)
    assert os.read(ours, 4096).decode().splitlines() == ["error line", "critical line", "two", "lines"]
    os.close(ours)
