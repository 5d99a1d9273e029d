"""livekeep record, alert, report, clips: handed over to the launchers of the record part, which have their own arguments.

This command imports no part. A machine without the record part says how to install it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from livekeep.core.errors import LivekeepError

LAUNCHERS = ("record", "alert", "report", "clips")
"""Those of the record part. The launcher of `livekeep setup` is the core's own."""
CHECKOUT = Path(__file__).resolve().parents[3] / "bin"
FOLDER = CHECKOUT if CHECKOUT.is_dir() else Path("/usr/lib/livekeep")


def hand_over(subcommand: str, arguments: Sequence[str]) -> NoReturn:
    """Become the launcher of `subcommand`. Raises `LivekeepError` when there is none."""
    program = FOLDER / f"livekeep-{subcommand}"
    try:
        os.execv(program, [str(program), *arguments])  # noqa: S606 – no shell is wanted
    except FileNotFoundError:
        raise LivekeepError("the record part is not installed: run install.sh --with record") from None
    except OSError as error:
        raise LivekeepError(f"{program}: cannot be run ({error.strerror})") from error
