"""livekeep record, alert, report, clips: handed over to the launchers of the record part, which have their own arguments.

This command imports no part. A machine without the record part says how to install it.
"""

import os
from collections.abc import Sequence
from typing import NoReturn

from livekeep.core import paths
from livekeep.core.errors import LivekeepError

LAUNCHERS = ("record", "alert", "report", "clips")
"""Those of the record part. The launcher of `livekeep setup` is the core's own."""


def hand_over(subcommand: str, arguments: Sequence[str]) -> NoReturn:
    """Become the launcher of `subcommand`. Raises `LivekeepError` when there is none."""
    program = paths.PROGRAM_DIRECTORY / f"livekeep-{subcommand}"
    try:
        os.execv(program, [str(program), *arguments])  # noqa: S606 – no shell is wanted
    except FileNotFoundError:
        raise LivekeepError("the record part is not installed: run install.sh --with record") from None
    except OSError as error:
        raise LivekeepError(f"{program}: cannot be run ({error.strerror})") from error
