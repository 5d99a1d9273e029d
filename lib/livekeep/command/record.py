"""livekeep record, alert, report, clips: executes the launchers of the record part, which parse their own arguments.

This command imports no part. Without the record part, it says how to install it.
"""

import os
from collections.abc import Sequence
from typing import NoReturn

from livekeep.core import paths
from livekeep.core.errors import LivekeepError

LAUNCHERS = ("record", "alert", "report", "clips")
"""The record part's launchers. The launcher of `livekeep setup` belongs to the core."""


def hand_over(subcommand: str, arguments: Sequence[str]) -> NoReturn:
    """Execute the launcher of `subcommand` in this process. Raises `LivekeepError` if it is absent."""
    program = paths.PROGRAM_DIRECTORY / f"livekeep-{subcommand}"
    try:
        os.execv(program, [str(program), *arguments])  # noqa: S606 – no shell is wanted
    except FileNotFoundError:
        raise LivekeepError("the record part is not installed: run install.sh --with record") from None
    except OSError as error:
        raise LivekeepError(f"{program}: cannot be run ({error.strerror})") from error
