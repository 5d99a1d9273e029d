"""livekeep version."""

import argparse

import livekeep


def run(_arguments: argparse.Namespace) -> int:
    print(f"livekeep {livekeep.__version__}")
    return 0
