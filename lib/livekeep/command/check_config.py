"""livekeep check-config: the configuration as the units will read it, or every problem with it."""

import argparse

from livekeep.core import config


def run(_arguments: argparse.Namespace) -> int:
    config.load()
    print("ok")
    return 0
