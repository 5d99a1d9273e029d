"""livekeep version."""

import argparse

import livekeep
from livekeep.command import terminal


def run(_arguments: argparse.Namespace) -> int:
    terminal.say(f"livekeep {livekeep.__version__}")
    return 0
