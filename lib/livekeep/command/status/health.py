"""livekeep health: one line for a person or a monitor. Loads little, since it is called often."""

import argparse

from livekeep.status import health, snapshot
from livekeep.system import terminal

EXIT_ON_ERROR = 3
"""The state cannot be read: neither ok nor down."""


def run(_arguments: argparse.Namespace) -> int:
    found = snapshot.take().verdict().whole()
    terminal.say(f"{found.level}: {found.sentence}")
    return health.LEVELS.index(found.level)
