"""livekeep version."""

import argparse

import livekeep
from livekeep.system import terminal


def run(_arguments: argparse.Namespace) -> int:
    terminal.say(f"livekeep {livekeep.__version__}")
    return 0
